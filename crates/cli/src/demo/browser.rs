//! A recipient's browser, as far as the signing room needs one: pages, pictures, forms, a cookie. No scripts.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION, ORIGIN, SET_COOKIE, USER_AGENT},
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// As a browser names itself; it stands in the certificate of completion.
const NAME: &str = concat!("Mozilla/5.0 (compatible; IUSign demo ", env!("CARGO_PKG_VERSION"), ")");
/// How long a page may take.
const PAGE_MS_MAX: u64 = 60_000;
/// Redirects that are followed from one page to the next.
const REDIRECTS_MAX: usize = 5;

/// A browser with its cookies.
pub struct Browser {
    http: reqwest::Client,
    cookies: Vec<(String, String)>,
}

/// A page: where it is, and its HTML.
pub struct Page {
    /// Where the browser ended.
    pub url: Url,
    /// What it shows.
    pub html: String,
}

/// A form: where it goes, and what it would send as it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// Where.
    pub action: String,
    /// Its inputs.
    pub inputs: Vec<Input>,
}

/// An input of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// `hidden`, `text`, `checkbox` and so on.
    pub kind: String,
    /// Its value.
    pub value: String,
}

impl Browser {
    /// A new browser without cookies that trusts this CA.
    pub fn new(ca_pem: &[u8]) -> anyhow::Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(ca_pem)?)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_millis(PAGE_MS_MAX));
        Ok(Self { http: builder.build()?, cookies: Vec::new() })
    }

    /// Opens a page.
    pub async fn open(&mut self, url: Url) -> anyhow::Result<Page> {
        self.follow(Method::GET, url, None).await
    }

    /// Sends a form from `page`.
    pub async fn send(&mut self, page: &Page, action: &str, pairs: &[(String, String)]) -> anyhow::Result<Page> {
        let url = page.url.join(action).context("a form leads nowhere")?;
        self.follow(Method::POST, url, Some(urlencoded(pairs))).await
    }

    /// Fetches a picture of `page`; its bytes.
    pub async fn picture(&mut self, page: &Page, source: &str) -> anyhow::Result<usize> {
        let response = self.once(Method::GET, page.url.join(source)?, None).await?;
        let (status, bytes) = (response.status(), response.bytes().await?);
        if status != StatusCode::OK || !bytes.starts_with(b"\x89PNG") {
            bail!("a page's picture was answered {status}");
        }
        Ok(bytes.len())
    }

    async fn follow(&mut self, method: Method, url: Url, body: Option<String>) -> anyhow::Result<Page> {
        let mut next = (method, url, body);
        for _ in 0..=REDIRECTS_MAX {
            let (method, url, body) = next;
            let response = self.once(method, url.clone(), body).await?;
            self.remember(response.headers());
            let status = response.status();
            if status == StatusCode::SEE_OTHER {
                let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
                next = (Method::GET, url.join(to).context("a redirect leads nowhere")?, None);
                continue;
            }
            let html = response.text().await.context("a page broke off")?;
            if !status.is_success() {
                bail!("the signing room answered {status}: {}", heading(&html));
            }
            return Ok(Page { url, html });
        }
        bail!("the signing room redirects without end")
    }

    async fn once(&self, method: Method, url: Url, body: Option<String>) -> anyhow::Result<Response> {
        let own = url.origin().ascii_serialization();
        let mut request = self.http.request(method, url).header(USER_AGENT, NAME).header(SEC_FETCH_SITE, "same-origin");
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mut value = HeaderValue::from_str(&pairs.join("; "))?;
            value.set_sensitive(true);
            request = request.header(COOKIE, value);
        }
        if let Some(body) = body {
            request = request.header(ORIGIN, own).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        }
        // The URL holds the link, which is a credential: no error repeats it.
        request.send().await.map_err(|error| error.without_url()).context("the signing room gave no answer")
    }

    fn remember(&mut self, headers: &HeaderMap) {
        let cookies = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        for (name, value) in cookies.filter_map(|text| text.split(';').next()?.split_once('=')) {
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
}

impl Page {
    /// The form whose action ends so.
    pub fn form(&self, ending: &str) -> anyhow::Result<Form> {
        let found = forms(&self.html).into_iter().find(|form| form.action.ends_with(ending));
        found.with_context(|| format!("the page \"{}\" has no form {ending}", heading(&self.html)))
    }

    /// Where its pictures are.
    pub fn pictures(&self) -> Vec<String> {
        tags(&self.html).filter(|(name, _)| *name == "img").filter_map(|(_, text)| attribute(text, "src")).collect()
    }
}

/// The forms of a page with their inputs.
fn forms(html: &str) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let mut is_open = false;
    for (name, text) in tags(html) {
        match name {
            "form" => {
                is_open = attribute(text, "action").is_some();
                forms.extend(attribute(text, "action").map(|action| Form { action, inputs: Vec::new() }));
            }
            "/form" => is_open = false,
            "input" if is_open => {
                let value = |name| attribute(text, name).unwrap_or_default();
                let input = Input { name: value("name"), kind: value("type"), value: value("value") };
                if let Some(form) = forms.last_mut().filter(|_| !input.name.is_empty()) {
                    form.inputs.push(input);
                }
            }
            _ => {}
        }
    }
    forms
}

/// The tags of a page: name and attributes. Our own pages write `>` only at a tag's end.
fn tags(html: &str) -> impl Iterator<Item = (&str, &str)> {
    html.split('<').skip(1).filter_map(|rest| {
        let (tag, _) = rest.split_once('>')?;
        Some(tag.split_once(char::is_whitespace).unwrap_or((tag, "")))
    })
}

fn attribute(text: &str, name: &str) -> Option<String> {
    let begin = text.find(&format!("{name}=\"")).filter(|at| *at == 0 || text[..*at].ends_with(char::is_whitespace))?;
    let (value, _) = text[begin + name.len() + 2..].split_once('"')?;
    Some(unescaped(value))
}

/// The references that our templates write.
fn unescaped(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&#x27;", "'")];
    let text = named.iter().fold(text.to_owned(), |text, (name, plain)| text.replace(name, plain));
    text.replace("&#60;", "<").replace("&#62;", ">").replace("&#38;", "&").replace("&amp;", "&")
}

/// What a page says it is.
fn heading(html: &str) -> String {
    let text = html.split_once("<h1").and_then(|(_, rest)| rest.split_once('>')?.1.split('<').next());
    unescaped(text.unwrap_or("no heading")).trim().to_owned()
}

/// The pairs as a form sends them.
fn urlencoded(pairs: &[(String, String)]) -> String {
    let Ok(mut url) = Url::parse("form:") else { return String::new() };
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_with_its_values() {
        let html = r#"<main><form method="post" action="/sign/x/finish" id="room">
            <input type="hidden" name="version" value="3"><label><input class="check" type="checkbox" name="value.ok" value="true"> ok</label>
            <input type="text" id="a" name="value.company" value="Brandt &amp; S&#39;s"><button>Go</button></form>
            <form method="dialog"><input name="no" value="1"></form><img src="/a.png?w=1"></main>"#;
        let form = &forms(html)[0];
        assert_eq!(form.action, "/sign/x/finish");
        let values: Vec<_> = form.inputs.iter().map(|input| (input.name.as_str(), input.value.as_str())).collect();
        assert_eq!(values, [("version", "3"), ("value.ok", "true"), ("value.company", "Brandt & S's")]);
        assert_eq!(forms(html).len(), 1);
        let page = Page { url: Url::parse("https://localhost/").expect("a URL"), html: html.to_owned() };
        assert_eq!(page.pictures(), ["/a.png?w=1"]);
    }

    #[test]
    fn a_form_is_sent_as_browsers_send_it() {
        let pairs = [("a b".to_owned(), "c&d=é".to_owned())];
        assert_eq!(urlencoded(&pairs), "a+b=c%26d%3D%C3%A9");
    }
}
