//! A recipient of the demo: finds the mail, follows its link, agrees, fills in, signs. As a person with a browser would.

use std::f64::consts::TAU;

use anyhow::{Context, bail};
use client::Client;
use reqwest::Url;
use serde_json::json;

use super::browser::{Browser, Input, Page};

/// How a recipient signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// Types the name.
    Typed,
    /// Draws.
    Drawn,
}

/// The signing link from the newest invitation to `recipient` of `envelope`.
pub async fn link(client: &Client, envelope: &str, recipient: &str) -> anyhow::Result<Url> {
    let mails = client.list_mails(&[("envelope", envelope)]).await?.data;
    let is_invitation = |mail: &&api::mail::Mail| mail.recipient_id == recipient && mail.purpose == "invite";
    let mail = mails.iter().rev().find(is_invitation).context("there is no invitation in the capture box")?;
    let text = client.get_mail(&mail.id).await?.text;
    let is_link = |word: &&str| word.starts_with("https://") && word.contains("/sign/");
    let word = text.split_whitespace().find(is_link).context("the invitation holds no link")?;
    word.parse().context("the invitation's link is none")
}

/// Signs as `name`. Every page is opened, and every picture of the document loaded.
pub async fn sign(ca_pem: &[u8], link: Url, name: &str, hand: Hand) -> anyhow::Result<()> {
    let mut browser = Browser::new(ca_pem)?;
    let landing = browser.open(link).await.context("the landing page")?;
    let open = landing.form("/open")?;
    let consent = browser.send(&landing, &open.action, &[]).await.context("opening")?;
    let form = consent.form("/consent")?;
    let agreed = form.inputs.iter().map(|input| (input.name.clone(), input.value.clone())).collect::<Vec<_>>();
    let document = browser.send(&consent, &form.action, &agreed).await.context("agreeing")?;
    for source in document.pictures() {
        browser.picture(&document, &source).await?;
    }
    let form = document.form("/finish")?;
    let filled: Vec<_> = form.inputs.iter().map(|input| fill(input, name, hand)).collect();
    let done = browser.send(&document, &form.action, &filled).await.context("finishing")?;
    is_done(&done)
}

fn is_done(page: &Page) -> anyhow::Result<()> {
    if page.url.path().ends_with("/done") {
        return Ok(());
    }
    bail!("the signing room did not take the signature")
}

/// What a person enters: the own name, ticks, a signature; what the sender filled in stays.
fn fill(input: &Input, name: &str, hand: Hand) -> (String, String) {
    let value = match (input.name.as_str(), hand) {
        ("signature.kind", Hand::Typed) => "typed".to_owned(),
        ("signature.kind", Hand::Drawn) => "drawn".to_owned(),
        ("signature.strokes", Hand::Drawn) => strokes(),
        ("signature.aspect", Hand::Drawn) => "3".to_owned(),
        ("signature.text", Hand::Typed) => name.to_owned(),
        (field, _) if field.starts_with("value.") && input.kind == "text" && input.value.is_empty() => name.to_owned(),
        _ => input.value.clone(),
    };
    (input.name.clone(), value)
}

/// A flourish, as a finger draws it on a pad three times as wide as high.
fn strokes() -> String {
    let points = |from: f64, to: f64, waves: f64, height: f64| {
        (0_u32..=60)
            .map(|step| {
                let part = f64::from(step) / 60.0;
                let x = from + (to - from) * part + 0.03 * (part * waves * TAU).cos();
                let y = 0.5 + height * (part * waves * TAU).sin() * (1.0 - 0.6 * part);
                json!([(x * 1e4).round() / 1e4, (y * 1e4).round() / 1e4])
            })
            .collect::<Vec<_>>()
    };
    json!([points(0.08, 0.72, 4.0, 0.32), points(0.15, 0.92, 0.5, 0.22)]).to_string()
}
