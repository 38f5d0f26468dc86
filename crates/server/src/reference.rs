//! The API reference as one page, made from the OpenAPI document: it reads without scripts and without the internet.

use serde_json::{Value, json};

use crate::html::{self, escape, inline, prose};

/// How deep an example follows schemas that name themselves.
const EXAMPLE_DEPTH_MAX: usize = 5;
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// One operation where it stands.
struct Operation<'a> {
    method: &'static str,
    path: &'a str,
    value: &'a Value,
}

/// Renders the document.
pub(crate) fn render(document: &Value, public_url: &str, curl: &str) -> String {
    let groups = by_tag(document);
    let nav: String = groups.iter().map(|(tag, operations)| nav_group(tag, operations)).collect();
    let parts: String = groups
        .iter()
        .map(|(tag, operations)| {
            let operations: String =
                operations.iter().map(|operation| operation.section(document, public_url, curl)).collect();
            format!("<section class=\"group\"><h2 class=\"tag\">{}</h2>{operations}</section>", escape(tag))
        })
        .collect();
    let body = format!(
        "{}<div class=\"ref\"><nav class=\"toc\" aria-label=\"Operations\">{nav}<p class=\"part\"><a href=\"#schemas\">Types</a></p>\
         </nav><main><h1>API reference</h1><div class=\"lead\">{}</div>{parts}{}</main></div>",
        html::bar("/docs"),
        prose(text(document, "/info/description")),
        schemas(document)
    );
    html::page("API reference", "wide", &body)
}

/// The document's tags in its order with their operations; tags that it does not name come last.
fn by_tag(document: &Value) -> Vec<(&str, Vec<Operation<'_>>)> {
    let mut groups: Vec<(&str, Vec<Operation<'_>>)> =
        array(document, "/tags").iter().map(|tag| (text(tag, "/name"), Vec::new())).collect();
    for (path, item) in object(document, "/paths") {
        for method in METHODS {
            let Some(value) = item.get(method) else { continue };
            let tag = value.pointer("/tags/0").and_then(Value::as_str).unwrap_or("Other");
            let operation = Operation { method, path, value };
            match groups.iter_mut().find(|(name, _)| *name == tag) {
                Some((_, operations)) => operations.push(operation),
                None => groups.push((tag, vec![operation])),
            }
        }
    }
    groups.retain(|(_, operations)| !operations.is_empty());
    groups
}

fn nav_group(tag: &str, operations: &[Operation<'_>]) -> String {
    let items: String = operations
        .iter()
        .map(|operation| {
            let (id, title) = (operation.id(), inline(operation.title()));
            format!("<li><a href=\"#{id}\"><span class=\"verb {m}\">{m}</span>{title}</a></li>", m = operation.method)
        })
        .collect();
    format!("<p class=\"part\">{}</p><ul>{items}</ul>", escape(tag))
}

impl Operation<'_> {
    fn id(&self) -> String {
        let path = self.path.trim_start_matches('/').replace(['/', '{', '}', '.'], "-");
        escape(&format!("{}-{path}", self.method))
    }

    fn title(&self) -> &str {
        let summary = text(self.value, "/summary");
        if summary.is_empty() { self.path } else { summary.trim_end_matches('.') }
    }

    fn section(&self, document: &Value, public_url: &str, curl: &str) -> String {
        let description = text(self.value, "/description").trim();
        let description = description.strip_prefix(text(self.value, "/summary")).unwrap_or(description);
        format!(
            "<section class=\"op\" id=\"{}\"><h3>{}</h3><p class=\"line\"><span class=\"verb {m}\">{m}</span>\
             <code class=\"path\">{}</code>{}</p>{}{}{}{}{}</section>",
            self.id(),
            inline(self.title()),
            escape(self.path),
            self.rule(),
            prose(description),
            self.parameters(),
            self.body(document),
            self.responses(document),
            self.example(document, public_url, curl),
            m = self.method,
        )
    }

    fn rule(&self) -> String {
        match (text(self.value, "/x-scope"), self.value.pointer("/security/0/key")) {
            ("", Some(_)) => "<span class=\"chip\">any key</span>".to_owned(),
            ("", None) => "<span class=\"chip\">no key</span>".to_owned(),
            (scope, _) => format!("<span class=\"chip\">scope <code>{}</code></span>", escape(scope)),
        }
    }

    fn parameters(&self) -> String {
        let rows: String = array(self.value, "/parameters")
            .iter()
            .map(|parameter| {
                let required = parameter.get("required").and_then(Value::as_bool).unwrap_or(false);
                let schema = parameter.get("schema").unwrap_or(&Value::Null);
                let place = format!("{}, {}", type_of(schema), escape(text(parameter, "/in")));
                row(text(parameter, "/name"), &place, required, text(parameter, "/description"))
            })
            .collect();
        if rows.is_empty() { rows } else { format!("<h4>Parameters</h4><dl class=\"fields\">{rows}</dl>") }
    }

    fn body(&self, document: &Value) -> String {
        let bodies: String = object(self.value, "/requestBody/content")
            .map(|(media, content)| {
                format!(
                    "<h4>Body <code>{}</code></h4>{}",
                    escape(media),
                    fields(document, content.get("schema").unwrap_or(&Value::Null))
                )
            })
            .collect();
        bodies
    }

    fn responses(&self, document: &Value) -> String {
        let rows: String = object(self.value, "/responses")
            .map(|(status, response)| {
                let response = resolve(document, response);
                let types: Vec<String> = object(response, "/content")
                    .map(|(media, content)| {
                        let schema = content.get("schema").unwrap_or(&Value::Null);
                        format!("{} <code>{}</code>", type_of(schema), escape(media))
                    })
                    .collect();
                let status = if status == "default" { "4xx, 5xx" } else { status };
                row(status, &types.join(", "), false, text(response, "/description"))
            })
            .collect();
        format!("<h4>Answers</h4><dl class=\"fields\">{rows}</dl>")
    }

    fn example(&self, document: &Value, public_url: &str, curl: &str) -> String {
        let method = if self.method == "get" { String::new() } else { format!(" -X {}", self.method.to_uppercase()) };
        let mut command = format!("{curl}{method} {public_url}{}", self.path);
        if self.value.pointer("/security/0/key").is_some() {
            command.push_str(" \\\n  -H \"Authorization: Bearer $IUSIGN_API_KEY\"");
        }
        for (media, content) in object(self.value, "/requestBody/content").take(1) {
            command.push_str(&format!(" \\\n  -H \"Content-Type: {media}\""));
            if media == "application/json" {
                let sample = sample(document, content.get("schema").unwrap_or(&Value::Null), 0);
                let sample = serde_json::to_string_pretty(&sample).unwrap_or_default().replace('\'', "'\\''");
                command.push_str(&format!(" \\\n  -d '{sample}'"));
            } else {
                command.push_str(" \\\n  --data-binary @file");
            }
        }
        format!("<pre tabindex=\"0\">{}</pre>", escape(&command))
    }
}

fn row(name: &str, kind: &str, required: bool, description: &str) -> String {
    let required = if required { "<em>required</em>" } else { "" };
    format!(
        "<div><dt><code>{}</code><span>{kind}</span>{required}</dt><dd>{}</dd></div>",
        escape(name),
        inline(&description.replace('\n', " "))
    )
}

fn schemas(document: &Value) -> String {
    let all: String = object(document, "/components/schemas")
        .map(|(name, schema)| {
            let name = escape(name);
            format!(
                "<section class=\"op\" id=\"type-{name}\"><h3><code>{name}</code></h3>{}{}</section>",
                prose(text(schema, "/description")),
                fields(document, schema)
            )
        })
        .collect();
    format!("<section class=\"group\" id=\"schemas\"><h2 class=\"tag\">Types</h2>{all}</section>")
}

/// The fields of an object, the variants of an enum, or the type's name.
fn fields(document: &Value, schema: &Value) -> String {
    let link = if schema.get("$ref").is_some() { format!("<p>{}</p>", type_of(schema)) } else { String::new() };
    let schema = resolve(document, schema);
    let parts = ["allOf", "oneOf", "anyOf"].iter().find_map(|key| schema.get(key)).and_then(Value::as_array);
    if let Some(parts) = parts {
        let word = if schema.get("allOf").is_some() { "" } else { "<p class=\"small\">one of</p>" };
        return parts.iter().map(|part| fields(document, part)).fold(link + word, |all, part| all + &part);
    }
    let required: Vec<&str> = array(schema, "/required").iter().filter_map(Value::as_str).collect();
    let rows: String = object(schema, "/properties")
        .map(|(name, property)| {
            let described = text(property, "/description");
            let described =
                if described.is_empty() { text(resolve(document, property), "/description") } else { described };
            row(name, &type_of(property), required.contains(&name.as_str()), described)
        })
        .collect();
    if rows.is_empty() {
        format!("<p>{}</p>", type_of(schema))
    } else {
        format!("{link}<dl class=\"fields\">{rows}</dl>")
    }
}

/// A type in a few words, with links to the types it names.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|place| place.rsplit('/').next()) {
        let name = escape(name);
        return format!("<a href=\"#type-{name}\">{name}</a>");
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<String> =
            values.iter().map(|value| format!("<code>{}</code>", escape(&plain(value)))).collect();
        return values.join(" | ");
    }
    if let Some(parts) = ["oneOf", "anyOf", "allOf"].iter().find_map(|key| schema.get(key)).and_then(Value::as_array) {
        let parts: Vec<String> = parts.iter().map(type_of).filter(|part| part != "null").collect();
        return parts.join(" | ");
    }
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        Some(Value::String(name)) => vec![name],
        _ => vec!["any"],
    };
    if names == ["array"] {
        return format!("list of {}", type_of(schema.get("items").unwrap_or(&Value::Null)));
    }
    let format = text(schema, "/format");
    let format = if format.is_empty() { String::new() } else { format!(" ({})", escape(format)) };
    format!("{}{format}", escape(&names.join(" | ")))
}

/// A sample that fits a schema: its examples where it has some.
fn sample(document: &Value, schema: &Value, depth: usize) -> Value {
    let given = schema.get("example").or_else(|| schema.pointer("/examples/0")).or_else(|| schema.get("default"));
    if let Some(given) = given.filter(|value| !value.is_null()) {
        return given.clone();
    }
    let schema = resolve(document, schema);
    if depth > EXAMPLE_DEPTH_MAX {
        return Value::Null;
    }
    if let Some(first) = schema.pointer("/enum/0").or_else(|| schema.get("example")) {
        return first.clone();
    }
    let parts = ["oneOf", "anyOf", "allOf"].iter().find_map(|key| schema.get(key)).and_then(Value::as_array);
    if let Some(part) = parts.and_then(|parts| parts.iter().find(|part| text(part, "/type") != "null")) {
        return sample(document, part, depth + 1);
    }
    let required: Vec<&str> = array(schema, "/required").iter().filter_map(Value::as_str).collect();
    let kind = schema.pointer("/type/0").or_else(|| schema.get("type")).and_then(Value::as_str).unwrap_or_default();
    match kind {
        "array" => json!([sample(document, schema.get("items").unwrap_or(&Value::Null), depth + 1)]),
        "boolean" => json!(false),
        "integer" | "number" => json!(1),
        "string" => json!("…"),
        _ => object(schema, "/properties")
            .filter(|(name, property)| {
                required.contains(&name.as_str()) || property.get("example").is_some_and(|example| !example.is_null())
            })
            .map(|(name, property)| (name.clone(), sample(document, property, depth + 1)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let place = value.get("$ref").and_then(Value::as_str).and_then(|place| place.strip_prefix('#'));
    place.and_then(|place| document.pointer(place)).unwrap_or(value)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn array<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn object<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flatten()
}
