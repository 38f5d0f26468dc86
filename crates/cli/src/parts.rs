//! What envelopes and templates take from a command line: documents, recipients, fields, values.

use std::{io::Read, path::Path};

use anyhow::{Context, bail};
use api::envelope::{NewField, NewRecipient};
use client::Client;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Bytes of a body that is read from a file at most: the API takes no more.
const BODY_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// A body as the API takes it, from a file or standard input (`-`).
pub fn body<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let mut text = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().take(BODY_BYTES_MAX).read_to_end(&mut text).context("can't read standard input")?;
    } else {
        let open = std::fs::File::open(file).with_context(|| format!("can't read {}", file.display()))?;
        open.take(BODY_BYTES_MAX).read_to_end(&mut text).with_context(|| format!("can't read {}", file.display()))?;
    }
    serde_json::from_slice(&text).with_context(|| format!("{} is not the JSON that the API takes", file.display()))
}

/// The ids of documents: what is an id stays, what is a file is uploaded.
pub async fn documents(client: &Client, given: &[String]) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    for one in given {
        let is_id = one.starts_with("doc_") && !Path::new(one).exists();
        ids.push(if is_id { one.clone() } else { client.upload_document(Path::new(one)).await?.id });
    }
    Ok(ids)
}

/// `Client=Taro Yamada <taro@example.com>`; without a role `Taro Yamada <taro@example.com>`.
pub fn recipient(text: &str) -> Result<NewRecipient, String> {
    let wrong =
        || format!("{text:?}: write a recipient as 'Role=Name <name@example.com>', the role where there is one");
    let (head, email) = text.trim().strip_suffix('>').and_then(|head| head.rsplit_once('<')).ok_or_else(wrong)?;
    let (role, name) = match head.split_once('=') {
        Some((role, name)) => (Some(role.trim().to_owned()), name),
        None => (None, head),
    };
    if name.trim().is_empty() || email.trim().is_empty() || role.as_ref().is_some_and(String::is_empty) {
        return Err(wrong());
    }
    let (name, email) = (name.trim().to_owned(), email.trim().to_owned());
    Ok(NewRecipient { role, name, email, ..NewRecipient::default() })
}

/// A field as the API has it: `{"type":"signature","anchor":{"text":"Signed"}}`.
pub fn field(text: &str) -> Result<NewField, String> {
    serde_json::from_str(text).map_err(|error| format!("not a field as the API takes it: {error}"))
}

/// `key=value`; `true` and `false` are what boxes take.
pub fn pair(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?}: write it as key=value"))?;
    let value = match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => Value::String(text.to_owned()),
    };
    Ok((key.to_owned(), value))
}

/// The pairs as one object; a key may stand once.
pub fn object(pairs: Vec<(String, Value)>) -> anyhow::Result<Map<String, Value>> {
    let mut object = Map::new();
    for (key, value) in pairs {
        if object.contains_key(&key) {
            bail!("{key} is given twice");
        }
        object.insert(key, value);
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_read_with_and_without_a_role() {
        let read = recipient("Client = Taro Yamada <taro@example.com>").expect("a recipient");
        assert_eq!((read.role.as_deref(), read.name.as_str()), (Some("Client"), "Taro Yamada"));
        assert_eq!(read.email, "taro@example.com");
        assert_eq!(recipient("Ada <ada@example.com>").expect("a recipient").role, None);
        for text in ["", "taro@example.com", "Taro <>", "=Taro <a@b>", " <a@b>"] {
            assert!(recipient(text).is_err(), "{text}");
        }
    }

    #[test]
    fn boxes_take_true_and_a_key_stands_once() {
        assert_eq!(pair("agreed=true"), Ok(("agreed".to_owned(), Value::Bool(true))));
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), Value::String("b=c".to_owned()))));
        assert!(pair("a").is_err());
        assert!(object(vec![("a".into(), Value::Null), ("a".into(), Value::Null)]).is_err());
    }
}
