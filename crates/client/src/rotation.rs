//! Rotating keys.

use api::{key::CreatedKey, rotation::RotateKey};

use crate::{Body, Client, Error};

impl Client {
    /// Rotates a key. Its answer holds the new secret, once; none where one waits for its first use already.
    pub async fn rotate_key(&self, id: &str, how: &RotateKey, idempotency: Option<&str>) -> Result<CreatedKey, Error> {
        let path = format!("v1/keys/{id}/rotate");
        self.submit(reqwest::Method::POST, &path, &[], &Body::json(how)?, idempotency).await
    }
}
