//! Servers that are not there, and wrong usage.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::{echo, nobody, serve, shorten_backlog, socket_path};
use crate::support::{PROGRAM, Talk, connect};

#[test]
fn a_refused_connection_is_told_with_a_hint_and_status_2() {
    let address = nobody();
    let finished = connect(&[&address], b"");
    let error = format!("error: cannot connect to '{address}': connection refused\n\nhint: is a ");
    assert!(finished.stderr.starts_with(&error), "{}", finished.stderr);
    assert_eq!((finished.code, finished.text()), (Some(2), ""));
}

#[test]
fn a_load_that_is_refused_is_a_failed_load() {
    let finished = connect(&[&nobody(), "--tasks", "2"], b"");
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains("2 of 2 connections failed\n\nhint: "), "{}", finished.stderr);
}

#[test]
fn an_attempt_to_connect_ends_at_its_time_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    shorten_backlog(&listener);
    let address = listener.local_addr().expect("it is bound");
    let _waiting = TcpStream::connect(address).expect("the backlog has room for one");
    let path = socket_path();
    let unix = UnixListener::bind(&path).expect("the path is free");
    shorten_backlog(&unix);
    let _waiting = UnixStream::connect(&path).expect("the backlog has room for one");

    let (tcp, unix) = (address.to_string(), path.to_str().expect("it is text").to_owned());
    for target in [vec![tcp.as_str()], vec!["--unix", unix.as_str()]] {
        let finished = connect(&[target.as_slice(), &["--timeout", "100ms"]].concat(), b"");
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
        assert!(finished.stderr.contains("no answer within 100 ms\n\nhint: "), "{finished:?}");
        let load = ["--timeout", "100ms", "--tasks", "1"];
        let finished = connect(&[target.as_slice(), &load].concat(), b"");
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    }
    std::fs::remove_file(path).expect("it is there");
}

#[test]
fn further_attempts_find_a_server_that_comes_late() {
    let address = nobody();
    let mut talk = Talk::start(&[&address, "--retry", "8", "--message", "hi"]);
    talk.expect_note("connection refused; trying again in 100 ms (1 of 8)");
    let server = thread::spawn(move || {
        let listener = TcpListener::bind(address).expect("the port is still free");
        echo(listener.accept().expect("the client comes").0);
    });
    let finished = talk.finish();
    assert_eq!((finished.text(), finished.code), ("hi\n", Some(0)), "{}", finished.stderr);
    server.join().expect("the server does not panic");
}

#[test]
fn attempts_back_off_and_come_to_an_end() {
    let began = Instant::now();
    let finished = connect(&[&nobody(), "--retry", "2"], b"");
    assert!(began.elapsed() >= Duration::from_millis(300), "100 ms and then 200 ms");
    let told: Vec<_> = finished.stderr.lines().take(2).collect();
    assert!(told[0].ends_with("in 100 ms (1 of 2)"), "{told:?}");
    assert!(told[1].ends_with("in 200 ms (2 of 2)"), "{told:?}");
    assert_eq!(finished.code, Some(2));
}

#[test]
fn wrong_usage_is_told_with_status_2() {
    let wrong: [(&[&str], &str); 8] = [
        (&["localhost"], "give an address as HOST:PORT"),
        (&[], "required"),
        (&["a:1", "--unix", "p"], "cannot be used with"),
        (&["a:1", "--threads", "0"], "at least 1"),
        (&["a:1", "--threads", "2", "--tasks", "2"], "cannot be used with"),
        (&["a:1", "--tasks", "2", "--model", "kqueue"], "unknown model 'kqueue'"),
        (&["a:1", "--tasks", "2", "--model", "threads"], "the model threads cannot run tasks"),
        (&["--unix", "/nowhere/s"], "There is no socket at this path"),
    ];
    for (args, words) in wrong {
        let finished = connect(args, b"");
        assert_eq!(finished.code, Some(2), "{args:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(words), "{args:?}: {}", finished.stderr);
    }
}

#[test]
fn datagrams_that_nobody_receives_are_told_of() {
    // The port of a TCP listener that is gone: no UDP socket has it either, in all likelihood.
    let finished = connect(&[&nobody(), "--udp", "--wait", "10s"], b"x\n");
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let error = "error: nothing receives datagrams there (connection refused)\n";
    assert_eq!(finished.stderr, error);
}

#[test]
fn who_closes_our_output_has_seen_enough() {
    let address = serve(echo);
    let script =
        format!("{PROGRAM} connect {address} --mode ping | head -n 1; echo ${{PIPESTATUS[0]}}");
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).stdin(Stdio::null());
    let output = shell.output().expect("bash starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n0\n");
}
