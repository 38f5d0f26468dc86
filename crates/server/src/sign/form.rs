//! What the signing room's forms send, read into what `app` takes. Nothing here decides.

use app::room::Finish;
use axum::{
    Form,
    body::Body,
    extract::{FromRequest, Request},
};
use http::{HeaderMap, header};
use model::{
    BodyError, Code, Problem,
    field::{FieldKind, Signature},
};
use serde_json::{Map, Value};

use crate::body;

/// A drawn signature is the largest thing in a form: 8,000 points of about 20 bytes, escaped.
const FORM_BYTES_MAX: u64 = 1024 * 1024;
/// Characters of a page's or a value's version number.
const VERSION_CHARS_MAX: usize = 19;

/// The pairs of a form, as they came.
#[derive(Default)]
pub(crate) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Reads an urlencoded body to its end.
    pub(crate) async fn read(headers: &HeaderMap, incoming: Body) -> Result<Self, Problem> {
        let bytes = body::read(headers, incoming, FORM_BYTES_MAX).await?;
        let mut request = Request::new(Body::from(bytes));
        *request.method_mut() = http::Method::POST;
        if let Some(kind) = headers.get(header::CONTENT_TYPE) {
            request.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
        }
        match Form::<Vec<(String, String)>>::from_request(request, &()).await {
            Ok(Form(pairs)) => Ok(Self(pairs)),
            Err(cause) => {
                Err(Problem::new(Code::UnsupportedMediaType, "This form takes `application/x-www-form-urlencoded`.")
                    .caused_by(cause))
            }
        }
    }

    /// The first value of `name`; empty where there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The version that the page had; one that can't be is outdated.
    pub(super) fn version(&self) -> i64 {
        let text = self.get("version");
        if text.len() > VERSION_CHARS_MAX { -1 } else { text.parse().unwrap_or(-1) }
    }

    /// Whether the box of that name is ticked: our page sends `true`, others send `on`. Nothing else agrees to anything.
    pub(super) fn is_ticked(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "on")
    }

    /// What "finish" asks for. `fields` are the recipient's own that are open to it: a box that is not ticked sends nothing.
    pub(super) fn finish<'a>(&self, fields: impl Iterator<Item = (&'a str, FieldKind)>) -> Result<Finish, Problem> {
        let mut values = Map::new();
        for (key, kind) in fields {
            let name = format!("value.{key}");
            let value = match kind {
                FieldKind::Checkbox => Value::Bool(self.is_ticked(&name)),
                FieldKind::Name | FieldKind::Text => Value::String(self.get(&name).trim().to_owned()),
                FieldKind::Signature | FieldKind::DateSigned => continue,
            };
            values.insert(key.to_owned(), value);
        }
        Ok(Finish {
            version: self.version(),
            shown: self.get("shown").to_owned(),
            values,
            signature: self.signature()?,
        })
    }

    fn signature(&self) -> Result<Option<Signature>, Problem> {
        let malformed = |detail: &str| Problem::body(vec![BodyError::new("/signature", "signature_malformed", detail)]);
        match self.get("signature.kind") {
            "drawn" => {
                let unreadable = |_| malformed("The drawing can't be read: clear it and draw it once more.");
                let strokes = serde_json::from_str(self.get("signature.strokes")).map_err(unreadable)?;
                let aspect = self.get("signature.aspect").parse().unwrap_or(f64::NAN);
                Ok(Some(Signature::Drawn { strokes, aspect }))
            }
            // A form without a signature field has no kind.
            "typed" | "" => {
                let text = self.get("signature.text").trim();
                Ok((!text.is_empty()).then(|| Signature::Typed { text: text.to_owned() }))
            }
            _ => Err(malformed("A signature is typed or drawn: reload the page and sign once more.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(given: &[(&str, &str)]) -> Pairs {
        Pairs(given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_box_that_is_not_ticked_is_false_and_unknown_names_are_left_out() {
        let form =
            pairs(&[("version", "3"), ("value.company", " Kite "), ("value.other", "x"), ("signature.text", " ")]);
        let fields = [("company", FieldKind::Text), ("annex", FieldKind::Checkbox), ("sig", FieldKind::Signature)];
        let finish = form.finish(fields.into_iter()).expect("a form");
        assert_eq!(finish.version, 3);
        assert_eq!(Value::Object(finish.values), serde_json::json!({ "company": "Kite", "annex": false }));
        assert_eq!(finish.signature, None);
    }

    #[test]
    fn a_drawing_is_read_and_what_is_none_is_refused() {
        let drawn =
            |strokes| pairs(&[("signature.kind", "drawn"), ("signature.strokes", strokes), ("signature.aspect", "3")]);
        let read = drawn("[[[0.1,0.2],[0.5,0.6]]]").signature().expect("strokes");
        assert_eq!(read, Some(Signature::Drawn { strokes: vec![vec![(0.1, 0.2), (0.5, 0.6)]], aspect: 3.0 }));
        for strokes in ["", "[[1]]", "{}", "[[[1e999,0]]]"] {
            assert!(drawn(strokes).signature().is_err(), "{strokes}");
        }
    }

    #[test]
    fn a_kind_of_signature_that_nobody_knows_is_refused() {
        let signed = |kind| pairs(&[("signature.kind", kind), ("signature.text", "Taro")]).signature();
        let typed = Some(Signature::Typed { text: "Taro".to_owned() });
        assert_eq!([signed("typed"), signed("")].map(|read| read.expect("typed")), [typed.clone(), typed]);
        for kind in ["Typed", "stamp", "drawn "] {
            assert_eq!(signed(kind).expect_err(kind).errors[0].code, "signature_malformed");
        }
    }
}
