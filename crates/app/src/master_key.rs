//! One master key for one database: a signing link that one server makes has to open on every other, and after a restore.

use hmac::{Hmac, Mac};
use model::{Problem, event::hex};
use sha2::Sha256;
use store::Db;
use subtle::ConstantTimeEq;

/// What the key proves itself by: no link's id begins like this, so no link is made of it.
const CHECK: &[u8] = b"the master key of this database";

/// Whether this is the master key under which the database was set up. The first to ask settles it: what is kept is an
/// HMAC, from which nobody learns the key.
pub async fn is_of(db: &Db, master_key: &[u8; 32]) -> Result<bool, Problem> {
    let mut mac = Hmac::<Sha256>::new_from_slice(master_key).map_err(Problem::fault)?;
    mac.update(CHECK);
    let own = hex(&mac.finalize().into_bytes());
    let mut tx = db.begin().await?;
    let settled = store::setting::settle(&mut tx, "master_key_check", &own).await?;
    tx.commit().await?;
    Ok(settled.as_bytes().ct_eq(own.as_bytes()).into())
}
