//! Where new secrets go: files, a real OpenBao, and moto's AWS Secrets Manager. Nobody sees a secret on the way.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tests::{
    Engine, Server,
    beside::{Beside, port, start},
    judge,
    server::{binary, root},
};

/// The variables of an account at a server of AWS on this port.
fn account(port: &str) -> [(&'static str, String); 4] {
    [
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
    ]
}

/// What AWS's own SDK says at that server: `c` is its client.
fn boto(account: [(&str, &str); 4], code: &str) -> String {
    let code = format!("import boto3,json\nc=boto3.client('secretsmanager', region_name='eu-central-1')\n{code}");
    let output = Command::new(judge::python()).args(["-c", &code]).envs(account).output().expect("Python runs");
    assert!(output.status.success(), "{}", words(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// `iusign` with the server's first key, and these variables. No output holds a secret.
fn iusign(server: &Server, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let output = Command::new(binary())
        .args(arguments)
        .env("IUSIGN_API_KEY", &server.key)
        .env("IUSIGN_URL", &server.url)
        .env("IUSIGN_CA_FILE", server.ca_file())
        .env("HOME", "/nonexistent")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    for bytes in [&output.stdout, &output.stderr] {
        assert!(secret::find(bytes).is_empty(), "a secret is shown: {}", String::from_utf8_lossy(bytes));
    }
    output
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The key that a command printed, which has to have ended well.
#[track_caller]
fn made(output: &Output) -> Value {
    assert!(output.status.success(), "{}", words(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(output)))
}

/// The status of the newest key.
async fn newest(server: &Server) -> Value {
    server.api().get("/v1/keys?limit=1").await.expect(200)["data"][0].clone()
}

async fn opens(server: &Server, secret: &str, key: &Value) {
    let me = server.api_with(secret).get("/v1/me").await.expect(200);
    assert_eq!(me["key"]["id"], key["id"]);
}

fn create<'a>(to: &'a str, label: &'a str) -> Vec<&'a str> {
    vec!["keys", "create", "--json", "--label", label, "--to", to]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_goes_into_a_file_and_is_rotated_there() {
    let server = Server::start(Engine::Sqlite).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    let to = format!("file:{}", path.display());
    let key = made(&iusign(&server, &[], &create(&to, "In a file")));
    assert_eq!(key["status"], json!("active"), "{key}");
    let first = fs::read_to_string(&path).expect("written");
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    opens(&server, first.trim(), &key).await;
    let uses_it = iusign(&server, &[("IUSIGN_API_KEY_FILE", &path.display().to_string())], &["me", "--json"]);
    assert_eq!(made(&uses_it)["key"]["id"], key["id"]);

    let id = key["id"].as_str().expect("an id");
    let rotated = made(&iusign(&server, &[], &["keys", "rotate", id, "--json", "--to", &to]));
    let second = fs::read_to_string(&path).expect("written");
    assert_ne!(first, second);
    assert_eq!(rotated["last4"].as_str(), second.trim().get(second.trim().len() - 4..), "{rotated}");
    opens(&server, second.trim(), &key).await;
    opens(&server, first.trim(), &key).await;

    let variables = folder.path().join("app.env");
    fs::write(&variables, "A=1\n").expect("written");
    fs::set_permissions(&variables, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    let to = format!("env-file:{}#SIGN_KEY", variables.display());
    let key = made(&iusign(&server, &[], &create(&to, "In a line")));
    let text = fs::read_to_string(&variables).expect("read");
    let secret = text.strip_prefix("A=1\nSIGN_KEY=").unwrap_or_else(|| panic!("another text"));
    opens(&server, secret.trim(), &key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_can_t_take_it_leaves_nothing_that_opens() {
    let server = Server::start(Engine::Sqlite).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| format!("{}", folder.path().join(name).display());
    fs::write(path("precious"), "not a key").expect("written");
    fs::set_permissions(path("precious"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    symlink(path("precious"), path("link")).expect("a link");
    let before = newest(&server).await;
    for (to, why) in [
        (format!("file:{}", path("precious")), "not overwritten"),
        (format!("file:{}", path("link")), "symbolic link"),
        (format!("env-file:{}", path("link")), "symbolic link"),
        (format!("file:{}", path("none/key")), "no folder"),
        ("vault:secret/a".to_owned(), "VAULT_ADDR"),
        ("aws-secretsmanager:a".to_owned(), "AWS_REGION"),
    ] {
        let output = iusign(&server, &[], &create(&to, "Nowhere"));
        assert_eq!(output.status.code(), Some(1), "{to}");
        assert!(
            words(&output).contains(why) && words(&output).contains("nothing was done"),
            "{to}: {}",
            words(&output)
        );
        assert_eq!(newest(&server).await["id"], before["id"], "{to}: no key is made");
    }
    assert_eq!(fs::read_to_string(path("precious")).expect("read"), "not a key");

    // It looks well and fails at the write: what was made is revoked again.
    let far = [("VAULT_ADDR", "http://vault.example.com"), ("VAULT_TOKEN", "x")];
    let output = iusign(&server, &far, &create("vault:secret/a", "Nowhere"));
    assert!(words(&output).contains("in clear"), "{}", words(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_may_not_call_from_here_is_stored_and_rotated_all_the_same() {
    let server = Server::start(Engine::Sqlite).await;
    server.admin(&["tenants", "set-tier", "enterprise"]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.env");
    fs::write(&path, "A=1\r\nKEY=old # comment\r\n").expect("written");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    let to = format!("env-file:{}#KEY", path.display());
    let secret = || {
        let text = fs::read_to_string(&path).expect("read");
        let secret = text.strip_prefix("A=1\r\nKEY=").and_then(|text| text.strip_suffix(" # comment\r\n"));
        secret.expect("the rest of the file stays").to_owned()
    };
    let mut arguments = create(&to, "Elsewhere");
    arguments.extend(["--allow", "10.9.0.0/16", "--confirm"]);
    let key = made(&iusign(&server, &[], &arguments));
    assert_eq!(key["status"], json!("active"), "{key}");
    let first = secret();
    server.api_with(&first).get("/v1/me").await.refused(403, "ip_not_allowed");
    let id = key["id"].as_str().expect("an id");
    let rotated = made(&iusign(&server, &[], &["keys", "rotate", id, "--json", "--to", &to]));
    assert_eq!(rotated["status"], json!("active"), "{rotated}");
    assert_ne!(secret(), first);
    server.api_with(&secret()).get("/v1/me").await.refused(403, "ip_not_allowed");
}

/// A vault on this machine that answers each request by a function of its method, its path and its body, over plain HTTP.
fn vault_that(answer: impl Fn(&str, &str, &str) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                lines.push(line);
            }
            let Some((method, rest)) = lines.first().and_then(|line| line.split_once(' ')) else { continue };
            let path = rest.split(' ').next().unwrap_or_default();
            let length = lines.iter().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).expect("a body");
            let (status, text) = answer(method, path, &String::from_utf8_lossy(&body));
            let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
            // Whoever asked may be gone.
            let _ = std::io::Write::write_all(&mut reader.into_inner(), (head + &text).as_bytes());
        }
    });
    address
}

const MOUNT: &str = r#"{"data": {"path": "secret/", "options": {"version": "2"}}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_repeats_what_it_was_sent_gives_nothing_away() {
    let server = Server::start(Engine::Sqlite).await;
    let address = vault_that(|method, path, body| match method {
        "GET" if path.contains("mounts") => (200, MOUNT.to_owned()),
        "GET" => (200, json!({"data": {"data": {"other": "hunter2"}, "metadata": {"version": 3}}}).to_string()),
        _ => {
            (400, json!({"errors": [format!("bad:\n{body}"), &body[..body.len() - 30], "x".repeat(5_000)]}).to_string())
        }
    });
    // No proxy sees what goes to this machine: this one would not even answer.
    let dead = format!("http://127.0.0.1:{}", port());
    let variables = [
        ("VAULT_ADDR", address.as_str()),
        ("VAULT_TOKEN", "token-of-mine"),
        ("HTTP_PROXY", dead.as_str()),
        ("http_proxy", dead.as_str()),
    ];
    let output = iusign(&server, &variables, &create("vault:secret/a", "Refused"));
    let said = words(&output);
    assert!(!output.status.success() && said.contains("400 bad:") && said.contains("was revoked again"), "{said}");
    assert!(!said.contains("hunter2") && said.len() < 1_500 && said.trim().lines().count() == 1, "{said}");
    for part in said.split("iusk_").skip(1) {
        assert!(part.starts_with('…'), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vault_held_is_put_back_when_the_new_secret_opens_nothing() {
    let server = Server::start(Engine::Sqlite).await;
    let written = std::sync::Arc::new(std::sync::Mutex::new(Vec::<Value>::new()));
    let held = written.clone();
    let address = vault_that(move |method, path, body| {
        let mut held = held.lock().expect("held");
        match method {
            "GET" if path.contains("mounts") => (200, MOUNT.to_owned()),
            // It loses what is written.
            "GET" => {
                let metadata = json!({"version": held.len()});
                (200, json!({"data": {"data": {"IUSIGN_API_KEY": "old"}, "metadata": metadata}}).to_string())
            }
            _ => {
                held.push(serde_json::from_str(body).expect("JSON"));
                (200, "{}".to_owned())
            }
        }
    });
    let variables = [("VAULT_ADDR", address.as_str()), ("VAULT_TOKEN", "x")];
    let output = iusign(&server, &variables, &create("vault:secret/a", "Lost"));
    let said = words(&output);
    assert!(!output.status.success() && said.contains("something else than was written"), "{said}");
    assert!(said.contains("was revoked again") && said.contains("holds again what it held"), "{said}");
    let written = written.lock().expect("written").clone();
    assert_eq!(written.len(), 2, "the secret, and what was there");
    assert_eq!(written[1], json!({"options": {"cas": 1}, "data": {"IUSIGN_API_KEY": "old"}}));
    assert_eq!(newest(&server).await["status"], json!("revoked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_could_not_be_printed_is_said_to_be_lost() {
    let server = Server::start(Engine::Sqlite).await;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(arguments).env("IUSIGN_API_KEY", &server.key).env("IUSIGN_URL", &server.url);
        command.env("IUSIGN_CA_FILE", server.ca_file()).stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(fs::File::options().write(true).open("/dev/full").expect("opened"));
        let output = command.spawn().expect("the binary runs").wait_with_output().expect("ended");
        (output.status.code(), words(&output))
    };
    let (code, said) = run(&["keys", "create", "--label", "Lost"]);
    let key = newest(&server).await;
    let id = key["id"].as_str().expect("an id");
    assert_eq!((code, &key["label"]), (Some(1), &json!("Lost")), "{said}");
    assert!(said.contains(id) && said.contains("could not be printed") && said.contains("keys revoke"), "{said}");
    let (code, said) = run(&["keys", "rotate", id, "--json"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(id) && said.contains("could not be printed") && said.contains("--replace"), "{said}");
    // Asked again, the server gives no secret: that is no success either.
    let again = iusign(&server, &[], &["keys", "rotate", id]);
    assert_eq!(again.status.code(), Some(1), "{}", words(&again));
    assert!(words(&again).contains("is not shown again") && words(&again).contains(id), "{}", words(&again));
}

/// A real OpenBao in development mode, with TLS by a CA of its own in this folder: its address, and the CA's file.
fn openbao(folder: &Path) -> (Beside, String, String) {
    let port = port();
    let mut command = Command::new(judge::tools().join("venv/bin/bao"));
    command.args(["server", "-dev", "-dev-tls", "-dev-no-store-token", "-dev-root-token-id=root"]);
    command.arg(format!("-dev-tls-cert-dir={}", folder.display()));
    command.arg(format!("-dev-listen-address=127.0.0.1:{port}"));
    let beside = start(&mut command, "Development mode should NOT be used in production");
    (beside, format!("https://127.0.0.1:{port}"), folder.join("vault-ca.pem").display().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_goes_into_a_vault_beside_what_is_there() {
    let server = Server::start(Engine::Sqlite).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (_openbao, address, ca) = openbao(folder.path());
    let root = [("VAULT_ADDR", address.as_str()), ("VAULT_CACERT", ca.as_str()), ("VAULT_TOKEN", "root")];
    let bao = |arguments: &[&str]| {
        let output = Command::new(judge::tools().join("venv/bin/bao"))
            .args(arguments)
            .env("BAO_ADDR", &address)
            .env("BAO_TOKEN", "root")
            .env("BAO_CACERT", &ca)
            .output()
            .expect("bao runs");
        assert!(output.status.success(), "{arguments:?}: {}", words(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let field = |path: &str, name: &str| bao(&["kv", "get", "-mount=secret", &format!("-field={name}"), path]);

    let key = made(&iusign(&server, &root, &create("vault:secret/billing/iusign", "Billing")));
    opens(&server, &field("billing/iusign", "IUSIGN_API_KEY"), &key).await;
    bao(&["kv", "put", "-mount=secret", "shared", "other=stays"]);
    let to = "vault:secret/shared#sign_key";
    let key = made(&iusign(&server, &root, &create(to, "Shared")));
    let first = field("shared", "sign_key");
    let id = key["id"].as_str().expect("an id");
    made(&iusign(&server, &root, &["keys", "rotate", id, "--json", "--to", to]));
    let second = field("shared", "sign_key");
    assert_ne!(first, second);
    assert_eq!(field("shared", "other"), "stays");
    opens(&server, &second, &key).await;
    opens(&server, &first, &key).await;

    // A token that may look but not write: the key that was made for it is revoked again.
    let policy = tempfile::NamedTempFile::new().expect("a file");
    fs::write(policy.path(), "path \"secret/data/*\" { capabilities = [\"read\"] }").expect("written");
    bao(&["policy", "write", "reader", &policy.path().display().to_string()]);
    let token = bao(&["token", "create", "-policy=reader", "-field=token"]);
    let reader = [("VAULT_ADDR", address.as_str()), ("VAULT_CACERT", ca.as_str()), ("VAULT_TOKEN", token.as_str())];
    let output = iusign(&server, &reader, &create("vault:secret/reader", "Not written"));
    let said = words(&output);
    assert!(
        !output.status.success() && said.contains("was revoked again") && said.contains("permission denied"),
        "{said}"
    );
    let left = newest(&server).await;
    assert_eq!((&left["label"], &left["status"]), (&json!("Not written"), &json!("revoked")));

    // In a namespace, and below a mount whose name has a slash.
    bao(&["namespace", "create", "team"]);
    bao(&["secrets", "enable", "-namespace=team", "-path=a/kv", "-version=2", "kv"]);
    let team = [root[0], root[1], root[2], ("VAULT_NAMESPACE", "team")];
    let key = made(&iusign(&server, &team, &create("vault:a/kv/sign", "Of a team")));
    let secret = bao(&["kv", "get", "-namespace=team", "-mount=a/kv", "-field=IUSIGN_API_KEY", "sign"]);
    opens(&server, &secret, &key).await;
    let output = iusign(&server, &[root[0], root[2]], &create("vault:secret/a", "Not trusted"));
    assert!(words(&output).contains("no answer"), "a certificate that nobody vouches for: {}", words(&output));

    bao(&["secrets", "enable", "-path=old", "-version=1", "kv"]);
    for (to, why) in
        [("vault:old/a", "no KV engine of version 2"), ("vault:none/a", "no mount"), ("vault:secret", "below it")]
    {
        let output = iusign(&server, &root, &create(to, "Nowhere"));
        assert!(words(&output).contains(why), "{to}: {}", words(&output));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_goes_to_aws_in_two_stages() {
    let server = Server::start(Engine::Sqlite).await;
    let port = port();
    let mut command = Command::new(judge::tools().join("venv/bin/moto_server"));
    let _moto = start(command.args(["-H", "127.0.0.1", "-p", &port.to_string()]), "Running on");
    let account = account(&port.to_string());
    let account = account.each_ref().map(|(name, value)| (*name, value.as_str()));
    // AWS's own SDK looks at what we wrote. The stage is AWS's default; moto's is the version that was there first.
    let boto = |code: &str| boto(account, code);
    let get = |name: &str| {
        boto(&format!("print(c.get_secret_value(SecretId='{name}',VersionStage='AWSCURRENT')['SecretString'])"))
    };
    let stages = |name: &str| {
        boto(&format!("print(json.dumps(sorted(c.describe_secret(SecretId='{name}')['VersionIdsToStages'].values())))"))
    };

    let to = "aws-secretsmanager:prod/iusign";
    let key = made(&iusign(&server, &account, &create(to, "Billing")));
    let first = get("prod/iusign");
    opens(&server, &first, &key).await;
    let id = key["id"].as_str().expect("an id");
    made(&iusign(&server, &account, &["keys", "rotate", id, "--json", "--to", to]));
    let second = get("prod/iusign");
    assert_ne!(first, second);
    assert_eq!(stages("prod/iusign"), r#"[["AWSCURRENT"], ["AWSPREVIOUS"]]"#);
    opens(&server, &second, &key).await;
    let previous = boto("print(c.get_secret_value(SecretId='prod/iusign',VersionStage='AWSPREVIOUS')['SecretString'])");
    assert_eq!(previous, first);

    boto("c.create_secret(Name='shared',SecretString=json.dumps({'other':'stays'}))");
    let key = made(&iusign(&server, &account, &create("aws-secretsmanager:shared#sign_key", "Shared")));
    let shared: Value = serde_json::from_str(&get("shared")).expect("JSON");
    assert_eq!(shared["other"], json!("stays"));
    opens(&server, shared["sign_key"].as_str().expect("a secret"), &key).await;
    for (to, why) in
        [("aws-secretsmanager:shared", "name the field"), ("aws-secretsmanager:prod/iusign#a", "no JSON object")]
    {
        let output = iusign(&server, &account, &create(to, "Nowhere"));
        assert!(words(&output).contains(why), "{to}: {}", words(&output));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_aws_refuses_half_way_costs_no_program_its_key() {
    let server = Server::start(Engine::Sqlite).await;
    let folder = tempfile::tempdir().expect("a folder");
    let refused = folder.path().join("refused");
    let refuse = |lines: &str| fs::write(&refused, lines).expect("written");
    refuse("");
    let (aws, relay) = (port().to_string(), port().to_string());
    let mut moto = Command::new(judge::tools().join("venv/bin/moto_server"));
    let _moto = start(moto.args(["-H", "127.0.0.1", "-p", &aws]), "Running on");
    let mut refusing = Command::new(judge::python());
    refusing.arg(root().join("tests/tools/refusing.py")).args([&relay, &format!("http://127.0.0.1:{aws}")]);
    let _relay = start(refusing.arg(&refused), "it listens");
    let account = account(&relay);
    let account = account.each_ref().map(|(name, value)| (*name, value.as_str()));
    let asked = |code: &str| boto(account, code);
    let stage = |stage: &str| {
        let versions = "c.describe_secret(SecretId='half')['VersionIdsToStages'].items()";
        asked(&format!("print([id for id, stages in {versions} if '{stage}' in stages])"))
    };
    let to = "aws-secretsmanager:half";
    let key = made(&iusign(&server, &account, &create(to, "Half")));
    let id = key["id"].as_str().expect("an id");
    let rotate = |further: &[&str]| {
        iusign(&server, &account, &[&["keys", "rotate", id, "--json", "--to", to], further].concat())
    };
    let before = stage("AWSCURRENT");

    // Not read back: the new secret was not tried, and what waits for that is taken back.
    refuse("GetSecretValue VersionId\":");
    let said = words(&rotate(&[]));
    assert!(said.contains("the old secret still works") && said.contains("holds again what it held"), "{said}");
    assert_eq!((stage("AWSCURRENT"), stage("AWSPENDING")), (before.clone(), "[]".to_owned()));

    // Nor can it be taken back: it stands, and the next rotation takes its place.
    refuse("GetSecretValue VersionId\":\nUpdateSecretVersionStage");
    let said = words(&rotate(&["--replace"]));
    assert!(said.contains("the old secret still works") && said.contains("can't be taken back"), "{said}");
    assert_eq!(stage("AWSCURRENT"), before);
    assert_ne!(stage("AWSPENDING"), "[]");
    refuse("");
    made(&rotate(&["--replace"]));
    let second = stage("AWSCURRENT");
    assert_ne!(second, before);
    assert_eq!((stage("AWSPREVIOUS"), stage("AWSPENDING")), (before, "[]".to_owned()));

    // Tried, but not made the current one: the new one stays where it waits, to be made that by hand.
    refuse("UpdateSecretVersionStage AWSCURRENT");
    let said = words(&rotate(&["--replace"]));
    assert!(said.contains("before the old one ends") && said.contains("still gives out the old secret"), "{said}");
    assert_eq!(stage("AWSCURRENT"), second);
    assert_ne!(stage("AWSPENDING"), "[]");
    // The stage of what waits can't be taken from it: it is the current one all the same.
    refuse("UpdateSecretVersionStage AWSPENDING");
    made(&rotate(&["--replace"]));
    assert_eq!((stage("AWSCURRENT"), stage("AWSPREVIOUS")), (stage("AWSPENDING"), second));
    opens(
        &server,
        &asked("print(c.get_secret_value(SecretId='half',VersionStage='AWSCURRENT')['SecretString'])"),
        &key,
    )
    .await;

    // Not let in from this machine: nothing has ended yet, so all is put back.
    server.admin(&["tenants", "set-tier", "enterprise"]);
    let elsewhere = json!({ "allowlist": ["192.0.2.1"], "confirm": true }).to_string();
    let key = format!("/v1/keys/{id}");
    server.api().send(reqwest::Method::PATCH, &key, Some("application/json"), elsewhere).await.expect(200);
    let third = stage("AWSCURRENT");
    refuse("UpdateSecretVersionStage AWSCURRENT");
    let said = words(&rotate(&["--replace"]));
    assert!(said.contains("the old secret still works") && said.contains("holds again what it held"), "{said}");
    assert_eq!(stage("AWSCURRENT"), third);
    refuse("");
    made(&rotate(&["--replace"]));
    assert_eq!(stage("AWSPREVIOUS"), third);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_read_from_where_it_lies_and_never_repeated() {
    let server = Server::start(Engine::Sqlite).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    let run = |variables: &[(&str, &str)], arguments: &[&str], input: &str| {
        let mut command = Command::new(binary());
        command.args(arguments).env_remove("IUSIGN_API_KEY").env("IUSIGN_URL", &server.url);
        command.env("IUSIGN_CA_FILE", server.ca_file()).envs(variables.iter().copied());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), input.as_bytes()).expect("written");
        child.wait_with_output().expect("ended")
    };
    let write = |text: &str, mode: u32| {
        fs::write(&file, text).expect("written");
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("a mode");
    };
    let path = |path: &Path| path.display().to_string();
    for dressed in
        [format!("\u{feff}{}\r\n", server.key), format!("\"{}\"", server.key), format!("  '{}'\n\n", server.key)]
    {
        write(&dressed, 0o600);
        assert!(run(&[], &["me", "--key-file", &path(&file)], "").status.success(), "{dressed:?}");
        assert!(run(&[("IUSIGN_API_KEY", &dressed)], &["me"], "").status.success(), "{dressed:?}");
        assert!(run(&[], &["me", "--key-file", "-"], &dressed).status.success(), "{dressed:?}");
    }
    let wrong = format!("{}x", server.key);
    let slips = [
        run(&[("IUSIGN_API_KEY", &wrong)], &["me"], ""),
        run(&[], &["me", "--key-file", "-"], &wrong),
        run(&[("IUSIGN_API_KEY", "hunter2")], &["me"], ""),
    ];
    for (slip, names) in slips.iter().zip(["IUSIGN_API_KEY", "standard input", "IUSIGN_API_KEY"]) {
        let said = words(slip);
        assert_eq!(slip.status.code(), Some(1), "{said}");
        assert!(said.contains(names) && !said.contains(&server.key) && !said.contains("hunter2"), "{said}");
    }
    write(&server.key, 0o644);
    let open = run(&[], &["me", "--key-file", &path(&file)], "");
    assert!(words(&open).contains("chmod 600") && !words(&open).contains(&server.key), "{}", words(&open));
    let argument = run(&[], &["me", "--key", &server.key], "");
    assert_eq!(argument.status.code(), Some(2), "a key is no argument");
}
