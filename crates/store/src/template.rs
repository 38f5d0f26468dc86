//! Templates and their versions: statements and rows.

use model::{
    EnvScope, TemplateId,
    template::{Template, TemplateVersion},
};

use crate::{Json, Row, StoreError, Tx, event::before, sql};

/// Writes a new template with its first version.
pub async fn insert(tx: &mut Tx, scope: EnvScope, template: &Template) -> Result<(), StoreError> {
    sql("INSERT INTO templates (id, tenant_id, environment, name, latest, created_at, version)
        VALUES ($1, $2, $3, $4, $5, $6, 1)")
    .bind(template.id)
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(&template.name)
    .bind(template.version.number)
    .bind(template.created_at)
    .run(tx)
    .await?;
    sql("INSERT INTO template_versions (template_id, number, body, created_at)
        VALUES ($1, $2, $3, $4)")
    .bind(template.id)
    .bind(template.version.number)
    .bind(Json(&template.version))
    .bind(template.created_at)
    .run(tx)
    .await?;
    Ok(())
}

/// The template `id` in its latest version.
pub async fn get(tx: &mut Tx, scope: EnvScope, id: TemplateId) -> Result<Option<Template>, StoreError> {
    let row = sql("SELECT t.id, t.name, t.created_at, v.body
        FROM templates t
        JOIN template_versions v ON v.template_id = t.id AND v.number = t.latest
        WHERE t.tenant_id = $1 AND t.environment = $2 AND t.id = $3")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(id)
    .optional(tx)
    .await?;
    row.as_ref().map(template).transpose()
}

/// Version `number` of the template `id`.
pub async fn version(
    tx: &mut Tx,
    scope: EnvScope,
    id: TemplateId,
    number: i64,
) -> Result<Option<TemplateVersion>, StoreError> {
    let row = sql("SELECT v.body
        FROM templates t
        JOIN template_versions v ON v.template_id = t.id
        WHERE t.tenant_id = $1 AND t.environment = $2 AND t.id = $3 AND v.number = $4")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(id)
    .bind(number)
    .optional(tx)
    .await?;
    row.map(|row| Ok(row.get::<Json<_>>("body")?.0)).transpose()
}

/// A page of templates, newest first.
pub async fn list(
    tx: &mut Tx,
    scope: EnvScope,
    after: Option<TemplateId>,
    limit: u32,
) -> Result<Vec<Template>, StoreError> {
    let rows = sql("SELECT t.id, t.name, t.created_at, v.body
        FROM templates t
        JOIN template_versions v ON v.template_id = t.id AND v.number = t.latest
        WHERE t.tenant_id = $1 AND t.environment = $2 AND t.id < $3
        ORDER BY t.id DESC
        LIMIT $4")
    .bind(scope.tenant)
    .bind(scope.environment)
    .bind(before(after))
    .bind(limit)
    .all(tx)
    .await?;
    rows.iter().map(template).collect()
}

fn template(row: &Row) -> Result<Template, StoreError> {
    Ok(Template {
        id: row.get("id")?,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
        version: row.get::<Json<_>>("body")?.0,
    })
}
