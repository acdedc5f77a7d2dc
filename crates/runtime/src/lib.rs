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
//! This crate is the engine room; users import `fiveways`.

mod runtime;
mod stand;
mod telling;
mod hands;
mod watchdog;
mod quiet;
mod inspect;
mod graph;
mod spawn;
mod join;
mod unblock;
mod wait;
mod local;
mod packet;
mod join_error;
mod completions;
mod canceller;
mod waiter;
mod park;
mod observer;
mod seat;
mod survey;
mod blocked;
mod stuck;
mod teams;
mod report;
mod handle;
mod caller;
mod unwind;
mod worker;
mod spin;
mod timers;
mod inbox;
mod glance;
mod task;
mod locals;
mod forbid;
mod destructor;
mod reason;
mod side;
mod living;
mod deadlock;
mod detection;
mod onlooker;
mod identity;
mod trace;
mod snapshot;

/// Joins the engine with the diagnosis above it: a call of a lower module into a higher one.
static WAIT_OBSERVER: observer::WaitObserver = observer::WaitObserver {
    wait_begins: stand::wait_begins,
    wait_ends: graph::end,
    asked_to_end: graph::is_ending,
    joined_on_thread: quiet::park_watching,
};

pub use caller::me;
pub use canceller::{Canceller, canceller};
pub use completions::Completions;
pub use deadlock::{Deadlock, Link};
pub use detection::{Detection, deadlocks_found, detect_deadlocks};
pub use forbid::{allow_wait, without_waiting};
pub use graph::Movers;
pub use handle::{Handle, Stats, counters};
pub use hands::{Hand, Handles, Hands};
pub use identity::{Identity, IdentityOfThread};
pub use inspect::DumpOptions;
pub use join::JoinHandle;
pub use join_error::JoinError;
pub use local::{LocalOwner, local, set_local};
pub use locals::{Local, LocalKey, LocalValue};
pub use onlooker::Onlooker;
pub use park::{
    Unparker, Wake, in_task, park, park_for, park_for_while_not, park_unless_interrupted,
    park_until, park_while_not, sleep_until, spend, spend_without_unwinding, unparker, yield_now,
};
pub use reason::{Enders, Holder, Reason};
pub use runtime::{Builder, Runtime, Shutdown, current};
pub use side::Side;
pub use snapshot::{
    Counts, Dump, Frame, LostTask, Place, RuntimeDump, Stuck, SuspectedWait, TaskDump, TaskState,
    ThreadDump, Wait, WorkerDump,
};
pub use spawn::Spawn;
pub use stand::{Hopeless, Seen, is_hopeless, stand};
pub use unblock::{hand_to_thread, unblock};
pub use unwind::{
    Caller, Elapsed, Interrupt, Standing, enter, in_any_case, is_cancel, is_cancelled, leave,
    thread_scope, unwind_cancelled, with_deadline, without_interruption,
};
pub use wait::{close, control, forget, perform, perform_kept, time_limit, worker_index};
pub use waiter::{CHOSEN, Line, Selection, Waiter};
pub use watchdog::{Incident, Watchdog, incidents, watch_workers};
