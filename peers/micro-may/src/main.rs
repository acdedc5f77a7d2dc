//! What a coroutine costs on may with one worker: spawn and join, and yield.
//!
//! Prints one JSON line per figure, `{"what":"spawn_join","ns":795.2}`: nanoseconds of elapsed
//! time for one spawn and join, or for one yield of one coroutine among so many. Everything runs
//! inside a coroutine, so that no join wakes a second thread.

use std::time::Instant;

const SPAWNS: u32 = 400_000;
const BATCH: u32 = 1_000;
const YIELDS: u32 = 4_000_000;

fn main() {
    // As large a pool as there are coroutines at once: may's cheapest form.
    may::config().set_workers(1).set_pool_capacity(10_000);
    let measured = may::go!(measure).join();
    assert!(measured.is_ok(), "the measuring coroutine panicked");
}

fn measure() {
    spawn_join(SPAWNS / 10);
    print("spawn_join", spawn_join(SPAWNS));
    spawn_join_batches(SPAWNS / 10);
    print("spawn_join_1000", spawn_join_batches(SPAWNS));
    for tasks in [1, 1_000, 10_000] {
        print(&format!("yield_{tasks}"), yields(tasks));
    }
}

/// One coroutine at a time: spawned, then joined.
fn spawn_join(count: u32) -> f64 {
    let start = Instant::now();
    for number in 0..count {
        let answer = may::go!(move || std::hint::black_box(number)).join();
        assert!(answer.is_ok_and(|answer| answer == number));
    }
    ns_each(start, count)
}

/// A thousand coroutines spawned, then joined.
fn spawn_join_batches(count: u32) -> f64 {
    let mut handles = Vec::with_capacity(BATCH as usize);
    let start = Instant::now();
    for _ in 0..count / BATCH {
        handles.extend((0..BATCH).map(|n| may::go!(move || std::hint::black_box(n))));
        for handle in handles.drain(..) {
            assert!(handle.join().is_ok());
        }
    }
    ns_each(start, count)
}

fn yields(tasks: u32) -> f64 {
    let each = YIELDS / tasks;
    // A first pass of a few yields brings every stack in.
    let mut ns = 0.0;
    for times in [10, each] {
        let start = Instant::now();
        let yielding = move || (0..times).for_each(|_| may::coroutine::yield_now());
        let handles: Vec<_> = (0..tasks).map(|_| may::go!(yielding)).collect();
        for handle in handles {
            assert!(handle.join().is_ok());
        }
        ns = ns_each(start, times * tasks);
    }
    ns
}

fn ns_each(start: Instant, count: u32) -> f64 {
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

fn print(what: &str, ns: f64) {
    println!("{{\"what\":\"{what}\",\"ns\":{ns:.2}}}");
}
