//! `iusign mail`: the capture box of development and staging.

use api::mail::Mail as Captured;
use clap::Subcommand;

use crate::{
    output::{self, Style},
    remote::{self, PageArgs, Remote},
};

/// `iusign mail`.
#[derive(Debug, clap::Args)]
pub struct Mail {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List captured mails, the newest first
    List {
        /// All of this envelope
        #[arg(long)]
        envelope: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a captured mail, with its signing link
    Show {
        /// Its id, mal_…
        id: String,
    },
}

/// Does what is asked.
pub async fn run(mail: Mail, json: bool) -> anyhow::Result<()> {
    let client = mail.remote.client()?;
    match mail.command {
        Command::List { envelope, page } => {
            let query = page.query(&[("envelope", envelope.as_ref())]);
            let mails = client.list_mails(&remote::borrowed(&query)).await?;
            output::show(json, &mails, |mails| {
                let row = |mail: &Captured| {
                    vec![
                        mail.id.clone(),
                        mail.purpose.clone(),
                        mail.state.clone(),
                        output::plain(&mail.to),
                        mail.envelope_id.clone(),
                        output::short_time(&mail.created_at),
                    ]
                };
                let names = ["id", "purpose", "state", "to", "envelope", "created"];
                output::table(&names, &mails.data.iter().map(row).collect::<Vec<_>>());
                remote::more(mails.next.as_ref());
            });
        }
        Command::Show { id } => {
            let mail = client.get_mail(&id).await?;
            output::show(json, &mail, |mail| {
                let style = Style::of_stdout();
                output::pairs(&[
                    ("to", output::plain(&format!("{} <{}>", mail.name, mail.mail.to))),
                    ("subject", style.bold(&output::plain(&mail.subject))),
                    ("state", output::plain(&format!("{} {}", mail.mail.state, mail.mail.detail))),
                    ("created", output::short_time(&mail.mail.created_at)),
                ]);
                output::line("");
                mail.text.lines().for_each(|line| output::line(&output::plain(line)));
            });
        }
    }
    Ok(())
}
