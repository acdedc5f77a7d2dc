//! Defects of servers that show in the program: what it binds unless told otherwise.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// D53: servers bound every interface with no limits. Wider than loopback has to be asked for.
#[test]
fn d53_the_default_address_is_loopback() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fiveways"));
    command.args(["serve", "--model", "threads"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("it tells its address");
    let words = line.split_whitespace();
    let addr = words.filter_map(|word| word.parse::<SocketAddr>().ok()).next();
    child.kill().expect("it serves until it is ended");
    child.wait().expect("our child");
    assert!(addr.is_some_and(|addr| addr.ip().is_loopback()), "bound to {line:?}");
}

/// Sizes that nobody means were taken, and workers panicked or wrapped their numbers.
#[test]
fn absurd_sizes_are_refused_by_name() {
    for (option, value) in [
        ("--processes", "0"),
        ("--processes", "5000000"),
        ("--workers", "0"),
        ("--workers", "5000000"),
        ("--workers", "4294967295"),
    ] {
        for model in ["threads", "epoll"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_fiveways"));
            command.args(["serve", "--model", model, option, value]).stdin(Stdio::null());
            let output = command.output().expect("the program starts");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{option} {value}: {said}");
            assert!(said.contains(option) && said.contains(value), "{said}");
            assert!(!said.contains("panicked") && output.stdout.is_empty(), "{said}");
        }
    }
}
