//! Servers of several processes. Without the test harness, for they must begin before any thread.
//!
//! It answers test runners as the harness does: `--list` names the tests, other words select them.

use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::server::Server;

/// A test by name.
type Claim = (&'static str, fn());

const CLAIMS: [Claim; 3] = [
    ("a_stop_right_after_the_start_ends_all_processes_soon", a_stop_right_after_the_start),
    ("a_drain_without_end_is_no_mistake", a_drain_without_end),
    ("a_stop_by_a_handler_ends_all_processes", a_stop_by_a_handler),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    if has("--list") {
        // There are no ignored tests to name.
        let listed = CLAIMS.iter().filter(|_| !has("--ignored"));
        listed.for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let selected = |name: &str| CLAIMS.iter().all(|(known, _)| !has(known)) || has(name);
    for (name, claim) in CLAIMS {
        if selected(name) {
            claim();
            println!("test {name} ... ok");
        }
    }
}

fn server() -> Server {
    Server::bind("127.0.0.1:0").expect("a port").model(Model::Epoll).processes(4)
}

/// Asks this process to stop, a little while after it has its first child besides the asking one.
fn stop_soon(delay: &str) -> std::process::Child {
    let count = "read -r a b c < /proc/$0/task/$0/children; test -n \"$b\"";
    let script = format!("until {count}; do :; done; sleep {delay}; kill -TERM $0");
    let own = std::process::id().to_string();
    Command::new("sh").args(["-c", &script, &own]).spawn().expect("sh")
}

fn a_stop_right_after_the_start() {
    for round in 0..10 {
        let started = Instant::now();
        // Comes while the first children are being made, or a little later.
        let mut killer = stop_soon(&format!("0.00{round}"));
        // Processes are stopped by signals whatever is said about them.
        let signals = round % 2 == 0;
        server().handle_signals(signals).serve(|_| io::Result::Ok(())).expect("no error");
        let took = started.elapsed();
        assert!(took < Duration::from_secs(9), "a child was killed in the end: {took:?}");
        // Not collected by the server: it is somebody else's child.
        assert!(killer.wait().expect("still ours").success());
    }
}

fn a_drain_without_end() {
    let mut killer = stop_soon("0.05");
    server().drain(Duration::MAX).serve(|_| io::Result::Ok(())).expect("no error");
    assert!(killer.wait().expect("still ours").success());
}

/// A handler has the control of the server, not only of its own process.
fn a_stop_by_a_handler() {
    for model in [Model::Epoll, Model::Threads] {
        let server = server().model(model);
        let port = server.local_addr().expect("bound").port();
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read -r <&3");
        // It connects before anybody accepts: the listener is there already.
        let mut client = Command::new("bash").args(["-c", &script]).spawn().expect("bash");
        let control = server.control();
        let stop = move |_stream| -> io::Result<()> {
            control.stop();
            Ok(())
        };
        server.serve(stop).expect("no error");
        // It ends with an error, for nobody has sent it a line.
        client.wait().expect("still ours");
    }
}
