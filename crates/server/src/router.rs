//! Every route on one page: its rule, its handler, and with it its place in the OpenAPI document.
//!
//! To add a route, write its handler in `v1/<noun>.rs`:
//! ```ignore
//! /// Get a key.                                   ← summary and description of the reference
//! #[utoipa::path(get, path = "/v1/keys/{id}", tag = "Keys", params(("id" = String, Path)),
//!     responses((status = 200, body = api::Key)))]
//! pub async fn get(State(app): State<App>, pass: Pass, Path(id): Path<KeyId>) -> Answer<Json<api::Key>> {
//!     Ok(Json(show(app.get_key(&pass, id).await?)))
//! }
//! ```
//! then its line below: `.at(Scope(KeysRead), routes!(v1::key::get))`. A line without a rule does not compile: the gate
//! stands in [`Routes::at`], and there is no other way in. Arguments are this crate's: `Pass`, `Json`, `Query`, `Path`
//! (not axum's), `State<App>`, `State<Shutdown>`; errors are `Refusal` (made by `?` from `Problem` and `Code`). A POST needs
//! nothing for `Idempotency-Key` (see `idempotency.rs`), unless its answer shows a secret or its body is streamed.
//!
//! An unknown path is answered 404 without asking for a key: the routes are no secret, `/openapi.json` lists them.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    middleware,
    routing::{MethodRouter, get, post},
};
use gate::Rule::{self, AnyKey, Public, Scope};
use model::{
    Code, Problem,
    scope::Scope::{
        AssetsRead, AuditRead, BatchesRead, BatchesWrite, DocumentsRead, DocumentsWrite, EnvelopesRead, EnvelopesWrite,
        EventsRead, KeysRead, KeysRotateSelf, KeysWrite, TeamRead, TeamWrite, TemplatesRead, TemplatesWrite,
        TenantRead, TenantWrite,
    },
};
use tower::layer::layer_fn;
use utoipa::openapi::{OpenApi, PathItem, RefOr, extensions::ExtensionsBuilder, security::SecurityRequirement};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

use crate::{
    assets, docs,
    gatekeeper::{Gated, Names},
    health, idempotency, invite,
    problem::{Answer, Refusal},
    request::Arrival,
    sign,
    state::Frame,
    v1,
};

fn all() -> Routes {
    Routes::new()
        // who am I
        .at(AnyKey, routes!(v1::me::get))
        // keys
        .at(Scope(KeysRead), routes!(v1::key::list))
        .at(Scope(KeysWrite), routes!(v1::key::create))
        .at(Scope(KeysRead), routes!(v1::key::get))
        .at(Scope(KeysWrite), routes!(v1::key::update))
        .at(Scope(KeysWrite), routes!(v1::key::activate))
        .at(Scope(KeysRotateSelf), routes!(v1::rotation::rotate))
        .at(Scope(KeysRead), routes!(v1::usage::get))
        .at(Scope(KeysWrite), routes!(v1::revocation::many))
        .at(Scope(KeysWrite), routes!(v1::revocation::revoke))
        .at(Scope(KeysRead), routes!(v1::revocation::receipt))
        .at(Scope(KeysWrite), routes!(v1::revocation::suspend))
        .at(Scope(KeysWrite), routes!(v1::revocation::resume))
        .at(Scope(KeysWrite), routes!(v1::revocation::transfer))
        .at(Scope(KeysWrite), routes!(v1::compromise::compromise))
        .at(Scope(KeysRead), routes!(v1::compromise::get))
        .at(Scope(KeysWrite), routes!(v1::compromise::decide))
        // leaked keys: whoever finds one
        .at(Public, routes!(v1::leak::create))
        // documents
        .at(Scope(DocumentsWrite), routes!(v1::document::create))
        .at(Scope(DocumentsRead), routes!(v1::document::get))
        // envelopes
        .at(Scope(EnvelopesWrite), routes!(v1::envelope::create))
        .at(Scope(EnvelopesRead), routes!(v1::envelope::list))
        .at(Scope(EnvelopesRead), routes!(v1::envelope::get))
        .at(Scope(EnvelopesWrite), routes!(v1::envelope::send))
        .at(Scope(EnvelopesWrite), routes!(v1::envelope::void))
        // assets
        .at(Scope(AssetsRead), routes!(v1::asset::list))
        .at(Scope(AssetsRead), routes!(v1::asset::get))
        // templates
        .at(Scope(TemplatesWrite), routes!(v1::template::create))
        .at(Scope(TemplatesRead), routes!(v1::template::list))
        .at(Scope(TemplatesRead), routes!(v1::template::get))
        .at(Scope(TemplatesRead), routes!(v1::batch::template_header))
        // batches
        .at(Scope(BatchesWrite), routes!(v1::batch::create))
        .at(Scope(BatchesRead), routes!(v1::batch::list))
        .at(Scope(BatchesRead), routes!(v1::batch::get))
        .at(Scope(BatchesWrite), routes!(v1::batch::put_rows))
        .at(Scope(BatchesRead), routes!(v1::batch::rows))
        .at(Scope(BatchesRead), routes!(v1::batch::errors))
        .at(Scope(BatchesWrite), routes!(v1::batch::start))
        .at(Scope(BatchesWrite), routes!(v1::batch::pause))
        .at(Scope(BatchesWrite), routes!(v1::batch::resume))
        .at(Scope(BatchesWrite), routes!(v1::batch::cancel))
        // events
        .at(Scope(EventsRead), routes!(v1::event::list))
        // the capture box of development and staging
        .at(Scope(EnvelopesRead), routes!(v1::mail::list))
        .at(Scope(EnvelopesRead), routes!(v1::mail::get))
        // team
        .at(Scope(TeamRead), routes!(v1::user::list))
        .at(Scope(TeamWrite), routes!(v1::user::invite))
        .at(Scope(TeamRead), routes!(v1::user::get))
        .at(Scope(TeamWrite), routes!(v1::user::update))
        .at(Scope(TeamWrite), routes!(v1::user::invite_again))
        .at(Scope(TenantRead), routes!(v1::tenant::get))
        .at(Scope(TenantWrite), routes!(v1::tenant::update))
        // audit
        .at(Scope(AuditRead), routes!(v1::audit::list))
        // for probes
        .at(Public, routes!(health::healthz))
        .at(Public, routes!(health::readyz))
        // for people
        .page(Public, "/", get(docs::landing))
        .page(Public, "/docs", get(docs::reference))
        .page(Public, "/openapi.json", get(docs::openapi))
        .page(Public, "/problems", get(docs::problems))
        .page(Public, "/problems/{code}", get(docs::problem))
        .page(Public, "/favicon.ico", get(assets::favicon))
        .page(Public, "/assets/{*path}", get(assets::get))
        // invitations: who holds the link is the invited user
        .page(Public, "/invite/{link}", get(invite::show).post(invite::join))
        // the signing room: who holds the link is the recipient
        .page(Public, "/sign/{link}", get(sign::landing))
        .page(Public, "/sign/{link}/open", get(sign::back).post(sign::open))
        .page(Public, "/sign/{link}/document", get(sign::document))
        .page(Public, "/sign/{link}/consent", get(sign::back).post(sign::consent))
        .page(Public, "/sign/{link}/values", post(sign::values))
        .page(Public, "/sign/{link}/finish", get(sign::back).post(sign::finish))
        .page(Public, "/sign/{link}/decline", get(sign::ask_decline).post(sign::decline))
        .page(Public, "/sign/{link}/done", get(sign::done))
        .page(Public, "/sign/{link}/places.css", get(sign::places))
        .page(Public, "/sign/{link}/pages/{document}/{page}", get(sign::picture))
        .page(Public, "/sign/{link}/files/{document}", get(sign::copy))
}

/// The router and the document that describes it.
pub(crate) fn router() -> (Router<Frame>, OpenApi) {
    let routes = all();
    #[cfg(test)]
    let routes = crate::testing::routes(routes);
    let (router, document) = routes.0.split_for_parts();
    (router.fallback(unknown_route).method_not_allowed_fallback(unknown_method), document)
}

/// What no route takes: whoever sent it, the answer is the same.
fn note(request: &Request) {
    let _ = request.extensions().get::<Arc<Arrival>>().map(|arrival| arrival.client_without_key(request));
}

pub(crate) async fn unknown_route(request: Request) -> Answer<()> {
    note(&request);
    Err(Problem::new(Code::RouteNotFound, "No route has this path.").into())
}

pub(crate) async fn unknown_method(request: Request) -> Answer<()> {
    note(&request);
    Err(Refusal(Problem::new(Code::MethodNotAllowed, "The route has other methods: see the header Allow.")))
}

/// Routes, each with its rule.
pub(crate) struct Routes(OpenApiRouter<Frame>);

impl Routes {
    fn new() -> Self {
        Self(OpenApiRouter::with_openapi(docs::document()))
    }

    /// A route of the API, in the OpenAPI document.
    fn at(self, rule: Rule, (schemas, mut paths, methods): UtoipaMethodRouter<Frame>) -> Self {
        let template = paths.paths.keys().next().cloned().unwrap_or_default();
        let mut has_post = false;
        for item in paths.paths.values_mut() {
            describe(rule, &template, item);
            has_post |= item.post.is_some();
        }
        Self(self.0.routes((schemas, paths, gated(rule, &template, has_post, methods))))
    }

    /// A page or file, which the OpenAPI document leaves out.
    pub(crate) fn page(self, rule: Rule, path: &str, methods: MethodRouter<Frame>) -> Self {
        Self(self.0.route(path, gated(rule, path, true, methods)))
    }
}

/// The handlers behind their gate. A method that the route does not have passes by the gate to its 405.
fn gated(rule: Rule, template: &str, has_post: bool, methods: MethodRouter<Frame>) -> MethodRouter<Frame> {
    let names = Names::new(template);
    let methods = match rule {
        Public => methods,
        AnyKey | Scope(_) if has_post => methods.route_layer(middleware::from_fn(idempotency::once)),
        AnyKey | Scope(_) => methods,
    };
    methods.route_layer(layer_fn(move |handler| Gated::new(rule, names, handler)))
}

/// Writes the rule into the operation: security scheme, scope, and the problems that every operation may answer.
fn describe(rule: Rule, template: &str, item: &mut PathItem) {
    let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
    for operation in operations.into_iter().flatten() {
        operation.operation_id = operation.operation_id.take().map(|handler| operation_id(template, &handler));
        let problem = || RefOr::Ref(utoipa::openapi::Ref::from_response_name("Problem"));
        operation.responses.responses.entry("default".to_owned()).or_insert_with(problem);
        let scopes: Vec<String> = match rule {
            Public => {
                operation.security = Some(vec![SecurityRequirement::default()]);
                continue;
            }
            AnyKey => Vec::new(),
            Scope(scope) => vec![scope.to_string()],
        };
        if let Some(scope) = scopes.first() {
            let extension = ExtensionsBuilder::new().add("x-scope", scope.as_str()).build();
            operation.extensions.get_or_insert_default().merge(extension);
        }
        operation.security = Some(vec![SecurityRequirement::new("key", scopes)]);
    }
}

/// The name of an operation among all: its nouns and its handler, as `envelopes_assets_list`.
fn operation_id(template: &str, handler: &str) -> String {
    let nouns = template.split('/').filter(|part| !part.is_empty() && *part != "v1" && !part.starts_with('{'));
    let mut parts: Vec<&str> = nouns.collect();
    if parts.last() != Some(&handler) {
        parts.push(handler);
    }
    parts.join("_").replace('.', "_")
}
