//! The `iusign` binary: the server, its operator's commands, and the API's commands.

mod admin;
mod args;
mod assemble;
mod config;
mod doctor;
mod exit;
mod keys;
mod layout;
mod me;
mod output;
mod quickstart;
mod remote;
mod serve;
mod verify;
mod worker;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    args::run()
}
