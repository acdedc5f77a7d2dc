//! Cooks and guests with a counter between them: the producer–consumer program that the course
//! names.
//!
//! The queue holds three buns: cooks wait when it is full, guests when it is empty. All go home
//! when all buns are eaten.

use clap::Args;
use fiveways::queue::JoinableQueue;
use fiveways::runtime::Runtime;
use fiveways::{task, time};

use super::stage::{Outcome, Pace, say};

/// Cooks make buns, guests eat them, and all go home in good order
#[derive(Args, Debug)]
pub(super) struct ProducerConsumerArgs {}

const COOKS: [&str; 2] = ["egon", "tank"];
const GUESTS: [&str; 3] = ["jason", "jerry", "kevin"];
const BUNS_EACH: usize = 3;

type Counter = JoinableQueue<String>;

fn cook(name: &str, counter: &Counter, pace: Pace) {
    for number in 1..=BUNS_EACH {
        time::sleep(pace.seconds(0.5));
        let bun = format!("bun {number} of {name}");
        say!("made: {bun}");
        counter.put(bun).expect("it is shut down when the cooks are done");
    }
}

/// Returns how many this guest has eaten.
fn guest(counter: &Counter, pace: Pace) -> usize {
    let mut eaten = 0;
    // Until the counter is shut down and empty.
    while let Ok(bun) = counter.get() {
        time::sleep(pace.seconds(0.5));
        say!("eaten: {bun}");
        eaten += 1;
        counter.task_done().expect("each bun is done once");
    }
    eaten
}

pub(super) fn run(_: &ProducerConsumerArgs, pace: Pace) -> Outcome {
    Runtime::builder().workers(1).build()?.block_on(move || {
        let counter = Counter::with_maxsize(3);
        task::scope(|scope| {
            let guests = GUESTS.map(|_| scope.spawn(|| guest(&counter, pace)));
            let cooks = COOKS.map(|name| {
                let counter = &counter;
                scope.spawn(move || cook(name, counter, pace))
            });
            for cook in cooks {
                cook.join()?;
            }
            // The last bun has been put; when it is eaten as well, the guests may go.
            counter.join();
            counter.shutdown(false);
            let mut eaten = 0;
            for guest in guests {
                eaten += guest.join()?;
            }
            let made = COOKS.len() * BUNS_EACH;
            say!("made {made}, eaten {eaten}, left {}", counter.len());
            Ok(())
        })
    })
}
