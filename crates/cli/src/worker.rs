//! `iusign worker`: the child process in which strangers' PDFs are read. Started by the server, not by people.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Context;

/// The hidden subcommand's name.
pub const SUBCOMMAND: &str = "worker";

/// Reads tasks from the server until it goes away.
pub fn run() -> ExitCode {
    seal::worker::main()
}

/// This very program with the argument that makes it a worker.
pub fn program() -> anyhow::Result<(PathBuf, Vec<String>)> {
    // The link names the file that runs even after another was put in its place: an upgrade under a running server must
    // not start workers of another version.
    let link = PathBuf::from("/proc/self/exe");
    let program = match std::fs::metadata(&link) {
        Ok(_) => link,
        Err(_) => std::env::current_exe().context("this program's own path is not known")?,
    };
    Ok((program, vec![SUBCOMMAND.to_owned()]))
}

/// A pool of such processes, for commands that read strangers' files themselves.
pub fn pool(workers: usize) -> anyhow::Result<seal::pool::Pool> {
    let (program, args) = program()?;
    Ok(seal::pool::Pool::new(seal::pool::PoolConfig {
        program,
        args: args.into_iter().map(OsString::from).collect(),
        workers,
        limits: seal::limits::Limits::default(),
        tasks_per_worker: TASKS_PER_WORKER,
    }))
}

/// After so many files a worker is replaced.
const TASKS_PER_WORKER: u32 = 100;
