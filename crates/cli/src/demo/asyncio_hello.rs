//! Two greetings on one thread: the course's asyncio program.
//!
//! No `async`, no `await`, no event loop: a function that sleeps, spawned twice.

use std::thread;
use std::time::Instant;

use clap::Args;
use fiveways::runtime::Runtime;
use fiveways::{task, time};

use super::stage::{Outcome, Pace, say};

/// Two hello tasks of one thread, asleep at the same time
#[derive(Args, Debug)]
pub(super) struct AsyncioHelloArgs {}

/// Returns the thread it ran on.
fn hello(pace: Pace) -> thread::ThreadId {
    let current = thread::current();
    let name = current.name().unwrap_or("a thread without a name");
    say!("Hello world! ({name})");
    time::sleep(pace.seconds(1.0));
    say!("Hello again! ({name})");
    current.id()
}

pub(super) fn run(_: &AsyncioHelloArgs, pace: Pace) -> Outcome {
    let start = Instant::now();
    let threads = Runtime::builder().workers(1).build()?.block_on(move || {
        let tasks = [task::spawn(move || hello(pace)), task::spawn(move || hello(pace))];
        task::join_all(tasks).into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    let same = if threads[0] == threads[1] { "one thread" } else { "two threads" };
    say!("took {}, on {same}", pace.since(start));
    Ok(())
}
