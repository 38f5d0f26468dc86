//! API keys.

use api::{
    Page,
    key::{CreatedKey, Key, NewKey, UpdateKey},
    usage::Usage,
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

    /// Changes a key: what is left out stays.
    pub async fn update_key(&self, id: &str, change: &UpdateKey) -> Result<Key, Error> {
        let body = Body::json(change)?;
        self.submit(reqwest::Method::PATCH, &format!("v1/keys/{id}"), &[], &body, None).await
    }

    /// Lets a pending key call.
    pub async fn activate_key(&self, id: &str) -> Result<Key, Error> {
        self.submit(reqwest::Method::POST, &format!("v1/keys/{id}/activate"), &[], &Body::Empty, None).await
    }

    /// What a key was used for.
    pub async fn key_usage(&self, id: &str, query: &[(&str, &str)]) -> Result<Usage, Error> {
        self.get(&format!("v1/keys/{id}/usage"), query).await
    }
}
