//! The tenant's people.

use api::{
    Page,
    user::{NewUser, UpdateUser, User},
};

use crate::{Body, Client, Error};

impl Client {
    /// A page of users, the oldest first.
    pub async fn list_users(&self, query: &[(&str, &str)]) -> Result<Page<User>, Error> {
        self.get("v1/users", query).await
    }

    /// A user.
    pub async fn get_user(&self, id: &str) -> Result<User, Error> {
        self.get(&format!("v1/users/{id}"), &[]).await
    }

    /// Asks somebody by mail to join.
    pub async fn invite_user(&self, new: &NewUser) -> Result<User, Error> {
        self.post("v1/users", new).await
    }

    /// Sends the invitation once more; the link of the mail before ends.
    pub async fn invite_user_again(&self, id: &str) -> Result<User, Error> {
        self.submit(reqwest::Method::POST, &format!("v1/users/{id}/invite"), &[], &Body::Empty, None).await
    }

    /// Changes a user. Where API keys would stop it is refused with `keys_would_stop`, unless they are transferred or that is
    /// confirmed.
    pub async fn update_user(&self, id: &str, change: &UpdateUser) -> Result<User, Error> {
        self.submit(reqwest::Method::PATCH, &format!("v1/users/{id}"), &[], &Body::json(change)?, None).await
    }
}
