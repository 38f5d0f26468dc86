//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    admin, assets, audit, backup, batches, demo, doctor, documents, envelopes, events, exit, keys, mail, me, output,
    quickstart, scan, serve, templates, tenant, users, verify, worker,
};

/// E-signatures that programs drive.
#[derive(Debug, Parser)]
#[command(name = "iusign", version, after_help = exit::HELP, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// Print JSON for programs, errors too
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<serve::Serve>),
    /// Make tenant, owner, key and certificates without asking, and serve
    Quickstart(Box<quickstart::Quickstart>),
    /// Do the whole job on a sample: a batch, signatures, sealed files, verified; and leave the server running
    Demo(demo::Demo),
    /// Who the key is, and what it may do
    Me(me::Me),
    /// Generate, list and revoke API keys
    Keys(keys::Keys),
    /// Upload PDFs
    Documents(documents::Documents),
    /// Create, list, show, send and take back envelopes
    Envelopes(Box<envelopes::Envelopes>),
    /// Create, list and show templates
    Templates(Box<templates::Templates>),
    /// Make many envelopes from a template and a file of rows
    Batches(Box<batches::Batches>),
    /// List events, and follow them
    Events(events::Events),
    /// List, fetch and mirror the sealed files
    Assets(assets::Assets),
    /// Read what development and staging would have mailed
    Mail(mail::Mail),
    /// Invite people, give them roles, suspend and remove them
    Users(users::Users),
    /// Show and change the tenant: tier, allowlist, policies
    Tenant(Box<tenant::Tenant>),
    /// Read the audit log, or check that nothing in it was changed
    Audit(audit::Audit),
    /// Say whether sealed PDFs are as they were sealed
    Verify(verify::Verify),
    /// Find secret keys that lie where they must not
    Scan(scan::Scan),
    /// What only the server's operator may do
    Admin(admin::Admin),
    /// Copy database, files and the journal of revocations to a folder, also while the server runs
    Backup(Box<backup::Backup>),
    /// Restore a backup to where nothing is yet; keys that were revoked stay revoked
    Restore(Box<backup::Restore>),
    /// Check whether everything is as it has to be
    Doctor(Box<doctor::Doctor>),
    /// Read strangers' documents, for the server
    #[command(name = worker::SUBCOMMAND, hide = true)]
    Worker,
}

/// Reads the command line and does what it says.
pub fn run() -> ExitCode {
    let args = Args::parse();
    if matches!(args.command, Command::Worker) {
        // It confines itself: no runtime, no threads before that.
        return worker::run();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&anyhow::anyhow!("no threads can be started: {error}"), args.json),
    };
    let lost = || output::fault().map(|error| anyhow::anyhow!("standard output can't be written: {error}"));
    match (runtime.block_on(carry_out(args.command, args.json)), lost()) {
        (Ok(()), None) => ExitCode::SUCCESS,
        (Ok(()), Some(lost)) => exit::report(&lost, args.json),
        // How the command ends says more than that nobody could read it.
        (Err(error), lost) => {
            lost.iter().for_each(|lost| {
                exit::report(lost, args.json);
            });
            exit::report(&error, args.json)
        }
    }
}

async fn carry_out(command: Command, json: bool) -> anyhow::Result<()> {
    match command {
        Command::Serve(serve) => serve::run(*serve).await,
        Command::Quickstart(quickstart) => quickstart::run(*quickstart, json).await,
        Command::Demo(demo) => demo::run(demo, json).await,
        Command::Me(me) => me::run(me, json).await,
        Command::Keys(keys) => keys::run(keys, json).await,
        Command::Documents(documents) => documents::run(documents, json).await,
        Command::Envelopes(envelopes) => envelopes::run(*envelopes, json).await,
        Command::Templates(templates) => templates::run(*templates, json).await,
        Command::Batches(batches) => batches::run(*batches, json).await,
        Command::Events(events) => events::run(events, json).await,
        Command::Assets(assets) => assets::run(assets, json).await,
        Command::Mail(mail) => mail::run(mail, json).await,
        Command::Users(users) => users::run(users, json).await,
        Command::Tenant(tenant) => tenant::run(*tenant, json).await,
        Command::Audit(audit) => audit::run(audit, json).await,
        Command::Verify(verify) => verify::run(verify, json).await,
        Command::Scan(scan) => scan::run(&scan, json),
        Command::Admin(admin) => admin::run(admin, json).await,
        Command::Backup(command) => backup::make(*command, json).await,
        Command::Restore(command) => backup::restore(*command, json).await,
        Command::Doctor(doctor) => doctor::run(*doctor, json).await,
        Command::Worker => Ok(()),
    }
}
