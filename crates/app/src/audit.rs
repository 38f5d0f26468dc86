//! The audit log: listed for callers, checked link by link for the operator.

use gate::Pass;
use model::audit::{Broken, Record, chain_start, verify};
use model::{Environment, Problem, TenantId, TenantScope};
use store::audit::PAGE_ROWS_MAX;

pub use store::audit::Filter;

use crate::App;

impl App {
    /// Entries, newest first, at most one more than `limit`, before the entry with the number `before`.
    ///
    /// A caller sees its own environment's; what concerns the tenant as a whole, users and tiers, is seen from production.
    pub async fn list_audit(
        &self,
        pass: &Pass,
        filter: Filter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Record>, Problem> {
        let scope = pass.scope();
        let filter = Filter { tenant_wide: scope.environment == Environment::Production, ..filter };
        let mut tx = self.read().await?;
        Ok(store::audit::list(&mut tx, scope, &filter, before, limit.saturating_add(1)).await?)
    }

    /// Checks every link of the tenant's audit log: how many entries hold, or which does not.
    pub async fn verify_audit(&self, tenant: TenantId) -> Result<Result<i64, Broken>, Problem> {
        verify_chain(&self.db, tenant).await
    }
}

/// Checks every link of a tenant's audit log, of whichever database.
pub(crate) async fn verify_chain(db: &store::Db, tenant: TenantId) -> Result<Result<i64, Broken>, Problem> {
    let scope = TenantScope { tenant };
    let mut tx = db.read().await?;
    let head = store::audit::head(&mut tx, scope).await?;
    let mut end = (0, chain_start(tenant));
    loop {
        let links = store::audit::links(&mut tx, scope, end.0, PAGE_ROWS_MAX).await?;
        if links.is_empty() {
            // The last entries could be cut off: the counter knows where the log ends.
            let whole = end == head;
            return Ok(if whole { Ok(end.0) } else { Err(Broken::Gap { expected: head.0, found: end.0 }) });
        }
        match verify(end, links.iter().map(|(record, hash)| (record, hash))) {
            Ok(next) => end = next,
            Err(broken) => return Ok(Err(broken)),
        }
    }
}
