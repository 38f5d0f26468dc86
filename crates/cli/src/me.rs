//! `iusign me`: who the key is, what to call first when something is refused.

use crate::{output, remote::Remote};

/// `iusign me`.
#[derive(Debug, clap::Args)]
pub struct Me {
    #[command(flatten)]
    remote: Remote,
}

/// Asks and shows.
pub async fn run(me: Me, json: bool) -> anyhow::Result<()> {
    let me = me.remote.client()?.me().await?;
    output::show(json, &me, |me| {
        output::pairs(&[
            ("key", me.key.id.clone()),
            ("label", output::plain(&me.key.label)),
            ("environment", me.key.environment.clone()),
            ("scopes", me.key.scopes.join(", ")),
            ("expires", me.key.expires_at.clone().unwrap_or_else(|| "never".to_owned())),
            ("tenant", format!("{} ({})", output::plain(&me.tenant.name), me.tenant.id)),
            ("tier", me.tenant.tier.clone()),
            ("administrator", format!("{} ({})", me.administrator.email, me.administrator.role)),
            ("seen from", me.address.clone().unwrap_or_default()),
        ]);
    });
    Ok(())
}
