//! The secret key as text that hides itself: no Display, no Serialize, and Debug says nothing.

use std::fmt;

/// A secret key, or another credential, on its way to the server.
#[derive(Clone)]
pub struct SecretText(String);

impl SecretText {
    /// Takes the text; white space around it is dropped, as editors and mounts add it.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().trim().to_owned())
    }

    /// The text in clear. Whoever calls this is responsible for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_trimmed_and_hidden() {
        let secret = SecretText::new(" iusk_dev_x\n");
        assert_eq!(secret.expose(), "iusk_dev_x");
        assert_eq!(format!("{secret:?}"), "SecretText(hidden)");
    }
}
