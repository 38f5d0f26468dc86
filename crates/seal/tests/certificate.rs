//! The certificate of completion and the joined file: made, read again by foreign eyes, and as large as they should be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::path::Path;

use seal::{
    Certificate, CertificateDocument, CertificateMail, CertificateRecipient, Mark, certificate, combine, find, render,
};

fn digest(digit: &str) -> String {
    digit.repeat(64)
}

fn recipient(number: u32, name: &str, signature: Mark) -> CertificateRecipient {
    let fact = |label: &str, value: &str| (label.to_owned(), value.to_owned());
    CertificateRecipient {
        id: format!("rec_01k5h2v8mq7w3x9y4z6a8b0c{number:02}"),
        name: name.into(),
        email: format!("recipient{number}@client.example"),
        kind: "signer".into(),
        order: number,
        authentication: "Link sent by mail, opened once; no further factor was asked for".into(),
        consent: Some("Version 2026-01, English, 2026-11-25 09:14:07 +00:00".into()),
        facts: vec![
            fact("Mail sent", "2026-11-25 09:02:11 +00:00"),
            fact("First viewed", "2026-11-25 09:13:44 +00:00"),
            fact("Signed", "2026-11-25 09:16:30 +00:00"),
            fact("Address", "203.0.113.40, seen directly"),
            fact(
                "User agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
            ),
        ],
        signature: Some(signature),
        signature_how: Some("Typed by the recipient, set in a script face".into()),
    }
}

fn data(recipients: u32) -> Certificate {
    let ink = (0..60).map(|i| (f64::from(i) / 60.0, 0.5 + 0.38 * (f64::from(i) * 0.4).sin())).collect();
    let names = ["Ada Lovelace", "Zoë Müller-Ωμέγα", "Журавлёва Анна", "山田太郎"];
    Certificate {
        envelope_id: "env_01k5h2v8mq7w3x9y4z6a8b0c2d".into(),
        external_id: Some("CRM-2026-004711".into()),
        subject: "Service agreement with Northwind Legal: please sign by the end of November".into(),
        environment: "development".into(),
        banner: Some("TEST · made in development, of no legal effect".into()),
        zone: "UTC, offset +00:00 throughout".into(),
        created: "2026-11-25 09:02:09 +00:00".into(),
        sent: "2026-11-25 09:02:10 +00:00".into(),
        completed: "2026-11-25 09:21:55 +00:00".into(),
        documents: vec![CertificateDocument {
            id: "doc_01k5h2v8mq7w3x9y4z6a8b0c2e".into(),
            name: "service-agreement-with-a-rather-long-file-name-that-has-to-wrap-over-two-lines-in-the-end-as-names-sometimes-do.pdf".into(),
            pages: 4,
            digests: vec![("original".into(), digest("3")), ("sealed".into(), digest("f"))],
        }],
        sender: "API key key_01k5h2v8mq7w3x9y4z6a8b0c2f, \"CRM nightly batch\"".into(),
        sender_address: "198.51.100.7".into(),
        recipients: (1..=recipients)
            .map(|number| {
                let name = names[number as usize % names.len()];
                let mark = if number % 2 == 0 { Mark::Ink { strokes: vec![Vec::clone(&ink)] } } else { Mark::Signature { text: name.into() } };
                recipient(number, name, mark)
            })
            .collect(),
        mails: (0..14 * recipients)
            .map(|number| CertificateMail {
                time: format!("2026-11-25 09:{:02}:11 +00:00", number % 60),
                what: "invitation: accepted, handed over to the mail server".into(),
                to: "recipient1@client.example".into(),
            })
            .collect(),
        seal_certificate: format!("CN=IUSign seal of Northwind Legal (self-signed), serial 4f21a9, SHA-256 {}", digest("a")),
        timestamp: "None: no timestamping authority is set up; the times are those of the server's clock".into(),
        chain_head: digest("9"),
        how_to_verify: vec![
            "Run \"iusign verify FILE.pdf --trust seal.pem\" on the sealed file. It needs no network and answers VALID only if the file is unchanged to its last byte.".into(),
            "Any other program that knows PAdES shows the same, with the seal certificate above as its trusted root.".into(),
        ],
    }
}

#[test]
fn everything_that_the_data_say_is_found_as_text_on_the_certificate() {
    let data = data(2);
    let pdf = certificate::certificate(&data).unwrap();
    keep("certificate.pdf", &pdf);
    let mut wanted = vec![
        data.envelope_id.clone(),
        data.sender.clone(),
        data.subject.clone(),
        data.documents[0].name.clone(),
        digest("3"),
        digest("f"),
        digest("9"),
        data.seal_certificate.clone(),
        data.banner.clone().unwrap(),
    ];
    for recipient in &data.recipients {
        wanted.extend([recipient.id.clone(), recipient.name.clone(), recipient.authentication.clone()]);
        wanted.extend(recipient.facts.iter().map(|(_, value)| value.clone()));
    }
    let squeezed = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
    let opened = render::open(pdf).unwrap();
    let text: String =
        opened.pages().iter().flat_map(|page| find::glyphs(page).unwrap()).map(|glyph| glyph.text).collect();
    for value in wanted {
        assert!(squeezed(&text).contains(&squeezed(&value)), "not on the certificate: {value}");
    }
}

#[test]
fn the_same_data_make_the_same_bytes_and_many_recipients_more_pages() {
    let pdf = certificate::certificate(&data(12)).unwrap();
    keep("certificate-long.pdf", &pdf);
    assert!(lopdf::Document::load_mem(&pdf).unwrap().get_pages().len() > 6);
    assert_eq!(pdf, certificate::certificate(&data(12)).unwrap());
}

#[test]
fn joined_documents_keep_their_pages_and_bookmarks() {
    let sample =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/sample/service-agreement.pdf")).unwrap();
    let certificate = certificate::certificate(&data(1)).unwrap();
    let pages = lopdf::Document::load_mem(&certificate).unwrap().get_pages().len();
    let joined = combine::combine(vec![
        ("Service agreement".into(), sample.clone()),
        ("The same, once more – Ωμέγα".into(), sample),
        ("Certificate".into(), certificate),
    ])
    .unwrap();
    keep("combined.pdf", &joined);
    let document = lopdf::Document::load_mem(&joined).unwrap();
    assert_eq!(document.get_pages().len(), 8 + pages);
    let opened = render::open(joined).unwrap();
    let with_signatures: Vec<usize> = (0..opened.pages().len())
        .filter(|index| {
            let glyphs = find::glyphs(&opened.pages()[*index]).unwrap();
            glyphs.iter().map(|glyph| glyph.text.as_str()).collect::<String>().contains("Signed for the client")
        })
        .collect();
    assert_eq!(with_signatures, [3, 7]);
}

/// Leaves a file to look at, where a folder for that is named.
fn keep(name: &str, pdf: &[u8]) {
    if let Some(folder) = std::env::var_os("IUSIGN_LOOK") {
        std::fs::write(Path::new(&folder).join(name), pdf).unwrap();
    }
}
