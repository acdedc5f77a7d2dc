//! Implicit switches at each wait: the course's gevent program.
//!
//! `eat` and `play` sleep two seconds each; as two tasks of one thread they take two seconds
//! together, called one after the other (`--serial`) four.

use std::time::Instant;

use clap::Args;
use fiveways::runtime::Runtime;
use fiveways::{task, time};

use super::stage::{Outcome, Pace, say};

/// Two tasks of one thread: one runs while the other waits
#[derive(Args, Debug)]
pub(super) struct EatPlayArgs {
    /// One after the other
    #[arg(long)]
    serial: bool,
}

fn eat(name: &str, pace: Pace) {
    say!("{name} eat 1");
    time::sleep(pace.seconds(2.0));
    say!("{name} eat 2");
}

fn play(name: &str, pace: Pace) {
    say!("{name} play 1");
    time::sleep(pace.seconds(2.0));
    say!("{name} play 2");
}

pub(super) fn run(args: &EatPlayArgs, pace: Pace) -> Outcome {
    let start = Instant::now();
    if args.serial {
        eat("egon", pace);
        play("egon", pace);
    } else {
        Runtime::builder().workers(1).build()?.block_on(move || {
            let tasks =
                [task::spawn(move || eat("egon", pace)), task::spawn(move || play("egon", pace))];
            task::join_all(tasks).into_iter().collect::<Result<(), _>>()
        })?;
    }
    say!("");
    say!("took {}", pace.since(start));
    Ok(())
}
