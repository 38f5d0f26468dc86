//! The files that tests upload: the sample contract, small ones made here, and ones that are not what they say.

use std::fmt::Write;

use serde_json::{Value, json};

/// The sample contract's place in the tree.
pub const SAMPLE: &str = "web/sample/service-agreement.pdf";

/// The sample contract: four pages, A4, with anchors such as "Signed for the client" on the last.
pub fn sample() -> Vec<u8> {
    std::fs::read(crate::server::root().join(SAMPLE)).expect("the sample contract")
}

/// The fields of a client and, where `both`, of the provider, by anchors on the sample's last page.
pub fn sample_fields(both: bool) -> Value {
    let field = |role: &str, kind: &str, key: &str, text: &str| json!({ "type": kind, "key": key, "recipient": role, "anchor": { "text": text, "dy": 13 } });
    let mut fields = vec![
        field("Client", "signature", "client_signature", "Signed for the client"),
        field("Client", "name", "client_name", "Client name"),
        field("Client", "text", "client_company", "Client company"),
        field("Client", "date_signed", "client_date", "Date signed by client"),
    ];
    if both {
        fields.extend([
            field("Provider", "signature", "provider_signature", "Signed for Northwind Legal"),
            field("Provider", "text", "provider_title", "Provider title"),
        ]);
    }
    fields.into()
}

/// An envelope of the sample contract for one client: send it with `send: true`.
pub fn for_one(document: &str, email: &str) -> Value {
    json!({
        "title": "Service agreement",
        "documents": [document],
        "recipients": [{ "role": "Client", "name": "Taro Yamada", "email": email }],
        "fields": sample_fields(false),
        "send": true
    })
}

/// An envelope of the sample contract for a client and, after the client, the provider.
pub fn for_two(document: &str) -> Value {
    json!({
        "title": "Service agreement",
        "documents": [document],
        "recipients": [
            { "role": "Client", "name": "Taro Yamada", "email": "taro@example.com", "order": 1 },
            { "role": "Provider", "name": "Nora Wind", "email": "nora@example.com", "order": 2 }
        ],
        "fields": sample_fields(true),
        "send": true
    })
}

/// A PDF of these objects, numbered from 1; the first is the catalog.
pub fn pdf(objects: &[String]) -> Vec<u8> {
    let mut text = String::from("%PDF-1.7\n");
    let mut places = Vec::with_capacity(objects.len());
    for (at, object) in objects.iter().enumerate() {
        places.push(text.len());
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} 0 obj\n{object}\nendobj", at + 1);
    }
    let table = text.len();
    let _ = writeln!(text, "xref\n0 {}\n0000000000 65535 f ", objects.len() + 1);
    for place in places {
        let _ = writeln!(text, "{place:010} 00000 n ");
    }
    let _ = writeln!(text, "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF", objects.len() + 1);
    text.into_bytes()
}

/// One page of this size with a line of text.
pub fn small(width: u32, height: u32, line: &str) -> Vec<u8> {
    let content = format!("BT /F1 12 Tf 20 {} Td ({line}) Tj ET", height - 30);
    pdf(&[
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
        ),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ])
}

/// A page filled by a pattern that is filled by a pattern, and so on: some readers recurse until their stack ends.
pub fn nested_patterns(depth: usize) -> Vec<u8> {
    let content = "/Pattern cs /P scn 0 0 200 200 re f";
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R /Resources << /Pattern << /P 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
    ];
    for level in 0..depth {
        let number = 5 + level;
        let (content, resources) = if level + 1 < depth {
            (content, format!("<< /Pattern << /P {} 0 R >> >>", number + 1))
        } else {
            ("1 0 0 rg 0 0 200 200 re f", "<< >>".to_owned())
        };
        objects.push(format!(
            "<< /Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 200 200] /XStep 200 /YStep 200 /Resources {resources} /Length {} >>\nstream\n{content}\nendstream",
            content.len()
        ));
    }
    pdf(&objects)
}

/// The smallest PNG.
pub const PNG: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0, 1, 8,
    6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0x0d, b'I', b'D', b'A', b'T', 0x78, 0x9c, 0x63, 0xf8, 0xff, 0xff,
    0x3f, 0, 5, 0xfe, 2, 0xfe, 0xa7, 0x35, 0x81, 0x84, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];
