//! `/v1/envelopes/{id}/assets`: the sealed files, whole or in part.

use app::App;
use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use model::{Code, EnvelopeId, Problem, asset::Asset};

use crate::{
    gatekeeper::Pass,
    json::Json,
    problem::{Answer, Refusal},
    query::Path,
};

/// RFC 9530.
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// List assets.
///
/// The files of a completed envelope; none before.
#[utoipa::path(get, path = "/v1/envelopes/{id}/assets", tag = "Assets",
    params(("id" = String, Path, description = "The envelope's id.")),
    responses((status = 200, body = api::asset::Assets, description = "The files.")))]
pub async fn list(State(app): State<App>, pass: Pass, Path(id): Path<EnvelopeId>) -> Answer<Json<api::asset::Assets>> {
    Ok(Json(api::asset::Assets { data: app.list_assets(&pass, id).await?.iter().map(show).collect() }))
}

/// Fetch an asset.
///
/// By kind (`document`, `combined`, `certificate`, `audit`) or by id. Takes `Range`, `If-Range` and `If-None-Match`; the
/// `ETag` is the file's SHA-256.
#[utoipa::path(get, path = "/v1/envelopes/{id}/assets/{asset}", tag = "Assets",
    params(("id" = String, Path, description = "The envelope's id."),
        ("asset" = String, Path, description = "A kind or an asset's id."),
        ("Range" = Option<String>, Header, description = "`bytes=0-1023`.")),
    responses((status = 200, body = Vec<u8>, content_type = "application/pdf", description = "The file."),
        (status = 206, description = "A part of it."), (status = 304, description = "It is the one that you have.")))]
pub async fn get(
    State(app): State<App>,
    pass: Pass,
    Path((id, which)): Path<(EnvelopeId, String)>,
    headers: HeaderMap,
) -> Answer<Response> {
    let asset = app.get_asset(&pass, id, &which).await?;
    let etag = format!("\"{}\"", asset.sha256);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| {
        known.split(',').any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == etag)
    }) {
        return Ok((StatusCode::NOT_MODIFIED, described(&asset, &etag)).into_response());
    }
    let if_range = headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes());
    let range = headers.get(header::RANGE).filter(|_| if_range).and_then(|value| value.to_str().ok());
    let range = match range.map(|range| part(range, asset.size)) {
        None | Some(Part::Whole) => None,
        Some(Part::Of(range)) => Some(range),
        Some(Part::Outside) => {
            let detail = format!("The file has {} bytes.", asset.size);
            let mut answer = Refusal(Problem::new(Code::RangeNotSatisfiable, detail)).into_response();
            let size = HeaderValue::try_from(format!("bytes */{}", asset.size)).map_err(Problem::fault)?;
            answer.headers_mut().insert(header::CONTENT_RANGE, size);
            return Ok(answer);
        }
    };
    let bytes = app.fetch_asset(&pass, &asset, range.clone()).await?;
    let mut answer = described(&asset, &etag);
    answer.insert(
        header::CONTENT_LENGTH,
        HeaderValue::from(range.as_ref().map_or(asset.size, |range| range.end - range.start)),
    );
    let status = match range {
        None => StatusCode::OK,
        Some(range) => {
            let place = format!("bytes {}-{}/{}", range.start, range.end - 1, asset.size);
            answer.insert(header::CONTENT_RANGE, HeaderValue::try_from(place).map_err(Problem::fault)?);
            StatusCode::PARTIAL_CONTENT
        }
    };
    Ok((status, answer, Body::from_stream(gated(app, pass, bytes))).into_response())
}

/// Before each chunk the gate is asked again: a download ends when its key does.
fn gated(
    app: App,
    pass: Pass,
    bytes: impl Stream<Item = Result<Bytes, Problem>> + Send + Unpin + 'static,
) -> impl Stream<Item = Result<Bytes, Problem>> + Send {
    futures::stream::try_unfold((app, pass, bytes), |(app, pass, mut bytes)| async move {
        let Some(chunk) = bytes.next().await else { return Ok(None) };
        let chunk = chunk?;
        app.gate.readmit(&pass).await?;
        Ok(Some((chunk, (app, pass, bytes))))
    })
}

fn described(asset: &Asset, etag: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let digest: Vec<u8> = asset.sha256.as_bytes().chunks(2).filter_map(hex).collect();
    let values = [
        (header::CONTENT_TYPE, asset.content_type.clone()),
        (header::ETAG, etag.to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
        (header::CONTENT_DISPOSITION, disposition(&asset.filename)),
        (REPR_DIGEST, format!("sha-256=:{}:", BASE64_STANDARD.encode(digest))),
    ];
    for (name, value) in values {
        // All of them are ASCII without control characters by the way they are made.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers
}

fn hex(pair: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()
}

/// RFC 6266: an ASCII name for old clients, the real one in `filename*` (RFC 8187).
pub(crate) fn disposition(filename: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' };
    let ascii: String = filename.chars().map(plain).collect();
    let encoded: String = filename
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Nothing that is understood: the whole (RFC 9110, 14.2).
    Whole,
    /// These bytes.
    Of(std::ops::Range<u64>),
    /// Nothing of the file.
    Outside,
}

/// Reads a single byte range; several at once are answered with the whole.
pub(crate) fn part(header: &str, size: u64) -> Part {
    let Some(spec) = header.strip_prefix("bytes=").filter(|spec| !spec.contains(',')) else { return Part::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    // Digits alone: a sign is none of the grammar's, though Rust would read it.
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(first) || !is_number(last) {
        return Part::Whole;
    }
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(size)),
        (Ok(_), Ok(_)) => return Part::Whole,
        (Ok(first), Err(_)) if last.is_empty() => (first, size),
        (Err(_), Ok(suffix)) if first.is_empty() => (size.saturating_sub(suffix), size),
        _ => return Part::Whole,
    };
    if first >= last { Part::Outside } else { Part::Of(first..last) }
}

fn show(asset: &Asset) -> api::asset::Asset {
    api::asset::Asset {
        id: asset.id.to_string(),
        kind: asset.kind.as_str().to_owned(),
        document: asset.document.map(|document| document.to_string()),
        filename: asset.filename.clone(),
        content_type: asset.content_type.clone(),
        size: asset.size,
        sha256: asset.sha256.clone(),
        seal: asset
            .seal
            .as_ref()
            .map(|seal| api::asset::Seal { profile: seal.profile.clone(), time: seal.time.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_has_them() {
        for (header, expected) in [
            ("bytes=0-9", Part::Of(0..10)),
            ("bytes=90-", Part::Of(90..100)),
            ("bytes=-10", Part::Of(90..100)),
            ("bytes=-1000", Part::Of(0..100)),
            ("bytes=95-200", Part::Of(95..100)),
            ("bytes=100-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=9-0", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-+2", Part::Whole),
        ] {
            assert_eq!(part(header, 100), expected, "{header}");
        }
    }

    #[test]
    fn a_file_name_can_do_nothing_in_a_header() {
        assert_eq!(
            disposition("Vertrag \"Ü\"\r\n.pdf"),
            "attachment; filename=\"Vertrag _____.pdf\"; filename*=UTF-8''Vertrag%20%22%C3%9C%22%0D%0A.pdf"
        );
    }
}
