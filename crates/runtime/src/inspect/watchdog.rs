//! The watchdog: reports a worker that does not return to its scheduler, because a task computes
//! for long or makes a call that blocks the thread.
//!
//! It looks at the status of all workers four times in each limit. A worker that is awake and in
//! the same round for the whole limit is reported, once for each such round. Nothing is done about
//! it: a task cannot be taken off its worker (I3).
//!
//! ```text
//!   looks, four times in each limit ──nothing moved, all workers asleep──▶ announces itself
//!     ▲                                                                       │ still so at the
//!     └──────────── a worker awakes ◀──── sleeps without a limit ◀────────────┘ next look
//! ```
//!
//! A task is not blamed for a process that was stopped or for a busy machine: time by which a look
//! comes late does not count, nor does time in which the worker was ready to run and had no
//! processor.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways_sys::lock::{Mutex, MutexGuard};
use fiveways_sys::process::generation::{PerProcess, generation};

use crate::clock;
use crate::dump_data::Stuck;
use crate::inspect::collect::stuck_by;
use crate::inspect::interrupt;
use crate::inspect::symbols::Symbols;
use crate::park::in_task;
use crate::service_thread::ServiceThread;
use crate::worker::inbox::{Inbox, WorkerStatus};
use crate::worker::registry;
use crate::worker::watchers::Sleeper;

/// Looks in each limit: more are more precise and cost more.
const LOOKS: u32 = 4;

/// The shortest and the longest limit.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The limit of builds with debug assertions, unless it was set.
const OF_DEBUG_BUILDS: Duration = Duration::from_secs(1);

/// A worker that did not return to its scheduler in time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incident {
    /// The worker's number, unique in the process.
    pub worker: u32,
    /// What it runs, and for how long at least.
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

/// Returns the number of incidents that watchdogs have reported so far.
pub fn incidents() -> u64 {
    INCIDENTS.load(Ordering::Relaxed)
}

/// Watches the workers of all runtimes while it lives.
///
/// Its thread looks four times in each limit while a worker works, and sleeps while none does.
#[derive(Debug)]
pub struct Watchdog {
    /// The generation of the process that has the thread.
    process: u64,
    /// Set by the drop, to end the thread.
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watchdog {
    /// Starts watching; calls `report` with each incident, on the watchdog's own thread.
    ///
    /// # Errors
    ///
    /// The error of the system if the thread cannot be started.
    pub fn start(
        limit: Duration,
        report: impl FnMut(Incident) + Send + 'static,
    ) -> io::Result<Watchdog> {
        let is_over = Arc::new(AtomicBool::new(false));
        let watch = Watch {
            limit: limit.clamp(SHORTEST, LONGEST),
            is_over: Arc::clone(&is_over),
            seen: HashMap::new(),
        };
        let builder = thread::Builder::new().name("fiveways-watchdog".to_owned());
        let thread = builder.spawn(move || watch.run(report))?;
        Ok(Watchdog { process: generation(), is_over, thread: Some(thread) })
    }

    /// Ends the thread without waiting for its end.
    fn detach(mut self) {
        let thread = self.thread.take();
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // A fork has no such thread.
        if self.process != generation() {
            return std::mem::forget(thread);
        }
        self.is_over.store(true, Ordering::Release);
        thread.thread().unpark();
        // The panic hook has reported its panic on stderr.
        let _ = thread.join();
    }
}

/// The limit of the process's own watchdog in nanoseconds: [`UNSET`] until it is first needed, 0
/// for none; written from any thread. A fork keeps it.
static LIMIT_NS: AtomicU64 = AtomicU64::new(UNSET);
const UNSET: u64 = u64::MAX;

/// The watchdog of the process, which has a thread while there is a runtime.
#[derive(Default)]
struct Present {
    runtimes: usize,
    watchdog: Option<Watchdog>,
}

fn present() -> MutexGuard<'static, Present> {
    // A fork has no thread that watches, so it starts without.
    static PRESENT: PerProcess<Mutex<Present>> = PerProcess::new();
    PRESENT.get(Mutex::default).lock()
}

impl Present {
    fn start(&mut self) -> io::Result<()> {
        let limit = limit();
        if self.watchdog.is_none() && self.runtimes > 0 && !limit.is_zero() {
            let mut reports = Reports::default();
            self.watchdog = Some(Watchdog::start(limit, move |incident| reports.write(&incident))?);
        }
        Ok(())
    }
}

/// Sets after how long the process's own watchdog reports on stderr a worker that has not returned
/// to its scheduler; zero turns it off. The limit that was set last applies.
///
/// In builds with debug assertions (of this crate, which by default has those of the program) the
/// limit is one second if this is never called. `FIVEWAYS_WATCHDOG` in the environment, `off` or a
/// number of milliseconds, takes precedence over that default, in release builds as well; this call
/// takes precedence over both.
///
/// The watchdog has a thread (`fiveways-watchdog`) while there is a runtime. A report names the
/// task and shows its backtrace, once for each time that it keeps its worker, however long that is;
/// of many reports in ten seconds the first four are written, and the others counted. The worker is
/// interrupted by `SIGURG` for the backtrace, so a system call that the kernel does not restart
/// after a signal (`poll`, for example) returns `EINTR`.
///
/// # Errors
///
/// The error of the system if the watchdog's thread cannot be started.
pub fn watch_workers(limit: Duration) -> io::Result<()> {
    let limit = limit.min(LONGEST);
    LIMIT_NS.store(limit.as_nanos() as u64, Ordering::Relaxed);
    let mut present = present();
    drop(present.watchdog.take());
    present.start()
}

fn limit() -> Duration {
    match LIMIT_NS.load(Ordering::Relaxed) {
        UNSET => {
            let limit = limit_of(std::env::var("FIVEWAYS_WATCHDOG").ok().as_deref());
            LIMIT_NS.store(limit.as_nanos() as u64, Ordering::Relaxed);
            limit
        }
        nanos => Duration::from_nanos(nanos),
    }
}

/// Returns the limit of the environment; without it the default of the build.
fn limit_of(variable: Option<&str>) -> Duration {
    let by_itself = if cfg!(debug_assertions) { OF_DEBUG_BUILDS } else { Duration::ZERO };
    match variable {
        Some("off") => Duration::ZERO,
        Some(text) => {
            let ms = text.parse().map(Duration::from_millis);
            ms.map_or(by_itself, |limit| limit.min(LONGEST))
        }
        None => by_itself,
    }
}

/// A runtime that is watched, if that was requested or is the default.
pub(crate) struct Watched {
    /// The generation of the process that has the runtime's threads.
    process: u64,
}

impl Watched {
    /// Counts a runtime; the first starts the watchdog. Without a thread for it nothing is watched.
    pub(crate) fn begin() -> Watched {
        let mut present = present();
        present.runtimes += 1;
        // The watchdog was not requested here, so the error is dropped: `watch_workers` returns it.
        let _ = present.start();
        Watched { process: generation() }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.process != generation() {
            return;
        }
        let mut present = present();
        present.runtimes -= 1;
        let last = if present.runtimes == 0 { present.watchdog.take() } else { None };
        drop(present);
        match last {
            // The thread may be writing a report, which a task must not wait for.
            Some(watchdog) if in_task() => watchdog.detach(),
            last => drop(last),
        }
    }
}

/// Reports on stderr, limited in number.
struct Reports {
    since: Instant,
    written: u32,
    left_out: u32,
    is_first: bool,
}

impl Default for Reports {
    fn default() -> Reports {
        Reports { since: clock::machine(), written: 0, left_out: 0, is_first: true }
    }
}

impl Reports {
    /// The most reports in each window of time.
    const MOST: u32 = 4;
    const WINDOW: Duration = Duration::from_secs(10);

    fn write(&mut self, incident: &Incident) {
        if let Some(text) = self.text(incident, clock::machine()) {
            eprint!("{text}");
        }
    }

    /// Returns the text of the report; `None` if there were so many that this one is only counted.
    fn text(&mut self, incident: &Incident, now: Instant) -> Option<String> {
        if now.saturating_duration_since(self.since) >= Reports::WINDOW {
            (self.since, self.written) = (now, 0);
        }
        if self.written == Reports::MOST {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        let mut text = format!("\nfiveways: {incident}");
        match std::mem::take(&mut self.left_out) {
            0 => {}
            others => text += &format!("    ({others} more were not reported before this one)\n"),
        }
        if std::mem::take(&mut self.is_first) {
            text += "    (a watchdog reports this; FIVEWAYS_WATCHDOG=off turns it off)\n";
        }
        Some(text)
    }
}

/// What the last look at a worker has seen.
struct Seen {
    status: WorkerStatus,
    since: Instant,
    /// The total delay of the looks since then.
    late: Duration,
    /// The time that its thread had been ready to run without a processor, at the second look.
    queued: Option<Duration>,
    is_reported: bool,
}

impl Seen {
    fn new(status: WorkerStatus, since: Instant) -> Seen {
        Seen { status, since, late: Duration::ZERO, queued: None, is_reported: false }
    }
}

/// The state of a watchdog's thread.
struct Watch {
    limit: Duration,
    is_over: Arc<AtomicBool>,
    /// By the numbers of the workers.
    seen: HashMap<u32, Seen>,
}

impl Watch {
    fn run(mut self, mut report: impl FnMut(Incident)) {
        let _onlooker = ServiceThread::enter();
        let mut sleeper: Option<Arc<Sleeper>> = None;
        while let Some(late) = self.pause(self.limit / LOOKS) {
            // The workers may not have run either.
            self.seen.values_mut().for_each(|seen| seen.late += late);
            let is_idle = self.look_at_all(&mut report);
            sleeper = match sleeper.filter(|_| is_idle) {
                None => is_idle.then(Sleeper::announce),
                Some(announced) => {
                    self.sleep(&announced);
                    None
                }
            };
        }
    }

    fn is_over(&self) -> bool {
        // ORDERING: pairs with the stores of `Watchdog`.
        self.is_over.load(Ordering::Acquire)
    }

    /// Waits for so long; returns how much longer it took, or `None` if the watchdog is to end.
    fn pause(&self, duration: Duration) -> Option<Duration> {
        let end = clock::machine() + duration;
        while !self.is_over() {
            let now = clock::machine();
            if now >= end {
                return Some(now - end);
            }
            thread::park_timeout(end - now);
        }
        None
    }

    /// Waits until a worker awakes.
    fn sleep(&self, announced: &Sleeper) {
        while !announced.is_over() && !self.is_over() {
            thread::park();
        }
    }

    /// Returns `true` if all workers are asleep, and have been since the last look.
    fn look_at_all(&mut self, report: &mut impl FnMut(Incident)) -> bool {
        let worker_sets = registry::all();
        let workers = || worker_sets.iter().flat_map(|worker_set| worker_set.iter());
        let mut is_idle = true;
        for inbox in workers() {
            let status = inbox.status();
            let is_known = self.seen.get(&inbox.index).is_some_and(|seen| seen.status == status);
            is_idle &= is_known && (status.is_asleep() || !inbox.has_thread());
            if let Some(incident) = self.look(inbox, status) {
                INCIDENTS.fetch_add(1, Ordering::Relaxed);
                report(incident);
            }
        }
        if self.seen.len() > workers().count() {
            self.seen.retain(|number, _| workers().any(|inbox| inbox.index == *number));
        }
        is_idle
    }

    fn look(&mut self, inbox: &Arc<Inbox>, status: WorkerStatus) -> Option<Incident> {
        let now = clock::machine();
        let seen = self.seen.entry(inbox.index).or_insert_with(|| Seen::new(status, now));
        if seen.status != status {
            *seen = Seen::new(status, now);
        }
        if status.is_asleep() || seen.is_reported || seen.since == now {
            return None;
        }
        // A worker that has ended has no thread.
        let thread = inbox.thread.lock().as_ref().copied()?;
        let queued = thread.time_in_run_queue().unwrap_or_default();
        let before = *seen.queued.get_or_insert(queued);
        // Both are mostly the same time.
        let lost = queued.saturating_sub(before).max(seen.late);
        let lasted = now.saturating_duration_since(seen.since).saturating_sub(lost);
        if lasted < self.limit {
            return None;
        }
        let activity = interrupt::ask_worker(inbox);
        if inbox.status() != status {
            // The worker has just returned to its scheduler; the answer may be of another task.
            return None;
        }
        seen.is_reported = true;
        let activity = activity.unwrap_or_default();
        let stuck = stuck_by(activity, lasted, &mut Symbols::default());
        Some(Incident { worker: inbox.index, stuck })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_sets_the_limit() {
        let by_itself = if cfg!(debug_assertions) { 1_000 } else { 0 };
        let cases = [
            (None, by_itself),
            (Some("off"), 0),
            (Some("0"), 0),
            (Some("250"), 250),
            (Some(""), by_itself),
        ];
        for (variable, ms) in cases {
            assert_eq!(limit_of(variable), Duration::from_millis(ms), "{variable:?}");
        }
    }

    #[test]
    fn of_a_flood_the_first_reports_are_written_and_the_others_counted() {
        let stuck = stuck_by(
            interrupt::Activity::default(),
            Duration::from_secs(1),
            &mut Symbols::default(),
        );
        let incident = Incident { worker: 7, stuck };
        let mut reports = Reports::default();
        let start = Instant::now();
        let texts = [0, 1, 2, 3, 4, 5, 9, 11, 12].map(|s| {
            let text = reports.text(&incident, start + Duration::from_secs(s));
            text.map(|text| (text.contains("FIVEWAYS_WATCHDOG=off"), text.contains("3 more")))
        });
        let (plain, hint, more) = (Some((false, false)), Some((true, false)), Some((false, true)));
        assert_eq!(texts, [hint, plain, plain, plain, None, None, None, more, plain]);
    }
}
