//! Taking a key's right away and giving it back, and what a compromised key did.

use api::{
    compromise::{BlastRadius, CompromiseKey, Compromised, Decide, Decided},
    key::Key,
    revocation::{Receipt, RevokeKey, RevokeKeys, RevokedKeys, TransferKey, TurnKey},
};

use crate::{Client, Error};

impl Client {
    /// Revokes a key: when this is answered, nothing that it asks for passes any more.
    pub async fn revoke_key(&self, id: &str, why: &RevokeKey) -> Result<Receipt, Error> {
        self.post(&format!("v1/keys/{id}/revoke"), why).await
    }

    /// Revokes every key that all that is given fits.
    pub async fn revoke_keys(&self, which: &RevokeKeys) -> Result<RevokedKeys, Error> {
        self.post("v1/keys/revoke", which).await
    }

    /// A revocation's receipt.
    pub async fn key_receipt(&self, id: &str) -> Result<Receipt, Error> {
        self.get(&format!("v1/keys/{id}/receipt"), &[]).await
    }

    /// Suspends a key: from the answer on it is refused until it is resumed.
    pub async fn suspend_key(&self, id: &str, why: &TurnKey) -> Result<Key, Error> {
        self.post(&format!("v1/keys/{id}/suspend"), why).await
    }

    /// Lets a suspended key pass again.
    pub async fn resume_key(&self, id: &str, why: &TurnKey) -> Result<Key, Error> {
        self.post(&format!("v1/keys/{id}/resume"), why).await
    }

    /// Gives a key the rights of another owner or admin.
    pub async fn transfer_key(&self, id: &str, to: &TransferKey) -> Result<Key, Error> {
        self.post(&format!("v1/keys/{id}/transfer"), to).await
    }

    /// Reports a key in wrong hands: it and all that it made ends, and what they did since waits for decisions.
    pub async fn compromise_key(&self, id: &str, known: &CompromiseKey) -> Result<Compromised, Error> {
        self.post(&format!("v1/keys/{id}/compromise"), known).await
    }

    /// A page of what a compromised key did.
    pub async fn blast_radius(&self, id: &str, query: &[(&str, &str)]) -> Result<BlastRadius, Error> {
        self.get(&format!("v1/keys/{id}/compromise"), query).await
    }

    /// Decides about what a compromised key did.
    pub async fn decide_compromise(&self, id: &str, decisions: &Decide) -> Result<Decided, Error> {
        self.post(&format!("v1/keys/{id}/compromise/decide"), decisions).await
    }
}
