//! Who the calling key is.

use api::me::Me;

use crate::{Client, Error};

impl Client {
    /// The calling key with its rights, and the address that was seen.
    pub async fn me(&self) -> Result<Me, Error> {
        self.get("v1/me", &[]).await
    }
}
