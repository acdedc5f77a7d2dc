//! One after the other, or at once: the course's serial program, `func1` of 1 s and `func2` of 2 s,
//! and the same functions in three other ways.
//!
//! | | who runs them | total |
//! |---|---|---|
//! | `--serial` | the caller | 1 + 2 s |
//! | `--coro` | two tasks of one thread: each wait lets the other run | 2 s |
//! | `--sync` | a pool; each result is awaited before the next is submitted | 1 + 2 s |
//! | `--async` | a pool; both are submitted, then the results awaited | 2 s |

use std::time::Instant;

use clap::Args;
use fiveways::executor::{Sizing, ThreadPool};
use fiveways::runtime::Runtime;
use fiveways::{task, time};

use super::stage::{Outcome, Pace, say};

/// Two functions: serial or concurrent, synchronous or not
#[derive(Args, Debug)]
#[group(id = "way", multiple = false)]
pub(super) struct OrderArgs {
    /// One after the other (the default)
    #[arg(long)]
    serial: bool,

    /// Two tasks on one thread
    #[arg(long)]
    coro: bool,

    /// Finish one thing before the next
    #[arg(long)]
    sync: bool,

    /// Do several things at once
    #[arg(long = "async")]
    asynchronous: bool,
}

fn func1(pace: Pace) {
    time::sleep(pace.seconds(1.0));
    say!("func1");
}

fn func2(pace: Pace) {
    time::sleep(pace.seconds(2.0));
    say!("func2");
}

pub(super) fn run(args: &OrderArgs, pace: Pace) -> Outcome {
    let start = Instant::now();
    match args {
        OrderArgs { coro: true, .. } => coro(pace)?,
        OrderArgs { sync: true, .. } => sync(pace)?,
        OrderArgs { asynchronous: true, .. } => asynchronous(pace)?,
        OrderArgs { .. } => serial(pace),
    }
    say!("took {}", pace.since(start));
    Ok(())
}

fn serial(pace: Pace) {
    func1(pace);
    func2(pace);
}

fn coro(pace: Pace) -> Outcome {
    Runtime::builder().workers(1).build()?.block_on(move || {
        let tasks = [task::spawn(move || func1(pace)), task::spawn(move || func2(pace))];
        for outcome in task::join_all(tasks) {
            outcome?;
        }
        Ok(())
    })
}

fn sync(pace: Pace) -> Outcome {
    let pool = ThreadPool::new(Sizing::Fixed(2))?;
    pool.submit(move || func1(pace))?.result()?;
    pool.submit(move || func2(pace))?.result()?;
    Ok(())
}

fn asynchronous(pace: Pace) -> Outcome {
    let pool = ThreadPool::new(Sizing::Fixed(2))?;
    let first = pool.submit(move || func1(pace))?;
    let second = pool.submit(move || func2(pace))?;
    first.result()?;
    second.result()?;
    Ok(())
}
