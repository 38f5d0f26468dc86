//! Assets: list them, and find the file behind one.

use std::ops::Range;

use bytes::Bytes;
use futures::{TryStreamExt, stream::BoxStream};
use gate::Pass;
use model::{
    AssetId, Code, EnvelopeId, Problem,
    asset::{Asset, AssetKind},
    audit::Entry,
    envelope::Status,
};
use serde_json::json;

use crate::App;

/// When to ask again for a file that waits for people, and for one that is being sealed, in seconds.
const SIGNING_RETRY_S: u32 = 60;
const SEALING_RETRY_S: u32 = 2;

impl App {
    /// The assets of an envelope; none before it is completed.
    pub async fn list_assets(&self, pass: &Pass, id: EnvelopeId) -> Result<Vec<Asset>, Problem> {
        let mut tx = self.read().await?;
        store::envelope::get(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        Ok(store::asset::list(&mut tx, pass.scope(), id).await?)
    }

    /// The asset that `which` names: a kind (the first of it) or an id.
    pub async fn get_asset(&self, pass: &Pass, id: EnvelopeId, which: &str) -> Result<Asset, Problem> {
        let mut tx = self.read().await?;
        let envelope = store::envelope::get(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        let kind = AssetKind::parse(which);
        let by_id = which.parse::<AssetId>().ok();
        if kind.is_none() && by_id.is_none() {
            return Err(Problem::not_found());
        }
        let assets = store::asset::list(&mut tx, pass.scope(), id).await?;
        let found = assets.into_iter().find(|asset| kind == Some(asset.kind) || by_id == Some(asset.id));
        found.ok_or_else(|| match envelope.status {
            // People take their time; a seal is a matter of seconds.
            Status::Draft | Status::Sent => not_ready(envelope.status).retry_after(SIGNING_RETRY_S),
            Status::Sealing => not_ready(envelope.status).retry_after(SEALING_RETRY_S),
            Status::Declined => never_sealed(Code::AlreadyDeclined),
            Status::Voided => never_sealed(Code::AlreadyVoided),
            Status::Expired => never_sealed(Code::AlreadyExpired),
            Status::Completed => Problem::not_found(),
        })
    }

    /// The file behind an asset, or the part of it that `range` names. Whoever begins to fetch one is on record.
    pub async fn fetch_asset(
        &self,
        pass: &Pass,
        asset: &Asset,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, Problem>>, Problem> {
        let reading = self.files.stream(pass.scope(), &asset.sha256, range.clone()).await?;
        if range.is_none_or(|range| range.start == 0) {
            let record = json!({ "kind": asset.kind.as_str(), "filename": asset.filename });
            let mut tx = self.begin(pass).await?;
            self.note(&mut tx, pass.caller(), Entry::created("asset.fetched", asset.id, record)).await?;
            tx.commit().await?;
        }
        Ok(Box::pin(reading.bytes.map_err(Problem::from)))
    }
}

fn not_ready(status: Status) -> Problem {
    Problem::new(Code::NotReady, format!("The envelope is {}.", status.as_str()))
}

/// Why there is no file, and never will be.
fn never_sealed(why: Code) -> Problem {
    Problem::new(why, format!("{}: it was not sealed, so it has no files.", why.title()))
}
