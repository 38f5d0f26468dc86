//! Programs beside the server, that tests start and that end with them.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

/// A program beside the server that ends with the test.
pub struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program and waits until it has said this.
pub fn start(command: &mut Command, ready: &str) -> Beside {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let (sender, heard) = std::sync::mpsc::channel();
    let streams: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
    for stream in streams {
        let (sender, ready) = (sender.clone(), ready.to_owned());
        std::thread::spawn(move || {
            let mut all = Vec::new();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                all.push(line);
                if all.last().is_some_and(|line| line.contains(&ready)) {
                    // Nobody listens any more once it is known.
                    let _ = sender.send(Ok(()));
                }
            }
            let _ = sender.send(Err(all.join("\n")));
        });
    }
    drop(sender);
    let beside = Beside(child);
    let mut said = String::new();
    while let Ok(heard) = heard.recv_timeout(std::time::Duration::from_secs(60)) {
        match heard {
            Ok(()) => return beside,
            Err(words) => said.push_str(&words),
        }
    }
    panic!("it is not ready: {said}")
}

/// A port that is free now.
pub fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("an address").port()
}
