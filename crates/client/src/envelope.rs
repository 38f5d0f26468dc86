//! Envelopes.

use api::{
    Page,
    envelope::{Envelope, NewEnvelope, VoidEnvelope},
};

use crate::{Body, Client, Error};

impl Client {
    /// Makes an envelope, and sends it where `new.send` says so. The same `idempotency` makes it once.
    pub async fn create_envelope(&self, new: &NewEnvelope, idempotency: Option<&str>) -> Result<Envelope, Error> {
        self.submit(reqwest::Method::POST, "v1/envelopes", &[], &Body::json(new)?, idempotency).await
    }

    /// A page of envelopes, the newest first.
    pub async fn list_envelopes(&self, query: &[(&str, &str)]) -> Result<Page<Envelope>, Error> {
        self.get("v1/envelopes", query).await
    }

    /// An envelope.
    pub async fn get_envelope(&self, id: &str) -> Result<Envelope, Error> {
        self.get(&format!("v1/envelopes/{id}"), &[]).await
    }

    /// Sends a draft.
    pub async fn send_envelope(&self, id: &str) -> Result<Envelope, Error> {
        let path = format!("v1/envelopes/{id}/send");
        self.submit(reqwest::Method::POST, &path, &[], &Body::Empty, None).await
    }

    /// Takes an envelope back.
    pub async fn void_envelope(&self, id: &str, reason: &str) -> Result<Envelope, Error> {
        self.post(&format!("v1/envelopes/{id}/void"), &VoidEnvelope { reason: reason.to_owned() }).await
    }
}
