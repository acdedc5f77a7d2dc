//! What a task costs on tokio's current-thread runtime: spawn and join, and yield.
//!
//! Prints one JSON line per figure, `{"what":"spawn_join","ns":248.1}`: nanoseconds of elapsed
//! time for one spawn and join, or for one yield of one task among so many. The runtime has no I/O
//! and no timer driver, which is its cheapest form.

use std::time::Instant;

const SPAWNS: u32 = 400_000;
const BATCH: u32 = 1_000;
const YIELDS: u32 = 4_000_000;

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    // As a task of its own: `block_on` polls its own future differently from tasks.
    runtime.block_on(async { tokio::spawn(measure()).await })?;
    Ok(())
}

async fn measure() {
    spawn_join(SPAWNS / 10).await;
    print("spawn_join", spawn_join(SPAWNS).await);
    spawn_join_batches(SPAWNS / 10).await;
    print("spawn_join_1000", spawn_join_batches(SPAWNS).await);
    for tasks in [1, 1_000, 10_000] {
        print(&format!("yield_{tasks}"), yields(tasks).await);
    }
}

/// One task at a time: spawned, then joined.
async fn spawn_join(count: u32) -> f64 {
    let start = Instant::now();
    for number in 0..count {
        let answer = tokio::spawn(async move { std::hint::black_box(number) }).await;
        assert!(answer.is_ok_and(|answer| answer == number));
    }
    ns_each(start, count)
}

/// A thousand tasks spawned, then joined.
async fn spawn_join_batches(count: u32) -> f64 {
    let mut handles = Vec::with_capacity(BATCH as usize);
    let start = Instant::now();
    for _ in 0..count / BATCH {
        handles.extend((0..BATCH).map(|n| tokio::spawn(async move { std::hint::black_box(n) })));
        for handle in handles.drain(..) {
            assert!(handle.await.is_ok());
        }
    }
    ns_each(start, count)
}

async fn yields(tasks: u32) -> f64 {
    let each = YIELDS / tasks;
    let yielding = |times| async move {
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    };
    // A first pass of a few yields brings every task's memory in.
    let mut ns = 0.0;
    for times in [10, each] {
        let start = Instant::now();
        let handles: Vec<_> = (0..tasks).map(|_| tokio::spawn(yielding(times))).collect();
        for handle in handles {
            assert!(handle.await.is_ok());
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
