//! What the server says about itself: its OpenAPI document, a reference made from it, a page for every problem, a landing.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::header;
use model::{Code, Problem};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder, Server,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    tag::TagBuilder,
};

use crate::{
    html, json,
    problem::{Answer, Refusal, page_url},
    query::Path,
    reference,
    state::Frame,
};

/// What is rendered once, when the server starts.
pub(crate) struct Pages {
    pub(crate) openapi: Bytes,
    reference: String,
    curl: &'static str,
}

impl Pages {
    /// `curl`: the command with what it needs to trust the server.
    pub(crate) fn new(mut document: OpenApi, public_url: &str, curl: &'static str) -> Self {
        document.servers = Some(vec![Server::new(public_url)]);
        let value = serde_json::to_value(&document).unwrap_or_default();
        Self { openapi: json::bytes(&document), reference: reference::render(&value, public_url, curl), curl }
    }
}

/// The parts of the API in the order in which one reads them; `tag` of a handler.
const TAGS: [(&str, &str); 12] = [
    ("Who am I", "The calling key, its rights, and the address that the server sees."),
    ("Keys", "Secret keys: generated once, shown once, revoked at once."),
    ("Documents", "PDFs that are to be signed."),
    ("Templates", "Envelopes with roles in place of recipients."),
    ("Envelopes", "Documents, recipients and fields, sent for signature."),
    ("Batches", "Many envelopes from a template and a file of rows."),
    ("Events", "What happened, in order."),
    ("Assets", "The sealed results."),
    ("Mail", "What was captured in place of being sent, in development and staging."),
    ("Team", "The tenant and its people: tier, policies, allowlist, users and their roles."),
    ("Audit", "Who did what."),
    ("Server", "For probes."),
];

/// The document before any route: what is common to all.
pub(crate) fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("IUSign")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Envelopes by the thousand, driven by programs. Send the secret key as `Authorization: Bearer iusk_…`, over \
             TLS 1.3. Lists page by cursor: give `next` as `after`. Every POST takes an `Idempotency-Key`, kept for 24 \
             hours. Every answer has a `Request-Id`. Refusals are problems (RFC 9457) that say what to do.",
        ))
        .build();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("iusk_…")
        .description(Some("A secret key. Its scopes decide what it may do; each operation names the one it needs."))
        .build();
    let problem = ResponseBuilder::new()
        .description("A refusal or a fault, and what to do now.")
        .content(api::problem::PROBLEM_MEDIA_TYPE, Content::new(Some(Ref::from_schema_name("Problem"))))
        .build();
    let components = ComponentsBuilder::new()
        .security_scheme("key", SecurityScheme::Http(bearer))
        .schema_from::<api::Problem>()
        .schema_from::<api::problem::BodyError>()
        .response("Problem", problem)
        .build();
    let tags = TAGS.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    OpenApiBuilder::new().info(info).tags(Some(tags)).components(Some(components)).build()
}

/// `/openapi.json`.
pub(crate) async fn openapi(State(frame): State<Frame>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    (headers, frame.pages.openapi.clone()).into_response()
}

/// `/docs`.
pub(crate) async fn reference(State(frame): State<Frame>) -> Response {
    html::answer(frame.pages.reference.clone())
}

/// `/`.
pub(crate) async fn landing(State(frame): State<Frame>) -> Response {
    let url = html::escape(&frame.public_url);
    let body = format!(
        "{}<main class=\"sheet-page\"><h1>IUSign runs here</h1>\
         <p class=\"lead\">A self-hosted platform for electronic signatures, driven by programs. Signers come by the link in \
         their mail; programs come with a secret key.</p>\
         <h2>Is the key good?</h2>\
         <pre tabindex=\"0\">{} {url}/v1/me \\\n  -H \"Authorization: Bearer $IUSIGN_API_KEY\"</pre>\
         <h2>Go on</h2>\
         <ul class=\"go\"><li><a href=\"/docs\">API reference</a><span>every route, with what it takes and answers</span></li>\
         <li><a href=\"/openapi.json\">openapi.json</a><span>the same for programs, OpenAPI 3.1</span></li>\
         <li><a href=\"/problems\">Problems</a><span>every refusal, and what to do about it</span></li></ul>\
         <p class=\"small\">Version {}</p></main>",
        html::bar("/"),
        frame.pages.curl,
        env!("CARGO_PKG_VERSION")
    );
    html::answer(html::page("Signatures for programs", "", &body))
}

/// `/problems`.
pub(crate) async fn problems() -> Response {
    let rows: String = Code::ALL
        .iter()
        .map(|code| {
            format!(
                "<tr><td><a href=\"/problems/{code}\"><code>{code}</code></a></td><td class=\"num\">{}</td><td>{}</td></tr>",
                code.status(),
                html::inline(code.title())
            )
        })
        .collect();
    let body = format!(
        "{}<main class=\"sheet-page\"><h1>Problems</h1><p class=\"lead\">Every refusal has a code for programs and says what \
         to do now. Look at <code>code</code>, not at the words.</p><div class=\"tablebox\"><table><thead><tr>\
         <th scope=\"col\">Code</th><th scope=\"col\">Status</th><th scope=\"col\">What happened</th></tr></thead>\
         <tbody>{rows}</tbody></table></div></main>",
        html::bar("/problems")
    );
    html::answer(html::page("Problems", "", &body))
}

/// `/problems/{code}`.
pub(crate) async fn problem(State(frame): State<Frame>, Path(name): Path<String>) -> Answer<Response> {
    let code = Code::ALL.iter().copied().find(|code| code.as_str() == name);
    let code = code.ok_or_else(|| Refusal(Problem::new(Code::NotFound, "There is no problem with this code.")))?;
    let example = api::Problem {
        kind: page_url(&frame.public_url, code),
        title: code.title().to_owned(),
        status: code.status(),
        detail: "…".to_owned(),
        code: code.to_string(),
        resolution: code.resolution().to_owned(),
        request_id: "req_…".to_owned(),
        errors: Vec::new(),
        members: serde_json::Map::new(),
    };
    let example = serde_json::to_string_pretty(&example).unwrap_or_default();
    let body = format!(
        "{}<main class=\"sheet-page\"><p class=\"crumb\"><a href=\"/problems\">Problems</a></p>\
         <h1>{}</h1><p class=\"tags\"><code>{code}</code><span>HTTP {}</span></p>\
         <h2>What to do now</h2><p class=\"lead\">{}</p>\
         <h2>How it looks</h2><pre tabindex=\"0\">{}</pre>\
         <p class=\"small\">Each answer's <code>detail</code> says more about the one occurrence. Its <code>request_id</code> \
         lets the operator find it in the log.</p></main>",
        html::bar("/problems"),
        html::inline(code.title()),
        code.status(),
        html::inline(code.resolution()),
        html::escape(&example)
    );
    Ok(html::answer(html::page(code.title(), "", &body)))
}
