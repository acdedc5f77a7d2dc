//! Many connections, few descriptors, several processes: servers in processes of their own.

use std::io::{self, Read, Write};
use std::net::TcpStream as Client;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways_tests::child::Remote;
use fiveways_tests::client::{ask, expect_end, noise, retry};
use fiveways_tests::patience::{LONG, eventually};
use rustix::process::{Pid, Signal, kill_process};

const ARENA: &str = env!("CARGO_BIN_EXE_fiveways-arena");

const CROWD: usize = 5_000;

/// Five thousand connections at once, all of them served. `blocking` and `pool` serve them in turn;
/// `select` refuses descriptors beyond its limit and serves on [D21].
pub(crate) fn five_thousand_at_once_heavy(model: Model) {
    let mut remote = Remote::start(ARENA, model, &[]);
    match model {
        Model::Blocking | Model::Pool => five_thousand_in_turn(&remote),
        Model::Select => more_than_select_can_watch(&mut remote),
        _ => all_at_once(&mut remote),
    }
    ask(&mut remote.connect(), b"alive");
    eventually("all have left", || remote.counts().connections == 0);
    remote.stop();
}

fn all_at_once(remote: &mut Remote) {
    let mut clients: Vec<_> = (0..CROWD).map(|_| remote.connect()).collect();
    eventually("all are inside", || remote.counts().connections == CROWD);
    for _ in 0..2 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(noise(number, 64)).expect("taken");
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let mut answer = [0; 64];
            client.read_exact(&mut answer).expect("an answer each");
            assert!(answer == *noise(number, 64), "somebody else's answer");
        }
    }
}

fn five_thousand_in_turn(remote: &Remote) {
    for _ in 0..CROWD / 500 {
        let clients: Vec<_> = (0..500).map(|_| remote.connect()).collect();
        for (number, mut client) in clients.into_iter().enumerate() {
            ask(&mut client, noise(number, 64));
        }
    }
}

/// Connections that cannot be watched wait for others to leave, and none is lost.
fn more_than_select_can_watch(remote: &mut Remote) {
    let mut clients: Vec<_> = (0..1_500).map(|_| remote.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(noise(number, 64)).expect("taken");
    }
    eventually("the numbers run out", || remote.counts().exhausted > 3);
    let inside = remote.counts().connections;
    assert!((900..1_024).contains(&inside), "{inside} were let in");
    for (number, mut client) in clients.into_iter().enumerate() {
        let mut answer = [0; 64];
        client.read_exact(&mut answer).expect("an answer each");
        assert!(answer == *noise(number, 64), "somebody else's answer");
    }
}

/// With few descriptors everybody is served in the end, and nobody who was let in is lost [D19].
pub(crate) fn descriptors_run_out_and_nobody_is_lost(model: Model) {
    const ALL: usize = 150;
    let mut remote = Remote::start(ARENA, model, &["nofile=64"]);
    let mut waiting: Vec<_> = (0..ALL).map(|_| remote.connect()).collect();
    for client in &mut waiting {
        client.write_all(b"me").expect("taken");
    }
    if !matches!(model, Model::Blocking | Model::Pool) {
        eventually("descriptors run out", || remote.counts().exhausted > 3);
        let inside = remote.counts().connections;
        assert!((30..64).contains(&inside), "{inside} were let in");
        let answered = || waiting.iter().filter(|client| has_answer(client)).count();
        eventually("all who were let in are served", || answered() == inside);
    }
    let end = Instant::now() + LONG;
    while !waiting.is_empty() {
        assert!(Instant::now() < end, "{} have not been served", waiting.len());
        // A served client leaves and makes room.
        waiting.retain(|client| !has_answer(client));
    }
    ask(&mut remote.connect(), b"alive");
    assert_eq!(remote.counts().accepted as usize, ALL + 1);
    remote.stop();
}

/// Has the answer come?
fn has_answer(client: &Client) -> bool {
    client.set_nonblocking(true).expect("takes options");
    let mut answer = [0; 2];
    let peeked = retry(|| client.peek(&mut answer));
    client.set_nonblocking(false).expect("takes options");
    match peeked {
        Ok(count) => count == 2 && answer == *b"me",
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "a client was lost: {error}");
            false
        }
    }
}

/// The children of a process.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Several processes serve one port, by a shared listener or one each; a process that dies is
/// replaced; and a stop ends them all [D55].
pub(crate) fn processes_share_a_port_and_are_replaced(model: Model) {
    for mode in ["mode=shared", "mode=reuse-port", "mode=auto"] {
        if mode == "mode=shared" && model == Model::Signal {
            // It says so: `a_shared_listener_is_refused_where_it_would_serve_one_process`.
            continue;
        }
        let remote = Remote::start(ARENA, model, &["processes=3", mode]);
        eventually("three children", || children(remote.id()).len() == 3);
        for round in 0..60 {
            ask(&mut remote.connect(), noise(round, 100));
        }
        let victim = children(remote.id())[0];
        let pid = Pid::from_raw(victim as i32).expect("a child has a number");
        kill_process(pid, Signal::KILL).expect("it lives");
        eventually("it is replaced", || {
            let now = children(remote.id());
            now.len() == 3 && !now.contains(&victim)
        });
        eventually("all are served again", || {
            (0..20).all(|round| try_ask(&remote, noise(round, 100)))
        });
        let all = children(remote.id());
        remote.stop();
        let gone = |pid: &u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
        eventually("the children end", || all.iter().all(gone));
    }
}

/// Asks, not minding a connection that went down with its process.
fn try_ask(remote: &Remote, message: &[u8]) -> bool {
    let mut client = remote.connect();
    let mut answer = vec![0; message.len()];
    let answered = client.write_all(message).and_then(|()| client.read_exact(&mut answer));
    answered.is_ok() && answer == message
}

/// SIGTERM lets connections finish; the program then ends well [D29].
pub(crate) fn sigterm_drains_and_exits_well(model: Model) {
    let mut remote = Remote::start(ARENA, model, &["drain_ms=60000"]);
    let mut client = remote.connect();
    ask(&mut client, b"inside");
    remote.signal(Signal::TERM);
    for _ in 0..50 {
        ask(&mut client, b"still served");
    }
    assert!(remote.is_alive());
    drop(client);
    assert!(remote.wait().success());
}

/// A second signal does not wait [D29].
pub(crate) fn a_second_signal_forces(model: Model) {
    let mut remote = Remote::start(ARENA, model, &["drain_ms=60000"]);
    let mut client = remote.connect();
    ask(&mut client, b"inside");
    let started = Instant::now();
    remote.signal(Signal::INT);
    ask(&mut client, b"the first signal was gentle");
    remote.signal(Signal::TERM);
    assert!(remote.wait().success());
    expect_end(&client);
    assert!(started.elapsed() < Duration::from_secs(20), "took {:?}", started.elapsed());
}
