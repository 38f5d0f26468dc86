//! Enums whose variants are words: in code, in columns and in the API the same.

use std::fmt;

/// The text with its first letter in upper case.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

/// The words as a sentence: a capital at its beginning, a stop at its end.
pub fn sentence(words: &dyn fmt::Display) -> String {
    let words = words.to_string();
    let end = if words.ends_with(['.', '!', '?']) { "" } else { "." };
    capital(&words) + end
}

/// The text is none of the words that can stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownWord {
    /// What it should be, as `a role`.
    pub noun: &'static str,
    /// The words that there are.
    pub words: &'static [&'static str],
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is one of {}", self.noun, self.words.join(", "))
    }
}

impl std::error::Error for UnknownWord {}

/// Makes an enum of words: `as_str`, `ALL`, Display, FromStr and serde. Later words are greater.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident $noun:literal { $($(#[$of:meta])* $variant:ident $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$of])* $variant,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// Its word in columns and in the API.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::word::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok($name::$variant),)+
                    _ => Err($crate::word::UnknownWord { noun: $noun, words: &[$($text,)+] }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use words;

/// Whether a character can't stand in a line of text for people: a control character, or one that turns the order of what
/// stands around it, so that a name or a file's ending reads as another (Unicode TR 36, 3.1).
pub fn is_hidden(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Refuses what can't be a line of text for people: too long, nothing but white space, or with control characters.
/// Says why, in words that follow the name of the thing.
pub fn line_fault(text: &str, chars_max: usize) -> Option<(&'static str, String)> {
    if text.trim().is_empty() {
        Some(("required", "is empty: give it some text".to_owned()))
    } else if text.chars().count() > chars_max {
        Some(("too_long", format!("has more than {chars_max} characters")))
    } else if text.chars().any(is_hidden) {
        Some(("control_character", "has a control character, a line break or a hidden mark of direction".to_owned()))
    } else {
        None
    }
}
