//! The watchdog: notices a worker that does not come back to its scheduler, because a task computes
//! for long or calls what blocks the thread.
//!
//! It looks at the pulses of all workers four times in each limit. A worker that is awake and in
//! the same round for the whole limit is told of, once for each such round. Nothing is done about
//! it: a task cannot be taken off its worker (I3).
//!
//! A process that was stopped, or a machine that had no time for it, is no fault of a task: a look
//! that comes far too late begins anew.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fiveways_sys::generation::{PerProcess, generation};

use crate::dump_data::Stuck;
use crate::inspect::collect::stuck_by;
use crate::inspect::interrupt;
use crate::inspect::symbols::Symbols;
use crate::service_thread::Onlooker;
use crate::worker::inbox::{Inbox, Pulse};
use crate::worker::registry;

/// Looks in each limit: how precise it is, and what it costs.
const LOOKS: u32 = 4;

/// A worker that did not come back to its scheduler in time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incident {
    /// The worker's number, unique in the process.
    pub worker: u32,
    /// What keeps it, and for how long at least.
    pub stuck: Stuck,
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let for_ms = crate::inspect::format::ms(self.stuck.for_ms);
        writeln!(f, "worker {} has not come back to its scheduler for {for_ms}", self.worker)?;
        write!(f, "{}", self.stuck)
    }
}

static INCIDENTS: AtomicU64 = AtomicU64::new(0);

/// How many incidents watchdogs have told of so far.
///
/// Never suspends.
pub fn incidents() -> u64 {
    INCIDENTS.load(Ordering::Relaxed)
}

/// Watches the workers of all runtimes while it lives.
#[derive(Debug)]
pub struct Watchdog {
    /// The process that has the thread.
    process: u64,
    /// Dropped to end the thread.
    end: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watchdog {
    /// Starts watching; each incident is given to `tell`, on the watchdog's own thread.
    ///
    /// # Errors
    ///
    /// When its thread cannot be started.
    pub fn start(
        limit: Duration,
        tell: impl FnMut(Incident) + Send + 'static,
    ) -> io::Result<Watchdog> {
        let (end, ended) = mpsc::channel();
        let limit = limit.max(Duration::from_millis(1));
        let watch = move || watch(limit, tell, &ended);
        let thread = thread::Builder::new().name("fiveways-watchdog".to_owned()).spawn(watch)?;
        Ok(Watchdog { process: generation(), end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // A fork has no such thread, and what the two have in common may be locked.
        if self.process != generation() {
            return std::mem::forget((self.end.take(), self.thread.take()));
        }
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It told of its panic on stderr.
            let _ = thread.join();
        }
    }
}

/// A watchdog for the whole process that tells on stderr; a later call sets the limit anew.
///
/// # Errors
///
/// When its thread cannot be started.
pub fn watch_workers(limit: Duration) -> io::Result<()> {
    // A fork has no thread that watches.
    static PRESENT: PerProcess<Mutex<Option<Watchdog>>> = PerProcess::new();
    let mut present = PRESENT.get(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    drop(present.take());
    *present = Some(Watchdog::start(limit, |incident| eprint!("\nfiveways: {incident}"))?);
    Ok(())
}

/// What was last seen of a worker.
struct Seen {
    pulse: Pulse,
    since: Instant,
    is_told: bool,
}

/// The life of the watchdog's thread.
fn watch(limit: Duration, mut tell: impl FnMut(Incident), ended: &mpsc::Receiver<()>) {
    let _onlooker = Onlooker::enter();
    let interval = limit / LOOKS;
    let mut seen: HashMap<u32, Seen> = HashMap::new();
    let mut last = Instant::now();
    while ended.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
        let now = Instant::now();
        if now.duration_since(last) > interval + limit {
            // We did not run either.
            seen.values_mut().for_each(|seen| seen.since = now);
        }
        for inbox in registry::all().iter().flat_map(|team| team.iter()) {
            if let Some(incident) = look(inbox, &mut seen, now, limit) {
                INCIDENTS.fetch_add(1, Ordering::Relaxed);
                tell(incident);
            }
        }
        // Telling takes its time.
        last = Instant::now();
    }
}

fn look(
    inbox: &Arc<Inbox>,
    seen: &mut HashMap<u32, Seen>,
    now: Instant,
    limit: Duration,
) -> Option<Incident> {
    let pulse = inbox.pulse();
    let entry = seen.entry(inbox.index);
    let seen = entry.or_insert(Seen { pulse, since: now, is_told: false });
    if seen.pulse != pulse {
        *seen = Seen { pulse, since: now, is_told: false };
    }
    let lasted = now.duration_since(seen.since);
    if pulse.is_asleep() || seen.is_told || lasted < limit {
        return None;
    }
    // A worker that has ended has no thread, and no pulse any more.
    if !inbox.has_thread() {
        return None;
    }
    let told = interrupt::ask_worker(inbox);
    if inbox.pulse() != pulse {
        // It has just come back; what it told may be of another task.
        return None;
    }
    seen.is_told = true;
    let told = told.unwrap_or_default();
    let stuck = stuck_by(told, lasted, &mut Symbols::default());
    Some(Incident { worker: inbox.index, stuck })
}
