//! A recipient's own copy as a download.

use app::room::OwnCopy;
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use model::Problem;
use std::fmt::Write as _;
use tokio_util::io::ReaderStream;

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// The file, to be saved under its name: never shown by the browser within our own origin.
pub(super) fn attachment(copy: OwnCopy) -> Result<Response, Problem> {
    let length = copy.file.metadata().map_err(Problem::fault)?.len();
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(copy.file), CHUNK_BYTES);
    let mut response = Body::from_stream(stream).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/pdf"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    let disposition = HeaderValue::from_str(&disposition(&copy.filename)).map_err(Problem::fault)?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    super::pages::keep_out(headers);
    Ok(response)
}

/// RFC 6266: a name in ASCII for old programs, and the true one in `filename*` (RFC 8187).
fn disposition(filename: &str) -> String {
    let plain: String = filename
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' })
        .collect();
    let encoded = filename.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    });
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_do_nothing_in_the_header() {
        assert_eq!(
            disposition("Vertrag \"Ü\"\r\n.pdf"),
            "attachment; filename=\"Vertrag _____.pdf\"; filename*=UTF-8''Vertrag%20%22%C3%9C%22%0D%0A.pdf"
        );
    }
}
