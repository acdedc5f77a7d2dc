//! What waits under each model, and what goes on meanwhile.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::executor::unblock;
use fiveways::net::{TcpListener, TcpStream, UdpSocket};
use fiveways::process::Command;
use fiveways::queue::Queue;
use fiveways::sync::{Event, Mutex, Semaphore};
use fiveways::{task, time};
use fiveways_tests::arena::{in_task, pair};

use crate::settle;

const NAP: Duration = Duration::from_millis(60);

/// A call during which others waited no longer than this lets them go on.
const COOPERATIVE: Duration = Duration::from_millis(8);

/// Runs `wait` beside a task that ticks each millisecond; the longest time without a tick.
fn longest_stall(wait: impl FnOnce()) -> Duration {
    let over = Arc::new(AtomicBool::new(false));
    let longest = Arc::new(AtomicU64::new(0));
    let (until, record) = (Arc::clone(&over), Arc::clone(&longest));
    let ticker = task::spawn_local(move || {
        // What other programs on this machine do meanwhile is no stall of ours.
        let mut last = (Instant::now(), kept_off());
        while !until.load(Ordering::Relaxed) {
            time::sleep(Duration::from_millis(1));
            let now = (Instant::now(), kept_off());
            let stall = (now.0 - last.0).saturating_sub(now.1 - last.1);
            record.fetch_max(stall.as_micros() as u64, Ordering::Relaxed);
            last = now;
        }
    });
    task::yield_now();
    wait();
    over.store(true, Ordering::Relaxed);
    ticker.join().expect("no panic");
    Duration::from_micros(longest.load(Ordering::Relaxed))
}

/// How long this thread could run and had no processor.
fn kept_off() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let ns = stat.split(' ').nth(1).and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.expect("a number"))
}

/// Has `f` done on another thread after a nap.
fn later(f: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        thread::sleep(NAP);
        f();
    });
}

fn recv() {
    let (mut ours, mut theirs) = pair();
    later(move || theirs.write_all(b"x").expect("room"));
    ours.read_exact(&mut [0; 1]).expect("it comes");
}

fn send() {
    let (mut ours, mut theirs) = pair();
    later(move || drop(theirs.read_to_end(&mut Vec::new())));
    ours.write_all(&vec![7; 16 << 20]).expect("it is read");
}

fn accept() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("bound");
    later(move || drop(std::net::TcpStream::connect(addr)));
    listener.accept().expect("it comes");
}

fn connect() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    TcpStream::connect(listener.local_addr().expect("bound")).expect("room in the backlog");
}

fn recv_from() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let addr = socket.local_addr().expect("bound");
    later(move || {
        let other = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        other.send_to(b"x", addr).expect("sent");
    });
    socket.recv_from(&mut [0; 1]).expect("it comes");
}

fn lock() {
    let mutex = Arc::new(Mutex::new(()));
    let (theirs, held) = (Arc::clone(&mutex), Arc::new(Event::new()));
    let tell = Arc::clone(&held);
    thread::spawn(move || {
        let _guard = theirs.lock();
        tell.set();
        thread::sleep(NAP);
    });
    held.wait();
    drop(mutex.lock());
}

fn acquire() {
    let semaphore = Arc::new(Semaphore::new(0));
    let theirs = Arc::clone(&semaphore);
    later(move || theirs.release(1));
    semaphore.acquire().forget();
}

fn event() {
    let event = Arc::new(Event::new());
    let theirs = Arc::clone(&event);
    later(move || theirs.set());
    event.wait();
}

fn get() {
    let queue = Arc::new(Queue::new());
    let theirs = Arc::clone(&queue);
    later(move || theirs.put(1).expect("open"));
    assert_eq!(queue.get(), Ok(1));
}

fn child() {
    let status = Command::new("sleep").arg("0.06").stdin(Stdio::null()).status();
    assert!(status.expect("it starts").success());
}

fn look_up() {
    TcpListener::bind("localhost:0").expect("everybody knows localhost");
}

/// C29, S000-14, S000-15, S000-16, S001-22, S001-23, S004-35, S004-43: which calls let others go
/// on. All of ours do; a foreign call that blocks does not, unless it is put elsewhere.
#[test]
fn c29_our_calls_let_others_go_on_and_foreign_ones_do_not() {
    type Call = (&'static str, fn());
    const OURS: [Call; 13] = [
        ("sleep", || time::sleep(NAP)),
        ("connect", connect),
        ("accept", accept),
        ("recv", recv),
        ("send", send),
        ("recv_from", recv_from),
        ("lock", lock),
        ("acquire", acquire),
        ("event", event),
        ("get", get),
        ("child", child),
        ("name look-up", look_up),
        ("unblock", || unblock(|| thread::sleep(NAP))),
    ];
    for (name, call) in OURS {
        settle(name, || {
            let stall = in_task(Model::Epoll, move || longest_stall(call));
            let figures = format!("others waited {stall:.2?} at most");
            if stall < COOPERATIVE { Ok(figures) } else { Err(figures) }
        });
    }
    let stall = in_task(Model::Epoll, || longest_stall(|| thread::sleep(NAP)));
    assert!(stall >= NAP, "the thread slept, and yet others went on: {stall:?}");
}

/// C33, S004-34: tasks that wait do so side by side: the time is the longest, not the sum.
#[test]
fn c33_waiting_side_by_side_takes_the_longest_time_and_not_the_sum() {
    const COUNT: u32 = 50;
    settle("fifty naps", || {
        let took = in_task(Model::Epoll, || {
            let started = Instant::now();
            let naps: Vec<_> = (0..COUNT).map(|_| task::spawn_local(|| time::sleep(NAP))).collect();
            task::join_all(naps);
            started.elapsed()
        });
        assert!(took >= NAP);
        let figures = format!("{took:.2?}, one takes {NAP:?}");
        if took < NAP * COUNT / 10 { Ok(figures) } else { Err(figures) }
    });
}

/// C33b, S004-32: while any task can run the thread does not sleep, so that the system sees a
/// program that always computes.
#[test]
fn c33_a_worker_with_work_does_not_give_its_processor_away() {
    let switches = in_task(Model::Epoll, || {
        let before = voluntary_switches();
        let turns = || (0..50_000).for_each(|_| task::yield_now());
        let two = [task::spawn_local(turns), task::spawn_local(turns)];
        task::join_all(two).into_iter().for_each(|task| task.expect("no panic"));
        voluntary_switches() - before
    });
    assert!(switches < 100, "100,000 switches of tasks, and {switches} of the thread by itself");
}

/// How often the calling thread has slept.
fn voluntary_switches() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:"));
    let word = line.and_then(|line| line.split_whitespace().nth(1)).expect("a number");
    word.parse().expect("a number")
}
