//! Doors for the fuzz targets to what is read inside (`fuzz/`); compiled for them alone.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue};
use model::{EnvScope, Environment, TenantId};
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use crate::{idempotency, json, query, sign, v1};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a fuzz target without a runtime has nothing to do")
});

/// A JSON body, of the type that `which` chooses, into what `app` takes.
pub fn body(which: u8, bytes: &[u8]) {
    let outcome = match which % 10 {
        0 => json::parse(bytes).and_then(v1::parse::envelope).map(drop),
        1 => json::parse(bytes).and_then(v1::parse::template).map(drop),
        2 => json::parse(bytes).and_then(v1::batch::parse).map(drop),
        3 => only::<api::key::NewKey>(bytes),
        4 => only::<api::key::RevokeKey>(bytes),
        5 => only::<api::envelope::VoidEnvelope>(bytes),
        6 => only::<api::admin::AddTenant>(bytes),
        7 => only::<api::admin::CreateKey>(bytes),
        8 => only::<api::admin::AddUser>(bytes),
        _ => only::<serde_json::Value>(bytes),
    };
    if let Err(problem) = outcome {
        assert!(problem.code.status() < 500, "a body is refused, and is no fault: {problem:?}");
    }
}

fn only<T: DeserializeOwned>(bytes: &[u8]) -> Result<(), model::Problem> {
    json::parse::<T>(bytes).map(drop)
}

/// A cursor, a list of event types, a range, an `Idempotency-Key` and a content type, all of the same text.
pub fn query(text: &str) {
    let tenant: TenantId = "ten_01j0000000e008000000000001".parse().expect("an id");
    let scope = EnvScope { tenant, environment: Environment::Development };
    let _ = query::position::<i64>(scope, "events", Some(text));
    let cursor = query::cursor(scope, "events", text);
    let read = query::position::<String>(scope, "events", Some(&cursor));
    assert!(read.is_err() || read == Ok(Some(text.to_owned())), "{read:?}");
    let _ = v1::event::types(text);
    for size in [0, 1, 1_000] {
        if let v1::asset::Part::Of(range) = v1::asset::part(text, size) {
            assert!(range.start < range.end && range.end <= size, "{text}: {range:?} of {size}");
        }
    }
    if let Ok(value) = HeaderValue::from_str(text) {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", value.clone());
        headers.insert(http::header::CONTENT_TYPE, value);
        let _ = (idempotency::named(&headers), json::is_json(&headers), app::rows::Format::of(text));
    }
    assert!(HeaderValue::try_from(v1::asset::disposition(text)).is_ok(), "a file's name is a header's value: {text:?}");
}

/// What the signing room reads: the link in the path, the cookie, the form.
pub fn room(link: &[u8], cookie: &[u8], form: &[u8]) {
    RUNTIME.block_on(sign::read(link, cookie, form));
}
