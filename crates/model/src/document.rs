//! A document: a PDF that was uploaded, and what intake found out about it.

use serde::{Deserialize, Serialize};

use crate::{DocumentId, Timestamp, caller::Actor, word::is_hidden};

/// Bytes of an uploaded document.
pub const DOCUMENT_BYTES_MAX: u64 = 50 * 1024 * 1024;

/// Characters of a file name.
pub const FILENAME_CHARS_MAX: usize = 255;

/// A page as displayed, in points.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Width after Rotate and UserUnit.
    pub width: f64,
    /// Height after Rotate and UserUnit.
    pub height: f64,
    /// 0, 90, 180 or 270.
    pub rotation: u16,
}

/// An uploaded document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its id.
    pub id: DocumentId,
    /// Its name, cleaned.
    pub filename: String,
    /// Bytes of the original.
    pub size: u64,
    /// SHA-256 of the original, in hex.
    pub sha256: String,
    /// SHA-256 of the file that is shown and sealed: the working copy, or the original.
    pub working: String,
    /// What intake found out.
    pub body: DocumentBody,
    /// When it was uploaded.
    pub created_at: Timestamp,
}

/// What intake found out about a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DocumentBody {
    /// Its pages.
    pub pages: Vec<Page>,
    /// Fonts that are neither embedded nor known.
    pub fonts_missing: Vec<String>,
    /// What was changed in the working copy.
    pub changes: Vec<String>,
    /// What a sender should know.
    pub warnings: Vec<String>,
    /// Who uploaded it.
    pub created_by: Actor,
}

/// A file name as it may be stored and shown: no path, no control or direction characters, `.pdf` at its end.
pub fn clean_filename(given: &str) -> String {
    let name = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|letter| !is_hidden(*letter)).take(FILENAME_CHARS_MAX - 4).collect();
    let name = name.trim().trim_start_matches('.');
    match name {
        "" => "document.pdf".to_owned(),
        name if name.to_ascii_lowercase().ends_with(".pdf") => name.to_owned(),
        name => format!("{name}.pdf"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_has_no_path_and_no_hidden_characters() {
        assert_eq!(clean_filename("../../etc/passwd"), "passwd.pdf");
        assert_eq!(clean_filename("C:\\a\\Vertrag Ü.PDF"), "Vertrag Ü.PDF");
        assert_eq!(clean_filename("x\u{202e}fdp.exe\r\n"), "xfdp.exe.pdf");
        assert_eq!(clean_filename(""), "document.pdf");
    }
}
