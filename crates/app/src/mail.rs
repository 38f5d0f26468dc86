//! Mails: the outbox, the capture box of development and staging, and SMTP for production.
//!
//! A mail's words are made when it goes out, and its link is computed then: no row holds one. Once by our books; a crash
//! between the server's 250 and our commit may send it again, under the same Message-ID.

use std::error::Error as _;

use gate::Pass;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::authentication::Credentials,
};
use model::{
    Caller, EnvScope, Environment, Id, MailId, Problem, Timestamp,
    envelope::{Effect, Envelope, Moved, Purpose},
    event::NewEvent,
    id::Kind,
    link::Link,
    mail::{Mail, MailState},
    recipient::{DeliveryState, Recipient},
};
use store::{Tx, job::Job};

use crate::{App, Smtp, job::Outcome};

/// What a captured mail says of how it went.
pub(crate) const CAPTURED: &str = "Kept in the capture box.";

/// Attempts for a mail that the server puts off; about a day.
pub(crate) const ATTEMPTS_MAX: u32 = 12;

/// Refusals of the operator's account, not of a recipient's address (RFC 4954, 6): the mails wait until it is mended.
const OWN_FAULTS: [u16; 4] = [530, 534, 535, 538];

/// Characters of a server's words that are kept.
const SAID_CHARS_MAX: usize = 500;

/// A mail in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
}

/// A captured mail, with its words as they would have gone out.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    /// The row.
    pub mail: Mail,
    /// The recipient's name.
    pub name: String,
    /// The words.
    pub words: Words,
}

impl App {
    /// The mails that a move asks for, one for each address and turn. Development's and staging's go nowhere: they are
    /// captured at once, in the transaction of the move, and that is one of its events.
    pub(crate) fn mails_of(&self, envelope: &mut Envelope, moved: &mut Moved) -> Vec<Mail> {
        let (now, captures) = (self.now(), captures(envelope.scope));
        let mut mails: Vec<Mail> = Vec::new();
        for effect in &moved.effects {
            let Effect::Mail(id, purpose) = effect else { continue };
            let Some(to) = envelope.recipients.iter().find(|recipient| recipient.id == *id) else { continue };
            let turn = if *purpose == Purpose::Invite { to.order } else { 0 };
            if mails.iter().any(|mail| mail.address == to.email && mail.turn == turn && mail.purpose == *purpose) {
                continue;
            }
            mails.push(Mail {
                id: self.id(),
                envelope: envelope.id,
                recipient: to.id,
                purpose: *purpose,
                turn,
                address: to.email.clone(),
                state: if captures { MailState::Captured } else { MailState::Queued },
                detail: if captures { CAPTURED.to_owned() } else { String::new() },
                created_at: now,
                state_at: now,
            });
        }
        if captures {
            for mail in &mails {
                moved.events.extend(delivered(envelope, mail, DeliveryState::Accepted, CAPTURED, now));
            }
        }
        mails
    }

    /// Writes mails into the outbox, and a job for each that is to go out.
    pub(crate) async fn enqueue_mails(&self, tx: &mut Tx, scope: EnvScope, mails: Vec<Mail>) -> Result<(), Problem> {
        if mails.is_empty() {
            return Ok(());
        }
        let written = store::mail::insert(tx, scope, &mails).await?;
        if !captures(scope) {
            let jobs: Vec<_> = written.iter().map(|id| self.new_job(scope, "mail", id.to_string())).collect();
            store::job::enqueue_all(tx, &jobs).await?;
        }
        Ok(())
    }

    /// Sends the mail that the job names.
    pub(crate) async fn run_mail(&self, job: &Job) -> Result<Outcome, Problem> {
        let id: MailId = job.object.parse().map_err(Problem::fault)?;
        let mut tx = self.read().await?;
        let Some(mail) = store::mail::get(&mut tx, job.scope, id).await? else { return Ok(Outcome::Done) };
        if mail.state != MailState::Queued {
            return Ok(Outcome::Done);
        }
        let Some(envelope) = store::envelope::get(&mut tx, job.scope, mail.envelope).await? else {
            return Ok(Outcome::Done);
        };
        drop(tx);
        let Some(recipient) = envelope.recipients.iter().find(|r| r.id == mail.recipient) else {
            return Ok(Outcome::Done);
        };
        if mail.purpose == Purpose::Invite && !recipient.status.is_open() {
            return self
                .went(job, &mail, MailState::Failed, "Not sent: nothing is asked of this recipient any more.")
                .await;
        }
        let Some(smtp) = &self.config.smtp else {
            return Err(Problem::fault("no mail server is configured: set [smtp] in the configuration"));
        };
        match send(smtp, mail.id, (&recipient.name, &mail.address), self.words(&mail, recipient, &envelope)).await {
            Ok(said) => self.went(job, &mail, MailState::Accepted, &said).await,
            Err(Refused { is_final: true, said }) => self.went(job, &mail, MailState::Bounced, &said).await,
            Err(Refused { said, .. }) if job.attempts + 1 >= ATTEMPTS_MAX => {
                self.went(job, &mail, MailState::Failed, &said).await
            }
            Err(Refused { said, .. }) => Err(Problem::fault(said)),
        }
    }

    /// Writes down how a mail went; an invitation's fate is the recipient's too.
    async fn went(&self, job: &Job, mail: &Mail, state: MailState, said: &str) -> Result<Outcome, Problem> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let envelope = store::envelope::lock(&mut tx, job.scope, mail.envelope).await?;
        if store::mail::set_state(&mut tx, job.scope, mail.id, state, said, now).await? {
            store::job::done(&mut tx, job).await?;
            let delivery = match state {
                MailState::Queued => DeliveryState::Queued,
                MailState::Captured | MailState::Accepted => DeliveryState::Accepted,
                MailState::Bounced => DeliveryState::Bounced,
                MailState::Failed => DeliveryState::Failed,
            };
            if let Some(mut envelope) = envelope {
                let events = delivered(&mut envelope, mail, delivery, said, now);
                if !events.is_empty() {
                    let moved = Moved { events, effects: Vec::new() };
                    self.moved(&mut tx, &Caller::system(job.scope), &mut envelope, moved).await?;
                }
            }
            tx.commit().await?;
            self.watch.nudge();
            return Ok(Outcome::Committed);
        }
        Ok(Outcome::Done)
    }

    /// A mail's words, with the link that is computed for it.
    pub(crate) fn words(&self, mail: &Mail, to: &Recipient, envelope: &Envelope) -> Words {
        let title = &envelope.title;
        let tenant = &envelope.body.sender.tenant;
        let url_of = |to: &Recipient| {
            let link = Link::make(&self.config.master_key, to.link, to.link_generation);
            format!("{}/sign/{}", self.config.public_url, link.expose())
        };
        let url = url_of(to);
        let (subject, text) = match mail.purpose {
            Purpose::Invite => {
                let subject = Some(envelope.body.message.subject.clone()).filter(|subject| !subject.trim().is_empty());
                let own = match envelope.body.message.body.trim() {
                    "" => String::new(),
                    body => format!("{body}\n\n"),
                };
                let until = envelope.expires_at.map_or_else(String::new, |at| {
                    format!("\n\nThe link works until {}.", at.words_in(&envelope.body.timezone))
                });
                let all = addressed(mail, envelope);
                let names = all.iter().map(|to| to.name.as_str()).collect::<Vec<_>>().join(", ");
                let links = match all.as_slice() {
                    [] | [_] => format!("Read and sign it here:\n{url}"),
                    all => {
                        let each = all.iter().map(|to| format!("{}:\n{}", to.name, url_of(to))).collect::<Vec<_>>();
                        format!("Each of you reads and signs it by a link of your own.\n\n{}", each.join("\n\n"))
                    }
                };
                (
                    subject.unwrap_or_else(|| format!("{tenant} asks you to sign: {title}")),
                    format!(
                        "Hello {names},\n\n{tenant} asks you to sign \"{title}\".\n\n{own}{links}{until}\n\nThe link is yours alone: do not pass this mail on.",
                    ),
                )
            }
            Purpose::Completed => (
                format!("Completed: {title}"),
                format!("Hello {},\n\neveryone has signed \"{title}\". Your copy is here:\n{url}", to.name),
            ),
            Purpose::Declined => (
                format!("Declined: {title}"),
                format!(
                    "Hello {},\n\n\"{title}\" was declined by a recipient. Nothing more is to be done.\n\n{tenant}",
                    to.name
                ),
            ),
            Purpose::Voided => (
                format!("Taken back: {title}"),
                format!("Hello {},\n\n{tenant} has taken back \"{title}\". Nothing more is to be done.", to.name),
            ),
            Purpose::Expired => (
                format!("Expired: {title}"),
                format!("Hello {},\n\nthe time to sign \"{title}\" has run out. Ask {tenant} for a new one.", to.name),
            ),
        };
        match envelope.scope.environment {
            Environment::Production => Words { subject, text },
            environment => Words {
                subject: format!("[TEST] {subject}"),
                text: format!("This is a test ({environment}): nothing in it binds anyone.\n\n{text}"),
            },
        }
    }

    /// The capture box: a page of mails of development or staging, newest first, one more than `limit`.
    pub async fn list_mails(&self, pass: &Pass, after: Option<MailId>, limit: u32) -> Result<Vec<Mail>, Problem> {
        has_capture_box(pass.scope())?;
        let mut tx = self.read().await?;
        Ok(store::mail::list(&mut tx, pass.scope(), after, limit.saturating_add(1)).await?)
    }

    /// The capture box: the mails of one envelope, in the order in which they were asked for.
    pub async fn envelope_mails(&self, pass: &Pass, envelope: model::EnvelopeId) -> Result<Vec<Mail>, Problem> {
        has_capture_box(pass.scope())?;
        let mut tx = self.read().await?;
        Ok(store::mail::of_envelope(&mut tx, pass.scope(), envelope).await?)
    }

    /// A captured mail in its words.
    pub async fn get_mail(&self, pass: &Pass, id: MailId) -> Result<Captured, Problem> {
        has_capture_box(pass.scope())?;
        let mut tx = self.read().await?;
        let mail = store::mail::get(&mut tx, pass.scope(), id).await?.ok_or_else(Problem::not_found)?;
        let envelope =
            store::envelope::get(&mut tx, pass.scope(), mail.envelope).await?.ok_or_else(Problem::not_found)?;
        let to = envelope.recipients.iter().find(|r| r.id == mail.recipient).ok_or_else(Problem::not_found)?;
        let words = self.words(&mail, to, &envelope);
        Ok(Captured { name: to.name.clone(), mail, words })
    }
}

/// Whom an invitation is for: its recipient, and whoever has the same address and turn. They get one mail, which holds the
/// link of each.
fn addressed<'a>(mail: &Mail, envelope: &'a Envelope) -> Vec<&'a Recipient> {
    let is_meant = |other: &&Recipient| {
        let has_same = other.email == mail.address && other.order == mail.turn;
        other.id == mail.recipient || (has_same && other.acts() && other.status.is_open())
    };
    let mut all: Vec<_> = envelope.recipients.iter().filter(is_meant).collect();
    all.sort_by_key(|other| other.id != mail.recipient);
    all
}

/// How an invitation went is its recipients' fate; of other mails nothing is told.
fn delivered(envelope: &mut Envelope, mail: &Mail, state: DeliveryState, said: &str, now: Timestamp) -> Vec<NewEvent> {
    if mail.purpose != Purpose::Invite {
        return Vec::new();
    }
    let to: Vec<_> = addressed(mail, envelope).iter().map(|recipient| recipient.id).collect();
    to.into_iter().flat_map(|recipient| envelope.delivered(recipient, state, said, now).events).collect()
}

/// Whether mails are kept in place of being sent.
fn captures(scope: EnvScope) -> bool {
    match scope.environment {
        Environment::Production => false,
        Environment::Development | Environment::Staging => true,
    }
}

/// Production's mails go out: nobody reads them here.
fn has_capture_box(scope: EnvScope) -> Result<(), Problem> {
    if captures(scope) { Ok(()) } else { Err(Problem::not_found()) }
}

/// Why a mail did not go out.
pub(crate) struct Refused {
    /// Trying again can't help.
    pub(crate) is_final: bool,
    /// In the server's words.
    pub(crate) said: String,
}

/// Sends a mail to one person, with a Message-ID made of its own id. What the server said.
pub(crate) async fn send<K: Kind>(
    smtp: &Smtp,
    id: Id<K>,
    (name, address): (&str, &str),
    words: Words,
) -> Result<String, Refused> {
    let refuse = |said: String| Refused { is_final: true, said };
    // Mailbox quotes and encodes the name: a comma or a line break in it can do nothing.
    let address = address.parse().map_err(|error| refuse(format!("the address can't be used: {error}")))?;
    let from: Mailbox =
        smtp.from.parse().map_err(|error| Refused { is_final: false, said: format!("smtp.from: {error}") })?;
    let domain = from.email.domain().to_owned();
    let message = Message::builder()
        .from(from)
        .to(Mailbox::new(Some(name.to_owned()), address))
        .subject(words.subject)
        .message_id(Some(format!("<{id}@{domain}>")))
        .header(ContentType::TEXT_PLAIN)
        .body(words.text)
        .map_err(|error| refuse(format!("the mail can't be made: {error}")))?;
    match transport(smtp)?.send(message).await {
        Ok(response) => {
            Ok(one_line(&format!("{} {}", response.code(), response.message().collect::<Vec<_>>().join(" "))))
        }
        Err(error) => {
            let code = error.status().map_or(0, u16::from);
            Err(Refused { is_final: error.is_permanent() && !OWN_FAULTS.contains(&code), said: words_of(&error) })
        }
    }
}

/// What the server said, on one line; where it said nothing, what went wrong.
fn words_of(error: &lettre::transport::smtp::Error) -> String {
    let said = match (error.status(), error.source()) {
        (Some(code), Some(said)) => format!("{code} {said}"),
        _ => error.to_string(),
    };
    one_line(&said)
}

/// A server's words may hold anything.
fn one_line(said: &str) -> String {
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect()
}

fn transport(smtp: &Smtp) -> Result<AsyncSmtpTransport<Tokio1Executor>, Refused> {
    type Transport = AsyncSmtpTransport<Tokio1Executor>;
    let builder = match (smtp.plain, smtp.port) {
        (true, _) => Ok(Transport::builder_dangerous(&smtp.host)),
        (false, 465) => Transport::relay(&smtp.host),
        (false, _) => Transport::starttls_relay(&smtp.host),
    };
    let builder = builder.map_err(|error| Refused { is_final: false, said: error.to_string() })?.port(smtp.port);
    Ok(match &smtp.login {
        Some((user, password)) => builder.credentials(Credentials::new(user.clone(), password.clone())).build(),
        None => builder.build(),
    })
}
