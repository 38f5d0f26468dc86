//! Assets: the files of a completed envelope.

use model::{
    AssetId, DocumentId, EnvScope, EnvelopeId,
    asset::{Asset, AssetKind},
};

use crate::{Json, Row, StoreError, Tx, envelope::unknown, sql};

/// Writes an envelope's assets. Their files are durable already.
pub async fn insert(tx: &mut Tx, scope: EnvScope, envelope: EnvelopeId, assets: &[Asset]) -> Result<(), StoreError> {
    for (position, asset) in assets.iter().enumerate() {
        sql("INSERT INTO assets (id, tenant_id, environment, envelope_id, position, kind, document_id, filename,
                content_type, size, sha256, seal, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)")
        .bind(asset.id)
        .bind(scope.tenant)
        .bind(scope.environment)
        .bind(envelope)
        .bind(position)
        .bind(asset.kind.as_str())
        .bind(asset.document)
        .bind(&asset.filename)
        .bind(&asset.content_type)
        .bind(asset.size)
        .bind(&asset.sha256)
        .bind(asset.seal.as_ref().map(Json))
        .bind(asset.created_at)
        .run(tx)
        .await?;
    }
    Ok(())
}

/// The assets of an envelope, in order.
pub async fn list(tx: &mut Tx, scope: EnvScope, envelope: EnvelopeId) -> Result<Vec<Asset>, StoreError> {
    let rows = sql("SELECT id, kind, document_id, filename, content_type, size, sha256, seal, created_at
        FROM assets
        WHERE tenant_id = $1 AND environment = $2 AND envelope_id = $3
        ORDER BY position")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(envelope)
    .all(tx)
    .await?;
    rows.iter().map(asset).collect()
}

/// SHA-256 of the sealed file of a document.
pub async fn sealed_document(
    tx: &mut Tx,
    scope: EnvScope,
    envelope: EnvelopeId,
    document: DocumentId,
) -> Result<Option<String>, StoreError> {
    let row = sql("SELECT sha256
        FROM assets
        WHERE tenant_id = $1 AND environment = $2 AND envelope_id = $3 AND kind = 'document' AND document_id = $4")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(envelope)
    .bind(document)
    .optional(tx)
    .await?;
    row.map(|row| row.get("sha256")).transpose()
}

fn asset(row: &Row) -> Result<Asset, StoreError> {
    let kind: String = row.get("kind")?;
    Ok(Asset {
        id: row.get::<AssetId>("id")?,
        kind: AssetKind::parse(&kind).ok_or_else(|| unknown("kind", &kind))?,
        document: row.get("document_id")?,
        filename: row.get("filename")?,
        content_type: row.get("content_type")?,
        size: row.get("size")?,
        sha256: row.get("sha256")?,
        seal: row.get::<Option<Json<_>>>("seal")?.map(|seal| seal.0),
        created_at: row.get("created_at")?,
    })
}
