//! Documents: statements and rows.

use model::{DocumentId, EnvScope, document::Document};

use crate::{Json, Row, StoreError, Tx, either, sql};

/// Writes a new document. Its files are durable already.
pub async fn insert(tx: &mut Tx, scope: EnvScope, document: &Document) -> Result<(), StoreError> {
    sql("INSERT INTO documents (id, tenant_id, environment, filename, size, sha256, working, body, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
    .bind(document.id)
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(&document.filename)
    .bind(document.size)
    .bind(&document.sha256)
    .bind(&document.working)
    .bind(Json(&document.body))
    .bind(document.created_at)
    .run(tx)
    .await?;
    Ok(())
}

/// The document `id`.
pub async fn get(tx: &mut Tx, scope: EnvScope, id: DocumentId) -> Result<Option<Document>, StoreError> {
    Ok(get_all(tx, scope, &[id]).await?.pop())
}

/// Those of `ids` that there are, in no order.
pub async fn get_all(tx: &mut Tx, scope: EnvScope, ids: &[DocumentId]) -> Result<Vec<Document>, StoreError> {
    let rows = either(
        "SELECT id, filename, size, sha256, working, body, created_at
        FROM documents
        WHERE tenant_id = $1 AND environment = $2 AND id IN (SELECT value FROM json_each($3))",
        "SELECT id, filename, size, sha256, working, body, created_at
        FROM documents
        WHERE tenant_id = $1 AND environment = $2 AND id = ANY (ARRAY(SELECT json_array_elements_text($3::json)))",
    )
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(Json(ids))
    .all(tx)
    .await?;
    rows.iter().map(document).collect()
}

fn document(row: &Row) -> Result<Document, StoreError> {
    Ok(Document {
        id: row.get("id")?,
        filename: row.get("filename")?,
        size: row.get("size")?,
        sha256: row.get("sha256")?,
        working: row.get("working")?,
        body: row.get::<Json<_>>("body")?.0,
        created_at: row.get("created_at")?,
    })
}
