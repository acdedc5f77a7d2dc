//! A lock that its holder may take again: RLock, which the course only mentions.
//!
//! Each acquire counts up, each release down; while the count is not zero no other task or thread
//! gets it. The holder is a task, or a plain thread as here.

use std::thread;

use clap::Args;
use fiveways::sync::ReentrantMutex;

use super::stage::{Outcome, say};

/// A lock that its holder can take again, and no other can
#[derive(Args, Debug)]
pub(super) struct RlockArgs {}

static LOCK: ReentrantMutex<()> = ReentrantMutex::new(());

/// Lets another thread try.
fn other_gets_it() -> bool {
    let other = thread::spawn(|| LOCK.try_lock().is_some());
    other.join().expect("it does not panic")
}

fn answer() -> &'static str {
    if other_gets_it() { "another gets it" } else { "another does not get it" }
}

pub(super) fn run(_: &RlockArgs) -> Outcome {
    let mut guards = Vec::new();
    for _ in 0..3 {
        guards.push(LOCK.lock());
        say!("acquire: count {}, {}", LOCK.count(), answer());
    }
    while let Some(guard) = guards.pop() {
        drop(guard);
        say!("release: count {}, {}", LOCK.count(), answer());
    }
    Ok(())
}
