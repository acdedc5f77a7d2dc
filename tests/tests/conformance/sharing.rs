//! Several processes on one port: whom a connection wakes, who gets it, and what a death costs.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream as Client};
use std::process::Command;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways_tests::child::Remote;
use fiveways_tests::client::{ask, expect_eof};
use fiveways_tests::patience::eventually;
use rustix::process::{Pid, Signal, kill_process};

use crate::crowds::children;

const ARENA: &str = env!("CARGO_BIN_EXE_fiveways-arena");

/// A server of idle processes.
fn start(model: Model, processes: usize) -> (Remote, Vec<u32>) {
    let remote = Remote::start(ARENA, model, &[&format!("processes={processes}")]);
    eventually("all have begun", || {
        let all = children(remote.id());
        // One that burns a core does not sleep, but has a worker when it has begun.
        let burns = model == Model::Nonblocking;
        let begun = |pid: &u32| match burns {
            true => threads(*pid, "stat").len() > 1,
            false => is_asleep(*pid),
        };
        all.len() == processes && all.iter().all(begun)
    });
    let all = children(remote.id());
    (remote, all)
}

/// Do all threads of a process sleep?
fn is_asleep(pid: u32) -> bool {
    all_are(pid, 'S')
}

/// Are all threads of a process in this state?
fn all_are(pid: u32, state: char) -> bool {
    let is_so = |stat: &String| stat.rsplit(") ").next().is_some_and(|it| it.starts_with(state));
    let stats = threads(pid, "stat");
    !stats.is_empty() && stats.iter().all(is_so)
}

/// A file about each thread of a process.
fn threads(pid: u32, file: &str) -> Vec<String> {
    let Ok(all) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let read = |thread: fs::DirEntry| fs::read_to_string(thread.path().join(file));
    all.flatten().filter_map(|thread| read(thread).ok()).collect()
}

/// How often the threads of a process went to sleep that do not serve a connection alone.
fn sleeps(pid: u32) -> u64 {
    let of = |status: &String, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    let all = threads(pid, "status").into_iter().filter(|status| {
        let name = of(status, "Name:").unwrap_or_default();
        !name.starts_with("fiveways-conn") && !name.starts_with("fiveways-pool")
    });
    let count = |status: String| of(&status, "voluntary_ctxt_switches:")?.parse::<u64>().ok();
    all.filter_map(count).sum()
}

/// How many sockets a process has.
fn sockets(pid: u32) -> usize {
    let Ok(all) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let target = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
    let targets = all.flatten().filter_map(target);
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// A connection wakes one of six idle processes, and forty connections in a row are spread over
/// two.
pub(crate) fn a_connection_wakes_one_process_and_all_get_their_share(model: Model) {
    // One that burns a core does not sleep.
    if model != Model::Nonblocking {
        // Others that run on this machine only add.
        let wake_ups = (0..3).map(|_| wake_ups(model)).reduce(f64::min).expect("three times");
        assert!(wake_ups <= 1.3, "{wake_ups} wake-ups a connection");
    }
    // A listener each gives them away by chance: one in a thousand times it is worse.
    let spread = [spread(model), spread(model)];
    let fair = |(first, second): &(usize, usize)| first.min(second) >= &10;
    assert!(spread.iter().any(fair), "{spread:?} of forty");
}

fn wake_ups(model: Model) -> f64 {
    const CLIENTS: usize = 60;
    let (remote, all) = start(model, 6);
    let count = || all.iter().map(|pid| sleeps(*pid)).sum::<u64>();
    let inside = || all.iter().map(|pid| sockets(*pid)).sum::<usize>();
    let (mut before, had, begun) = (count(), inside(), Instant::now());
    let mut clients = Vec::new();
    for number in 1..=CLIENTS {
        clients.push(remote.connect());
        // `blocking` takes one into each process; the next one must not wait.
        if model == Model::Blocking {
            eventually("it is let in", || inside() == had + 1);
            let served = count();
            drop(clients.pop());
            eventually("it has left", || inside() == had && all.iter().all(|pid| is_asleep(*pid)));
            // The end of the connection is a wake-up as well, of the one that served it.
            before += (count() - served).min(1);
        } else {
            let idle = || all.iter().all(|pid| is_asleep(*pid));
            eventually("it is let in, and all are idle", || inside() == had + number && idle());
        }
    }
    eventually("all sleep", || all.iter().all(|pid| is_asleep(*pid)));
    let woken = count() - before;
    let looks = if model == Model::Signal { looks_in(begun.elapsed(), &count) } else { 0 };
    let woken = woken.saturating_sub(looks);
    drop(clients);
    remote.stop();
    woken as f64 / CLIENTS as f64
}

/// How often processes that have nothing to do go to sleep in such a time: `signal` looks for
/// itself now and then, the oftener the longer a busy machine takes for the test.
fn looks_in(time: Duration, count: &impl Fn() -> u64) -> u64 {
    let before = count();
    std::thread::sleep(time);
    count() - before
}

/// How many of forty connections, one after the other, each of two processes serves.
fn spread(model: Model) -> (usize, usize) {
    let (remote, all) = start(model, 2);
    let had: Vec<_> = all.iter().map(|pid| sockets(*pid)).collect();
    let mut served = [0; 2];
    for _ in 0..40 {
        let mut client = remote.connect();
        ask(&mut client, b"hello");
        let has_it = |at: &usize| sockets(all[*at]) > had[*at];
        served[(0..2).find(has_it).expect("one has it")] += 1;
        client.shutdown(Shutdown::Write).expect("still there");
        expect_eof(&client);
        eventually("it has left", || (0..2).all(|at| sockets(all[at]) == had[at]));
    }
    remote.stop();
    (served[0], served[1])
}

/// What is queued for a process that dies is served by another, or by the one that replaces it.
pub(crate) fn what_is_queued_for_a_process_that_dies_is_served(model: Model) {
    let (remote, all) = start(model, 2);
    let tell = |pid: u32, signal| {
        let pid = Pid::from_raw(pid as i32).expect("a child has a number");
        kill_process(pid, signal).expect("it lives");
    };
    all.iter().for_each(|pid| tell(*pid, Signal::STOP));
    // What a thread that runs on accepts dies with it.
    eventually("both stand still", || all.iter().all(|pid| all_are(*pid, 'T')));
    let queued: Vec<Client> = (0..30).map(|_| remote.connect()).collect();
    for mut client in &queued {
        client.write_all(b"request").expect("taken");
        client.shutdown(Shutdown::Write).expect("still there");
    }
    tell(all[0], Signal::KILL);
    tell(all[1], Signal::CONT);
    let answered = queued.into_iter().filter_map(|mut client| {
        let mut answer = String::new();
        client.read_to_string(&mut answer).is_ok_and(|_| answer == "request").then_some(())
    });
    assert_eq!(answered.count(), 30);
    remote.stop();
}

/// Under `signal` a listener that several processes share would tell one of them only.
pub(crate) fn a_shared_listener_is_refused_where_it_would_serve_one_process(model: Model) {
    if model != Model::Signal {
        let remote = Remote::start(ARENA, model, &["processes=2", "mode=shared"]);
        ask(&mut remote.connect(), b"served");
        remote.stop();
        return;
    }
    let mut arena = Command::new(ARENA);
    let refused = arena.args([model.name(), "processes=2", "mode=shared"]).output();
    let refused = refused.expect("the arena starts");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(told.contains("ListenMode::ReusePort"), "{told}");
}
