//! A recipient in the signing room over HTTP, as a browser without scripts is: forms, a cookie, redirects not followed.

use reqwest::{Method, header, redirect};
use serde_json::Value;

use crate::{Answer, Api, Server};

/// One link in one browser.
pub struct Room {
    client: reqwest::Client,
    url: String,
    /// The link's path, `/sign/…`.
    pub path: String,
    cookie: Option<String>,
}

impl Room {
    /// A browser with this link's path in its address bar. Nothing is sent yet.
    pub fn new(server: &Server, path: &str) -> Room {
        let client = server.client(|builder| builder.redirect(redirect::Policy::none()));
        Room { client, url: server.url.clone(), path: path.to_owned(), cookie: None }
    }

    /// The same browser, led to another node from now on.
    #[must_use]
    pub fn at(self, url: &str) -> Room {
        Room { url: url.to_owned(), ..self }
    }

    /// The room of the newest link that was mailed to this address, opened and consented to.
    pub async fn enter(server: &Server, api: &Api, envelope: &str, email: &str) -> Room {
        let link = api.link(envelope, email).await;
        let mut room = Room::new(server, &link);
        assert_eq!(room.get("").await.status, 200, "the landing page");
        room.open().await;
        room.consent().await;
        room
    }

    async fn send(&self, request: reqwest::RequestBuilder, asked: String) -> Answer {
        let request = match &self.cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        };
        let answer = request.send().await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        Answer { status, headers, body, asked }
    }

    /// GET a page of the link: `""`, `/document`, …
    pub async fn get(&self, to: &str) -> Answer {
        let asked = format!("GET /sign/…{to}");
        self.send(self.client.get(format!("{}{}{to}", self.url, self.path)), asked).await
    }

    /// Posts a form as the page's own.
    pub async fn post(&self, to: &str, pairs: &[(&str, &str)]) -> Answer {
        let request = self
            .client
            .request(Method::POST, format!("{}{}{to}", self.url, self.path))
            .header("sec-fetch-site", "same-origin")
            .header(header::ORIGIN, "null")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form(pairs));
        self.send(request, format!("POST /sign/…{to}")).await
    }

    /// Saves values as the page's script does.
    pub async fn save(&self, body: Value) -> Answer {
        self.save_from(&self.url, body).await
    }

    /// Saves values as a page of this origin.
    pub async fn save_from(&self, origin: &str, body: Value) -> Answer {
        let request = self.client.post(format!("{}{}/values", self.url, self.path));
        let request = request.header(header::ORIGIN, origin).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(body.to_string()), "POST /sign/…/values".to_owned()).await
    }

    /// Presses the button of the landing page.
    pub async fn open(&mut self) {
        let answer = self.post("/open", &[]).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        let cookie = answer.header("set-cookie").split(';').next().unwrap_or_default();
        assert!(cookie.starts_with("__Host-"), "{cookie}");
        self.cookie = Some(cookie.to_owned());
    }

    /// Agrees to the text that is shown.
    pub async fn consent(&self) {
        let page = self.get("/document").await;
        assert_eq!(page.status, 200, "{}", page.text());
        let version = hidden(&page.text(), "version").expect("the consent's version");
        let answer = self.post("/consent", &[("version", &version), ("agree", "yes")]).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
    }

    /// Fills in the values, by field key, types the signature and finishes; the answer is not judged.
    pub async fn finish(&self, signature: &str, values: &[(&str, &str)]) -> Answer {
        let page = self.get("/document").await;
        let version = hidden(&page.text(), "version").unwrap_or_else(|| "0".to_owned());
        let names: Vec<_> = values.iter().map(|(key, value)| (format!("value.{key}"), *value)).collect();
        let mut pairs = vec![("version", version.as_str()), ("signature.kind", "typed"), ("signature.text", signature)];
        pairs.extend(names.iter().map(|(name, value)| (name.as_str(), *value)));
        self.post("/finish", &pairs).await
    }

    /// Signs: everything is filled in, and the page says that it is done.
    pub async fn sign(&self, signature: &str, values: &[(&str, &str)]) {
        let answer = self.finish(signature, values).await;
        assert_eq!((answer.status, answer.header("location").ends_with("/done")), (303, true), "{}", answer.text());
        assert_eq!(self.get("/done").await.status, 200);
    }
}

/// The value of a hidden input.
pub fn hidden(page: &str, name: &str) -> Option<String> {
    let at = page.find(&format!("name=\"{name}\" value=\""))?;
    page[at..].split('"').nth(3).map(str::to_owned)
}

/// A form's body.
pub fn form(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect::<Vec<_>>().join("&")
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
