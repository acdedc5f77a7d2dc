//! The report of a deadlock: its waits, their places, and the backtraces of all members.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::deadlock_data::{Deadlock, Link, list};
use crate::dump_data::{Frame, TaskDump};
use crate::identity::Identity;
use crate::inspect::collect::{self, Request};
use crate::inspect::format::{named, plain, write_frames};
use crate::inspect::interrupt;
use crate::inspect::symbols::Symbols;
use crate::park::blocked_threads;
use crate::park::{park_while_not, unparker};
use crate::worker::backtrace::own_frames;
use crate::worker::registry;

/// How long a deadlock's report may take; it asks other workers.
const REPORT_LIMIT: Duration = Duration::from_secs(5);

/// Reports a deadlock that the caller has closed, and waits until the report is written.
pub(crate) fn report_and_wait(deadlock: Deadlock) {
    let is_written = Arc::new(AtomicBool::new(false));
    let (written, waiter) = (Arc::clone(&is_written), unparker());
    let reporter = report_in_background(deadlock, move || {
        written.store(true, Ordering::Release);
        waiter.unpark();
    });
    if reporter.is_ok() {
        let limit = clock::now() + REPORT_LIMIT;
        park_while_not(|| is_written.load(Ordering::Acquire), Some(limit));
    }
}

/// Reports a deadlock from a new thread, so that the caller's own worker can be asked as well.
pub(crate) fn report_in_background(
    deadlock: Deadlock,
    then: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    let report = DeadlockReport::of_caller(deadlock);
    let write = move || {
        report.write();
        then();
    };
    thread::Builder::new().name("fiveways-deadlock".to_owned()).spawn(write)
}

/// A deadlock and the backtrace of the wait that closed it, to be reported by another thread.
struct DeadlockReport {
    deadlock: Deadlock,
    /// The backtrace of the caller, which is the first member: its worker cannot be asked.
    frames: Vec<usize>,
}

impl DeadlockReport {
    /// Creates the report; the caller is the task or thread that closed the deadlock.
    fn of_caller(deadlock: Deadlock) -> DeadlockReport {
        DeadlockReport { deadlock, frames: own_frames() }
    }

    /// Writes the report to stderr. Blocks the thread: it asks the members' workers.
    fn write(self) {
        eprint!("{}", self.text());
    }

    fn text(&self) -> String {
        let links = self.deadlock.links();
        let only = links.iter().map(|link| link.who).collect();
        let request = Request { only, ..Request::default() };
        let mut tasks = Vec::new();
        for worker_set in registry::all() {
            let (_, answers) = collect::ask(&worker_set, &request);
            tasks.extend(answers.into_iter().flat_map(|answer| answer.worker.tasks));
        }
        let mut symbols = Symbols::default();
        let mut text = heading(&self.deadlock).to_owned();
        for (number, link) in links.iter().enumerate() {
            let task = tasks.iter().find(|task| task.task == link.who.to_string());
            let frames = match (number, task) {
                (0, _) => symbols.resolve(&self.frames),
                (_, Some(task)) => symbols.resolve(&task.addresses),
                (_, None) => symbols.resolve(&frames_of_thread(link.who)),
            };
            // Writing to a string does not fail.
            let _ = write_link(&mut text, link, task, &frames);
        }
        text
    }
}

fn heading(deadlock: &Deadlock) -> &'static str {
    if deadlock.is_circle() {
        "\nfiveways: deadlock: each of these waits for the next\n"
    } else {
        "\nfiveways: deadlock: none of these can go on before another of them does\n"
    }
}

/// The backtrace of a blocked plain thread.
fn frames_of_thread(who: Identity) -> Vec<usize> {
    let activity = blocked_threads::number_of(who).and_then(interrupt::ask);
    activity.map_or(Vec::new(), |activity| activity.frames)
}

fn write_link(
    text: &mut impl fmt::Write,
    link: &Link,
    task: Option<&TaskDump>,
    frames: &[Frame],
) -> fmt::Result {
    let Link { who, name, what, place, waits_on } = link;
    let (name, what) = (named(name), plain(what));
    match &waits_on[..] {
        [holder] => {
            writeln!(text, "\n{who}{name} waits for {what} of {holder} at {place}")?;
        }
        holders => {
            writeln!(text, "\n{who}{name} waits for {what} at {place}")?;
            writeln!(text, "    could be ended by {}", list(holders))?;
        }
    }
    if let Some(task) = task {
        let by = task.spawned_by.as_deref().unwrap_or("an unknown task or thread");
        writeln!(text, "    spawned at {} by {by}", task.spawned_at)?;
    }
    write_frames(text, frames)
}
