//! A pool and a callback for each result: the program that the course describes for
//! `concurrent.futures`.
//!
//! Submitting does not wait, a result does; the callback receives the future as soon as it is done;
//! shutting down waits for everything.

use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use fiveways::executor::{Future, ProcessPool, Sizing, SubmitError, ThreadPool, remote};
use fiveways::time;

use super::stage::{Outcome, Pace, say};

/// A pool of threads, or processes, with a callback for each result
#[derive(Args, Debug)]
pub(super) struct PoolArgs {
    /// Processes instead of threads
    #[arg(long)]
    processes: bool,
}

const TASKS: u64 = 10;
const SIZE: usize = 5;

remote! {
    /// Takes a second for an easy computation; returns the id of its process as well.
    fn square(n: u64, second: Duration) -> (u64, u32) {
        AT_WORK.fetch_add(1, Ordering::SeqCst);
        time::sleep(second);
        (n * n, process::id())
    }
}

/// Tasks that this process has begun.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

pub(super) fn run(args: &PoolArgs, pace: Pace) -> Outcome {
    for sizing in [Sizing::FiveTimesCpus, Sizing::CpusPlusFourAtMost32, Sizing::Cpus] {
        say!("{sizing:?}: {} workers on 2 processors", sizing.workers_on(2));
    }
    if args.processes { in_processes(pace) } else { in_threads(pace) }
}

/// Called with the finished future.
fn call_back(future: &Future<(u64, u32)>) {
    match future.result() {
        Ok((square, _)) => say!("call_back: {square}"),
        Err(error) => say!("call_back: {error}"),
    }
}

fn in_threads(pace: Pace) -> Outcome {
    let start = Instant::now();
    let pool = ThreadPool::new(Sizing::Fixed(SIZE))?;
    let second = pace.seconds(1.0);
    submit_all(|n| pool.submit(move || square(n, second)))?;
    let threads = pool.threads();
    // The callbacks have run when this returns.
    pool.shutdown();
    say!("all done by {threads} threads, took {}", pace.since(start));
    if let Err(error) = pool.submit(|| ()) {
        say!("one more: {error}");
    }
    panics()
}

fn in_processes(pace: Pace) -> Outcome {
    let pool = ProcessPool::new(Sizing::Fixed(SIZE))?;
    let futures = submit_all(|n| pool.submit(square::call(n, pace.seconds(1.0))))?;
    pool.shutdown();
    let mut processes = Vec::new();
    for future in futures {
        processes.push(future.result()?.1);
    }
    processes.sort_unstable();
    processes.dedup();
    say!("all done by {} processes", processes.len());
    say!("in this process: {}", AT_WORK.load(Ordering::SeqCst));
    if let Err(error) = pool.submit(square::call(1, Duration::ZERO)) {
        say!("one more: {error}");
    }
    Ok(())
}

fn submit_all(
    submit: impl Fn(u64) -> Result<Future<(u64, u32)>, SubmitError>,
) -> Result<Vec<Future<(u64, u32)>>, SubmitError> {
    let futures: Result<Vec<_>, _> = (0..TASKS).map(submit).collect();
    let futures = futures?;
    let done = futures.iter().filter(|future| future.is_done()).count();
    say!("submitted {TASKS}, of which {done} are done");
    for future in &futures {
        future.add_done_callback(call_back);
    }
    Ok(futures)
}

/// Joining the future returns a panic; the thread continues.
fn panics() -> Outcome {
    let pool = ThreadPool::new(Sizing::Fixed(1))?;
    let broken = pool.submit(|| -> u32 { std::panic::resume_unwind(Box::new("out of paper")) })?;
    if let Err(error) = broken.result() {
        say!("a task that panics: {error}");
    }
    let name = pool.submit(|| thread::current().name().is_some())?;
    say!("the next task has a thread: {}", name.result()?);
    let me = thread::current().id();
    name.add_done_callback(move |_| {
        let here = thread::current().id() == me;
        say!("a callback of what is done already: at once, right here: {here}");
    });
    Ok(())
}
