//! API keys.

use api::{
    Page,
    key::{CreatedKey, Key, NewKey, Receipt, RevokeKey},
};

use crate::{Body, Client, Error};

impl Client {
    /// Generates a key. Its answer holds the secret, once: with the same `idempotency` it comes back without.
    pub async fn create_key(&self, new: &NewKey, idempotency: Option<&str>) -> Result<CreatedKey, Error> {
        self.submit(reqwest::Method::POST, "v1/keys", &[], &Body::json(new)?, idempotency).await
    }

    /// A page of keys, the newest first.
    pub async fn list_keys(&self, query: &[(&str, &str)]) -> Result<Page<Key>, Error> {
        self.get("v1/keys", query).await
    }

    /// A key.
    pub async fn get_key(&self, id: &str) -> Result<Key, Error> {
        self.get(&format!("v1/keys/{id}"), &[]).await
    }

    /// Revokes a key: when this is answered, nothing that it asks for passes any more.
    pub async fn revoke_key(&self, id: &str, why: &RevokeKey) -> Result<Receipt, Error> {
        self.post(&format!("v1/keys/{id}/revoke"), why).await
    }
}
