//! Two locks, taken in opposite order: the deadlock that the course only mentions, reproduced,
//! detected, and avoided in two ways.
//!
//! ```text
//!   first  ──has──▶ A ◀──wants── second
//!      └───wants──▶ B ◀───has──────┘
//! ```

use std::panic::resume_unwind;
use std::sync::{Arc, PoisonError};

use clap::Args;
use fiveways::inspect::{Deadlock, Detection, Identity, detect_deadlocks};
use fiveways::runtime::Runtime;
use fiveways::sync::{Mutex, MutexGuard};
use fiveways::task::{self, JoinError, JoinHandle};
use fiveways::time;

use super::stage::{Outcome, Pace, say};

/// Two locks in opposite order: detected, reported, and two ways out
#[derive(Args, Debug)]
#[group(id = "escape", multiple = false)]
pub(super) struct DeadlockArgs {
    /// Take the locks in one order everywhere: there is no deadlock
    #[arg(long)]
    ordered: bool,

    /// Wait for the second lock with a timeout, then release the first and try again
    #[arg(long)]
    timeout: bool,
}

/// A lock with a name.
#[derive(Debug)]
struct Named {
    name: &'static str,
    lock: Mutex<()>,
}

impl Named {
    fn new(name: &'static str) -> Arc<Named> {
        Arc::new(Named { name, lock: Mutex::new(()) })
    }

    /// Takes the lock; a task that was unwound with it has left nothing half done.
    #[track_caller]
    fn take(&self, who: &str) -> MutexGuard<'_, ()> {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        say!("{who} has {}", self.name);
        guard
    }
}

pub(super) fn run(args: &DeadlockArgs, pace: Pace) -> Outcome {
    let (ordered, timeout) = (args.ordered, args.timeout);
    detect_deadlocks(Detection::Panic);
    let runtime = Runtime::builder().workers(1).build()?;
    runtime.block_on(move || {
        let (a, b) = (Named::new("A"), Named::new("B"));
        let (x, y) = if ordered { (&a, &b) } else { (&b, &a) };
        let patience = if timeout { [Some(3.0), Some(1.0)] } else { [None, None] };
        let first = spawn("first", [&a, &b], patience[0], pace);
        let second = spawn("second", [x, y], patience[1], pace);
        let ends = task::join_all([first, second]);
        for (who, end) in ["first", "second"].iter().zip(ends) {
            tell(who, end);
        }
    });
    Ok(())
}

/// Spawns a task that takes both locks, with a pause in between.
fn spawn(
    who: &'static str,
    locks: [&Arc<Named>; 2],
    patience: Option<f64>,
    pace: Pace,
) -> JoinHandle<()> {
    let [one, other] = locks.map(Arc::clone);
    let spawned = task::Builder::new().name(who).spawn(move || match patience {
        None => {
            let _one = one.take(who);
            time::sleep(pace.seconds(1.0));
            let _other = other.take(who);
        }
        Some(patience) => while !try_both(who, &one, &other, patience, pace) {},
    });
    spawned.expect("there is memory for two stacks")
}

/// Takes both locks, or neither if the other one is not available in time.
fn try_both(who: &str, one: &Named, other: &Named, patience: f64, pace: Pace) -> bool {
    let held = one.take(who);
    time::sleep(pace.seconds(1.0));
    if let Ok(_other) = other.lock.lock_timeout(pace.seconds(patience)) {
        say!("{who} has {}", other.name);
        return true;
    }
    say!("{who} has waited {patience} s for {}, and gives {} back", other.name, one.name);
    drop(held);
    // The task that waits for it goes first.
    time::sleep(pace.seconds(1.0));
    false
}

/// Reports how a task ended.
fn tell(who: &str, end: Result<(), JoinError>) {
    let Err(error) = end else {
        say!("{who} is done");
        return;
    };
    let payload = error.into_panic();
    match payload.downcast_ref::<Deadlock>() {
        Some(deadlock) => {
            say!("{who} was ended by a deadlock:");
            for link in deadlock.links() {
                let holders: Vec<_> =
                    link.waits_on.iter().map(|one| name_of(deadlock, *one)).collect();
                let (name, what, holders) = (&link.name, link.what, holders.join(" or "));
                say!("  {name} waits for a {what} of {holders} at {}", link.place);
            }
        }
        None => resume_unwind(payload),
    }
}

/// The name of a participant; participants also wait.
fn name_of(deadlock: &Deadlock, who: Identity) -> &str {
    let link = deadlock.links().iter().find(|link| link.who == who);
    link.map_or("somebody", |link| &link.name)
}
