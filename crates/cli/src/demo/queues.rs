//! The course's three queues and their calls: first in first out, last in first out, and by
//! priority; put, get with a timeout, get at once, full and empty.

use std::time::Instant;

use clap::Args;
use fiveways::queue::{LifoQueue, PriorityQueue, Queue};

use super::stage::{Outcome, Pace, say};

/// First in first out, last in first out, and by priority
#[derive(Args, Debug)]
pub(super) struct QueuesArgs {}

pub(super) fn run(_: &QueuesArgs, pace: Pace) -> Outcome {
    fifo(pace)?;
    lifo()?;
    priority()
}

fn fifo(pace: Pace) -> Outcome {
    let queue = Queue::with_maxsize(3);
    for item in [1, 2, 3] {
        queue.put(item)?;
    }
    // The state at that moment: with concurrent users it might already be out of date.
    say!("queue: {} of {} items, full: {}", queue.len(), queue.maxsize(), queue.is_full());
    if let Err(error) = queue.put_nowait(4) {
        say!("put at once: {error}, and {} comes back", error.into_inner());
    }
    let start = Instant::now();
    if let Err(error) = queue.put_timeout(4, pace.seconds(1.0)) {
        say!("put with a timeout: {error} after {}", pace.since(start));
    }
    say!("first in, first out: {}, {}, {}", queue.get()?, queue.get()?, queue.get()?);
    say!("queue: {} items, empty: {}", queue.len(), queue.is_empty());
    if let Err(error) = queue.get_nowait() {
        say!("get at once: {error}");
    }
    let start = Instant::now();
    if let Err(error) = queue.get_timeout(pace.seconds(3.0)) {
        say!("get with a timeout: {error} after {}", pace.since(start));
    }
    Ok(())
}

fn lifo() -> Outcome {
    let queue = LifoQueue::new();
    for item in [1, 2, 3] {
        queue.put(item)?;
    }
    say!("last in, first out: {}, {}, {}", queue.get()?, queue.get()?, queue.get()?);
    Ok(())
}

fn priority() -> Outcome {
    let queue = PriorityQueue::new();
    for (priority, item) in [(10, "ten"), (-5, "minus five"), (3, "three"), (3, "three again")] {
        queue.put((priority, item))?;
    }
    say!("smaller first, equals in the order they came:");
    while let Ok((priority, item)) = queue.get_nowait() {
        say!("  {priority} {item}");
    }
    Ok(())
}
