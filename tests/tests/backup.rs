//! Backups: made while the server runs, tried, and restored; and a key that was revoked since stays revoked.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use tests::{Engine, Room, Server, both_engines, paper, server::binary};

both_engines! {
    a_backup_is_whole_and_a_restored_one_revives_no_key
    an_older_database_that_is_put_back_by_hand_revives_no_key
    a_damaged_backup_and_a_place_that_is_not_empty_are_refused
    a_backup_without_a_file_that_a_row_names_is_none
    a_backup_whose_journal_was_cut_is_refused
    a_backup_and_a_restore_keep_out_of_where_they_must_not_write
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}")).to_owned()
}

/// Runs `iusign` on the server's own data.
fn iusign(server: &Server, verb: &[&str], data: &Path) -> Output {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("IUSIGN_")) {
        command.env_remove(name);
    }
    command.args(verb).arg("--json").arg("--data-dir").arg(data);
    if let Some(url) = server.database_url() {
        command.args(["--database", url]);
    }
    command.output().expect("the binary runs")
}

fn done(output: &Output) -> Value {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("no JSON, {error}: {out}{err}"))
}

/// Makes a backup, tried; its folder.
fn backed_up(server: &Server, within: &Path) -> (PathBuf, Value) {
    let to = within.join("backup");
    let made = done(&iusign(server, &["backup", "--verify", "--to", &to.display().to_string()], &server.data_dir()));
    (to, made)
}

/// The server's database and files are lost; what else lies in the data folder is not.
fn lose(server: &Server) {
    for name in ["iusign.db", "iusign.db-wal", "iusign.db-shm"] {
        // PostgreSQL has none of these.
        let _ = fs::remove_file(server.data_dir().join(name));
    }
    fs::remove_dir_all(server.data_dir().join("files")).expect("removed");
    if server.engine == Engine::Postgres {
        server.sql("DROP SCHEMA public CASCADE");
        server.sql("CREATE SCHEMA public");
    }
}

async fn a_backup_is_whole_and_a_restored_one_revives_no_key(mut server: Server) {
    let api = server.api();
    let document = api.sample().await;
    let signed = text(&api.create(paper::for_one(&document, "taro@example.com")).await, "id");
    let room = Room::enter(&server, &api, &signed, "taro@example.com").await;
    room.sign("Taro", &[("client_name", "Taro"), ("client_company", "Kestrel")]).await;
    api.wait_for(&signed, "envelope.completed").await;
    let made = async |label: &str| {
        let made = api.post("/v1/keys", json!({ "label": label })).await.expect(201);
        (text(&made, "id"), text(&made, "secret"))
    };
    let (revoked, revoked_secret) = made("Revoked later").await;
    let (suspended, suspended_secret) = made("Suspended later").await;
    let (resumed, resumed_secret) = made("Suspended and resumed later").await;
    let (stolen, stolen_secret) = made("Stolen later").await;
    let child = server.api_with(&stolen_secret).post("/v1/keys", json!({ "label": "Child" })).await.expect(201);
    let child_secret = text(&child, "secret");

    let within = tempfile::tempdir().expect("a folder");
    // While it runs.
    let (backup, made) = backed_up(&server, within.path());
    assert_eq!(made["checked"]["tenants"], json!(1), "{made:#}");
    assert_eq!(made["checked"]["envelopes"], json!(1), "{made:#}");
    assert!(made["checked"]["files"].as_u64() >= Some(3), "{made:#}");

    api.post_empty(&format!("/v1/keys/{revoked}/revoke")).await.expect(200);
    api.post_empty(&format!("/v1/keys/{suspended}/suspend")).await.expect(200);
    api.post_empty(&format!("/v1/keys/{resumed}/suspend")).await.expect(200);
    api.post_empty(&format!("/v1/keys/{resumed}/resume")).await.expect(200);
    api.post(&format!("/v1/keys/{stolen}/compromise"), json!({})).await.expect(200);
    let later = text(&api.create(paper::for_one(&document, "jiro@example.com")).await, "id");
    assert!(server.stop());
    lose(&server);
    let restored = done(&iusign(&server, &["restore", &backup.display().to_string()], &server.data_dir()));
    assert_eq!(restored["ended_again"], json!(4), "{restored:#}");
    for what in ["tenants", "envelopes", "files"] {
        assert_eq!(restored["checked"][what], made["checked"][what], "{restored:#}");
    }
    server.start_again();
    let api = server.api();
    server.api_with(&revoked_secret).get("/v1/me").await.refused(401, "revoked_key");
    server.api_with(&stolen_secret).get("/v1/me").await.refused(401, "revoked_key");
    server.api_with(&child_secret).get("/v1/me").await.refused(401, "revoked_key");
    server.api_with(&suspended_secret).get("/v1/me").await.refused(401, "suspended_key");
    server.api_with(&resumed_secret).get("/v1/me").await.expect(200);
    assert_eq!(api.envelope(&signed).await["status"], json!("completed"));
    assert_eq!(api.get(&format!("/v1/envelopes/{signed}/assets/document")).await.status, 200);
    // What came after the backup is lost, and said to be.
    api.get(&format!("/v1/envelopes/{later}")).await.refused(404, "not_found");
    let audit = api.get(&format!("/v1/audit?object={revoked}")).await.expect(200);
    assert!(audit.to_string().contains("from_journal"), "{audit:#}");
    assert!(api.get(&format!("/v1/keys/{revoked}/receipt")).await.expect(200)["effective_at"].is_string());
    // Life goes on.
    api.create(paper::for_one(&document, "taro@example.com")).await;
}

async fn an_older_database_that_is_put_back_by_hand_revives_no_key(mut server: Server) {
    let api = server.api();
    let made = api.post("/v1/keys", json!({ "label": "Revoked later" })).await.expect(201);
    let within = tempfile::tempdir().expect("a folder");
    let (backup, _) = backed_up(&server, within.path());
    api.post_empty(&format!("/v1/keys/{}/revoke", text(&made, "id"))).await.expect(200);
    assert!(server.stop());
    let database = backup.join("database");
    match server.database_url() {
        None => {
            for name in ["iusign.db-wal", "iusign.db-shm"] {
                // A clean stop leaves none.
                let _ = fs::remove_file(server.data_dir().join(name));
            }
            fs::copy(&database, server.data_dir().join("iusign.db")).expect("copied");
        }
        Some(url) => {
            server.sql("DROP SCHEMA public CASCADE");
            server.sql("CREATE SCHEMA public");
            let restored = Command::new("pg_restore").args(["--no-owner", "--dbname", url]).arg(&database).output();
            let restored = restored.expect("pg_restore runs");
            assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        }
    }
    server.start_again();
    server.api_with(&text(&made, "secret")).get("/v1/me").await.refused(401, "revoked_key");
    server.api().get("/v1/me").await.expect(200);
    assert!(server.log().contains("the journal says"), "{}", server.log());
}

async fn a_damaged_backup_and_a_place_that_is_not_empty_are_refused(server: Server) {
    server.api().sample().await;
    let within = tempfile::tempdir().expect("a folder");
    let (backup, _) = backed_up(&server, within.path());
    let from = backup.display().to_string();
    let said = |output: Output| {
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    // Over a live server's data, or into a backup.
    let refused = said(iusign(&server, &["restore", &from], &server.data_dir()));
    assert!(refused.contains("already"), "{refused}");
    let refused = said(iusign(&server, &["backup", "--to", &from], &server.data_dir()));
    assert!(refused.contains("not empty"), "{refused}");
    // It holds no key of the server's.
    for name in ["master.key", "ca.key", "seal"] {
        assert!(!backup.join(name).exists(), "{name}");
    }
    let elsewhere = within.path().join("elsewhere");
    done(&iusign(&server, &["restore", &from, "--check"], &elsewhere));
    let database = backup.join("database");
    let mut bytes = fs::read(&database).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&database, bytes).expect("written");
    let refused = said(iusign(&server, &["restore", &from, "--check"], &elsewhere));
    assert!(refused.contains("not as it was written"), "{refused}");
    fs::remove_file(backup.join("manifest.json")).expect("removed");
    let refused = said(iusign(&server, &["restore", &from, "--check"], &elsewhere));
    assert!(refused.contains("no whole backup"), "{refused}");
}

/// What a command said that has to be refused.
#[track_caller]
fn refused(output: &Output) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "{said}");
    said
}

async fn a_backup_without_a_file_that_a_row_names_is_none(server: Server) {
    server.api().sample().await;
    let within = tempfile::tempdir().expect("a folder");
    let (missing, empty) = (within.path().join("missing"), within.path().join("empty"));
    fs::create_dir(&empty).expect("made");
    for (files, why) in [(&missing, "there is no folder of files"), (&empty, "not in the folder of files")] {
        let to = within.path().join("backup-of-nothing").join(files.file_name().expect("a name"));
        let (to, files) = (to.display().to_string(), files.display().to_string());
        let said = refused(&iusign(&server, &["backup", "--to", &to, "--files-dir", &files], &server.data_dir()));
        assert!(said.contains(why), "{said}");
        assert!(!Path::new(&to).join("manifest.json").exists(), "{files}");
    }
    assert!(!missing.exists(), "it is not made");
}

async fn a_backup_whose_journal_was_cut_is_refused(server: Server) {
    let api = server.api();
    for label in ["One", "Two"] {
        let made = api.post("/v1/keys", json!({ "label": label })).await.expect(201);
        api.post_empty(&format!("/v1/keys/{}/revoke", text(&made, "id"))).await.expect(200);
    }
    let within = tempfile::tempdir().expect("a folder");
    let (backup, made) = backed_up(&server, within.path());
    assert_eq!(made["backup"]["revocations"], json!(2), "{made:#}");
    let (from, journal) = (backup.display().to_string(), backup.join("revocations.log"));
    let whole = fs::read_to_string(&journal).expect("read");
    let line = whole.lines().next().expect("a line");
    fs::write(&journal, format!("{line}\n")).expect("written");
    let elsewhere = within.path().join("elsewhere");
    for arguments in [&["restore", &from, "--check"][..], &["restore", &from]] {
        let said = refused(&iusign(&server, arguments, &elsewhere));
        assert!(said.contains("revocations.log is not as it was written"), "{said}");
    }
    fs::remove_file(&journal).expect("removed");
    let said = refused(&iusign(&server, &["restore", &from], &elsewhere));
    assert!(said.contains("revocations.log can't be read"), "{said}");
    fs::write(&journal, whole).expect("written");
    done(&iusign(&server, &["restore", &from, "--check"], &elsewhere));
}

async fn a_backup_and_a_restore_keep_out_of_where_they_must_not_write(mut server: Server) {
    server.api().sample().await;
    let within = tempfile::tempdir().expect("a folder");
    let (backup, _) = backed_up(&server, within.path());
    let from = backup.display().to_string();
    let inside = server.data_dir().join("files/backup");
    let said = refused(&iusign(&server, &["backup", "--to", &inside.display().to_string()], &server.data_dir()));
    assert!(said.contains("which is what is backed up") && !inside.exists(), "{said}");
    assert!(server.stop());
    lose(&server);
    let foreign = within.path().join("documents");
    fs::create_dir(&foreign).expect("made");
    fs::write(foreign.join("letter.txt"), "Dear").expect("written");
    let before = fs::read_dir(&backup).expect("a folder").count();
    for (place, why) in
        [(&backup, "is a backup"), (&backup.join("data"), "lies in one"), (&foreign, "not empty, and no data folder")]
    {
        let said = refused(&iusign(&server, &["restore", &from], place));
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(fs::read_dir(&foreign).expect("a folder").count(), 1);
    assert_eq!(fs::read_dir(&backup).expect("a folder").count(), before, "nothing is made in the backup");
    done(&iusign(&server, &["restore", &from], &within.path().join("new")));
}
