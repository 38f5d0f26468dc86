//! The signing room: what a recipient can ask for, with the link from the mail and the session that it began.
//!
//! Whoever holds the link is the recipient; every function proves it first. A session adds that a person opened it: it is
//! a row with the hash of a token, and ends with its time or a new generation of the link. What may still be done is
//! decided by the envelope's state, not by the session: after a decline, a void or the last signature it opens nothing.

use std::{fmt, fs::File, net::IpAddr};

use model::{
    Caller, Code, DocumentId, EnvScope, EnvelopeId, Problem, RecipientId, Timestamp,
    caller::Who,
    clock::random_256,
    envelope::{Envelope, Moved, Status},
    field::{Field, FieldKind, Signature},
    link::Link,
    recipient::{Act, Consent, Declined, Recipient, RecipientKind, RecipientStatus, Signed},
    shown::shown_before,
    template::{Content, ContentDocument},
    time::HOUR_MS,
};
use secret::base62;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use store::{Tx, room::NewSession};

use crate::{
    App,
    consent::Disclosure,
    paper::{check_fit, check_signature_fits},
};

/// How long a session lasts.
const SESSION_MS_MAX: i64 = 8 * HOUR_MS;
/// Sessions of one recipient at a time; the oldest gives way.
const SESSIONS_MAX: u32 = 20;
/// Generations of a link that are told apart from a link that never was.
const OLD_GENERATIONS_MAX: i64 = 32;
/// Characters of a reason to decline.
pub const REASON_CHARS_MAX: usize = 500;
/// Pixels of a page picture's width: few, so that pictures can be kept.
pub const PICTURE_WIDTHS: [u32; 4] = [600, 900, 1_200, 1_800];

/// The secret of a session. It has no Display, and Debug hides it.
#[derive(Clone)]
pub struct SessionToken([u8; 32]);

impl SessionToken {
    /// Reads what [`expose`](Self::expose) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        base62::decode_256(text).map(Self)
    }

    /// Its text, for the cookie.
    pub fn expose(&self) -> String {
        base62::encode_256(self.0)
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(hidden)")
    }
}

/// Who comes, as the server saw it.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// The address that was seen.
    pub address: Option<IpAddr>,
    /// The browser's name, cut.
    pub user_agent: Option<String>,
    /// The request.
    pub request_id: Option<String>,
}

impl Visitor {
    fn act(&self, at: Timestamp) -> Act {
        let address = self.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        Act { at, address, user_agent: self.user_agent.clone().unwrap_or_default() }
    }

    fn caller(&self, scope: EnvScope, recipient: RecipientId) -> Caller {
        Caller {
            who: Who::Recipient { recipient },
            scope,
            address: self.address,
            user_agent: self.user_agent.clone(),
            request_id: self.request_id.clone(),
        }
    }
}

/// What a recipient finds at the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may act now.
    Open,
    /// Others come first.
    NotYourTurn,
    /// It has signed or approved.
    Signed,
    /// It receives a copy.
    Copy,
    /// It, or another, has declined.
    Declined,
    /// The sender took it back.
    Voided,
    /// The time ran out.
    Expired,
    /// A newer link, or another person, took its place.
    Replaced,
}

/// An envelope as one of its recipients sees it.
#[derive(Clone, Debug)]
pub struct Room {
    /// The envelope.
    pub envelope: Envelope,
    /// Its documents and fields.
    pub content: Content,
    /// What the recipient finds.
    pub standing: Standing,
    /// When it was looked at.
    pub now: Timestamp,
    at: usize,
}

impl Room {
    /// The room of `recipient`; none where it is not one of the envelope.
    pub fn new(envelope: Envelope, content: Content, recipient: RecipientId, now: Timestamp) -> Option<Self> {
        let at = envelope.recipients.iter().position(|other| other.id == recipient)?;
        let standing = standing(&envelope, &envelope.recipients[at], now);
        Some(Self { envelope, content, standing, now, at })
    }

    /// The recipient.
    pub fn recipient(&self) -> &Recipient {
        &self.envelope.recipients[self.at]
    }

    /// The recipient's own fields, in reading order: by document, page, and from top to bottom.
    pub fn fields(&self) -> Vec<&Field> {
        let role = &self.recipient().role;
        let mut fields: Vec<_> = self.content.fields.iter().filter(|field| field.role == *role).collect();
        let document = |field: &Field| self.content.documents.iter().position(|document| document.id == field.document);
        fields.sort_by(|a, b| {
            let by_page = (document(a), a.page).cmp(&(document(b), b.page));
            by_page.then(a.y.total_cmp(&b.y)).then(a.x.total_cmp(&b.x))
        });
        fields
    }

    /// The disclosure that this recipient is shown.
    pub fn disclosure(&self) -> &'static Disclosure {
        Disclosure::for_locale(&self.recipient().body.locale)
    }

    /// The document `id`, if it is one of the envelope.
    fn document(&self, id: DocumentId) -> Result<&ContentDocument, Problem> {
        self.content.documents.iter().find(|document| document.id == id).ok_or_else(Problem::not_found)
    }

    /// Whether the documents may be seen: while it is open, after consent; afterwards by those who have a copy.
    fn may_see(&self) -> Result<(), Problem> {
        match self.standing {
            Standing::Signed | Standing::Copy => Ok(()),
            Standing::Open if self.recipient().body.consent.is_some() => Ok(()),
            Standing::Open => Err(Code::ConsentRequired.into()),
            _ => self.envelope.may_act(self.recipient().id).map(|_| ()),
        }
    }
}

/// What comes with "finish".
#[derive(Clone, Debug)]
pub struct Finish {
    /// The version of the values that the page had.
    pub version: i64,
    /// The digest of what others and the sender had filled in, as the page had it; empty where none came with it.
    pub shown: String,
    /// The values, by field key.
    pub values: Map<String, Value>,
    /// The signature; none where nothing was typed or drawn.
    pub signature: Option<Signature>,
}

/// A file to download.
pub struct OwnCopy {
    /// Its name.
    pub filename: String,
    /// Whether it is the sealed one.
    pub sealed: bool,
    /// The file.
    pub file: File,
}

/// Where a link leads, once it is proven.
struct Door {
    scope: EnvScope,
    envelope: EnvelopeId,
    recipient: RecipientId,
    /// The link is of an earlier generation.
    is_old: bool,
}

impl App {
    /// What stands behind the link. Changes nothing: programs that check mails follow links too.
    pub async fn room_landing(&self, link: &Link) -> Result<Room, Problem> {
        let mut tx = self.read().await?;
        let door = self.room_door(&mut tx, link).await?;
        self.room_seen(&mut tx, &door).await
    }

    /// A person opened it: a session begins, and the first time it counts as viewed.
    pub async fn room_open(&self, link: &Link, visitor: &Visitor) -> Result<SessionToken, Problem> {
        let (mut tx, door, mut envelope) = self.room_lock(link, visitor).await?;
        let now = self.now();
        let recipient = recipient_of(&envelope, &door)?;
        let (id, generation) = (recipient.id, recipient.link_generation);
        let has_copy = matches!(standing(&envelope, recipient, now), Standing::Signed | Standing::Copy);
        if !has_copy {
            envelope.may_act(id)?;
        }
        let token = SessionToken(random_256(self.random.as_ref()));
        let session = NewSession {
            id: self.id(),
            recipient: id,
            generation,
            digest: token.digest(),
            created_at: now,
            expires_at: now.plus(SESSION_MS_MAX),
        };
        store::room::begin(&mut tx, &session, SESSIONS_MAX - 1).await?;
        if !has_copy {
            let moved = envelope.view(id, visitor.act(now))?;
            self.room_moved(&mut tx, &mut envelope, &door, visitor, moved).await?;
        }
        tx.commit().await?;
        self.told();
        Ok(token)
    }

    /// The envelope in a session.
    pub async fn room(&self, link: &Link, token: Option<&SessionToken>) -> Result<Room, Problem> {
        let mut tx = self.read().await?;
        let door = self.room_door(&mut tx, link).await?;
        let room = self.room_seen(&mut tx, &door).await?;
        self.room_session(&mut tx, room.recipient(), token).await?;
        Ok(room)
    }

    /// Agrees to electronic records, by the version that was read.
    pub async fn room_consent(
        &self,
        link: &Link,
        token: Option<&SessionToken>,
        visitor: &Visitor,
        version: &str,
    ) -> Result<(), Problem> {
        let (mut tx, door, mut envelope) = self.room_lock(link, visitor).await?;
        let recipient = recipient_of(&envelope, &door)?;
        self.room_session(&mut tx, recipient, token).await?;
        let disclosure = Disclosure::for_locale(&recipient.body.locale);
        if disclosure.version != version {
            return Err(Problem::new(Code::ConsentRequired, "The text has changed since the page was opened."));
        }
        let consent = Consent {
            act: visitor.act(self.now()),
            version: disclosure.version.to_owned(),
            language: disclosure.language.to_owned(),
            sha256: disclosure.sha256(),
        };
        let moved = envelope.consent(door.recipient, consent)?;
        self.room_moved(&mut tx, &mut envelope, &door, visitor, moved).await?;
        tx.commit().await?;
        self.told();
        Ok(())
    }

    /// A page's picture as PNG, drawn from the very bytes that are sealed.
    pub async fn room_picture(
        &self,
        link: &Link,
        token: Option<&SessionToken>,
        document: DocumentId,
        page: u32,
        width_px: u32,
    ) -> Result<Vec<u8>, Problem> {
        let room = self.room(link, token).await?;
        room.may_see()?;
        let document = room.document(document)?;
        if page == 0 || page as usize > document.pages.len() {
            return Err(Problem::not_found());
        }
        let width = PICTURE_WIDTHS.into_iter().find(|width| *width >= width_px).unwrap_or(PICTURE_WIDTHS[3]);
        self.page_picture(room.envelope.scope, &document.working, page, width).await
    }

    /// Saves what was typed so far; the answer is the new version.
    pub async fn room_save(
        &self,
        link: &Link,
        token: Option<&SessionToken>,
        visitor: &Visitor,
        version: i64,
        values: &Map<String, Value>,
    ) -> Result<i64, Problem> {
        let (mut tx, door, mut envelope) = self.room_lock(link, visitor).await?;
        self.room_session(&mut tx, recipient_of(&envelope, &door)?, token).await?;
        let content = store::envelope::content(&mut tx, &envelope).await?;
        let version = envelope.save_values(door.recipient, &content.fields, version, values)?;
        check_fit(&content.fields, values)?;
        store::envelope::save(&mut tx, &mut envelope).await?;
        tx.commit().await?;
        Ok(version)
    }

    /// Signs. Doing it twice, in two windows or by a double click, gives one signature and two successes.
    pub async fn room_finish(
        &self,
        link: &Link,
        token: Option<&SessionToken>,
        visitor: &Visitor,
        finish: Finish,
    ) -> Result<(), Problem> {
        let (mut tx, door, mut envelope) = self.room_lock(link, visitor).await?;
        let recipient = recipient_of(&envelope, &door)?;
        self.room_session(&mut tx, recipient, token).await?;
        if recipient.status == RecipientStatus::Completed {
            return Ok(());
        }
        envelope.may_act(door.recipient)?;
        if recipient.body.values_version != finish.version {
            return Err(Code::ValuesOutdated.into());
        }
        let content = store::envelope::content(&mut tx, &envelope).await?;
        let role = recipient.role.clone();
        let signs = content.fields.iter().any(|field| field.role == role && field.kind == FieldKind::Signature);
        let recipient = recipient_of(&envelope, &door)?;
        let shown_values = shown_before(&envelope, &content.fields, recipient, &finish.shown);
        let signed = Signed {
            act: visitor.act(self.now()),
            shown_values: Some(shown_values.ok_or(Code::ValuesOutdated)?),
            signature: finish.signature.filter(|_| signs),
            values: finish.values,
            shown: content.documents.iter().map(|document| (document.id, document.working.clone())).collect(),
        };
        check_fit(&content.fields, &signed.values)?;
        check_signature_fits(&content.fields, &role, signed.signature.as_ref())?;
        let moved = envelope.complete(door.recipient, &content.fields, signed)?;
        self.room_moved(&mut tx, &mut envelope, &door, visitor, moved).await?;
        tx.commit().await?;
        self.told();
        Ok(())
    }

    /// Declines, with a reason: that ends the envelope.
    pub async fn room_decline(
        &self,
        link: &Link,
        token: Option<&SessionToken>,
        visitor: &Visitor,
        reason: &str,
    ) -> Result<(), Problem> {
        let (mut tx, door, mut envelope) = self.room_lock(link, visitor).await?;
        let recipient = recipient_of(&envelope, &door)?;
        self.room_session(&mut tx, recipient, token).await?;
        if recipient.status == RecipientStatus::Declined {
            return Ok(());
        }
        let declined = Declined { act: visitor.act(self.now()), reason: plain(reason) };
        let moved = envelope.decline(door.recipient, declined)?;
        self.room_moved(&mut tx, &mut envelope, &door, visitor, moved).await?;
        tx.commit().await?;
        self.told();
        Ok(())
    }

    /// One's own copy: sealed once the envelope is completed; before that as it was shown, without others' signatures.
    pub async fn room_copy(
        &self,
        link: &Link,
        token: Option<&SessionToken>,
        document: DocumentId,
    ) -> Result<OwnCopy, Problem> {
        let room = self.room(link, token).await?;
        room.may_see()?;
        let document = room.document(document)?;
        let scope = room.envelope.scope;
        let sealed = if room.envelope.status == Status::Completed {
            let mut tx = self.read().await?;
            store::asset::sealed_document(&mut tx, scope, room.envelope.id, document.id).await?
        } else {
            None
        };
        let sha256 = sealed.as_deref().unwrap_or(&document.working);
        Ok(OwnCopy {
            filename: document.filename.clone(),
            sealed: sealed.is_some(),
            file: self.files.open_file(scope, sha256).await?,
        })
    }

    /// Proves the link. Unknown, of another server, or with one letter changed: the same answer.
    async fn room_door(&self, tx: &mut Tx, link: &Link) -> Result<Door, Problem> {
        let found = store::envelope::by_link(tx, link.id()).await?;
        let Some((scope, envelope, recipient, generation)) = found else {
            // The same work as for a link that is known.
            link.is_of(&self.config.master_key, 0);
            return Err(Code::LinkUnknown.into());
        };
        let door = |is_old| Door { scope, envelope, recipient, is_old };
        if link.is_of(&self.config.master_key, generation) {
            return Ok(door(false));
        }
        let oldest = (generation - OLD_GENERATIONS_MAX).max(0);
        if (oldest..generation).any(|generation| link.is_of(&self.config.master_key, generation)) {
            return Ok(door(true));
        }
        Err(Code::LinkUnknown.into())
    }

    async fn room_seen(&self, tx: &mut Tx, door: &Door) -> Result<Room, Problem> {
        let envelope = store::envelope::get(tx, door.scope, door.envelope).await?.ok_or(Code::LinkUnknown)?;
        if envelope.status == Status::Draft {
            return Err(Code::LinkUnknown.into());
        }
        let content = store::envelope::content(tx, &envelope).await?;
        let mut room = Room::new(envelope, content, door.recipient, self.now()).ok_or(Code::LinkUnknown)?;
        if door.is_old {
            room.standing = Standing::Replaced;
        }
        Ok(room)
    }

    /// The envelope, held until the transaction ends; what ran out meanwhile expires now.
    async fn room_lock(&self, link: &Link, visitor: &Visitor) -> Result<(Tx, Door, Envelope), Problem> {
        // Links are proven outside the writer's lock, so that guesses keep nobody waiting.
        let mut tx = self.read().await?;
        let door = self.room_door(&mut tx, link).await?;
        drop(tx);
        if door.is_old {
            return Err(Code::SessionRequired.into());
        }
        let mut tx = self.db.begin().await?;
        let locked = store::envelope::lock(&mut tx, door.scope, door.envelope).await?;
        let mut envelope = locked.ok_or(Code::LinkUnknown)?;
        // The link may have been renewed between proof and lock.
        if !link.is_of(&self.config.master_key, recipient_of(&envelope, &door)?.link_generation) {
            return Err(Code::SessionRequired.into());
        }
        let moved = envelope.expire(self.now());
        if moved != Moved::default() {
            self.room_moved(&mut tx, &mut envelope, &door, visitor, moved).await?;
            tx.commit().await?;
            self.told();
            return Err(Code::AlreadyExpired.into());
        }
        Ok((tx, door, envelope))
    }

    async fn room_session(&self, tx: &mut Tx, whose: &Recipient, token: Option<&SessionToken>) -> Result<(), Problem> {
        let token = token.ok_or(Code::SessionRequired)?;
        let is_open = store::room::is_open(tx, whose.id, whose.link_generation, &token.digest(), self.now()).await?;
        if is_open { Ok(()) } else { Err(Code::SessionRequired.into()) }
    }

    async fn room_moved(
        &self,
        tx: &mut Tx,
        envelope: &mut Envelope,
        door: &Door,
        visitor: &Visitor,
        moved: Moved,
    ) -> Result<(), Problem> {
        if moved == Moved::default() {
            return Ok(());
        }
        self.moved(tx, &visitor.caller(door.scope, door.recipient), envelope, moved).await
    }
}

/// A text of several lines without what no page or mail should hold: control and direction characters.
fn plain(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(|c| !is_odd(*c)).collect()
}

fn recipient_of<'a>(envelope: &'a Envelope, door: &Door) -> Result<&'a Recipient, Problem> {
    let found = envelope.recipients.iter().find(|recipient| recipient.id == door.recipient);
    found.ok_or_else(|| Code::LinkUnknown.into())
}

/// What a recipient finds. One's own act comes before what became of the envelope.
fn standing(envelope: &Envelope, recipient: &Recipient, now: Timestamp) -> Standing {
    match (recipient.status, envelope.status) {
        (RecipientStatus::Replaced, _) => Standing::Replaced,
        (_, Status::Voided) => Standing::Voided,
        (_, Status::Declined) => Standing::Declined,
        (RecipientStatus::Completed, Status::Sent | Status::Sealing | Status::Completed) => Standing::Signed,
        (_, Status::Expired) => Standing::Expired,
        (_, Status::Sent) if envelope.expires_at.is_some_and(|at| at <= now) => Standing::Expired,
        (_, Status::Completed) if recipient.kind == RecipientKind::Copy => Standing::Copy,
        _ => match envelope.may_act(recipient.id) {
            Ok(_) => Standing::Open,
            Err(_) => Standing::NotYourTurn,
        },
    }
}
