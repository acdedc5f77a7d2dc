//! Models of the waiting protocols, run through every order of their steps: the waiter, the locks,
//! the channels and the queues.
//!
//! The product's own files are compiled here (`build.rs` copies them), over loom's atomics and
//! substitutes for what they stand on:
//!
//! ```text
//!   product                       here
//!   std's atomics, Arc            loom's, which tell of every order the memory model allows
//!   sys::lock::Mutex              over_loom/lock.rs, out of a loom atomic
//!   std's Cell                    loom's, where another thread uses it: the slots of an exchange
//!   runtime::park                 park.rs: a token; deadlines and cancels come from the model
//!   runtime::park::limits         limits.rs: one thread of a model unwinds, the others do not
//!   what a lock protects          a `Witness`, which notices two that touch it at a time
//! ```
//!
//! The models are in `tests/`. Each says which mistakes it finds; `mistakes.toml` lists them, and
//! `cargo xtask loom --mistakes` makes each in the copy and expects that it is found.

extern crate self as fiveways_runtime;

pub mod fate;
pub mod witness;
pub mod park;
pub mod participants;
pub mod participant_set;
pub mod over_loom;

pub use identity::Identity;
pub use park::limits::Interrupt;
pub use park::{
    Unparker, Wake, me, park_unless_interrupted, spend, unparker, without_interruption,
};
pub use participants::{Ends, Participants, Role};
pub use reason::{Holder, Reason};
pub use wait_queue::{CHOSEN, Selection, WaitQueue, Waiter};

/// In the place of the runtime's.
pub mod clock {
    use std::time::{Duration, Instant};

    /// The time.
    pub fn now() -> Instant {
        Instant::now()
    }

    /// The instant that comes after `limit`.
    pub fn after(limit: Duration) -> Option<Instant> {
        now().checked_add(limit)
    }
}

/// In the place of the runtime's: the same order in every run, for a search must come back to where
/// it was.
pub fn random() -> u64 {
    0
}

/// In the place of the runtime's: nothing in a model compares by waiting.
pub fn no_park_scope<R>(_what: &'static str, compare: impl FnOnce() -> R) -> R {
    compare()
}

/// Runs a model through every order of its steps in which at most two threads are interrupted where
/// they need not have been (`LOOM_MAX_PREEMPTIONS` changes that).
pub fn model(run: impl Fn() + Send + Sync + 'static) {
    let run = move || {
        park::begin();
        run();
    };
    let mut search = loom::model::Builder::new();
    search.preemption_bound.get_or_insert(2);
    search.check(run);
}

include!(concat!(env!("OUT_DIR"), "/product.rs"));
