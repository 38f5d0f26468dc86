//! Sessions of recipients in the signing room: statements and rows. Whoever asks has proven the recipient's link.

use model::{RecipientId, SessionId, Timestamp};

use crate::{Session, StoreError, Tx, sql};

/// A session as it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub recipient: RecipientId,
    /// Of the link that it was begun with: a new one ends it.
    pub generation: i64,
    /// SHA-256 of its token.
    pub digest: [u8; 32],
    /// When it begins.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// Begins a session. Those of the same recipient that have ended are forgotten, and the oldest of `others_max`: who holds
/// the link can't fill the table.
pub async fn begin(tx: &mut Tx, session: &NewSession, others_max: u32) -> Result<(), StoreError> {
    sql("DELETE FROM room_sessions
        WHERE recipient_id = $1 AND (expires_at <= $2 OR generation <> $3
            OR id NOT IN (SELECT id FROM room_sessions WHERE recipient_id = $1 ORDER BY id DESC LIMIT $4))")
    .bind(session.recipient)
    .bind(session.created_at)
    .bind(session.generation)
    .bind(others_max)
    .run(tx)
    .await?;
    sql("INSERT INTO room_sessions (id, recipient_id, generation, digest, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)")
    .bind(session.id)
    .bind(session.recipient)
    .bind(session.generation)
    .bind(session.digest)
    .bind(session.created_at)
    .bind(session.expires_at)
    .run(tx)
    .await?;
    Ok(())
}

/// Whether the token with this digest is of a session that has not ended. Digests of 256 random bits may be compared by
/// the database: nobody can choose one letter by letter.
pub async fn is_open<S: Session>(
    session: &mut S,
    recipient: RecipientId,
    generation: i64,
    digest: &[u8; 32],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let row = sql("SELECT id
        FROM room_sessions
        WHERE recipient_id = $1 AND generation = $2 AND digest = $3 AND expires_at > $4")
    .bind(recipient)
    .bind(generation)
    .bind(*digest)
    .bind(now)
    .optional(session)
    .await?;
    Ok(row.is_some())
}
