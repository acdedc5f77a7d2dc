//! The plain threads that are blocked in a wait of this library. An entry is written only when a
//! thread really blocks.
//!
//! A thread's entry points to the reason in its frame. The thread removes the entry, under the
//! lock, before the frame goes; so the reason may be read by a holder of the lock.
#![expect(unsafe_code, reason = "reasons lie in the frames of blocked threads")]

use std::cmp::Reverse;
use std::thread::{self, Thread};
use std::time::Instant;

use fiveways_sys::lock::{Mutex, MutexGuard};
use fiveways_sys::process::generation::PerProcess;
use fiveways_sys::thread::interrupt;

use crate::clock;
use crate::dump_data::{ThreadDump, Wait};
use crate::identity::Identity;
use crate::reason::Reason;

struct Entry {
    who: Identity,
    thread: Thread,
    number: interrupt::Thread,
    reason: Option<*const Reason<'static>>,
    since: Instant,
    deadline: Option<Instant>,
}

// SAFETY: required: usable from any thread. The pointer is read under the lock of the list only,
// while the thread that it belongs to cannot leave its frame; reasons are plain data and atomics.
unsafe impl Send for Entry {}

/// A fork has none of the threads, so it starts with an empty list.
static BLOCKED: PerProcess<Mutex<Vec<Entry>>> = PerProcess::new();

fn lock() -> MutexGuard<'static, Vec<Entry>> {
    BLOCKED.get(Mutex::default).lock()
}

/// Keeps the calling thread listed while it lives.
pub(crate) struct Listed<'a> {
    who: Identity,
    _reason: Option<&'a Reason<'a>>,
}

impl<'a> Listed<'a> {
    pub(crate) fn new(
        who: Identity,
        reason: Option<&'a Reason<'a>>,
        deadline: Option<Instant>,
    ) -> Listed<'a> {
        let entry = Entry {
            who,
            thread: thread::current(),
            number: interrupt::Thread::current(),
            reason: reason.map(|reason| std::ptr::from_ref(reason).cast()),
            since: clock::machine(),
            deadline,
        };
        lock().push(entry);
        Listed { who, _reason: reason }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let mut list = lock();
        if let Some(at) = list.iter().rposition(|entry| entry.who == self.who) {
            list.swap_remove(at);
        }
    }
}

/// Describes all entries.
pub(crate) fn all() -> Vec<ThreadDump> {
    let list = lock();
    let mut all: Vec<_> = list.iter().map(describe).collect();
    drop(list);
    all.sort_by_key(|thread| Reverse(thread.for_ms));
    all
}

/// Returns the number of blocked threads that have no deadline.
pub(crate) fn count_without_deadline() -> usize {
    lock().iter().filter(|entry| entry.deadline.is_none()).count()
}

/// Returns the kernel's number of a blocked thread, for signals.
pub(crate) fn number_of(who: Identity) -> Option<interrupt::Thread> {
    lock().iter().find(|entry| entry.who == who).map(|entry| entry.number)
}

/// Describes an entry of the locked list.
fn describe(entry: &Entry) -> ThreadDump {
    let now = clock::machine();
    let left = entry.deadline.map(|at| at.saturating_duration_since(now));
    // SAFETY: required: live and shared. The list is locked, so the thread is still in its frame.
    let reason = entry.reason.map(|reason| unsafe { &*reason });
    ThreadDump {
        who: entry.who.to_string(),
        name: entry.thread.name().unwrap_or("").to_owned(),
        thread: entry.number.number(),
        for_ms: now.saturating_duration_since(entry.since).as_millis() as u64,
        wait: Wait { left_ms: left.map(|left| left.as_millis() as u64), ..wait_for(reason) },
    }
}

/// Describes a reason.
pub(crate) fn wait_for(reason: Option<&Reason<'_>>) -> Wait {
    let Some(reason) = reason else {
        return Wait { what: "unpark".to_owned(), ..Wait::default() };
    };
    let enders = reason.holder.several().unwrap_or_default();
    Wait {
        what: reason.what.to_owned(),
        on: Some(reason.on).filter(|on| *on != 0),
        holder: reason.holder.one().map(|holder| holder.to_string()),
        enders: enders.iter().map(Identity::to_string).collect(),
        place: Some(reason.place.into()),
        ..Wait::default()
    }
}
