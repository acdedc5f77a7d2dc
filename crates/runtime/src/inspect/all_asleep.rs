//! Detects that all tasks of a runtime are asleep and nothing in it can wake them.
//!
//! The check is made by a plain thread that joins a task without a deadline, as `block_on` does; so
//! it costs only a thread that waits anyway. A runtime is all asleep if every worker is asleep, and
//! there is no deadline, no operation in a driver, no message and no task on its way. A server
//! never is: it accepts.
//!
//! It cannot be known whether another thread of the process is about to wake a task. If all other
//! threads are sleeping workers or blocked ones, the state is reported after one second; else after
//! ten, with an "unless", and only while the process uses no processor time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fiveways_sys::process;

use crate::clock;
use crate::inspect::collect::dump_runtime;
use crate::inspect::format::count;
use crate::io::blocking::is_busy;
use crate::park::blocked_threads;
use crate::park::park_watched;
use crate::reason::Reason;
use crate::service_thread::ServiceThread;
use crate::worker::WorkerSet;
use crate::worker::inbox::{Inbox, WorkerStatus};
use crate::worker::registry;

/// The pause between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long the state must last before it is reported: if no other thread could wake a task, and if
/// one might.
const SURE: Duration = Duration::from_secs(1);
const UNSURE: Duration = Duration::from_secs(10);

/// Processor time that a process may use meanwhile and still count as asleep.
const NOISE: Duration = Duration::from_millis(20);

/// Parks a plain thread until `is_so`; reports once if all tasks of that worker's runtime fall
/// asleep for ever.
pub(crate) fn park_watching(reason: &Reason<'_>, is_so: &dyn Fn() -> bool, inbox: &Arc<Inbox>) {
    let mut before = None;
    park_watched(reason, is_so, INTERVAL, || look(inbox, &mut before));
}

/// Looks once. Returns `false` if the state was reported: no further looks are needed.
fn look(inbox: &Arc<Inbox>, before: &mut Option<(AllAsleep, Instant)>) -> bool {
    let Some(worker_set) = registry::of(inbox) else { return true };
    let Some(state) = AllAsleep::now(&worker_set) else {
        *before = None;
        return true;
    };
    let (seen, since) = before.get_or_insert_with(|| (state.clone(), clock::machine()));
    if !seen.lasts(&state) {
        *before = Some((state, clock::machine()));
        return true;
    }
    let others = who_may_wake();
    let limit = if others == 0 { SURE } else { UNSURE };
    let goes_on = clock::machine() - *since < limit;
    if !goes_on {
        report(&worker_set, others);
    }
    goes_on
}

/// What must not change while all are asleep.
#[derive(Clone)]
struct AllAsleep {
    statuses: Vec<WorkerStatus>,
    used: Duration,
}

impl AllAsleep {
    /// Returns the present state; `None` if something happens in the runtime, or may.
    fn now(worker_set: &WorkerSet) -> Option<AllAsleep> {
        let asleep = |inbox: &Arc<Inbox>| {
            let status = inbox.status();
            (status.is_asleep_for_good() && !inbox.is_filled()).then_some(status)
        };
        let statuses = worker_set.iter().map(asleep).collect::<Option<Vec<_>>>()?;
        let used = process::cpu_time_of(process::id()).ok()?;
        let tasks: usize = worker_set.iter().map(|inbox| inbox.load()).sum();
        (tasks > 0 && !is_busy()).then_some(AllAsleep { statuses, used })
    }

    fn lasts(&self, later: &AllAsleep) -> bool {
        self.statuses == later.statuses && later.used.saturating_sub(self.used) < NOISE
    }
}

/// Returns the number of threads that are neither sleeping workers nor blocked in a wait of this
/// library without deadline. (A worker of another runtime may wake a task when a deadline there
/// comes, or when the task that it runs goes on.)
fn who_may_wake() -> usize {
    let worker_sets = registry::all();
    let is_asleep_for_good =
        |inbox: &&Arc<Inbox>| inbox.status().is_asleep_for_good() && !inbox.is_filled();
    let workers = worker_sets
        .iter()
        .flat_map(|worker_set| worker_set.iter())
        .filter(is_asleep_for_good)
        .count();
    let blocked = blocked_threads::count_without_deadline();
    let known = workers + blocked + ServiceThread::count();
    process::thread_count().unwrap_or(usize::MAX).saturating_sub(known)
}

fn report(worker_set: &WorkerSet, others: usize) {
    let unless = match others {
        0 => String::new(),
        others => format!(" (unless one of {} wakes one)", count(others, "other thread")),
    };
    let dump = dump_runtime(worker_set);
    eprint!("\nfiveways: all tasks are asleep: deadlock!{unless}\n\n{dump}");
}
