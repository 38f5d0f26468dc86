//! Styles, scripts and pictures of the pages, from `web/`, embedded in the binary.

use std::{borrow::Cow, fmt::Write as _};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, Uri, header};
use model::{Code, Problem};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::{
    problem::{Answer, Refusal},
    query::Path,
};

/// Characters of a digest in an asset's URL.
const DIGEST_CHARS: usize = 16;

/// All of `web/`; what is served is told by its ending.
#[derive(RustEmbed)]
#[folder = "../../web"]
struct Web;

/// The URL of an asset, with its digest, so that browsers may keep it for ever.
pub fn url(name: &str) -> String {
    match Web::get(name) {
        Some(file) => format!("/assets/{name}?v={}", digest(&file)),
        None => format!("/assets/{name}"),
    }
}

fn digest(file: &EmbeddedFile) -> String {
    file.metadata.sha256_hash().iter().take(DIGEST_CHARS / 2).fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An asset by its name.
pub(crate) async fn get(uri: Uri, Path(name): Path<String>) -> Answer<Response> {
    serve(&name, uri.query())
}

/// The icon, where browsers look for it unasked.
pub(crate) async fn favicon() -> Answer<Response> {
    serve("icon.svg", None)
}

fn serve(name: &str, query: Option<&str>) -> Answer<Response> {
    let found = media_type(name).zip(Web::get(name));
    let (media_type, file) = found.ok_or_else(|| Refusal(Problem::new(Code::NotFound, "There is no such asset.")))?;
    let tag = digest(&file);
    // A URL with another digest is of an older or newer binary: its answer must not be kept.
    let kept = query.and_then(|query| query.strip_prefix("v=")).is_some_and(|version| version == tag);
    let cache = if kept { "public, max-age=31536000, immutable" } else { "no-cache" };
    let body = match file.data {
        Cow::Borrowed(bytes) => Body::from(bytes),
        Cow::Owned(bytes) => Body::from(bytes),
    };
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}

/// What a page may link to; sources of pages and samples stay inside.
fn media_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "otf" => "font/otf",
        _ => return None,
    })
}
