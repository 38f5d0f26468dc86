//! `iusign envelopes`: create, list, show, send and take back.

use std::path::PathBuf;

use api::envelope::{Envelope, Message, NewEnvelope, NewField, NewRecipient, NewTemplateRef, Recipient};
use clap::Subcommand;
use client::Client;
use serde_json::Value;

use crate::{
    output, parts,
    remote::{self, PageArgs, Remote},
};

/// `iusign envelopes`.
#[derive(Debug, clap::Args)]
pub struct Envelopes {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create an envelope: from a template, from documents and fields, or from a body as the API takes it
    Create(Box<Create>),
    /// List envelopes, the newest first
    List {
        /// Only in this status: draft, sent, sealing, completed, declined, voided, expired
        #[arg(long)]
        status: Option<String>,
        /// Only made by this batch
        #[arg(long)]
        batch: Option<String>,
        /// Only made from this template
        #[arg(long)]
        template: Option<String>,
        /// Only with this id of your own
        #[arg(long)]
        external_id: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show an envelope
    Get {
        /// Its id, env_…
        id: String,
    },
    /// Send a draft
    Send {
        /// Its id, env_…
        id: String,
    },
    /// Take an envelope back
    Void {
        /// Its id, env_…
        id: String,
        /// Why; it stands in the event
        #[arg(long, default_value_t)]
        reason: String,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The whole body as the API takes it, a JSON file or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["template", "documents", "recipients", "fields", "values"])]
    body: Option<PathBuf>,
    /// The template that it is made from
    #[arg(long, value_name = "TEMPLATE")]
    template: Option<String>,
    /// The template's version [default: the latest]
    #[arg(long, value_name = "NUMBER", requires = "template")]
    template_version: Option<i64>,
    /// A PDF or the id of an uploaded one, may be repeated
    #[arg(long = "document", value_name = "FILE|ID")]
    documents: Vec<String>,
    /// Who is asked, may be repeated: 'Role=Name <name@example.com>'
    #[arg(long = "recipient", value_name = "RECIPIENT", value_parser = parts::recipient)]
    recipients: Vec<NewRecipient>,
    /// A field as the API takes it, may be repeated: '{"type":"signature","anchor":{"text":"Signed"}}'
    #[arg(long = "field", value_name = "JSON", value_parser = parts::field)]
    fields: Vec<NewField>,
    /// A value by field key, may be repeated
    #[arg(long = "value", value_name = "KEY=VALUE", value_parser = parts::pair)]
    values: Vec<(String, Value)>,
    /// A pair of your own, may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parts::pair)]
    metadata: Vec<(String, Value)>,
    /// Its title
    #[arg(long)]
    title: Option<String>,
    /// Your own id, unique in the environment
    #[arg(long)]
    external_id: Option<String>,
    /// The mail's subject
    #[arg(long)]
    subject: Option<String>,
    /// The mail's text, before the link
    #[arg(long)]
    message: Option<String>,
    /// When it expires, RFC 3339
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// The zone of the date on the paper: Europe/Berlin
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Send it at once
    #[arg(long)]
    send: bool,
    /// Create it once, however often this is repeated
    #[arg(long, value_name = "NAME")]
    idempotency_key: Option<String>,
}

/// Does what is asked.
pub async fn run(envelopes: Envelopes, json: bool) -> anyhow::Result<()> {
    let client = envelopes.remote.client()?;
    match envelopes.command {
        Command::Create(create) => {
            let idempotency = create.idempotency_key.clone();
            let new = create.body(&client).await?;
            output::show(json, &client.create_envelope(&new, idempotency.as_deref()).await?, show);
        }
        Command::List { status, batch, template, external_id, page } => {
            let query = page.query(&[
                ("status", status.as_ref()),
                ("batch", batch.as_ref()),
                ("template", template.as_ref()),
                ("external_id", external_id.as_ref()),
            ]);
            let envelopes = client.list_envelopes(&remote::borrowed(&query)).await?;
            output::show(json, &envelopes, |envelopes| {
                let names = ["id", "status", "done", "title", "external id", "created"];
                output::table(&names, &envelopes.data.iter().map(row).collect::<Vec<_>>());
                remote::more(envelopes.next.as_ref());
            });
        }
        Command::Get { id } => output::show(json, &client.get_envelope(&id).await?, show),
        Command::Send { id } => output::show(json, &client.send_envelope(&id).await?, show),
        Command::Void { id, reason } => output::show(json, &client.void_envelope(&id, &reason).await?, show),
    }
    Ok(())
}

impl Create {
    async fn body(self: Box<Self>, client: &Client) -> anyhow::Result<NewEnvelope> {
        let mut new = match &self.body {
            Some(file) => parts::body(file)?,
            None => NewEnvelope {
                template: self.template.map(|id| NewTemplateRef { id, version: self.template_version }),
                documents: parts::documents(client, &self.documents).await?,
                recipients: self.recipients,
                fields: self.fields,
                values: parts::object(self.values)?,
                ..NewEnvelope::default()
            },
        };
        if !self.metadata.is_empty() {
            new.metadata = parts::object(self.metadata)?;
        }
        if self.subject.is_some() || self.message.is_some() {
            let (subject, body) = (self.subject.unwrap_or_default(), self.message.unwrap_or_default());
            new.message = Some(Message { subject, body });
        }
        new.title = self.title.or(new.title);
        new.external_id = self.external_id.or(new.external_id);
        new.expires_at = self.expires_at.or(new.expires_at);
        new.timezone = self.timezone.or(new.timezone);
        new.send = self.send || new.send;
        Ok(new)
    }
}

fn row(envelope: &Envelope) -> Vec<String> {
    vec![
        envelope.id.clone(),
        envelope.status.clone(),
        progress(&envelope.recipients),
        output::plain(&envelope.title),
        output::plain(envelope.external_id.as_deref().unwrap_or_default()),
        output::short_time(&envelope.created_at),
    ]
}

/// `1/2`: how many of those who are asked have acted.
fn progress(recipients: &[Recipient]) -> String {
    let asked = || recipients.iter().filter(|recipient| recipient.kind != "copy" && recipient.status != "replaced");
    format!("{}/{}", asked().filter(|recipient| recipient.status == "completed").count(), asked().count())
}

/// Shows it for people.
pub fn show(envelope: &Envelope) {
    let template = envelope.template.as_ref().map(|template| format!("{} version {}", template.id, template.version));
    let problem = envelope.problem.as_ref().map(|problem| {
        format!("{}: {} ({} tries, again {})", problem.code, problem.detail, problem.attempts, problem.next_attempt_at)
    });
    output::pairs(&[
        ("id", envelope.id.clone()),
        ("title", output::plain(&envelope.title)),
        ("status", format!("{} since {}", envelope.status, output::short_time(&envelope.status_at))),
        ("problem", output::plain(&problem.unwrap_or_default())),
        ("external id", output::plain(envelope.external_id.as_deref().unwrap_or_default())),
        ("template", template.unwrap_or_default()),
        ("batch", envelope.batch_id.clone().unwrap_or_default()),
        ("expires", envelope.expires_at.as_deref().map(output::short_time).unwrap_or_default()),
        ("created", output::short_time(&envelope.created_at)),
    ]);
    if envelope.recipients.is_empty() {
        return;
    }
    output::line("");
    let row = |recipient: &Recipient| {
        vec![
            recipient.order.to_string(),
            output::plain(&recipient.role),
            format!("{} <{}>", output::plain(&recipient.name), output::plain(&recipient.email)),
            recipient.kind.clone(),
            recipient.status.clone(),
            output::plain(&format!("{} {}", recipient.delivery.state, recipient.delivery.detail)),
        ]
    };
    let names = ["turn", "role", "recipient", "kind", "status", "mail"];
    output::table(&names, &envelope.recipients.iter().map(row).collect::<Vec<_>>());
}
