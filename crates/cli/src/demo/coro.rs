//! The kernel sees one thread, the program many tasks: coroutines exist only in the program, says
//! the course, and this counts them.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use fiveways::runtime::Runtime;
use fiveways::{task, time};

use super::stage::{Outcome, Pace, say};

/// Any number of waiting tasks on one thread
#[derive(Args, Debug)]
pub(super) struct CoroArgs {
    /// How many tasks
    #[arg(long, value_name = "N", default_value_t = 1000)]
    tasks: usize,

    /// Ask the kernel how many threads the process has meanwhile
    #[arg(long)]
    show_threads: bool,
}

/// The number of threads of this process, according to the kernel.
fn threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

pub(super) fn run(args: &CoroArgs, pace: Pace) -> Outcome {
    let start = Instant::now();
    let count = args.tasks;
    // The watchdog of debug builds would be another thread.
    let runtime = Runtime::builder().workers(1).watchdog(Duration::ZERO).build()?;
    let threads_without = threads()?;
    let (threads_with, used) = runtime.block_on(move || -> Outcome<(usize, usize)> {
        let nap = move || {
            time::sleep(pace.seconds(1.0));
            thread::current().id()
        };
        let tasks: Vec<_> = (0..count).map(|_| task::spawn(nap)).collect();
        task::yield_now();
        let meanwhile = threads()?;
        let used = task::join_all(tasks).into_iter().collect::<Result<HashSet<_>, _>>()?;
        Ok((meanwhile, used.len()))
    })?;
    say!("{count} tasks slept 1 s each; all of it took {}", pace.since(start));
    say!("threads that ran a task: {used}");
    if args.show_threads {
        say!("threads of the process before: {threads_without}, one of which waits for the other");
        say!("threads of the process with {count} waiting tasks: {threads_with}");
    }
    Ok(())
}
