//! `iusign users`: invite people, give them roles, suspend and remove them.

use api::user::{NewUser, UpdateUser, User};
use clap::Subcommand;
use model::Role;

use crate::{
    output,
    remote::{self, PageArgs, Remote},
};

/// `iusign users`.
#[derive(Debug, clap::Args)]
pub struct Users {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List users, the oldest first
    List(PageArgs),
    /// Show a user
    Get {
        /// The user's id, usr_…
        id: String,
    },
    /// Ask somebody by mail to join; with the id of who was invited and has not joined: once more
    Invite {
        /// The address, or the id usr_… of who was invited already
        who: String,
        /// admin, user or viewer
        #[arg(long, required_unless_present = "again")]
        role: Option<Role>,
        /// The name, for the invitation
        #[arg(long, default_value_t)]
        name: String,
        /// Once more: the link of the mail before ends
        #[arg(long, conflicts_with = "role")]
        again: bool,
    },
    /// Change a user's name
    Rename {
        /// The user's id, usr_…
        id: String,
        /// The name
        name: String,
    },
    /// Give a user another role; the owner makes another user the owner, and becomes an admin by it
    SetRole {
        /// The user's id, usr_…
        id: String,
        /// owner, admin, user or viewer
        role: Role,
        #[command(flatten)]
        keys: KeysArgs,
    },
    /// Suspend a user: from the answer on the keys that the user administers are refused
    Suspend {
        /// The user's id, usr_…
        id: String,
        #[command(flatten)]
        keys: KeysArgs,
    },
    /// Let a user act again
    Resume {
        /// The user's id, usr_…
        id: String,
    },
    /// Remove a user for good; the keys that are left are revoked
    Remove {
        /// The user's id, usr_…
        id: String,
        #[command(flatten)]
        keys: KeysArgs,
    },
}

/// What becomes of the API keys that the user administers.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct KeysArgs {
    /// Hand the user's API keys over to this owner or admin, usr_…; their secrets stay
    #[arg(long, value_name = "USER")]
    pub transfer_keys_to: Option<String>,
    /// The user's API keys may stop
    #[arg(long)]
    pub confirm: bool,
}

impl KeysArgs {
    /// The change with what becomes of the keys.
    pub fn with(self, change: UpdateUser) -> UpdateUser {
        UpdateUser { transfer_keys_to: self.transfer_keys_to, confirm: self.confirm, ..change }
    }
}

/// Does what is asked.
pub async fn run(users: Users, json: bool) -> anyhow::Result<()> {
    let client = users.remote.client()?;
    let user = match users.command {
        Command::List(page) => {
            let query = page.query(&[]);
            let users = client.list_users(&remote::borrowed(&query)).await?;
            output::show(json, &users, |users| {
                table(&users.data);
                remote::more(users.next.as_ref());
            });
            return Ok(());
        }
        Command::Get { id } => client.get_user(&id).await?,
        Command::Invite { who, again: true, .. } => client.invite_user_again(&who).await?,
        Command::Invite { who, role, name, .. } => {
            let role = role.map(|role| role.to_string()).unwrap_or_default();
            client.invite_user(&NewUser { email: who, name, role }).await?
        }
        Command::Rename { id, name } => {
            client.update_user(&id, &UpdateUser { name: Some(name), ..UpdateUser::default() }).await?
        }
        Command::SetRole { id, role, keys } => {
            let change = UpdateUser { role: Some(role.to_string()), ..UpdateUser::default() };
            client.update_user(&id, &keys.with(change)).await?
        }
        Command::Suspend { id, keys } => client.update_user(&id, &keys.with(status("suspended"))).await?,
        Command::Resume { id } => client.update_user(&id, &status("active")).await?,
        Command::Remove { id, keys } => client.update_user(&id, &keys.with(status("removed"))).await?,
    };
    output::show(json, &user, show);
    Ok(())
}

/// The change that sets a status.
pub fn status(status: &str) -> UpdateUser {
    UpdateUser { status: Some(status.to_owned()), ..UpdateUser::default() }
}

/// Users in a table.
pub fn table(users: &[User]) {
    let row = |user: &User| {
        vec![
            user.id.clone(),
            output::plain(&user.email),
            user.role.clone(),
            user.status.clone(),
            output::plain(&user.name),
        ]
    };
    output::table(&["id", "email", "role", "status", "name"], &users.iter().map(row).collect::<Vec<_>>());
}

/// A user.
pub fn show(user: &User) {
    output::pairs(&[
        ("user", user.id.clone()),
        ("email", output::plain(&user.email)),
        ("name", output::plain(&user.name)),
        ("role", user.role.clone()),
        ("status", user.status.clone()),
    ]);
}
