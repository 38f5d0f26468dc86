//! The worker as a program of its own, for this crate's tests; the real one is a hidden subcommand of `iusign`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("probe") => probe(),
        _ => seal::worker::main(),
    }
}

/// Confines itself as a worker does, tries what a worker must not do, and says what passed.
fn probe() -> ExitCode {
    if let Err(error) = seal::limits::confine(&seal::limits::Limits::default()) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let tries: [(&str, bool); 8] = [
        ("tcp", std::net::TcpListener::bind("127.0.0.1:0").is_ok()),
        ("udp", std::net::UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("connect", std::net::TcpStream::connect("127.0.0.1:80").is_ok()),
        ("unix", std::os::unix::net::UnixStream::pair().is_ok()),
        ("exec", std::process::Command::new("/bin/true").status().is_ok()),
        ("open", std::fs::File::open("/etc/hostname").is_ok() || std::fs::File::open("/proc/self/maps").is_ok()),
        ("create", std::fs::write("/tmp/iusign-probe", "x").is_ok()),
        ("memory", Vec::<u8>::new().try_reserve_exact(2 << 30).is_ok()),
    ];
    let thread = std::thread::spawn(|| 42).join().is_ok_and(|answer| answer == 42);
    for (what, passed) in tries {
        println!("{what} {}", if passed { "passed" } else { "refused" });
    }
    println!("thread {}", if thread { "passed" } else { "refused" });
    ExitCode::SUCCESS
}
