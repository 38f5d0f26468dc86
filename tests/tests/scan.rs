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
use tests::{judge, server::binary};

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

/// A repository in this folder; what is run in it has to end well.
fn git(folder: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git runs: ./test installs it");
    child.stdin.take().expect("piped").write_all(input).expect("written");
    let output = child.wait_with_output().expect("ended");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn nothing_that_a_repository_names_is_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let ran = root.join("ran");
    write(root, "program", format!("#!/bin/sh\necho \"$0 $*\" >> {}\n", ran.display()));
    fs::set_permissions(root.join("program"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let program = root.join("program").display().to_string();
    let repository = root.join("repository");
    fs::create_dir(&repository).expect("made");
    git(&repository, &["init", "--quiet"], b"");
    write(&repository, "key", key(1).expose());
    write(&repository, ".gitattributes", "* diff=own filter=own\n");
    git(&repository, &["add", "."], b"");
    let tree = git(&repository, &["write-tree"], b"");
    // A commit with a signature, as anybody can write one.
    let who = "Test <test@example.com> 1700000000 +0000";
    let signed = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n aaaa\n -----END PGP SIGNATURE-----";
    let text = format!("tree {tree}\nauthor {who}\ncommitter {who}\n{signed}\n\nSigned\n");
    let commit = git(&repository, &["hash-object", "-t", "commit", "-w", "--stdin"], text.as_bytes());
    git(&repository, &["update-ref", "refs/heads/main", &commit], b"");
    for name in [
        "gpg.program",
        "gpg.openpgp.program",
        "core.pager",
        "core.fsmonitor",
        "core.sshCommand",
        "core.alternateRefsCommand",
        "diff.external",
        "diff.own.command",
        "diff.own.textconv",
        "filter.own.smudge",
        "filter.own.clean",
        "pager.log",
    ] {
        git(&repository, &["config", name, &program], b"");
    }
    git(&repository, &["config", "log.showSignature", "true"], b"");
    git(&repository, &["config", "alias.log", &format!("!{program}")], b"");
    let _ = fs::remove_file(&ran);
    let output = scan(&["--json", "--git", &repository.display().to_string()], b"");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = lines(&output);
    assert!(lines.iter().any(|line| line["commit"].as_str() == Some(&commit)), "{lines:#?}");
    assert!(!ran.exists(), "{}", fs::read_to_string(&ran).unwrap_or_default());
}

#[test]
fn within_a_hook_the_repository_that_was_named_is_searched() {
    let folder = tempfile::tempdir().expect("a folder");
    let (with_key, without) = (folder.path().join("with"), folder.path().join("without"));
    for path in [&with_key, &without] {
        fs::create_dir(path).expect("made");
        git(path, &["init", "--quiet"], b"");
    }
    git(&with_key, &["hash-object", "-w", "--stdin"], key(1).expose().as_bytes());
    for (named, other, code) in [(&with_key, &without, 1), (&without, &with_key, 0)] {
        let output = Command::new(binary())
            .args(["scan", "--git"])
            .arg(named)
            .env("GIT_DIR", other.join(".git"))
            .env("GIT_OBJECT_DIRECTORY", other.join(".git/objects"))
            .output()
            .expect("the binary runs");
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_key_in_a_name_is_found_and_no_name_shows_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    git(root, &["init", "--quiet"], b"");
    let names = [format!("{}.txt", key(1).expose()), format!("of-{}/{}", key(2).expose(), "inner")];
    for name in &names {
        write(root, name, "nothing");
    }
    write(root, &format!("{}/{}", key(3).expose(), "both"), key(4).expose());
    git(root, &["add", "."], b"");
    git(root, &["commit", "--quiet", "-m", "Names"], b"");
    let last4 = |lines: &[Value], in_name: bool| -> Vec<String> {
        // git's own list of names is a file, too.
        let of_git = |line: &Value| line["file"].as_str().is_some_and(|file| file.contains("/.git/"));
        let hits = lines.iter().filter(|line| line["found"] == "key" && line["in_name"] == in_name && !of_git(line));
        let mut all: Vec<_> = hits.map(|hit| hit["last4"].as_str().expect("text").to_owned()).collect();
        all.sort();
        all
    };
    let want = |numbers: &[u8]| {
        let mut all: Vec<_> = numbers.iter().map(|number| key(*number).last4().to_owned()).collect();
        all.sort();
        all
    };
    let name = root.display().to_string();
    for arguments in [&["--json", &name][..], &["--json", "--git", &name]] {
        let output = scan(arguments, b"");
        assert_eq!(output.status.code(), Some(1));
        // No line shows a secret: `lines` sees to it.
        let lines = lines(&output);
        assert_eq!((last4(&lines, true), last4(&lines, false)), (want(&[1, 2, 3]), want(&[4])), "{lines:#?}");
        let shown = scan(&arguments[1..], b"");
        assert!(secret::find(&shown.stdout).is_empty() && secret::find(&shown.stderr).is_empty());
        assert!(String::from_utf8_lossy(&shown.stdout).contains("in the name") || arguments.len() == 2);
    }
}

#[test]
fn what_was_named_by_hand_is_searched_or_the_end_says_that_it_was_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let ended = |arguments: &[&str], input: &[u8]| scan(arguments, input).status.code();
    assert_eq!(ended(&["/dev/stdin"], key(1).expose().as_bytes()), Some(1));
    assert_eq!(ended(&["/dev/stdin"], b"nothing"), Some(0));
    let pipe = root.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let writing = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, key(2).expose()).expect("written")
    });
    assert_eq!(ended(&[&pipe.display().to_string()], b""), Some(1));
    writing.join().expect("ended");
    let socket = root.join("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    assert_eq!(ended(&[&socket.display().to_string()], b""), Some(2));

    write(root, "packed/file.gz", b"\x1f\x8b\x08\0");
    assert_eq!(ended(&[&root.join("packed").display().to_string()], b""), Some(0));
    assert_eq!(ended(&[&root.join("packed/file.gz").display().to_string()], b""), Some(2));
    assert_eq!(ended(&["-"], b"\x1f\x8b\x08\0"), Some(2));
}

#[test]
fn a_command_ends_as_it_ends_also_where_nobody_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "clean", "nothing");
    write(folder.path(), "key", key(1).expose());
    write(folder.path(), "no.pdf", "nothing");
    let run = |arguments: &[&str], out: Stdio| {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(folder.path()).stdin(Stdio::null()).stdout(out).stderr(Stdio::piped());
        let output = command.spawn().expect("the binary runs").wait_with_output().expect("ended");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").expect("opened"));
    let gone = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Stdio::from(writer)
    };
    for (arguments, code) in [
        (&["scan", "--json", "clean"][..], 0),
        (&["scan", "--json", "key"], 1),
        (&["scan", "--json", "nowhere"], 2),
        (&["verify", "no.pdf"], 3),
    ] {
        let (ended, said) = run(arguments, gone());
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(!said.contains("standard output"), "a reader that went away is no fault: {said}");
        let (ended, said) = run(arguments, full());
        assert_eq!(ended, Some(if code == 0 { 1 } else { code }), "{arguments:?}: {said}");
        assert!(said.contains("standard output can't be written"), "{arguments:?}: {said}");
    }
}

/// Reads the rules as the scanners' formats have them, and searches with RE2, whose regular expressions Go has too.
const RE2: &str = "
import sys, tomllib, re2, yaml
gitleaks, trufflehog, *keys = sys.argv[1:]
rule, = tomllib.loads(gitleaks)['rules']
detector, = yaml.safe_load(trufflehog)['detectors']
for regex, keywords in [(rule['regex'], rule['keywords']), (detector['regex']['key'], detector['keywords'])]:
    pattern = re2.compile(regex)
    assert pattern.groups == 0
    text = ' '.join('x' + key + 'y' for key in keys)
    assert [m.group(0) for m in pattern.finditer(text)] == keys
    assert all(any(word in key for word in keywords) for key in keys)
    print(len(keys))
";

#[test]
fn rules_for_other_scanners_are_printed_and_find_the_same() {
    let printed = |scanner: &str| {
        let output = scan(&["--rules", scanner], b"");
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(printed("github").contains(secret::PATTERN));
    let keys: Vec<_> = (1..50).map(|number| key(number).expose().to_owned()).collect();
    let mut python = Command::new(judge::python());
    let python = python.args(["-c", RE2, &printed("gitleaks"), &printed("trufflehog")]).args(&keys);
    let output = python.output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "49\n49\n");
}
