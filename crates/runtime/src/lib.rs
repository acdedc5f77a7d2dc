//! Workers, tasks, parking, timers and cancellation: joins coroutines and drivers.
//!
//! ```text
//!   Runtime ── owns ──▶ worker threads, each with
//!                         driver      what it waits with (one model)
//!                         run queue   tasks that can go on
//!                         timers      a heap of deadlines
//!                         tasks       every live task, by number and generation
//!                         stacks      a pool, warm first
//!                         inbox       the only way in from other threads
//! ```
//!
//! A started task never changes thread (I3), so everything about a task is touched by one thread
//! only; other threads send messages to its worker's inbox. Exactly one function suspends a task
//! (`Worker::suspend`, I2). A task that waits for an operation does not go on before the driver
//! has handed the operation back (I6).
//!
//! Functions suspend the calling task only where a `# Suspends` section says so.
//!
//! This crate is the engine; users import `fiveways`.

mod runtime;
mod dump;
mod deadlock;
mod inspect;
mod io;
mod task;
mod park;
mod worker;
mod task_block;
mod locals;
mod may_park;
mod reason;
mod participant_set;
mod exits;
mod panics;
mod deadlock_data;
mod detection;
mod service_thread;
mod identity;
mod dump_data;
pub mod clock;
mod random;

/// Joins the engine with the diagnosis above it: a call of a lower module into a higher one.
static WAIT_OBSERVER: park::observer::WaitObserver = park::observer::WaitObserver {
    wait_begins: deadlock::monitor::wait_begins,
    wait_ends: deadlock::wait_graph::end,
    asked_to_end: deadlock::wait_graph::is_ending,
    joined_on_thread: inspect::all_asleep::park_watching,
};

pub use deadlock::monitor::{Visibility, WouldDeadlock, is_hopeless, wait_in_graph};
pub use deadlock::participants::{Ends, Participants, Role};
pub use deadlock::wait_graph::TimedWaits;
pub use deadlock_data::{Deadlock, Link};
pub use detection::{Detection, deadlocks_found, detect_deadlocks};
pub use dump::DumpOptions;
pub use dump_data::{
    Counts, Dump, Frame, LostTask, Place, RuntimeDump, Stuck, SuspectedWait, TaskDump, TaskState,
    ThreadDump, Wait, WorkerDump,
};
pub use identity::{Identity, IdentityOfThread};
pub use inspect::watchdog::{Incident, Watchdog, incidents, watch_workers};
pub use io::blocking::{hand_to_thread, unblock};
pub use io::perform::{close, control, forget, perform, perform_kept, time_limit, worker_index};
pub use locals::{Local, LocalKey, LocalValue};
pub use may_park::{assert_may_park, no_park_scope};
pub use panics::{contain, panic_message};
pub use park::current::me;
pub use park::limits::{
    Elapsed, Interrupt, OuterLimits, SavedLimits, in_any_case, install_limits, is_cancel,
    is_cancelled, restore_limits, thread_scope, unwind_cancelled, with_deadline,
    without_interruption,
};
pub use park::wait_queue::{CHOSEN, Selection, WaitQueue, Waiter};
pub use park::{
    Unparker, Wake, in_task, park, park_for, park_for_while_not, park_unless_interrupted,
    park_until, park_while_not, sleep_until, spend, spend_without_unwinding, unparker, yield_now,
};
pub use participant_set::ParticipantSet;
pub use random::random;
pub use reason::{Enders, Holder, Reason};
pub use runtime::{Builder, Runtime, ShutdownReport, current};
pub use service_thread::ServiceThread;
pub use task::canceller::{Canceller, canceller};
pub use task::completions::{Completions, Observer};
pub use task::join::JoinHandle;
pub use task::join_error::JoinError;
pub use task::locals_api::{LocalOwner, local, set_local};
pub use task::spawn::Spawn;
pub use worker::handle::{Handle, Stats, counters};
