//! Mails of production, through a mail server that others wrote: nothing that anyone typed reaches a header, and what the server
//! says stands on the recipient.

use serde_json::{Value, json};
use tests::{Api, Engine, Server, smtp::MailServer};

macro_rules! with_mail {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(tests::Engine::Sqlite).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if tests::Engine::postgres_is_there() {
                    super::$name(tests::Engine::Postgres).await;
                }
            })*
        }
    };
}

with_mail! {
    what_people_type_can_do_nothing_in_a_mail
    a_refusal_and_a_delay_stand_on_the_recipient
    a_fault_of_the_senders_own_account_bounces_nobody
}

/// A server whose production sends by this mail server, and a caller of production.
async fn production(engine: Engine, mails: &MailServer) -> (Server, Api) {
    let port = mails.port.to_string();
    let from = "\"Northwind, Legal\" <sign@example.com>";
    let arguments = ["--smtp-host", "127.0.0.1", "--smtp-port", &port, "--smtp-from", from, "--smtp-plain"];
    let server = Server::start_with(engine, &arguments).await;
    let (_, secret) = server.key_of(&server.tenant, "production", None).await;
    let api = server.api_with(&secret);
    (server, api)
}

async fn send(api: &Api, title: &str, subject: &str, body: &str, recipients: &[(&str, &str)]) -> Value {
    let document = api.sample().await;
    let role = |at: usize| format!("R{at}");
    let people: Vec<_> = recipients
        .iter()
        .enumerate()
        .map(|(at, (name, email))| json!({ "role": role(at), "name": name, "email": email }))
        .collect();
    let fields: Vec<_> = (0..recipients.len())
        .map(|at| json!({ "type": "signature", "recipient": role(at), "page": 1, "x": 72, "y": 100 + 50 * at }))
        .collect();
    let message = json!({ "subject": subject, "body": body });
    api.create(json!({
        "title": title, "documents": [document], "recipients": people, "fields": fields, "message": message, "send": true
    }))
    .await
}

async fn what_people_type_can_do_nothing_in_a_mail(engine: Engine) {
    let mails = MailServer::start(false);
    let (server, api) = production(engine, &mails).await;
    let names = [
        "Lovelace, Ada",
        "\"Ada\" <evil@example.org>",
        "山田 太郎, Société Générale",
        "a@b.example, c@d.example; (x)",
        "=?utf-8?q?Bcc=3A?= \\\" ;",
        "Wolfe schlegel steinhausen berger dorff welche vor altern waren gewissen hafte schafers wessen schafe waren wohl gepflege und sorg faltigkeit beschutzen vor an greifen durch ihr raub Nobody",
    ];
    for (at, name) in names.iter().enumerate() {
        let address = format!("ada{at}@example.com");
        let title = format!("Vertrag „{name}“").chars().take(200).collect::<String>();
        let body = "Dear reader,\n.\r\nBcc: evil@example.org\n\nÄ line that is long: ".to_owned() + &"x".repeat(1_200);
        let envelope = send(&api, &title, "", &body, &[(name, &address)]).await;
        let mail = mails.mail();
        assert_eq!(mail["to"], json!([address]), "{mail}");
        assert_eq!(mail["addressed"], json!([[name, address]]), "{mail}");
        assert_eq!(mail["sender"], json!([["Northwind, Legal", "sign@example.com"]]), "{mail}");
        assert!(mail["subject"].as_str().expect("a subject").ends_with(&title), "{mail}");
        assert_eq!((&mail["defects"], &mail["is_ascii"]), (&json!([]), &json!(true)), "{mail}");
        assert!(mail["longest_line"].as_u64().expect("a number") <= 998, "{mail}");
        let allowed = [
            "from",
            "to",
            "subject",
            "message-id",
            "date",
            "mime-version",
            "content-type",
            "content-transfer-encoding",
        ];
        for header in mail["names"].as_array().expect("names") {
            let header = header.as_str().expect("a name").to_ascii_lowercase();
            assert!(allowed.contains(&header.as_str()), "{header}: {mail}");
        }
        let text = mail["text"].as_str().expect("text").replace("\r\n", "\n");
        let link = format!("{}/sign/", server.url);
        assert!(text.contains("\n.\nBcc: evil@example.org\n") && text.contains(&link) && text.contains(name), "{text}");
        let id = envelope["id"].as_str().expect("an id");
        api.wait_for(id, "recipient.notified").await;
        let delivery = &api.envelope(id).await["recipients"][0]["delivery"];
        assert_eq!(
            (&delivery["state"], &delivery["detail"]),
            (&json!("accepted"), &json!("250 2.0.0 Taken as <queue-7>"))
        );
        let message_id = mail["message_id"].as_str().expect("an id");
        assert!(message_id.ends_with("@example.com>"), "{message_id}");
    }
    let broken = json!({
        "title": "A\r\nBcc: evil@example.org", "documents": [api.sample().await],
        "recipients": [{ "name": "Ada\nBcc: evil@example.org", "email": "ada@example.com>\r\nRCPT TO:<evil@example.org" }],
        "fields": [{ "type": "signature", "page": 1, "x": 72, "y": 100 }],
        "message": { "subject": "A\u{0}B", "body": "" }, "send": true
    });
    let refused = api.post("/v1/envelopes", broken).await;
    let pointers: Vec<_> = refused.faults().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(refused.status, 422, "{}", refused.text());
    for pointer in ["/title", "/message/subject", "/recipients/0/name", "/recipients/0/email"] {
        assert!(pointers.iter().any(|one| one == pointer), "{pointer}: {pointers:?}");
    }
    assert_eq!(mails.others(), Vec::<Value>::new());
}

async fn a_refusal_and_a_delay_stand_on_the_recipient(engine: Engine) {
    let mails = MailServer::start(false);
    let (_server, api) = production(engine, &mails).await;
    let people = [("Ada", "unknown@example.com"), ("Grace", "later@example.com")];
    let envelope = send(&api, "Order", "", "", &people).await;
    let id = envelope["id"].as_str().expect("an id");
    let bounced = api.wait_for(id, "recipient.bounced").await;
    assert_eq!(bounced["data"]["delivery"], json!({ "state": "bounced", "detail": "550 5.1.1 No such user here" }));
    let mail = mails.mail();
    assert_eq!(
        (&mail["to"], &mail["tries"]["later@example.com"]),
        (&json!(["later@example.com"]), &json!(2)),
        "{mail}"
    );
    api.wait_for(id, "recipient.notified").await;
    let recipients = api.envelope(id).await["recipients"].clone();
    let states: Vec<_> = (0..2).map(|at| [&recipients[at]["delivery"]["state"], &recipients[at]["status"]]).collect();
    assert_eq!(states, [[&json!("bounced"), &json!("waiting")], [&json!("accepted"), &json!("notified")]]);

    // One address, two people: one mail, with the link of each.
    let envelope = send(&api, "Lease", "", "", &[("Ann", "both@example.com"), ("Bob", "both@example.com")]).await;
    let mail = mails.mail();
    let text = mail["text"].as_str().expect("text");
    assert!(text.contains("Hello Ann, Bob,") && text.matches("/sign/").count() == 2, "{text}");
    let id = envelope["id"].as_str().expect("an id");
    api.wait_for(id, "recipient.notified").await;
    let recipients = api.envelope(id).await["recipients"].clone();
    assert!((0..2).all(|at| recipients[at]["status"] == json!("notified")), "{recipients}");
    assert_eq!(mails.others(), Vec::<Value>::new());
}

async fn a_fault_of_the_senders_own_account_bounces_nobody(engine: Engine) {
    let mails = MailServer::start(true);
    let (server, api) = production(engine, &mails).await;
    let envelope = send(&api, "Order", "", "", &[("Ada", "ada@example.com")]).await;
    let id = envelope["id"].as_str().expect("an id");
    // It is tried again and again: the outbox says so, and nobody is told that the address is bad.
    let tried = || server.sql("SELECT attempts FROM jobs WHERE kind = 'mail'");
    for _ in 0..600 {
        if tried().first().is_some_and(|attempts| attempts.parse::<u32>().is_ok_and(|attempts| attempts >= 2)) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(tried()[0].parse::<u32>().expect("a number") >= 2);
    let recipient = api.envelope(id).await["recipients"][0].clone();
    assert_eq!((&recipient["delivery"]["state"], &recipient["status"]), (&json!("queued"), &json!("waiting")));
    assert!(server.sql("SELECT error FROM jobs WHERE kind = 'mail'")[0].contains("530 5.7.0 Authentication required"));
}
