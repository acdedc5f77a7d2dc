//! Measures channels and queues between two tasks of one worker; prints JSON lines like its rivals
//! do.
//!
//! A ping-pong figure is one hand-over of an item to a task that waits for it; a stream figure is
//! one item of many that one task sends and the other receives. With select, who waits waits for a
//! second channel as well; over sockets, one byte goes from task to task, with and without select.

use std::io::{Read, Write};
use std::time::Instant;

use fiveways::net::UnixStream;
use fiveways::queue::Queue;
use fiveways::runtime::Runtime;
use fiveways::sync::channel::{Receiver, Sender, bounded, unbounded};
use fiveways::{Model, select, task};

const ROUNDS: u32 = 300_000;
const ITEMS: u32 = 2_000_000;

fn main() -> std::io::Result<()> {
    let runtime = Runtime::builder().model(Model::Epoll).build()?;
    runtime.block_on(|| {
        ping_pong(ROUNDS / 10, || bounded(1));
        tell("ping_pong_0", ping_pong(ROUNDS, || bounded(0)));
        tell("ping_pong_1", ping_pong(ROUNDS, || bounded(1)));
        tell("ping_pong_unbounded", ping_pong(ROUNDS, unbounded));
        tell("stream_0", stream(ITEMS, bounded(0)));
        tell("stream_1", stream(ITEMS, bounded(1)));
        tell("stream_128", stream(ITEMS, bounded(128)));
        tell("stream_unbounded", stream(ITEMS, unbounded()));
        tell("queue_ping_pong", queue_ping_pong(ROUNDS));
        tell("queue_stream_128", queue_stream(ITEMS, &Queue::with_maxsize(128)));
        tell("queue_stream_unbounded", queue_stream(ITEMS, &Queue::new()));
        tell("select_ping_pong", select_ping_pong(ROUNDS));
        tell("read_ping_pong", socket_ping_pong(ROUNDS / 10, false));
        tell("select_readable_ping_pong", socket_ping_pong(ROUNDS / 10, true));
    });
    Ok(())
}

fn tell(what: &str, ns: f64) {
    println!("{{\"what\":\"{what}\",\"ns\":{ns:.1}}}");
}

fn ping_pong(rounds: u32, make: impl Fn() -> (Sender<u64>, Receiver<u64>)) -> f64 {
    let (ping, pinged) = make();
    let (pong, ponged) = make();
    let started = Instant::now();
    let other = task::spawn_local(move || {
        for number in pinged {
            if pong.send(number).is_err() {
                return;
            }
        }
    });
    for round in 0..u64::from(rounds) {
        ping.send(round).expect("the other task receives");
        assert_eq!(ponged.recv(), Ok(round));
    }
    let ns = started.elapsed().as_nanos() as f64 / f64::from(rounds * 2);
    drop(ping);
    other.join().expect("it does not panic");
    ns
}

fn stream(items: u32, (sender, receiver): (Sender<u64>, Receiver<u64>)) -> f64 {
    let started = Instant::now();
    let other = task::spawn_local(move || receiver.iter().sum::<u64>());
    let numbers = u64::from(items);
    for number in 0..numbers {
        sender.send(number).expect("the other task receives");
    }
    drop(sender);
    let sum = other.join().expect("it does not panic");
    assert_eq!(sum, numbers * (numbers - 1) / 2);
    started.elapsed().as_nanos() as f64 / f64::from(items)
}

fn queue_ping_pong(rounds: u32) -> f64 {
    let (ping, pong) = (Queue::with_maxsize(1), Queue::with_maxsize(1));
    let theirs = (ping.clone(), pong.clone());
    let started = Instant::now();
    let other = task::spawn_local(move || {
        while let Ok(number) = theirs.0.get() {
            theirs.1.put(number).expect("it is not shut down");
        }
    });
    for round in 0..rounds {
        ping.put(round).expect("it is not shut down");
        assert_eq!(pong.get(), Ok(round));
    }
    let ns = started.elapsed().as_nanos() as f64 / f64::from(rounds * 2);
    ping.shutdown(false);
    other.join().expect("it does not panic");
    ns
}

fn queue_stream(items: u32, queue: &Queue<u64>) -> f64 {
    let theirs = queue.clone();
    let started = Instant::now();
    let other = task::spawn_local(move || {
        let mut sum = 0;
        while let Ok(number) = theirs.get() {
            sum += number;
        }
        sum
    });
    let numbers = u64::from(items);
    for number in 0..numbers {
        queue.put(number).expect("it is not shut down");
    }
    queue.shutdown(false);
    let sum = other.join().expect("it does not panic");
    assert_eq!(sum, numbers * (numbers - 1) / 2);
    started.elapsed().as_nanos() as f64 / f64::from(items)
}

fn select_ping_pong(rounds: u32) -> f64 {
    let (ping, pinged) = bounded(1);
    let (pong, ponged) = bounded(1);
    let (stop, stopped) = bounded::<()>(1);
    let started = Instant::now();
    let other = task::spawn_local(move || {
        loop {
            select! {
                recv(pinged) -> number => {
                    pong.send(number.unwrap_or(0)).expect("the other task receives");
                }
                recv(stopped) -> _ => return,
            }
        }
    });
    for round in 0..rounds {
        ping.send(round).expect("the other task receives");
        assert_eq!(ponged.recv(), Ok(round));
    }
    let ns = started.elapsed().as_nanos() as f64 / f64::from(rounds * 2);
    drop(stop);
    other.join().expect("it does not panic");
    ns
}

fn socket_ping_pong(rounds: u32, selects: bool) -> f64 {
    let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
    let (_stop, stopped) = bounded::<()>(1);
    let started = Instant::now();
    let other = task::spawn_local(move || {
        let mut byte = [0];
        loop {
            if selects {
                select! {
                    readable(theirs) -> ready => ready.expect("it can be watched"),
                    recv(stopped) -> _ => return,
                }
            }
            if !theirs.read(&mut byte).is_ok_and(|count| count == 1) {
                return;
            }
            theirs.write_all(&byte).expect("the other task reads");
        }
    });
    let mut byte = [0];
    for _ in 0..rounds {
        ours.write_all(b"x").expect("the other task reads");
        ours.read_exact(&mut byte).expect("the other task writes");
    }
    let ns = started.elapsed().as_nanos() as f64 / f64::from(rounds * 2);
    drop(ours);
    other.join().expect("it does not panic");
    ns
}
