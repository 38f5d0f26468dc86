//! Every problem in one table (RFC 9457): code, status, title, and what to do now.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use serde::Serialize;
use serde_json::{Map, Value};

macro_rules! problems {
    ($($name:ident $status:literal $code:literal $title:literal $resolution:literal;)*) => {
        /// What went wrong, by name. Each has a page at `/problems/{code}`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $title] $name,)* }

        impl Code {
            /// All of them, in the table's order.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// Its name in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// The HTTP status that it is answered with.
            pub fn status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }

            /// A short sentence, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// What to do now.
            pub fn resolution(self) -> &'static str {
                match self { $(Code::$name => $resolution,)* }
            }
        }
    };
}

problems! {
    // The gate, in its order.
    TooManyFailures 429 "too_many_failures" "This address has failed too often lately" "Wait for the time in Retry-After, then send a valid key. Check that no program retries with a wrong key.";
    InsecureTransport 401 "insecure_transport" "The request came over plain HTTP" "Use https://. If a key was sent over plain HTTP, revoke it and generate a new one: others may have read it.";
    CredentialsInUrl 401 "credentials_in_url" "A key was sent in the URL" "Send the key in the header `Authorization: Bearer <key>`. Revoke the key that was in the URL: logs may hold it.";
    MissingCredentials 401 "missing_credentials" "No key was sent" "Send the header `Authorization: Bearer <key>` with a secret key from `iusign keys create`.";
    MalformedCredentials 401 "malformed_credentials" "What was sent is not a secret key" "Send exactly one header `Authorization: Bearer <key>`, and in it a whole secret key: compare it with where it was stored.";
    InvalidKey 401 "invalid_key" "This key is not known here" "Check that the key belongs to this server and was copied whole. If it is lost, generate a new one.";
    RevokedKey 401 "revoked_key" "This key was revoked" "Generate a new key, or ask the tenant's administrator why it was revoked. It can't be restored.";
    SuspendedKey 401 "suspended_key" "This key is suspended" "Ask the tenant's administrator to resume it.";
    PendingKey 401 "pending_key" "This key is not active yet" "Activate the key where it was generated.";
    ExpiredKey 401 "expired_key" "This key has expired" "Generate a new key with a later expiry, or rotate keys before they expire.";
    RotatedSecret 401 "rotated_secret" "This secret was replaced by a rotation" "Use the key's new secret.";
    IpNotAllowed 403 "ip_not_allowed" "This address is not on the allowlist" "Call from an allowed address, or ask an administrator to add the address that the detail names. Where the detail says that a proxy names none, have the operator mend the proxy's header.";
    TenantSuspended 403 "tenant_suspended" "The tenant is suspended" "Ask the operator of this server.";
    TierRequired 403 "tier_required" "The tenant's tier does not include this" "Ask the operator to raise the tenant's tier; the detail names the tier that is needed.";
    RoleRequired 403 "role_required" "The role does not allow this" "An owner or admin is needed. For a key: transfer it to an active owner or admin.";
    ScopeRequired 403 "scope_required" "The key's scopes do not cover this" "Use a key that has the scope which the detail names, or have it added to this key.";
    IdentityNeedsSession 403 "identity_needs_session" "Keys may not manage identity in this tenant" "Do it in a session, or ask the owner to set the policy keys_may_manage_identity.";
    ProductionKeyRequired 403 "production_key_required" "What concerns the whole tenant needs a production key" "Use a key of the environment production that has the same scope.";
    RateLimited 429 "rate_limited" "Too many requests" "Wait for the time in Retry-After and spread the calls; the RateLimit headers say how many are left.";
    Unavailable 503 "unavailable" "The server can't answer now" "Try again after the time in Retry-After. Unless a later answer says so, a change may or may not have been made: repeat it, a POST with the same Idempotency-Key.";

    // The request as such.
    NotFound 404 "not_found" "There is nothing here" "Check the id, and that the key belongs to the same environment as what it asks for.";
    RouteNotFound 404 "route_not_found" "There is no such route" "See /docs or /openapi.json for every route.";
    MethodNotAllowed 405 "method_not_allowed" "This route does not know that method" "The header Allow names the methods that it knows.";
    HostInvalid 400 "host_invalid" "The request does not say for which host it is" "Send exactly one Host header.";
    InvalidJson 400 "invalid_json" "The body is not valid JSON" "Mend the JSON at the place that the detail names and send it with `Content-Type: application/json`.";
    InvalidBody 422 "invalid_body" "Something in the body can't be accepted" "Mend every place that `errors` names, and send it again.";
    InvalidQuery 400 "invalid_query" "Something in the query can't be accepted" "Mend the parameter that the detail names.";
    UnsupportedMediaType 415 "unsupported_media_type" "The body's content type is not accepted here" "Send the content type that the detail names.";
    RangeNotSatisfiable 416 "range_not_satisfiable" "The range lies outside the file" "Ask for bytes that the file has: the detail names its size.";
    BodyTooLarge 413 "body_too_large" "The body is too large" "Send less: the detail names the limit.";
    BodyIncomplete 400 "body_incomplete" "The body ended early" "Send it again; nothing was kept.";
    HeadersTooLarge 431 "headers_too_large" "The headers are too large" "Send fewer or shorter headers.";
    RequestTimeout 408 "request_timeout" "The request took too long to arrive" "Send it again over a faster connection, or in smaller parts.";
    CursorInvalid 400 "cursor_invalid" "The cursor is not one of this list" "Use the `next` of an earlier answer to the same list, with the same key's environment.";
    IdempotencyMismatch 422 "idempotency_mismatch" "This Idempotency-Key was used with another body" "Use a new Idempotency-Key for another request.";
    IdempotencyInProgress 409 "idempotency_in_progress" "The first request with this Idempotency-Key still runs" "Wait and send it again.";
    IdempotencyKeyInvalid 400 "idempotency_key_invalid" "The Idempotency-Key can't be accepted" "Send 1 to 255 visible ASCII characters.";
    Conflict 409 "conflict" "It was changed at the same time" "Fetch it again and repeat the change.";

    // Documents.
    DocumentNotPdf 422 "document_not_pdf" "The file is not a PDF" "Export or print the document as PDF, and upload that.";
    DocumentEncrypted 422 "document_encrypted" "The PDF is encrypted" "Remove the password, for example with `qpdf --decrypt --password=… in.pdf out.pdf`, and upload the result.";
    DocumentDamaged 422 "document_damaged" "The PDF is damaged" "Open it in a PDF program, save it anew or print it to a PDF, and upload the result.";
    DocumentSigned 422 "document_signed" "The PDF is already signed" "Upload the file as it was before it was signed.";
    DocumentCertified 422 "document_certified" "The PDF is certified against changes" "Upload the file as it was before it was certified.";
    DocumentXfa 422 "document_xfa" "The PDF is an XFA form" "Print it to a PDF and upload the result.";
    DocumentForm 422 "document_form" "The PDF is a form with values" "Flatten the form (print it to a PDF) and upload the result.";
    DocumentTooComplex 422 "document_too_complex" "The PDF is too large or too complex to be drawn safely" "Print it to a PDF, or split it, and upload the result.";
    DocumentCheckFailed 422 "document_check_failed" "The PDF can't be sealed so that the seal holds" "Open it in a PDF program, save it anew, and upload the result.";

    // Envelopes.
    ExternalIdTaken 409 "external_id_taken" "Another envelope has this external_id" "Use another external_id, or set allow_duplicate.";
    NotDraft 409 "not_draft" "The envelope is not a draft any more" "Fetch the envelope to see its status.";
    AlreadyCompleted 409 "already_completed" "The envelope is completed" "A completed envelope can't be changed: make a new one.";
    AlreadyDeclined 409 "already_declined" "A recipient has declined the envelope" "Make a new envelope.";
    AlreadyVoided 409 "already_voided" "The envelope was voided" "Make a new envelope.";
    AlreadyExpired 409 "already_expired" "The envelope has expired" "Make a new envelope.";
    AlreadySealing 409 "already_sealing" "Everyone has signed: the envelope is being sealed" "Wait for envelope.completed.";
    NotReady 409 "not_ready" "The file is not ready" "Wait for envelope.completed, or try again after Retry-After.";
    SealUnavailable 503 "seal_unavailable" "This server can't seal at present, so nothing is sent" "Ask the operator to run `iusign doctor`.";

    // Batches.
    BatchNotOpen 409 "batch_not_open" "The batch has begun: its rows can't be replaced" "Make a new batch for further rows.";
    BatchEnded 409 "batch_ended" "The batch has ended" "Nothing more can be done with it: make a new batch.";
    BatchNotReady 409 "batch_not_ready" "The batch is not ready for that" "To be started it needs rows, and with on_invalid: reject every row has to be valid; only what runs can be paused, and only what is paused resumed. The detail says which it is.";
    RowsPartial 409 "rows_partial" "These are only the rejected rows of a batch" "Put the mended rows into another batch, or the whole file, mended, into this one: a put replaces all rows.";
    RowsUnreadable 422 "rows_unreadable" "The rows can't be read" "Mend the file at the line that the detail names and put it again. Nothing was kept.";

    // The signing room.
    LinkUnknown 404 "link_unknown" "This link is not known" "Open the link from the newest mail, whole.";
    InvitationExpired 410 "invitation_expired" "The invitation has expired" "Ask who invited you for a new one.";
    SessionRequired 401 "session_required" "The signing session has ended" "Open the link from the mail again.";
    ForeignOrigin 403 "foreign_origin" "The request comes from another site" "Open the link from the mail and go on there. A program has to send the server's public URL in the header Origin.";
    ConsentRequired 409 "consent_required" "Consent to electronic records comes first" "Open the link again and read the consent page.";
    NotYourTurn 409 "not_your_turn" "Others have to sign first" "You will get a mail when it is your turn.";
    RecipientAlreadySigned 409 "recipient_already_signed" "This was signed already" "Nothing more is to be done.";
    ValuesOutdated 409 "values_outdated" "The values were changed in another window" "Reload the page and go on there.";

    // Identity.
    Beyond 403 "beyond_the_key" "That is more than this key may give" "A key can only make keys within its own scopes, environment, allowlist and expiry. Ask an administrator.";

    KeyStatus 409 "key_status" "The key's status does not allow this" "Fetch the key: its status and reason say what is possible. A revoked or expired key stays so: generate a new one.";
    HeldAfterCompromise 409 "held_after_compromise" "It was made by a key that was compromised" "Look at it, then decide: POST /v1/keys/{id}/compromise/decide with the compromised key's id and keep or void.";
    RotationInProgress 409 "rotation_in_progress" "A rotation is under way" "Wait until the old secret has ended (the detail says when), or send `replace: true` with the new secret or another key, which ends it at once.";

    UserStatus 409 "user_status" "The user's status does not allow this" "Fetch the user: its status says what is possible. A removed user stays so: invite the person anew.";
    OwnerNeeded 409 "owner_needed" "A tenant has exactly one owner" "Make another user the owner first: this one becomes an admin.";
    KeysWouldStop 409 "keys_would_stop" "API keys would stop working" "Transfer the keys that `keys` names (ask with `keys:read` to see them) with `transfer_keys_to`, or send `confirm: true` if they may stop.";

    SignatureInvalid 403 "signature_invalid" "The signature does not hold" "Sign the body as it is sent with the key that the header names. The operator configures whose keys are known here (leaks_github_keys).";

    // Faults.
    Internal 500 "internal" "Something failed on the server" "Try again. If it stays, give the request id to the operator.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Faults of one body that are named at most: a body of two million wrong bytes is not answered with fifty million.
pub const ERRORS_MAX: usize = 1_000;
/// Characters of a fault's pointer, and of its detail, at most: both can repeat what was sent.
const ERROR_CHARS_MAX: usize = 1_000;

/// An error with all that lies behind it, for the log: the first words alone say nothing of names and certificates.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// One fault in a body, at its JSON pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BodyError {
    /// Where, as `/recipients/0/email`; empty for the whole body.
    pub pointer: String,
    /// What, for programs.
    pub code: Cow<'static, str>,
    /// What, for people.
    pub detail: String,
}

impl BodyError {
    /// A fault at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: cut(pointer.into()), code: Cow::Borrowed(code), detail: cut(detail.into()) }
    }
}

/// A text cut to its bound, at a character.
fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(ERROR_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A refusal or a fault as the outside sees it. A fault carries its cause; users see a request id only.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Which.
    pub code: Code,
    /// This occurrence, in a sentence.
    pub detail: String,
    /// Every fault of a body, not the first.
    pub errors: Vec<BodyError>,
    /// When to try again, in seconds.
    pub retry_after_s: Option<u32>,
    /// The scope that was wanted, for `WWW-Authenticate` (RFC 6750, 3).
    pub scope: Option<&'static str>,
    /// What this kind of problem tells beside the rest (RFC 9457, 3.2).
    pub members: Option<Box<Map<String, Value>>>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem with its detail.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { code, detail, errors: Vec::new(), retry_after_s: None, scope: None, members: None, source: None }
    }

    /// A body with these faults; of very many the first are named.
    pub fn body(mut errors: Vec<BodyError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.detail.clone(),
            many if many.len() > ERRORS_MAX => {
                format!("{} things in the body can't be accepted; `errors` names the first {ERRORS_MAX}.", many.len())
            }
            many => format!("{} things in the body can't be accepted; `errors` names each.", many.len()),
        };
        errors.truncate(ERRORS_MAX);
        Self { errors, ..Self::new(Code::InvalidBody, detail) }
    }

    /// A fault with its cause, which is logged and never shown.
    pub fn fault(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = Some(Arc::from(cause.into()));
        Self { source, ..Self::new(Code::Internal, "Something failed on the server; it has been logged.") }
    }

    /// The same, with its cause.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(cause.into()));
        self
    }

    /// The same, to be tried again after `seconds`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The same with a member of its own, as `keys`.
    #[must_use]
    pub fn with_member(mut self, name: &str, value: Value) -> Self {
        self.members.get_or_insert_default().insert(name.to_owned(), value);
        self
    }

    /// What is not found: the same whether it never was or belongs to others.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "There is no such object in this environment.")
    }

    /// The cause, where it is a fault.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }
}

impl PartialEq for Problem {
    fn eq(&self, other: &Self) -> bool {
        (self.code, &self.detail, &self.errors) == (other.code, &other.detail, &other.errors)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)?;
        self.source.as_ref().map_or(Ok(()), |cause| write!(f, " ({cause})"))
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code, format!("{}.", code.title()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_is_one_of_its_kind_and_says_what_to_do() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.resolution().ends_with('.') && !code.title().ends_with('.'), "{code}");
            assert!((400..=503).contains(&code.status()), "{code}");
        }
    }

    #[test]
    fn a_body_of_faults_is_not_answered_with_more_than_was_sent() {
        let faults = |count: usize| (0..count).map(|at| BodyError::new(format!("/a/{at}"), "wrong", "No.")).collect();
        let told = Problem::body(faults(ERRORS_MAX));
        assert_eq!(told.detail, "1000 things in the body can't be accepted; `errors` names each.");
        let told = Problem::body(faults(400_000));
        assert_eq!(told.errors.len(), ERRORS_MAX);
        assert_eq!(told.detail, "400000 things in the body can't be accepted; `errors` names the first 1000.");
        let long = BodyError::new("/é".repeat(900), "wrong", "é".repeat(1_000_000));
        assert_eq!((long.pointer.chars().count(), long.detail.chars().count()), (1_001, 1_001));
        assert!(long.detail.ends_with('…'));
    }
}
