//! `iusign keys usage`: what a key was used for.

use api::usage::Usage;
use client::Client;

use crate::{
    output,
    remote::{self, PageArgs},
};

/// What `iusign keys usage` takes.
#[derive(Debug, clap::Args)]
pub struct Asked {
    /// Its id, key_…
    id: String,
    /// From when, RFC 3339 [default: 7 days before]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until when, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// Shows it.
pub async fn show(client: &Client, asked: &Asked, json: bool) -> anyhow::Result<()> {
    let query = asked.page.query(&[("from", asked.from.as_ref()), ("to", asked.to.as_ref())]);
    let usage = client.key_usage(&asked.id, &remote::borrowed(&query)).await?;
    output::show(json, &usage, for_people);
    Ok(())
}

fn for_people(usage: &Usage) {
    output::pairs(&[
        ("from", usage.from.clone()),
        ("to", usage.to.clone()),
        ("as of", usage.as_of.clone().unwrap_or_default()),
        ("calls", usage.calls.to_string()),
        ("failed", usage.failed.to_string()),
    ]);
    part("hours", &["hour", "calls", "failed"], &hours(usage));
    part("routes", &["route", "status", "calls"], &routes(usage));
    part("addresses", &["address", "first seen", "last seen", "calls"], &addresses(usage));
    part("refusals", &["at", "code", "address", "route", "request", "refused"], &refusals(usage));
    remote::more(usage.addresses.next.as_ref());
}

fn part(title: &str, names: &[&str], rows: &[Vec<String>]) {
    if !rows.is_empty() {
        output::line("");
        output::line(&output::Style::of_stdout().bold(title));
        output::table(names, rows);
    }
}

fn hours(usage: &Usage) -> Vec<Vec<String>> {
    let row = |hour: &api::usage::Hour| vec![hour.hour.clone(), hour.calls.to_string(), hour.failed.to_string()];
    usage.hours.iter().map(row).collect()
}

fn routes(usage: &Usage) -> Vec<Vec<String>> {
    let row = |of: &api::usage::RouteCalls| vec![of.route.clone(), of.status.to_string(), of.calls.to_string()];
    usage.routes.iter().map(row).collect()
}

fn addresses(usage: &Usage) -> Vec<Vec<String>> {
    let row = |of: &api::usage::Address| {
        vec![of.address.clone(), of.first_seen.clone(), of.last_seen.clone(), of.calls.to_string()]
    };
    usage.addresses.data.iter().map(row).collect()
}

fn refusals(usage: &Usage) -> Vec<Vec<String>> {
    let row = |of: &api::usage::RefusedCall| {
        let refused = if of.was_refused { "yes" } else { "no, only observed" };
        let texts = [&of.at, &of.code, &of.address, &of.route, &of.request_id];
        texts.into_iter().cloned().chain([refused.to_owned()]).collect()
    };
    usage.refusals.iter().map(row).collect()
}
