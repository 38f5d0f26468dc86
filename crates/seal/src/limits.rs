//! What a worker may use: memory, CPU time, the few system calls that drawing needs, and nothing else of the machine.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use serde::{Deserialize, Serialize};

use crate::frame::DOCUMENTS_MAX;

/// The bounds of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Address space, in bytes.
    pub address_space_bytes: u64,
    /// CPU time for each task, in seconds.
    pub cpu_seconds: u64,
    /// Time on the wall for each task: for a worker that waits instead of working.
    pub wall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { address_space_bytes: 1024 * 1024 * 1024, cpu_seconds: 10, wall: Duration::from_secs(30) }
    }
}

/// Descriptors that a worker needs beside its documents: standard streams, its socket, some air.
const DESCRIPTORS_MAX: u64 = DOCUMENTS_MAX as u64 + 16;

/// Confines this process for good: no core, no files to write, no new descriptors by path, no network, no other program.
pub fn confine(limits: &Limits) -> Result<(), String> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| format!("PR_SET_DUMPABLE: {error}"))?;
    let fixed = [
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, DESCRIPTORS_MAX),
        (Resource::As, limits.address_space_bytes),
    ];
    for (resource, value) in fixed {
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
            .map_err(|error| format!("setrlimit {resource:?}: {error}"))?;
    }
    // clone3 hides its flags behind a pointer; told that it does not exist, the C library falls back to clone.
    let absent = filter(
        [(libc::SYS_clone3, vec![])].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
    )?;
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let allowed = filter(allowed_calls()?, refuse, SeccompAction::Allow)?;
    for program in [absent, allowed] {
        seccompiler::apply_filter_all_threads(&program).map_err(|error| format!("seccomp: {error}"))?;
    }
    Ok(())
}

/// Grants the next task its CPU time, counted from now. Beyond it the kernel ends the process (SIGXCPU).
pub fn grant_cpu(seconds: u64) -> Result<(), String> {
    let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec.unsigned_abs();
    setrlimit(Resource::Cpu, Rlimit { current: Some(used + 1 + seconds), maximum: None })
        .map_err(|error| format!("setrlimit Cpu: {error}"))
}

/// CPU time that this process has used.
pub fn cpu_used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, String> {
    let arch: TargetArch =
        std::env::consts::ARCH.try_into().map_err(|_| "this processor has no seccomp filter".to_owned())?;
    SeccompFilter::new(rules, otherwise, matched, arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| format!("seccomp filter: {error}"))
}

/// The calls that pass. A list of what is allowed stays right when the kernel learns new calls.
fn allowed_calls() -> Result<BTreeMap<i64, Vec<SeccompRule>>, String> {
    let plain = [
        // the socket and the documents, which are open already
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_pread64,
        libc::SYS_recvmsg,
        libc::SYS_recvfrom,
        libc::SYS_sendmsg,
        libc::SYS_sendto,
        libc::SYS_lseek,
        libc::SYS_fstat,
        libc::SYS_close,
        libc::SYS_ppoll,
        // memory
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_brk,
        // threads of our own
        libc::SYS_clone3,
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_gettid,
        libc::SYS_getpid,
        // clocks, randomness, the own CPU limit, signals, the end
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_getrandom,
        libc::SYS_getrusage,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
        libc::SYS_sigaltstack,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = plain.into_iter().map(|call| (call, vec![])).collect();
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_poll, vec![]);
    let own = u64::from(std::process::id());
    let thread = libc::CLONE_THREAD.unsigned_abs().into();
    rules.insert(libc::SYS_clone, vec![when(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
    rules.insert(libc::SYS_prlimit64, vec![when(0, SeccompCmpOp::Eq, 0)?]);
    rules.insert(libc::SYS_tgkill, vec![when(0, SeccompCmpOp::Eq, own)?]);
    let reads = [libc::F_GETFD, libc::F_GETFL].map(|command| when(1, SeccompCmpOp::Eq, command.unsigned_abs().into()));
    rules.insert(libc::SYS_fcntl, reads.into_iter().collect::<Result<_, _>>()?);
    Ok(rules)
}

/// A rule that matches when an argument compares so.
fn when(argument: u8, compare: SeccompCmpOp, value: u64) -> Result<SeccompRule, String> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|error| format!("seccomp rule: {error}"))
}
