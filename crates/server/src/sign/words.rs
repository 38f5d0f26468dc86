//! Every word of the signing room, in one catalogue per language. `{name}` marks what is filled in by [`fill`].

/// The words of one language.
pub struct Words {
    /// BCP 47.
    pub lang: &'static str,
    /// `ltr` or `rtl`.
    pub dir: &'static str,

    // Everywhere.
    pub test: &'static str,
    pub test_development: &'static str,
    pub test_staging: &'static str,
    pub colophon: &'static str,
    pub ask: &'static str,
    pub ask_unknown: &'static str,
    pub one_page: &'static str,
    pub pages: &'static str,
    pub about: &'static str,
    pub options: &'static str,
    pub download: &'static str,
    pub download_named: &'static str,
    pub documents: &'static str,
    pub close: &'static str,
    pub cancel: &'static str,

    // The landing page.
    pub landing_sign: &'static str,
    pub landing_approve: &'static str,
    pub landing_copy: &'static str,
    pub addressed: &'static str,
    pub review_sign: &'static str,
    pub review_approve: &'static str,
    pub see_copy: &'static str,
    pub until: &'static str,
    pub opening: &'static str,
    pub opening_copy: &'static str,

    // Consent.
    pub agree: &'static str,
    pub agree_button: &'static str,
    pub agree_first: &'static str,
    pub consent_stamp: &'static str,
    pub consent_changed: &'static str,

    // The document.
    pub page_alt: &'static str,
    pub page_fields: &'static str,
    pub filled: &'static str,
    pub filled_by: &'static str,
    pub filled_sender: &'static str,
    pub filled_may: &'static str,
    pub ticked: &'static str,
    pub drawn_by_hand: &'static str,
    pub on_page: &'static str,
    pub on_page_of: &'static str,
    pub field_signature: &'static str,
    pub field_name: &'static str,
    pub field_date: &'static str,
    pub field_text: &'static str,
    pub field_checkbox: &'static str,
    pub prompt_name: &'static str,
    pub prompt_text: &'static str,
    pub date_help: &'static str,
    pub sign_here: &'static str,
    pub sign_again: &'static str,
    pub change: &'static str,
    pub drawn: &'static str,
    pub left: &'static str,
    pub left_none: &'static str,
    pub next: &'static str,
    pub finish_sign: &'static str,
    pub finish_approve: &'static str,
    pub legal_sign: &'static str,
    pub legal_approve: &'static str,
    pub legal_test: &'static str,
    pub saving: &'static str,
    pub saved: &'static str,
    pub unsaved: &'static str,
    pub outdated: &'static str,
    pub outdated_page: &'static str,
    pub ended: &'static str,
    pub required: &'static str,
    pub errors_one: &'static str,
    pub errors_many: &'static str,

    // The pad.
    pub your_signature: &'static str,
    pub how: &'static str,
    pub type_tab: &'static str,
    pub draw_tab: &'static str,
    pub type_name: &'static str,
    pub type_first: &'static str,
    pub draw_area: &'static str,
    pub draw_hint: &'static str,
    pub undo: &'static str,
    pub clear: &'static str,
    pub dot: &'static str,
    pub adopt: &'static str,
    pub use_signature: &'static str,

    // Decline.
    pub decline_option: &'static str,
    pub decline_title: &'static str,
    pub decline_consequence: &'static str,
    pub decline_reason: &'static str,
    pub decline_button: &'static str,
    pub decline_back: &'static str,
    pub decline_empty: &'static str,
    pub decline_long: &'static str,

    // Done.
    pub done_sign: &'static str,
    pub done_approve: &'static str,
    pub done_copy: &'static str,
    pub done_waits: &'static str,
    pub done_sealing: &'static str,
    pub done_completed: &'static str,
    pub done_at: &'static str,
    pub done_unsealed: &'static str,
    pub copies: &'static str,
    pub return_to: &'static str,

    // The states.
    pub not_turn: &'static str,
    pub not_turn_line: &'static str,
    pub signed: &'static str,
    pub approved: &'static str,
    pub signed_at: &'static str,
    pub signed_open: &'static str,
    pub declined_self: &'static str,
    pub declined_other: &'static str,
    pub declined_line: &'static str,
    pub voided: &'static str,
    pub voided_line: &'static str,
    pub expired: &'static str,
    pub expired_line: &'static str,
    pub replaced: &'static str,
    pub replaced_line: &'static str,
    pub unknown: &'static str,
    pub unknown_line: &'static str,
    pub ended_title: &'static str,
    pub ended_line: &'static str,
    pub ended_back: &'static str,
    pub foreign: &'static str,
    pub foreign_line: &'static str,
    pub failed: &'static str,
    pub failed_line: &'static str,
    pub too_much: &'static str,
    pub too_much_line: &'static str,
    pub not_possible: &'static str,
}

/// English.
pub static ENGLISH: Words = Words {
    lang: "en",
    dir: "ltr",

    test: "TEST",
    test_development: "Development: nothing that is signed here binds anyone.",
    test_staging: "Staging: nothing that is signed here binds anyone.",
    colophon: "Electronic signatures by IUSign",
    ask: "Questions? Ask {sender}, who sent this.",
    ask_unknown: "If you expected something to sign, ask whoever sent you the link.",
    one_page: "1 page",
    pages: "{count} pages",
    about: "from {sender} · {pages}",
    options: "Options",
    download: "Download",
    download_named: "Download {name}",
    documents: "Documents",
    close: "Close",
    cancel: "Cancel",

    landing_sign: "{sender} asks you to sign “{title}”",
    landing_approve: "{sender} asks you to approve “{title}”",
    landing_copy: "{sender} sent you a copy of “{title}”",
    addressed: "For {name}",
    review_sign: "Review and sign",
    review_approve: "Review and approve",
    see_copy: "See the documents",
    until: "Open until {time}.",
    opening: "Nothing is signed yet. When you go on, {sender} can see that you have opened it. Not expected? Then just close this page.",
    opening_copy: "There is nothing for you to sign.",

    agree: "I have read this, I can open and keep these documents, and I agree to receive and sign them electronically.",
    agree_button: "Agree and continue",
    agree_first: "Tick the box if you agree. If you don’t, choose Decline to sign.",
    consent_stamp: "Version {version}. Your agreement is recorded with this text’s fingerprint, its language and the time.",
    consent_changed: "This text has changed since you opened the page. Please read it once more.",

    page_alt: "Page {page} of {count} of {name}",
    page_fields: "Fields on page {page}",
    filled: "Filled in already on page {page}",
    filled_by: "{label}: {value}. Filled in by {name}, signed on {time}",
    filled_sender: "{label}: {value}. Filled in by {sender}",
    filled_may: "{label}: {value}. Suggested by {sender}; {name} can still change it",
    ticked: "ticked",
    drawn_by_hand: "signed by hand",
    on_page: "page {page}",
    on_page_of: "page {page} of {name}",
    field_signature: "Signature",
    field_name: "Name",
    field_date: "Date of signing",
    field_text: "Text",
    field_checkbox: "Checkbox",
    prompt_name: "Name",
    prompt_text: "Fill in",
    date_help: "Set to the day on which you finish",
    sign_here: "Sign here",
    sign_again: "Your signature goes here too",
    change: "Change signature",
    drawn: "drawn by hand",
    left: "{left} of {all} fields left",
    left_none: "Ready to finish",
    next: "Next: {field}",
    finish_sign: "Sign and finish",
    finish_approve: "Approve and finish",
    legal_sign: "When you choose “Sign and finish”, you sign these documents electronically as {name}, at the address {email}.",
    legal_approve: "When you choose “Approve and finish”, you approve these documents as {name}, at the address {email}.",
    legal_test: "This is a test: it binds no one.",
    saving: "Saving…",
    saved: "Saved",
    unsaved: "Not saved yet, trying again",
    outdated: "This was changed in another window, so nothing more is saved here.|Load what was saved",
    outdated_page: "This was changed in another window meanwhile. What you see here is what you have just sent: check it and finish again.",
    ended: "Nothing more can be saved here.|See why",
    required: "This has to be filled in.",
    errors_one: "One thing is missing or can’t be accepted",
    errors_many: "{count} things are missing or can’t be accepted",

    your_signature: "Your signature",
    how: "How to sign",
    type_tab: "Type",
    draw_tab: "Draw",
    type_name: "Type your full name",
    type_first: "Type your name to sign.",
    draw_area: "Area to draw your signature in. With the keyboard, use Type instead.",
    draw_hint: "Draw with a finger, pen or mouse",
    undo: "Undo",
    clear: "Clear",
    dot: "Draw your signature: a dot is not one.",
    adopt: "I use this as my signature, as I would one made by hand on paper.",
    use_signature: "Use this signature",

    decline_option: "Decline to sign",
    decline_title: "Decline “{title}”?",
    decline_consequence: "This ends the envelope for everyone and can’t be undone. {sender} is told, with your reason.",
    decline_reason: "Why do you decline?",
    decline_button: "Decline",
    decline_back: "Go back",
    decline_empty: "Say why, so that {sender} knows what to do.",
    decline_long: "That is too long: 500 characters at most.",

    done_sign: "You have signed “{title}”",
    done_approve: "You have approved “{title}”",
    done_copy: "Your copy of “{title}”",
    done_waits: "Others still have to sign. You get a mail when everyone has.",
    done_sealing: "Everyone has signed. The documents are being sealed; you get a mail when that is done.",
    done_completed: "Everyone has signed, and the documents are sealed.",
    done_at: "Recorded on {time}.",
    done_unsealed: "Until the documents are sealed, your copy is what you were shown, without signatures.",
    copies: "Your copy",
    return_to: "Go on to {host}",

    not_turn: "It is not your turn yet",
    not_turn_line: "Others have to sign “{title}” before you. You will get a mail when it is your turn; this link then works.",
    signed: "You have signed this already",
    approved: "You have approved this already",
    signed_at: "You finished “{title}” on {time}. Nothing more is to be done.",
    signed_open: "See and download your copy",
    declined_self: "You have declined this",
    declined_other: "This was declined",
    declined_line: "“{title}” was declined on {time}, so nobody can sign it any more.",
    voided: "This was taken back",
    voided_line: "{sender} took “{title}” back on {time}, so nobody can sign it any more.",
    expired: "The time to sign has run out",
    expired_line: "“{title}” could be signed until {time}.",
    replaced: "This link was replaced",
    replaced_line: "There is a newer link, or another person was asked in your place. Open the newest mail.",
    unknown: "This link is not known",
    unknown_line: "Open the link from the newest mail, and make sure that it is whole: mail programs sometimes break long links.",
    ended_title: "Your session has ended",
    ended_line: "To keep the documents safe, a session ends after a while. What was saved is still there.",
    ended_back: "Open the link again",
    foreign: "This did not come from our page",
    foreign_line: "Your browser says that another site sent this request, so nothing was done. Open the link from the mail again.",
    failed: "Something failed on our side",
    failed_line: "It has been noted. Please try again in a moment; if it stays, tell whoever sent you the link, with this number: {request}",
    too_much: "Too many tries",
    too_much_line: "Please wait a minute and try again.",
    not_possible: "That can’t be done now",
};

/// The catalogue for a locale; English where there is none yet.
pub fn of(_locale: &str) -> &'static Words {
    &ENGLISH
}

/// `text` with each `{name}` replaced, once, so that what a stranger typed is never read for marks.
pub fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        match after.split_once('}') {
            Some((name, tail)) => {
                match values.iter().find(|(key, _)| *key == name) {
                    Some((_, value)) => out.push_str(value),
                    // Left for the page's script.
                    None => out.extend(["{", name, "}"]),
                }
                rest = tail;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_not_read_for_marks() {
        assert_eq!(fill("{a} of {b}", &[("a", "{b}"), ("b", "2")]), "{b} of 2");
        assert_eq!(fill("{left} { x", &[]), "{left} { x");
    }
}
