//! The binary itself: a quickstart that makes nothing twice, the whole demo, and what refusals look like.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use serde_json::Value;

/// A server that is killed when the test ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// A quickstart in `folder`, and the line that it prints when it is ready.
    fn quickstart(folder: &Path) -> (Self, Value) {
        let mut command = iusign();
        command.args(["quickstart", "--listen", "127.0.0.1:0", "--json", "--data-dir"]).arg(folder);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
        let mut out: BufReader<ChildStdout> = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        (Self(child), serde_json::from_str(&line).expect("JSON"))
    }

    /// Asks it to stop, and tells whether it did so by itself.
    fn terminate(mut self) -> bool {
        let pid = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("a signal");
        self.0.wait().expect("ended").success()
    }
}

/// The program without this shell's settings.
fn iusign() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iusign"));
    for name in ["URL", "CA_FILE", "API_KEY", "API_KEY_FILE", "DATA_DIR", "DATABASE", "LISTEN", "CONFIG"] {
        command.env_remove(format!("IUSIGN_{name}"));
    }
    command
}

/// A command of the API, with the key in the environment.
fn ask(ready: &Value, key: &str, args: &[&str]) -> Output {
    let text = |name: &str| ready[name].as_str().expect("text").to_owned();
    let mut command = iusign();
    command.env("IUSIGN_URL", text("url")).env("IUSIGN_CA_FILE", text("ca_file")).env("IUSIGN_API_KEY", key);
    command.args(args).output().expect("ran")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_quickstart_makes_everything_once_and_its_key_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (server, first) = Server::quickstart(&data);
    let names: Vec<&String> = first.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["url", "ca_file", "key", "environment", "tenant_id", "owner", "data_dir"]);
    let key = first["key"].as_str().expect("a key").to_owned();
    let me = json(&ask(&first, &key, &["me", "--json"]));
    assert_eq!(me["tenant"]["id"], first["tenant_id"]);
    assert_eq!(me["key"]["scopes"], serde_json::json!(["*"]));
    assert!(server.terminate(), "it stops by itself when it is told to");

    let (server, second) = Server::quickstart(&data);
    assert_eq!(second.get("key"), None);
    assert_eq!(second["owner"].get("password"), None);
    assert_eq!(second["tenant_id"], first["tenant_id"]);
    assert_eq!(json(&ask(&second, &key, &["keys", "list", "--json"]))["data"].as_array().map(Vec::len), Some(1));

    let id = me["key"]["id"].as_str().expect("an id");
    let revoke = iusign().args(["admin", "--json", "--data-dir"]).arg(&data).args(["keys", "revoke", id]).output();
    assert_eq!(json(&revoke.expect("ran"))["key"]["status"], "revoked");
    let refused = ask(&second, &key, &["me", "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    let problem: Value = serde_json::from_slice(&refused.stderr).expect("a problem");
    assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(401), Some("revoked_key")));
    drop(server);
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, _) = Server::quickstart(folder.path());
    let second = iusign().args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path()).output();
    let second = second.expect("ran");
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another iusign process holds"), "{said}");
}

#[test]
fn a_server_that_refuses_a_foreign_database_leaves_no_key_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, _) = Server::quickstart(folder.path());
    assert!(server.terminate());
    let key = folder.path().join("master.key");
    fs::remove_file(&key).expect("removed");
    for _ in 0..2 {
        let serve = iusign().args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path()).output();
        let serve = serve.expect("ran");
        let said = String::from_utf8_lossy(&serve.stderr).into_owned();
        assert!(serve.status.code() == Some(1) && said.contains("under another master key"), "{said}");
        assert!(!key.exists(), "a key that is of no database");
    }
}

#[test]
fn doctor_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("iusign.db");
    fs::write(&database, "").expect("written");
    let doctor = || {
        let output = iusign().args(["doctor", "--json", "--data-dir"]).arg(folder.path()).output().expect("ran");
        let findings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let checks = findings["checks"].as_array().expect("a list").clone();
        checks.into_iter().find(|check| check["check"] == "database").expect("the database")
    };
    let check = doctor();
    assert_eq!(check["health"], "warning", "{check}");
    assert!(check["detail"].as_str().is_some_and(|detail| detail.contains("the next start sets it up")), "{check}");
    assert_eq!(fs::metadata(&database).expect("there").len(), 0);
    let names: Vec<_> =
        fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["iusign.db"]);

    fs::remove_file(&database).expect("removed");
    let (server, _) = Server::quickstart(folder.path());
    assert!(server.terminate());
    let check = doctor();
    assert_eq!((&check["health"], &check["detail"]), (&"ok".into(), &"SQLite, opened and read; tenants: 1".into()));
}

#[test]
fn the_demo_ends_well_twice_and_tampering_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("demo");
    let demo = || {
        let mut command = iusign();
        command.args(["demo", "--exit", "--json", "--sign", "2", "--listen", "127.0.0.1:0", "--dir"]).arg(&dir);
        json(&command.output().expect("ran"))
    };
    let outcome = demo();
    let files: Vec<&str> = outcome["files"].as_array().expect("files").iter().filter_map(Value::as_str).collect();
    let pdfs: Vec<&str> = files.into_iter().filter(|file| file.ends_with(".pdf")).collect();
    assert!(pdfs.len() >= 6, "{pdfs:?}");
    assert!(outcome["signing_link"].as_str().expect("a link").contains("/sign/"));
    let trust = outcome["seal_certificate"].as_str().expect("a path");
    let verified = iusign().args(["verify", "--json", "--trust", trust]).args(&pdfs).output().expect("ran");
    for found in json(&verified).as_array().expect("a list") {
        assert_eq!((&found["verdict"], &found["whole_file"]), (&"valid".into(), &true.into()), "{found}");
    }

    let mut bytes = fs::read(pdfs[0]).expect("a file");
    bytes.extend_from_slice(b"%more\n");
    let tampered = folder.path().join("tampered.pdf");
    fs::write(&tampered, bytes).expect("written");
    let verified = iusign().arg("verify").arg(&tampered).output().expect("ran");
    assert_eq!(verified.status.code(), Some(3));

    assert_eq!(demo()["steps"].as_array().map(Vec::len), outcome["steps"].as_array().map(Vec::len));
}

#[test]
fn what_is_in_force_is_printed_without_secrets_and_slips_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("iusign.toml"), "smtp_password = \"hunter2\"\nlog_level = \"debug\"\n")
        .expect("written");
    let print = |args: &[&str]| {
        let mut command = iusign();
        command.args(["serve", "--print-config", "--data-dir"]).arg(folder.path()).args(args).output().expect("ran")
    };
    let shown = String::from_utf8(print(&["--workers", "3"]).stdout).expect("UTF-8");
    assert!(shown.contains("workers = 3") && shown.contains("log_level = \"debug\""), "{shown}");
    assert!(shown.contains("********") && !shown.contains("hunter2"), "{shown}");
    fs::write(folder.path().join("iusign.toml"), "databse = \"x\"\n").expect("written");
    let refused = print(&[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("databse"), "{said}");
}

#[test]
fn a_key_is_never_an_argument_and_errors_name_the_variable_alone() {
    let mut command = iusign();
    let output = command.args(["me", "--url", "https://localhost:1"]).output().expect("ran");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("IUSIGN_API_KEY"), "{said}");
    let output = iusign().args(["me", "--url", "https://localhost:1"]).env("IUSIGN_API_KEY", "iusk_dev_wrong").output();
    let said = String::from_utf8_lossy(&output.expect("ran").stderr).into_owned();
    assert!(said.contains("IUSIGN_API_KEY") && !said.contains("iusk_dev_wrong"), "{said}");
}
