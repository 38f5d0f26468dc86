//! The disclosure that 15 USC 7001(c) asks for: its texts, by version. What was shown is recorded by its SHA-256.

use model::event::hex;
use sha2::{Digest, Sha256};

/// A text of the disclosure. Once released, never changed: a new wording is a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disclosure {
    /// Its name, as `en-1`.
    pub version: &'static str,
    /// BCP 47.
    pub language: &'static str,
    /// Its text, in the few marks of Markdown that the page knows.
    pub text: &'static str,
}

static ENGLISH: Disclosure =
    Disclosure { version: "en-1", language: "en", text: include_str!("../../../docs/legal/consent-en-1.md") };

impl Disclosure {
    /// What is shown to readers of `locale`; English where there is no other yet.
    pub fn for_locale(_locale: &str) -> &'static Disclosure {
        &ENGLISH
    }

    /// SHA-256 of the text, in hex.
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(self.text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_text_is_never_changed() {
        assert_eq!(ENGLISH.sha256(), "e568df440a8b066e739aae4274695753e2bef1a9414c708e7ff6f2de16f6ea7e");
    }
}
