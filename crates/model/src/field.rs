//! A field: where on which page a recipient fills in what.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{BodyError, DocumentId, word::is_hidden};

/// What a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// The recipient's signature, typed or drawn.
    Signature,
    /// The recipient's name.
    Name,
    /// The day of signing in the envelope's zone, filled by the server.
    DateSigned,
    /// A line of text.
    Text,
    /// A box to tick.
    Checkbox,
}

impl FieldKind {
    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Name => "name",
            Self::DateSigned => "date_signed",
            Self::Text => "text",
            Self::Checkbox => "checkbox",
        }
    }

    /// The kind named `text`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Signature, Self::Name, Self::DateSigned, Self::Text, Self::Checkbox]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }

    /// The least width and height in points: in less, nothing that is filled in could be read.
    pub fn least_size(self) -> (f64, f64) {
        match self {
            Self::Signature => (10.0, 6.0),
            Self::DateSigned => (20.0, 6.0),
            Self::Name | Self::Text => (5.0, 5.0),
            Self::Checkbox => (4.0, 4.0),
        }
    }

    /// Width and height in points where none are given.
    pub fn default_size(self) -> (f64, f64) {
        match self {
            Self::Signature => (180.0, 40.0),
            Self::Name | Self::Text => (180.0, 18.0),
            Self::DateSigned => (90.0, 18.0),
            Self::Checkbox => (14.0, 14.0),
        }
    }
}

/// Characters of a value where the field names no limit.
pub const VALUE_CHARS_MAX: usize = 1_000;
/// The greatest limit that a field may name.
pub const MAX_LENGTH_MAX: u32 = 10_000;

/// Characters of a field's key.
pub const FIELD_KEY_CHARS_MAX: usize = 64;

/// A placed field. Unit: points after UserUnit; origin: top left of the page as displayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Unique in its envelope or template; names its value.
    pub key: String,
    /// What it takes.
    pub kind: FieldKind,
    /// The role of the recipient who fills it in.
    pub role: String,
    /// On which document.
    pub document: DocumentId,
    /// On which page, from 1.
    pub page: u32,
    /// Left edge, in points.
    pub x: f64,
    /// Top edge, in points.
    pub y: f64,
    /// Width, in points.
    pub width: f64,
    /// Height, in points.
    pub height: f64,
    /// Whether the recipient has to fill it in.
    pub required: bool,
    /// Whether only the sender may fill it in.
    pub readonly: bool,
    /// Its value unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The most characters of its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
}

impl Field {
    /// Checks a value for this field; the same rule at create and at signing. An empty text is no value.
    pub fn check_value(&self, value: &Value, pointer: &str) -> Result<(), BodyError> {
        let refuse = |code, detail: String| Err(BodyError::new(pointer, code, detail));
        match (self.kind, value) {
            (_, Value::Null) | (FieldKind::Checkbox, Value::Bool(_)) => Ok(()),
            (FieldKind::Checkbox, _) => {
                refuse("wrong_type", format!("The field {} is a checkbox: true or false.", self.key))
            }
            (FieldKind::Signature | FieldKind::DateSigned, _) => {
                refuse("not_settable", format!("The field {} is filled in when its recipient signs.", self.key))
            }
            (FieldKind::Name | FieldKind::Text, Value::String(text)) => {
                let limit = self.max_length.map_or(VALUE_CHARS_MAX, |max| max as usize);
                let length = text.chars().count();
                if length > limit {
                    refuse(
                        "too_long",
                        format!("The field {} takes {limit} characters at most; this has {length}.", self.key),
                    )
                } else if text.chars().any(is_hidden) {
                    refuse(
                        "control_character",
                        format!("The field {} can't hold line breaks or control characters.", self.key),
                    )
                } else {
                    Ok(())
                }
            }
            (FieldKind::Name | FieldKind::Text, _) => {
                refuse("wrong_type", format!("The field {} takes a string.", self.key))
            }
        }
    }

    /// Whether `value` leaves it empty.
    pub fn is_empty(value: Option<&Value>) -> bool {
        match value {
            None | Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::String(text)) => is_blank(text),
            Some(_) => false,
        }
    }
}

/// Whether nothing of a text is seen on paper: white space, and letters without a shape of their own.
pub fn is_blank(text: &str) -> bool {
    let has_no_shape = |c: char| {
        matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
    };
    text.chars().all(|c| c.is_whitespace() || c.is_control() || has_no_shape(c))
}

/// The signature that a recipient made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Signature {
    /// A name typed and shown in a script face.
    Typed {
        /// The name.
        text: String,
    },
    /// Strokes drawn by hand, as points from 0 to 1 within the box.
    Drawn {
        /// Each stroke's points.
        strokes: Vec<Vec<(f64, f64)>>,
        /// Width ÷ height of the pad that it was drawn on.
        aspect: f64,
    },
}

/// Characters of a typed signature.
pub const SIGNATURE_CHARS_MAX: usize = 100;

/// Points of a drawn signature, over all strokes.
pub const SIGNATURE_POINTS_MAX: usize = 20_000;

/// Strokes of a drawn signature.
pub const SIGNATURE_STROKES_MAX: usize = 1_000;

/// The least length of a drawn signature, as a part of the pad's width: less is a dot.
const SIGNATURE_LENGTH_MIN: f64 = 0.1;

impl Signature {
    /// Checks that it is one: not empty, not a dot, within its bounds.
    pub fn check(&self) -> Result<(), BodyError> {
        let refuse = |code, detail: &str| Err(BodyError::new("/signature", code, detail));
        match self {
            Self::Typed { text } if is_blank(text) => refuse("signature_empty", "Type your name to sign."),
            Self::Typed { text } if text.chars().count() > SIGNATURE_CHARS_MAX => {
                refuse("signature_too_long", "The typed signature is too long: 100 characters at most.")
            }
            Self::Typed { text } if text.chars().any(is_hidden) => {
                refuse("control_character", "The typed signature can't hold control characters.")
            }
            Self::Typed { .. } => Ok(()),
            Self::Drawn { strokes, aspect } => {
                let points = || strokes.iter().flatten().flat_map(|(x, y)| [*x, *y]);
                let points_count = strokes.iter().map(Vec::len).sum::<usize>();
                if points_count > SIGNATURE_POINTS_MAX || strokes.len() > SIGNATURE_STROKES_MAX {
                    return refuse(
                        "signature_too_long",
                        "The drawing has too many points: clear it and draw it once more.",
                    );
                }
                if strokes.iter().any(Vec::is_empty)
                    || !points().all(|part| (0.0..=1.0).contains(&part))
                    || !(0.2..=20.0).contains(aspect)
                {
                    return refuse("signature_malformed", "The drawing can't be read: clear it and draw it once more.");
                }
                let length: f64 = strokes
                    .iter()
                    .flat_map(|stroke| stroke.windows(2))
                    .map(|pair| (pair[1].0 - pair[0].0).hypot((pair[1].1 - pair[0].1) / aspect))
                    .sum();
                if length < SIGNATURE_LENGTH_MIN {
                    return refuse("signature_empty", "Draw your signature: a dot is not one.");
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_drawing_or_a_dot_is_no_signature() {
        let drawn = |strokes| Signature::Drawn { strokes, aspect: 3.0 };
        assert!(drawn(vec![vec![(0.1, 0.5), (0.6, 0.4)]]).check().is_ok());
        for strokes in [
            vec![],
            vec![vec![(0.5, 0.5)]],
            vec![vec![(0.5, 0.5), (0.51, 0.5)]],
            vec![vec![(f64::NAN, 0.0), (0.9, 0.9)]],
            vec![vec![], vec![(0.1, 0.5), (0.6, 0.4)]],
            vec![vec![(0.1, 0.5), (0.6, 0.4)]; SIGNATURE_STROKES_MAX + 1],
        ] {
            assert!(drawn(strokes).check().is_err());
        }
        for text in [" ", "\u{200b}", "\u{202e}\u{ad}", "\u{3164}", "\u{2800}\u{a0}"] {
            assert!(Signature::Typed { text: text.into() }.check().is_err(), "{text:?}");
            assert!(Field::is_empty(Some(&Value::String(text.into()))), "{text:?}");
        }
        assert!(Signature::Typed { text: "e\u{301}".into() }.check().is_ok());
    }
}
