//! After a change that turns a yes into a no: wait for every writer that had checked before.

use model::{KeyId, TenantId, UserId};
use store::{Db, StoreError};

/// What a change touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// A tenant: its status, tier or allowlist.
    Tenant(TenantId),
    /// A user: role or status.
    User(UserId),
    /// A key: status, expiry, scopes, allowlist or administrator.
    Key(KeyId),
}

/// Waits, after the change was committed and before it is answered, until no transaction runs that had checked before
/// the change: then what was in flight has taken effect, or never will.
///
/// Each lock is taken in a transaction that holds nothing else, so this can be in a circle of waiting with nobody. On
/// SQLite there is nothing to wait for: the change itself came after all writers that had checked before.
///
/// An error means that the change is committed and not yet in force everywhere: don't answer it, do it again.
pub async fn barrier(db: &Db, touched: &[Touched]) -> Result<(), StoreError> {
    if !db.is_postgres() {
        return Ok(());
    }
    // Also where the change was there already: whoever made it may not have waited for the standby.
    store::durability::settle(db).await?;
    for thing in touched {
        let name = match thing {
            Touched::Tenant(id) => id.to_string(),
            Touched::User(id) => id.to_string(),
            Touched::Key(id) => id.to_string(),
        };
        let mut tx = db.begin().await?;
        store::gate::lock_exclusive(&mut tx, &name).await?;
        tx.rollback().await?;
    }
    Ok(())
}
