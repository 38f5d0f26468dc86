//! The house's rules, held against the tree itself.

use std::collections::{BTreeMap, BTreeSet};

use tests::{server::root, sources};

/// Each crate and what of ours it may depend on; tests may reach further down, never up.
const ARROWS: &[(&str, &[&str])] = &[
    ("secret", &[]),
    ("model", &["secret"]),
    ("store", &["model", "secret"]),
    ("gate", &["store", "model", "secret"]),
    ("seal", &[]),
    ("app", &["gate", "seal", "store", "model", "secret"]),
    ("api", &[]),
    ("server", &["app", "gate", "model", "secret", "api"]),
    ("client", &["api"]),
    ("cli", &["server", "app", "gate", "store", "seal", "model", "secret", "api", "client"]),
];

/// Dependencies that one crate alone may have.
const ALONE: &[(&str, &str)] = &[
    ("sqlx", "store"),
    ("rusqlite", "store"),
    ("object_store", "store"),
    ("axum", "server"),
    ("utoipa-axum", "server"),
    ("lettre", "app"),
];

/// Lines of a source file at most.
const LINES_MAX: usize = 600;

/// Crates that may not be in the tree, and why.
const BANNED: &[(&str, &str)] = &[("rsa", "RUSTSEC-2023-0071 has no fix"), ("openssl", "aws-lc-rs is the one")];

/// Codes that no test reaches yet, each with its reason. It may only get shorter.
const UNREACHED: &[(&str, &str)] = &[];

fn rust() -> BTreeMap<String, String> {
    let files = sources::files(".rs");
    assert!(files.len() > 100, "only {} sources were found", files.len());
    files
}

fn manifest(of: &str) -> toml::Table {
    let path = root().join("crates").join(of).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().expect("TOML")
}

fn dependencies(manifest: &toml::Table, table: &str) -> BTreeSet<String> {
    let table = manifest.get(table).and_then(toml::Value::as_table);
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn arrows_between_crates_point_down() {
    let names: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let folders: BTreeSet<String> = std::fs::read_dir(root().join("crates"))
        .expect("crates")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders.iter().map(String::as_str).collect::<BTreeSet<_>>(), names, "a crate without its row in ARROWS");
    for (name, below) in ARROWS {
        let manifest = manifest(name);
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let ours: BTreeSet<_> =
                dependencies(&manifest, table).into_iter().filter(|dep| names.contains(dep.as_str())).collect();
            let mut allowed: BTreeSet<String> = below.iter().map(ToString::to_string).collect();
            if table == "dev-dependencies" {
                // A crate's tests may ask anything that stands below what it may depend on.
                for lower in *below {
                    let row = ARROWS.iter().find(|(other, _)| other == lower).expect("a row");
                    allowed.extend(row.1.iter().map(ToString::to_string));
                }
            }
            let wrong: Vec<_> = ours.difference(&allowed).collect();
            assert!(wrong.is_empty(), "crates/{name}: {table} may not name {wrong:?}");
        }
    }
}

#[test]
fn some_dependencies_are_one_crate_s_alone() {
    for (name, _) in ARROWS {
        let manifest = manifest(name);
        for table in ["dependencies", "dev-dependencies"] {
            let has = dependencies(&manifest, table);
            for (dependency, owner) in ALONE {
                assert!(name == owner || !has.contains(*dependency), "crates/{name} may not depend on {dependency}");
            }
        }
    }
}

#[test]
fn banned_crates_are_not_in_the_lock_file() {
    let text = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    for (name, why) in BANNED {
        assert!(!text.contains(&format!("name = \"{name}\"\n")), "{name} is in Cargo.lock: {why}");
    }
}

#[test]
fn every_source_file_begins_with_its_purpose_and_is_short() {
    let mut faults = Vec::new();
    for (path, text) in rust() {
        let first = text.lines().next().unwrap_or_default();
        if !(first.starts_with("//! ") && first.len() > 12) {
            faults.push(format!("{path}: does not begin with //! and a sentence"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{path}: {lines} lines, {LINES_MAX} at most"));
        }
    }
    for ending in [".js", ".mjs", ".css", ".html"] {
        for (path, text) in sources::files(ending) {
            let lines = text.lines().count();
            if lines > LINES_MAX {
                faults.push(format!("{path}: {lines} lines, {LINES_MAX} at most"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn nothing_is_left_out_or_silenced() {
    // Written in two parts, so that this file does not hold what it looks for.
    let words =
        [["#[", "allow("], ["#![", "allow("], ["todo", "!("], ["unimplemented", "!("], ["uns", "afe {"], ["FIX", "ME"]];
    let mut faults = Vec::new();
    for (path, text) in rust() {
        for (at, line) in text.lines().enumerate() {
            faults.extend(
                words
                    .iter()
                    .map(|parts| parts.concat())
                    .filter(|word| line.contains(word.as_str()))
                    .map(|word| format!("{path}:{}: {word}", at + 1)),
            );
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn time_and_randomness_are_arguments() {
    // Where the machine may be asked: the two files of app, the embedded database's clock, the edges, and tests.
    let may = |path: &str| {
        path.starts_with("crates/app/src/clock.rs")
            || path.starts_with("crates/app/src/random.rs")
            || path == "crates/store/src/epoch.rs"
            || ["crates/cli/", "crates/client/", "crates/server/", "crates/seal/", "tests/", "bench/"]
                .iter()
                .any(|edge| path.starts_with(edge))
            || path.contains("/tests")
            || path.ends_with("testing.rs")
    };
    let mut faults = Vec::new();
    for (path, text) in rust().into_iter().filter(|(path, _)| !may(path)) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, line) in code.lines().enumerate() {
            if ["SystemTime::now", "Instant::now", "getrandom::fill"].iter().any(|word| line.contains(word)) {
                faults.push(format!("{path}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The architecture's page names files; where they move, it has to follow.
#[test]
fn every_path_that_the_architecture_names_exists() {
    let Ok(text) = std::fs::read_to_string(root().join("ARCHITECTURE.md")) else {
        println!("skipped: there is no ARCHITECTURE.md yet");
        return;
    };
    let is_path = |word: &&str| {
        let known = ["crates/", "web/", "tests/", "bench/", "docs/", ".ci/", ".config/"];
        known.iter().any(|folder| word.starts_with(folder)) && !word.contains(['*', '{', '<', '…'])
    };
    let missing: Vec<_> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .flat_map(str::split_whitespace)
        .filter(is_path)
        .map(|word| word.trim_end_matches(['.', ',', ':', ';', '/']).split(':').next().unwrap_or_default())
        .filter(|word| !root().join(word).exists())
        .collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}

#[test]
fn every_problem_code_is_named_by_a_test() {
    let tests = test_code();
    let exceptions: BTreeMap<_, _> = UNREACHED.iter().copied().collect();
    let (mut missing, mut reached) = (Vec::new(), Vec::new());
    for code in model::Code::ALL {
        let name = format!("{code:?}");
        // As the API says it, or as the code names it, and not as the beginning of a longer name.
        let is_named = tests.contains(&format!("\"{}\"", code.as_str()))
            || tests
                .match_indices(&format!("Code::{name}"))
                .any(|(at, word)| !tests[at + word.len()..].starts_with(|next: char| next.is_ascii_alphanumeric()));
        match (is_named, exceptions.contains_key(code.as_str())) {
            (false, false) => missing.push(code.as_str()),
            (true, true) => reached.push(code.as_str()),
            _ => {}
        }
    }
    assert!(missing.is_empty(), "no test reaches {missing:?}");
    assert!(reached.is_empty(), "these are reached now, take them out of UNREACHED: {reached:?}");
}

#[test]
fn the_book_says_what_every_401_and_403_of_the_api_means() {
    // Those of the signing room are told to people, on its pages.
    let of_pages = ["session_required", "foreign_origin"];
    let page = std::fs::read_to_string(root().join("docs/guide/api-keys.md")).expect("the guide");
    let codes = model::Code::ALL.iter().filter(|code| matches!(code.status(), 401 | 403)).map(|code| code.as_str());
    let missing: Vec<_> =
        codes.filter(|code| !of_pages.contains(code) && !page.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "docs/guide/api-keys.md says nothing of {missing:?}");
}

/// All code that is compiled for tests only, joined.
fn test_code() -> String {
    let mut all = String::new();
    for (path, text) in rust() {
        let is_test_file = path.starts_with("tests/")
            || path.contains("/tests/")
            || path.ends_with("/tests.rs")
            || path.ends_with("_tests.rs");
        if path.ends_with("tests/tests/tidy.rs") {
            continue;
        }
        match text.find("#[cfg(test)]\nmod ") {
            _ if is_test_file => all.push_str(&text),
            Some(at) => all.push_str(&text[at..]),
            None => {}
        }
        all.push('\n');
    }
    all
}

#[test]
fn every_scope_asked_for_by_a_route_is_in_the_table_of_scopes() {
    // The gate matrix (gate.rs) holds the routes against it; here the names are held against the model.
    let known: BTreeSet<_> = model::scope::Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let text = std::fs::read_to_string(root().join("tests/tests/gate.rs")).expect("the matrix");
    let named: BTreeSet<_> = text
        .split('"')
        .filter(|word| {
            word.split_once(':').is_some_and(|(noun, verb)| !noun.is_empty() && matches!(verb, "read" | "write"))
        })
        .collect();
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(named.len() > 5 && unknown.is_empty(), "{unknown:?}");
}
