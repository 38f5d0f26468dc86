//! The `iusign` binary: the server, its operator's commands, and the API's commands.

mod admin;
mod args;
mod assemble;
mod assets;
mod audit;
mod backup;
mod batches;
mod config;
mod cursor;
mod demo;
mod destination;
mod doctor;
mod documents;
mod envelopes;
mod events;
mod exit;
mod keys;
mod layout;
mod mail;
mod me;
mod output;
mod parts;
mod quickstart;
mod remote;
mod revocation;
mod rotation;
mod scan;
mod serve;
mod templates;
mod tenant;
mod usage;
mod users;
mod verify;
mod worker;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    args::run()
}
