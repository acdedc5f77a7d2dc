//! What crossbeam's channels cost between two threads.
//!
//! Prints one JSON line per figure, `{"what":"stream_128","ns":48.1}`: nanoseconds of elapsed time
//! for one hand-over of a ping-pong, or for one item of a stream. The threads run wherever this
//! process may: pinned to one processor they switch at every wait, free they spin for each other.

use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

const ROUNDS: u32 = 100_000;
const ITEMS: u32 = 1_000_000;

fn main() {
    ping_pong(ROUNDS / 10, || bounded(1));
    print("ping_pong_0", ping_pong(ROUNDS, || bounded(0)));
    print("ping_pong_1", ping_pong(ROUNDS, || bounded(1)));
    print("ping_pong_unbounded", ping_pong(ROUNDS, unbounded));
    print("stream_0", stream(ITEMS / 10, bounded(0)));
    print("stream_1", stream(ITEMS / 10, bounded(1)));
    print("stream_128", stream(ITEMS, bounded(128)));
    print("stream_unbounded", stream(ITEMS, unbounded()));
}

fn ping_pong(rounds: u32, make: impl Fn() -> (Sender<u64>, Receiver<u64>)) -> f64 {
    let (ping, pinged) = make();
    let (pong, ponged) = make();
    let other = thread::spawn(move || {
        for number in pinged {
            assert!(pong.send(number).is_ok());
        }
    });
    let start = Instant::now();
    for round in 0..u64::from(rounds) {
        assert!(ping.send(round).is_ok());
        assert_eq!(ponged.recv(), Ok(round));
    }
    let ns = ns_each(start, rounds * 2);
    drop(ping);
    assert!(other.join().is_ok());
    ns
}

fn stream(items: u32, (sender, receiver): (Sender<u64>, Receiver<u64>)) -> f64 {
    let numbers = u64::from(items);
    let start = Instant::now();
    let other = thread::spawn(move || receiver.iter().sum::<u64>());
    for number in 0..numbers {
        assert!(sender.send(number).is_ok());
    }
    drop(sender);
    assert_eq!(other.join().ok(), Some(numbers * (numbers - 1) / 2));
    ns_each(start, items)
}

fn ns_each(start: Instant, count: u32) -> f64 {
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

fn print(what: &str, ns: f64) {
    println!("{{\"what\":\"{what}\",\"ns\":{ns:.2}}}");
}
