//! Assets: the sealed files.

use api::asset::Assets;

use crate::{Client, Download, Error};

impl Client {
    /// The files of a completed envelope; none before.
    pub async fn list_assets(&self, envelope: &str) -> Result<Assets, Error> {
        self.get(&format!("v1/envelopes/{envelope}/assets"), &[]).await
    }

    /// A file, by kind (`document`, `combined`, `certificate`, `audit`) or id.
    pub async fn download_asset(&self, envelope: &str, which: &str) -> Result<Download, Error> {
        self.download(&format!("v1/envelopes/{envelope}/assets/{which}"), &[]).await
    }
}
