//! `iusign scan` on a planted corpus: all that was planted is found, nothing else is, and no secret is ever shown.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output, Stdio},
};

use model::{Environment, KeyId};
use secret::SecretKey;
use serde_json::Value;
use tests::server::binary;

/// The n-th key of the corpus.
fn key(number: u8) -> SecretKey {
    let id: KeyId = format!("key_01k9x3m5c0e8a9v7r2d4t6y8{:02}", number % 100).parse().expect("an id");
    SecretKey::generate(Environment::ALL[usize::from(number) % 3], id.uuid(), [number; 32])
}

fn scan(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(binary())
        .arg("scan")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child.stdin.take().expect("piped").write_all(input).expect("written");
    child.wait_with_output().expect("ended")
}

/// The lines of `--json`, none of which holds a secret.
fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(secret::find(text.as_bytes()).is_empty(), "a secret is shown: {text}");
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    String::from_utf8_lossy(&output.stdout).lines().map(line).collect()
}

/// What was found: the file's or object's name, the line, and the key's last 4 characters.
fn found(lines: &[Value], root: &str) -> BTreeSet<(String, u64, String)> {
    let hits = lines.iter().filter(|line| line["found"] == "key");
    let place = |hit: &Value| hit["file"].as_str().unwrap_or("object").trim_start_matches(root).to_owned();
    hits.map(|hit| (place(hit), hit["line"].as_u64().expect("a line"), hit["last4"].as_str().expect("text").to_owned()))
        .collect()
}

fn not_searched<'a>(lines: &'a [Value], root: &str) -> BTreeSet<(&'a str, String)> {
    let name = |line: &'a Value| line["why"].as_str().zip(line["not_searched"].as_str());
    lines.iter().filter_map(name).map(|(why, name)| (why, name.trim_start_matches(root).to_owned())).collect()
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, bytes).expect("written");
}

fn utf_16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn all_that_was_planted_is_found_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let text = |number| key(number).expose().to_owned();
    let mut planted = BTreeSet::new();
    let mut plant = |name: &str, line: u64, number: u8, bytes: Vec<u8>| {
        write(root, name, bytes);
        planted.insert((format!("/{name}"), line, key(number).last4().to_owned()));
    };
    plant("config.toml", 2, 1, format!("a = 1\nkey = \"{}\"\n", text(1)).into_bytes());
    plant(".env", 1, 2, format!("KEY={}", text(2)).into_bytes());
    plant("deep/er/.hidden/x", 3, 3, format!("\n\n{}", text(3)).into_bytes());
    plant("glued.txt", 1, 4, format!("xx{}yy", text(4)).into_bytes());
    plant("binary.bin", 1, 5, [&[0, 1, 2, 0xff][..], text(5).as_bytes(), &[0xfe, 0]].concat());
    plant("windows.txt", 2, 6, [&[0xff, 0xfe][..], &utf_16(&format!("a\r\n{}\r\n", text(6)))].concat());
    plant("node_modules/dep/index.js", 1, 7, text(7).into_bytes());
    // Across the border of what is read at once, and far into a large file.
    for number in 0..90 {
        let before = "\n".repeat(256 * 1024 - 90 + usize::from(number));
        plant(
            &format!("border/{number}"),
            before.len() as u64 + 1,
            10 + number,
            (before + &text(10 + number)).into_bytes(),
        );
    }
    let mut large = "x".repeat(5_000_000);
    large.push_str(&text(8));
    plant("large.log", 1, 8, large.into_bytes());
    write(root, "ignored/.gitignore", "*");
    // What only looks like one.
    let mut wrong = text(1);
    wrong.pop();
    let last = if text(1).ends_with('0') { '1' } else { '0' };
    write(root, "false/checksum", format!("{wrong}{last}"));
    write(root, "false/cut", &wrong);
    write(root, "false/case", text(1).to_uppercase());
    write(root, "false/split", text(1).replace("_", "_\n"));
    write(root, "false/other", "iusk_live_01k9x3m5c0e8a9v7r2d4t6y8b0_aaaa".repeat(1_000));

    let all = scan(&["--json", &root.display().to_string()], b"");
    assert_eq!(all.status.code(), Some(1), "{}", String::from_utf8_lossy(&all.stderr));
    let lines = lines(&all);
    assert_eq!(found(&lines, &root.display().to_string()), planted);
    let sum = lines.last().expect("a sum");
    assert_eq!((sum["keys"].as_u64(), sum["failed"].as_u64()), (Some(planted.len() as u64), Some(0)), "{sum}");
    assert_eq!(sum["files"].as_u64(), Some(planted.len() as u64 + 6), "{sum}");

    let shown = scan(&[&root.display().to_string()], b"");
    let words = String::from_utf8_lossy(&shown.stdout);
    assert!(words.contains(&format!("config.toml:2  key_01k9x3m5c0e8a9v7r2d4t6y801  {}", key(1).masked())), "{words}");
    assert!(secret::find(&shown.stdout).is_empty() && secret::find(&shown.stderr).is_empty());
}

#[test]
fn it_says_what_it_did_not_search_and_how_it_went() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    write(root, "clean", "nothing here");
    let name = root.display().to_string();
    let ended = |output: &Output| output.status.code();
    assert_eq!(ended(&scan(&[&name], b"")), Some(0));
    assert_eq!(ended(&scan(&["/nowhere/at/all"], b"")), Some(2));
    assert_eq!(ended(&scan(&[&name, "/nowhere/at/all"], b"")), Some(2));
    assert_eq!(ended(&scan(&["-"], key(1).expose().as_bytes())), Some(1));
    assert_eq!(ended(&scan(&["-"], b"nothing")), Some(0));
    assert_eq!(ended(&scan(&["-", "/nowhere/at/all"], key(1).expose().as_bytes())), Some(1));

    write(root, "packed.gz", b"\x1f\x8b\x08\0");
    write(root, "packed.docx", b"PK\x03\x04rest");
    symlink(root.join("clean"), root.join("link")).expect("a link");
    let made = Command::new("mkfifo").arg(root.join("pipe")).status().expect("mkfifo runs");
    assert!(made.success());
    let output = scan(&["--json", &name], b"");
    assert_eq!(ended(&output), Some(0), "what can't hold a key in clear is no fault");
    let lines = lines(&output);
    let packed = |format| format!("compressed, its contents were not searched ({format})");
    let (gzip, zip) = (packed("gzip"), packed("zip"));
    let want = [
        ("a symbolic link, not followed", "/link"),
        (&gzip, "/packed.gz"),
        (&zip, "/packed.docx"),
        ("no ordinary file", "/pipe"),
    ];
    assert_eq!(not_searched(&lines, &name), want.map(|(why, name)| (why, name.to_owned())).into());

    // root reads everything: then there is nothing to be refused.
    let locked = root.join("locked");
    fs::write(&locked, key(2).expose()).expect("written");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).expect("a mode");
    if fs::read(&locked).is_err() {
        assert_eq!(ended(&scan(&[&name], b"")), Some(2));
    }
}

#[test]
fn the_history_of_a_repository_is_searched_to_its_last_object() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"])
            .args(arguments)
            .current_dir(root)
            .output()
            .expect("git runs: ./test installs it");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    git(&["init", "--quiet"]);
    write(root, "src/config.py", format!("KEY = '{}'\n", key(1).expose()));
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "First"]);
    let first = git(&["rev-parse", "HEAD"]);
    fs::remove_file(root.join("src/config.py")).expect("removed");
    git(&["commit", "--quiet", "-a", "-m", &format!("Oops {}", key(2).expose())]);
    // On no branch any more.
    git(&["checkout", "--quiet", "-b", "gone"]);
    write(root, "gone", key(3).expose());
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "Gone"]);
    git(&["checkout", "--quiet", "main"]);
    git(&["branch", "--quiet", "-D", "gone"]);
    git(&["reflog", "expire", "--expire=now", "--all"]);
    git(&["gc", "--quiet"]);

    let name = root.display().to_string();
    let clean = scan(&["--json", &name], b"");
    assert_eq!(clean.status.code(), Some(0), "{}", String::from_utf8_lossy(&clean.stdout));
    assert!(String::from_utf8_lossy(&clean.stdout).contains("a git pack: see --git"));
    let output = scan(&["--json", "--git", &name], b"");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = lines(&output);
    let last4: BTreeSet<_> = found(&lines, "").into_iter().map(|(_, _, last4)| last4).collect();
    assert_eq!(last4, [1, 2, 3].map(|number| key(number).last4().to_owned()).into());
    let origin = lines.iter().find(|line| line["path"] == "src/config.py").expect("the file's way in");
    assert_eq!(origin["commit"].as_str(), Some(first.as_str()), "{origin}");
    assert_eq!(scan(&["--git", "/nowhere"], b"").status.code(), Some(2));
}

#[test]
fn rules_for_other_scanners_are_printed_and_find_the_same() {
    for scanner in ["gitleaks", "trufflehog", "github"] {
        let output = scan(&["--rules", scanner], b"");
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains(secret::PATTERN), "{scanner}");
    }
    // Python's regular expressions stand for the others': the pattern uses nothing that they differ in.
    let script =
        "import re,sys\nprint(sum(m.group(0)==t for t in sys.argv[2:] for m in re.finditer(sys.argv[1],'x'+t+'y')))";
    let keys: Vec<_> = (1..50).map(|number| key(number).expose().to_owned()).collect();
    let counted =
        Command::new("python3").args(["-c", script, secret::PATTERN]).args(&keys).output().expect("python3 runs");
    assert_eq!(String::from_utf8_lossy(&counted.stdout).trim(), keys.len().to_string());
}
