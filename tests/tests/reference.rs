//! What readers copy: every body that `/docs` prints is taken by the server, every command of the guides by the binary.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Api, Server, both_engines, paper};

both_engines! {
    every_body_that_the_reference_prints_is_accepted
}

/// What examples name, as this server has it.
struct Things {
    document: String,
    template: String,
    owner: String,
}

/// A printed call: its method, its path and its JSON body.
fn calls(page: &str) -> Vec<(Method, String, Value)> {
    let plain = |text: &str| {
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&amp;", "&")]
            .iter()
            .fold(text.to_owned(), |text, (escaped, letter)| text.replace(escaped, letter))
    };
    page.split("<pre tabindex=\"0\">")
        .skip(1)
        .filter_map(|rest| {
            let command = plain(rest.split("</pre>").next()?);
            let (line, body) = command.split_once(" \\\n  -d '")?;
            let body = body.strip_suffix('\'')?.replace("'\\''", "'");
            let method = line.split(" -X ").nth(1).and_then(|rest| rest.split(' ').next())?;
            let url = line.split(' ').find(|word| word.starts_with("https://"))?;
            let path = format!("/v1/{}", url.split_once("/v1/")?.1);
            let body = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
            Some((method.parse().expect("a method"), path, body))
        })
        .collect()
}

/// The body with this server's ids.
fn with_ids(body: &mut Value, things: &Things) {
    match body {
        Value::String(text) => {
            let own = [("doc_", &things.document), ("tpl_", &things.template), ("usr_", &things.owner)];
            if let Some((_, id)) = own.iter().find(|(prefix, _)| text.starts_with(prefix)) {
                text.clone_from(id);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| with_ids(item, things)),
        Value::Object(members) => members.values_mut().for_each(|value| with_ids(value, things)),
        _ => {}
    }
}

fn id(answer: &Value) -> String {
    answer["id"].as_str().expect("an id").to_owned()
}

/// The path with the id of a fresh object, in the state that the operation is for.
async fn with_id(path: &str, server: &Server, api: &Api, team: &Api, things: &Things) -> String {
    let fresh = match path.split('/').nth(2).expect("a noun") {
        "keys" if path.ends_with("/transfer") => server.key_of(&server.tenant, "development", None).await.0,
        "keys" => {
            let key = id(&api.post("/v1/keys", json!({ "label": "Fresh" })).await.expect(201));
            let before = match path.rsplit('/').next() {
                Some("resume") => Some("suspend"),
                Some("decide") => Some("compromise"),
                _ => None,
            };
            if let Some(before) = before {
                api.post_empty(&format!("/v1/keys/{key}/{before}")).await.expect(200);
            }
            key
        }
        "envelopes" => id(&api.create(paper::for_one(&things.document, "taro@example.com")).await),
        "users" => {
            id(&team.post("/v1/users", json!({ "email": "grace@example.com", "role": "user" })).await.expect(201))
        }
        noun => panic!("{path}: how is one of {noun} made?"),
    };
    path.replace("{id}", &fresh)
}

async fn every_body_that_the_reference_prints_is_accepted(server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let template = json!({ "name": "Agreement", "documents": [document], "roles": [{ "name": "Client" }],
        "fields": paper::sample_fields(false) });
    let template = id(&api.post("/v1/templates", template).await.expect(201));
    let owner = api.get("/v1/me").await.expect(200)["key"]["administrator"].as_str().expect("an id").to_owned();
    let things = Things { document, template, owner };
    // What concerns the whole tenant needs a production key, and a transfer a key of somebody else.
    let (_, secret) = server.key_of(&server.tenant, "production", None).await;
    let team = server.api_with(&secret);
    server.admin(&["users", "add", "next@example.com", "--name", "Next", "--role", "admin"]);
    server.admin(&["users", "set-role", "next@example.com", "owner"]);

    let page = server.stranger().get("/docs").await.text();
    assert!(page.contains("$IUSIGN_API_KEY") && !page.contains("$IUSIGN_KEY"));
    let calls = calls(&page);
    assert!(calls.len() >= 18, "only {} bodies were found", calls.len());
    for (method, path, mut body) in calls {
        with_ids(&mut body, &things);
        let path = if path.contains("{id}") { with_id(&path, &server, &api, &team, &things).await } else { path };
        let caller = if path.starts_with("/v1/users") || path.starts_with("/v1/tenant") { &team } else { &api };
        let answer = caller.send(method, &path, Some("application/json"), body.to_string()).await;
        assert!(answer.status < 400, "{} {body}: {} {}", answer.asked, answer.status, answer.text());
    }
}

/// The commands of a page: what stands in its indented lines and begins with the binary's name.
fn commands(page: &str) -> Vec<Vec<String>> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("    ")).map(str::trim);
    let commands =
        lines.filter_map(|line| line.strip_prefix("iusign ").or_else(|| line.strip_prefix("target/release/iusign ")));
    // Neither a remark nor what a shell makes of the output.
    commands.filter_map(|line| line.split(" #").next()?.split(['|', '>']).next()).map(shell_words).collect()
}

/// The words of a line, as a shell reads quotes.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (letter, quote) {
            (_, Some(end)) if letter == end => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (' ', None) => words.extend(word.take()),
            (_, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_command_that_a_guide_prints_is_one() {
    let mut pages = vec![tests::server::root().join("README.md")];
    let guides = std::fs::read_dir(tests::server::root().join("docs/guide")).expect("the guides");
    pages.extend(guides.map(|entry| entry.expect("a guide").path()));
    let mut seen = 0;
    for page in pages {
        for words in commands(&std::fs::read_to_string(&page).expect("a page")) {
            // With --help nothing is done, but everything before it is read.
            let output =
                std::process::Command::new(tests::server::binary()).args(&words).arg("--help").output().expect("runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: iusign {}: {said}", page.display(), words.join(" "));
            seen += 1;
        }
    }
    assert!(seen >= 25, "only {seen} commands were found");
}
