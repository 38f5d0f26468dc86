//! What the demo signs: the sample contract, its fields by anchors, and the rows of a batch.

use api::{
    envelope::{Anchor, Message, NewField},
    template::{NewRole, NewTemplate},
};
use serde::Deserialize;

/// The contract's name.
pub const FILENAME: &str = "service-agreement.pdf";
/// Who signs second, for the sender.
pub const PROVIDER: (&str, &str) = ("Maeve Byrne", "maeve.byrne@northwind.example");

/// The roles.
pub const CLIENT_ROLE: &str = "Client";
pub const PROVIDER_ROLE: &str = "Provider";

const CLIENTS: &str = include_str!("clients.csv");

/// The width of a line to write on.
const LINE_PT: f64 = 190.0;

/// A client of the sender.
#[derive(Debug, Deserialize)]
pub struct Person {
    pub name: String,
    pub email: String,
    pub company: String,
    pub region: String,
}

/// The clients.
pub fn people() -> anyhow::Result<Vec<Person>> {
    Ok(csv::Reader::from_reader(CLIENTS.as_bytes()).deserialize().collect::<Result<_, _>>()?)
}

/// The file of rows, as a person would send it. `run` tells this run's contracts from earlier ones'.
pub fn rows(people: &[Person], run: &str) -> anyhow::Result<Vec<u8>> {
    let mut file = csv::Writer::from_writer(Vec::new());
    file.write_record([
        "external_id",
        "Client.name",
        "Client.email",
        "Provider.name",
        "Provider.email",
        "values.client_company",
        "metadata.region",
    ])?;
    for (number, person) in (1..).zip(people) {
        let id = format!("SA-{run}-{number:02}");
        file.write_record([&id, &person.name, &person.email, PROVIDER.0, PROVIDER.1, &person.company, &person.region])?;
    }
    Ok(file.into_inner()?)
}

/// The template over the uploaded document.
pub fn template(document: &str) -> NewTemplate {
    let role = |name: &str, order| NewRole { name: name.to_owned(), kind: None, order: Some(order) };
    NewTemplate {
        name: "Service agreement".to_owned(),
        title: Some("Service agreement with Northwind Legal".to_owned()),
        documents: vec![document.to_owned()],
        roles: vec![role(CLIENT_ROLE, 1), role(PROVIDER_ROLE, 2)],
        fields: fields(),
        message: Message {
            subject: "Your service agreement with Northwind Legal".to_owned(),
            body: "Please read the agreement and its two schedules, and sign it on the last page.".to_owned(),
        },
    }
}

/// The fields, each beside a text of the document: where a text stands may change, what it says does not.
fn fields() -> Vec<NewField> {
    let field =
        |role: &str, key: &str, kind: &str, text: &str, (dx, dy, width, height): (f64, f64, f64, f64)| NewField {
            key: Some(key.to_owned()),
            kind: kind.to_owned(),
            recipient: Some(role.to_owned()),
            anchor: Some(Anchor { text: text.to_owned(), occurrence: None, dx, dy }),
            width: Some(width),
            height: Some(height),
            required: Some(true),
            ..NewField::default()
        };
    let signature = (0.0, 15.0, LINE_PT, 50.0);
    let line = (0.0, 12.0, LINE_PT, 17.0);
    let title = NewField {
        default: Some("Head of Legal Operations".into()),
        ..field(PROVIDER_ROLE, "provider_title", "text", "Provider title", line)
    };
    vec![
        field(CLIENT_ROLE, "client_signature", "signature", "Signed for the client", signature),
        field(CLIENT_ROLE, "client_name", "name", "Client name", line),
        field(CLIENT_ROLE, "client_company", "text", "Client company", line),
        field(CLIENT_ROLE, "client_date", "date_signed", "Date signed by client", line),
        field(
            CLIENT_ROLE,
            "schedules_received",
            "checkbox",
            "The client has received Schedules A and B",
            (-19.0, -2.0, 11.0, 11.0),
        ),
        field(PROVIDER_ROLE, "provider_signature", "signature", "Signed for Northwind Legal", signature),
        field(PROVIDER_ROLE, "provider_name", "name", "Provider name", line),
        title,
        field(PROVIDER_ROLE, "provider_date", "date_signed", "Date signed by provider", line),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_five_rows_are_written_with_their_commas() {
        let people = people().expect("people");
        assert_eq!(people.len(), 25);
        let rows = String::from_utf8(rows(&people, "x").expect("rows")).expect("UTF-8");
        assert_eq!(rows.lines().count(), 26);
        assert!(rows.contains("SA-x-14,María José Herrera,mj.herrera@oliviadelsur.example"));
        assert!(rows.contains("\"Olivia del Sur, S.L.\""));
    }
}
