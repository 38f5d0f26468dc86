//! `iusign templates`: create, list and show.

use std::path::PathBuf;

use api::{
    envelope::{Message, NewField},
    template::{NewRole, NewTemplate, Template},
};
use clap::Subcommand;

use crate::{
    output, parts,
    remote::{self, PageArgs, Remote},
};

/// `iusign templates`.
#[derive(Debug, clap::Args)]
pub struct Templates {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a template
    Create(Create),
    /// List templates, the newest first
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a template in its latest version
    Get {
        /// Its id, tpl_…
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The whole body as the API takes it, a JSON file or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "documents", "roles", "fields"])]
    body: Option<PathBuf>,
    /// Its name
    #[arg(long, required_unless_present = "body")]
    name: Option<String>,
    /// The title of what is made from it [default: its name]
    #[arg(long)]
    title: Option<String>,
    /// A PDF or the id of an uploaded one, may be repeated
    #[arg(long = "document", value_name = "FILE|ID")]
    documents: Vec<String>,
    /// Who stands in it, may be repeated: Client, or Client:approver, or Client:signer:2 for the second turn
    #[arg(long = "role", value_name = "ROLE", value_parser = role)]
    roles: Vec<NewRole>,
    /// A field as the API takes it, may be repeated: '{"type":"signature","recipient":"Client","anchor":{"text":"Signed"}}'
    #[arg(long = "field", value_name = "JSON", value_parser = parts::field)]
    fields: Vec<NewField>,
    /// The mail's subject
    #[arg(long)]
    subject: Option<String>,
    /// The mail's text, before the link
    #[arg(long)]
    message: Option<String>,
}

fn role(text: &str) -> Result<NewRole, String> {
    let mut parts = text.split(':').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty()).ok_or("a role has a name")?.to_owned();
    let kind = parts.next().filter(|kind| !kind.is_empty()).map(str::to_owned);
    let order = parts.next().map(str::parse).transpose().map_err(|_| "a role's turn is a number from 1")?;
    if parts.next().is_some() {
        return Err("write a role as Name, Name:kind or Name:kind:turn".to_owned());
    }
    Ok(NewRole { name, kind, order })
}

/// Does what is asked.
pub async fn run(templates: Templates, json: bool) -> anyhow::Result<()> {
    let client = templates.remote.client()?;
    match templates.command {
        Command::Create(create) => {
            let mut new = match &create.body {
                Some(file) => parts::body(file)?,
                None => NewTemplate {
                    name: create.name.unwrap_or_default(),
                    documents: parts::documents(&client, &create.documents).await?,
                    roles: create.roles,
                    fields: create.fields,
                    ..NewTemplate::default()
                },
            };
            new.title = create.title.or(new.title);
            if create.subject.is_some() || create.message.is_some() {
                let (subject, body) = (create.subject.unwrap_or_default(), create.message.unwrap_or_default());
                new.message = Message { subject, body };
            }
            output::show(json, &client.create_template(&new).await?, show);
        }
        Command::List { page } => {
            let templates = client.list_templates(&remote::borrowed(&page.query(&[]))).await?;
            output::show(json, &templates, |templates| {
                let row = |template: &Template| {
                    let roles = template.roles.iter().map(|role| output::plain(&role.name)).collect::<Vec<_>>();
                    vec![
                        template.id.clone(),
                        output::plain(&template.name),
                        template.version.to_string(),
                        roles.join(", "),
                        output::short_time(&template.created_at),
                    ]
                };
                let names = ["id", "name", "version", "roles", "created"];
                output::table(&names, &templates.data.iter().map(row).collect::<Vec<_>>());
                remote::more(templates.next.as_ref());
            });
        }
        Command::Get { id } => output::show(json, &client.get_template(&id).await?, show),
    }
    Ok(())
}

fn show(template: &Template) {
    let roles = template.roles.iter().map(|role| format!("{} ({}, turn {})", role.name, role.kind, role.order));
    let documents = template.documents.iter().map(|document| document.filename.as_str()).collect::<Vec<_>>();
    output::pairs(&[
        ("id", template.id.clone()),
        ("name", output::plain(&template.name)),
        ("version", template.version.to_string()),
        ("title", output::plain(&template.title)),
        ("roles", output::plain(&roles.collect::<Vec<_>>().join(", "))),
        ("documents", output::plain(&documents.join(", "))),
    ]);
    output::line("");
    let row = |field: &api::envelope::Field| {
        vec![
            output::plain(&field.key),
            field.kind.clone(),
            output::plain(&field.recipient),
            field.page.to_string(),
            format!("{:.0}, {:.0}", field.x, field.y),
            if field.required { "yes" } else { "no" }.to_owned(),
        ]
    };
    let names = ["field", "type", "role", "page", "x, y", "required"];
    output::table(&names, &template.fields.iter().map(row).collect::<Vec<_>>());
}
