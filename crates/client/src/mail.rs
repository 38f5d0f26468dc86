//! The capture box of development and staging.

use api::{
    Page,
    mail::{Mail, MailText},
};

use crate::{Client, Error};

impl Client {
    /// A page of captured mails, the newest first; with `envelope` all of that envelope.
    pub async fn list_mails(&self, query: &[(&str, &str)]) -> Result<Page<Mail>, Error> {
        self.get("v1/mail", query).await
    }

    /// A captured mail in its words, with the signing link.
    pub async fn get_mail(&self, id: &str) -> Result<MailText, Error> {
        self.get(&format!("v1/mail/{id}"), &[]).await
    }
}
