//! Finding deadlocks: who waits for whom, and whether that goes in a circle.
//!
//! ```text
//!   task 1.2 ──waits for a mutex──▶ held by task 1.3
//!      ▲                                │ waits for a mutex
//!      └──────────── held by ◀──────────┘      the wait that closes the circle finds it
//! ```
//!
//! Looked at when a wait begins that has no deadline and that one task or thread alone can end. The
//! last wait of a circle to begin sees all others: they stand in the graph, whose lock orders them.
//! Who stands there runs no code, so what it holds it goes on holding; hence no false alarm. A lock
//! that was just handed to its waiter is held by the one who waits for it, and ends the search.
#![expect(unsafe_code, reason = "reasons lie in the frames of those who wait")]

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::blocked;
use crate::identity::Identity;
use crate::reason::{Holder, Reason};
use crate::report::{named, plain, write_frames};
use crate::snapshot::{Frame, TaskDump};
use crate::stuck;
use crate::survey::{self, Request};
use crate::teams;
use crate::trace::{Symbols, own_frames};

/// What is done about deadlocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detection {
    /// Nothing.
    Off,
    /// They are told of on stderr, each once.
    Report,
    /// They are told of, and the wait that closes the circle panics with a [`Deadlock`].
    Panic,
}

const UNSET: u8 = 0;
const OFF: u8 = 1;
const REPORT: u8 = 2;
const PANIC: u8 = 3;

/// `UNSET` until first asked for, then one of the others; written by anybody.
static DETECTION: AtomicU8 = AtomicU8::new(UNSET);

/// Deadlocks found so far.
static FOUND: AtomicU64 = AtomicU64::new(0);

/// Sets what is done about deadlocks, in the whole process.
///
/// Never suspends.
pub fn detect_deadlocks(detection: Detection) {
    let bits = match detection {
        Detection::Off => OFF,
        Detection::Report => REPORT,
        Detection::Panic => PANIC,
    };
    DETECTION.store(bits, Ordering::Relaxed);
}

/// How many deadlocks have been found so far.
///
/// Never suspends.
pub fn deadlocks_found() -> u64 {
    FOUND.load(Ordering::Relaxed)
}

#[inline]
pub(crate) fn detection() -> Detection {
    match DETECTION.load(Ordering::Relaxed) {
        OFF => Detection::Off,
        REPORT => Detection::Report,
        PANIC => Detection::Panic,
        _ => first_detection(),
    }
}

/// What the environment says, else what suits the build.
#[cold]
fn first_detection() -> Detection {
    let detection = match std::env::var("FIVEWAYS_DEADLOCK").as_deref() {
        Ok("off") => Detection::Off,
        Ok("report") => Detection::Report,
        Ok("panic") => Detection::Panic,
        _ if cfg!(debug_assertions) => Detection::Report,
        _ => Detection::Off,
    };
    detect_deadlocks(detection);
    detection
}

/// Tasks and threads that wait for each other in a circle: the payload of the panic that ends one
/// of the waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    links: Vec<Link>,
    text: String,
}

/// One wait of a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    who: Identity,
    what: &'static str,
    place: &'static Location<'static>,
    holder: Identity,
}

impl Deadlock {
    fn new(links: Vec<Link>) -> Deadlock {
        let waits = links.iter().map(|link| {
            let Link { who, what, place, holder } = link;
            format!("{who} waits for {what} of {holder} at {place}")
        });
        let text = format!("deadlock: {}", waits.collect::<Vec<_>>().join("; "));
        Deadlock { links, text }
    }

    /// The tasks and threads, each waiting for the next, the last for the first.
    pub fn circle(&self) -> impl Iterator<Item = Identity> + '_ {
        self.links.iter().map(|link| link.who)
    }

    /// In one line.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Deadlock {}

/// Who waits, and for what; pointers are valid under the lock.
#[derive(Default)]
struct Graph {
    waits: HashMap<Identity, Shared>,
    /// The circles that were told of, by their sorted members.
    told: HashSet<Vec<Identity>>,
    /// Those that were asked to end: their waits end by themselves, however late they hear of it.
    ending: HashSet<Identity>,
}

/// A reason in the frame of somebody who waits.
struct Shared(*const Reason<'static>);

// SAFETY: required: usable from any thread. It is read under the graph's lock only, while whoever
// waits cannot leave the frame; reasons are plain data and atomics.
unsafe impl Send for Shared {}

static GRAPH: LazyLock<Mutex<Graph>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, Graph> {
    GRAPH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a wait in the graph while it lives.
pub(crate) struct Edge<'a> {
    who: Identity,
    _reason: &'a Reason<'a>,
}

impl Drop for Edge<'_> {
    fn drop(&mut self) {
        lock().waits.remove(&self.who);
    }
}

/// Puts a wait into the graph; gives the circle that it closes, unless that was told of before.
pub(crate) fn begin<'a>(who: Identity, reason: &'a Reason<'a>) -> (Edge<'a>, Option<Deadlock>) {
    let mut graph = lock();
    graph.waits.insert(who, Shared(std::ptr::from_ref(reason).cast()));
    let circle = graph.circle_from(who);
    let is_news = circle.as_deref().is_some_and(|links| graph.is_news(links));
    // Whoever has caught the panic and tries again is not to wait for ever.
    let circle = circle.filter(|_| is_news || detection() == Detection::Panic);
    drop(graph);
    if circle.is_some() {
        FOUND.fetch_add(1, Ordering::Relaxed);
    }
    (Edge { who, _reason: reason }, circle.map(Deadlock::new))
}

/// Notes that a task is asked to end.
pub(crate) fn is_ending(who: Identity) {
    if detection() == Detection::Off {
        return;
    }
    let mut graph = lock();
    if graph.ending.len() >= TOLD_MAX {
        graph.ending.clear();
    }
    graph.ending.insert(who);
}

impl Graph {
    /// The circle that leads from `who` back, if there is one.
    fn circle_from(&self, who: Identity) -> Option<Vec<Link>> {
        let mut links: Vec<Link> = Vec::new();
        let mut at = who;
        loop {
            let shared = self.waits.get(&at).filter(|_| !self.ending.contains(&at))?;
            // SAFETY: required: live and shared. It stands in the graph, which is locked.
            let reason = unsafe { &*shared.0 };
            let holder = reason.holder.now()?;
            let was_handed_over = holder == at && matches!(reason.holder, Holder::In(_));
            // A circle that does not lead through us was found by one of its members.
            if was_handed_over || links.iter().any(|link| link.who == at) {
                return None;
            }
            links.push(Link { who: at, what: reason.what, place: reason.place, holder });
            if holder == who {
                return Some(links);
            }
            at = holder;
        }
    }

    /// Has this circle not been told of? A wait begins again when it was woken for nothing.
    fn is_news(&mut self, links: &[Link]) -> bool {
        let mut members: Vec<_> = links.iter().map(|link| link.who).collect();
        members.sort_unstable();
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        self.told.insert(members)
    }
}

/// Circles that are remembered; numbers are never used again, so old ones may be forgotten.
const TOLD_MAX: usize = 4096;

/// A circle, and where the wait stands that closed it: to be told by another thread.
pub(crate) struct Finding {
    deadlock: Deadlock,
    frames: Vec<usize>,
}

impl Finding {
    /// To be called by who closes the circle.
    pub(crate) fn new(deadlock: Deadlock) -> Finding {
        Finding { deadlock, frames: own_frames() }
    }

    /// Tells of it on stderr. Blocks the thread: asks the members' workers.
    pub(crate) fn tell(self) {
        eprint!("{}", self.text());
    }

    fn text(&self) -> String {
        let links = &self.deadlock.links;
        let only = links.iter().map(|link| link.who).collect();
        let request = Request { only, ..Request::default() };
        let mut tasks = Vec::new();
        for team in teams::all() {
            let (_, answers) = survey::ask(&team, &request);
            tasks.extend(answers.into_iter().flat_map(|answer| answer.worker.tasks));
        }
        let mut symbols = Symbols::default();
        let mut text = String::from("\nfiveways: deadlock: each of these waits for the next\n");
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

/// Where a blocked plain thread stands.
fn frames_of_thread(who: Identity) -> Vec<usize> {
    let told = blocked::number_of(who).and_then(stuck::ask);
    told.map_or(Vec::new(), |told| told.frames)
}

fn write_link(
    text: &mut impl fmt::Write,
    link: &Link,
    task: Option<&TaskDump>,
    frames: &[Frame],
) -> fmt::Result {
    let Link { who, what, place, holder } = link;
    let name = task.map_or(String::new(), |task| named(&task.name));
    writeln!(text, "\n{who}{name} waits for {} of {holder} at {place}", plain(what))?;
    if let Some(task) = task {
        let by = task.spawned_by.as_deref().unwrap_or("somebody");
        writeln!(text, "    spawned at {} by {by}", task.spawned_at)?;
    }
    write_frames(text, frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(count: u64) -> Identity {
        Identity::of_task((1 << 21) - 1, count)
    }

    fn lock_of(holder: u64) -> AtomicU64 {
        // The highest bit is the lock's own.
        AtomicU64::new(task(holder).to_bits() | 1 << 63)
    }

    fn wait_for(word: &AtomicU64) -> Reason<'_> {
        Reason::new("mutex", word).held(Holder::In(word))
    }

    fn members(circle: Option<Deadlock>) -> Vec<Identity> {
        circle.map_or(Vec::new(), |circle| circle.circle().collect())
    }

    #[test]
    fn the_last_of_three_closes_the_circle_and_it_is_told_of_once() {
        let (of_2, of_3, of_1) = (lock_of(2), lock_of(3), lock_of(1));
        let (one, two, three) = (wait_for(&of_2), wait_for(&of_3), wait_for(&of_1));
        let (_one, none) = begin(task(1), &one);
        assert_eq!(none, None);
        let (_two, none) = begin(task(2), &two);
        assert_eq!(none, None);
        let (last, circle) = begin(task(3), &three);
        let text = circle.as_ref().map(Deadlock::to_string).unwrap_or_default();
        assert!(text.starts_with("deadlock: task "), "{text}");
        assert_eq!(members(circle), [3, 1, 2].map(task));
        drop(last);
        let (_again, circle) = begin(task(3), &three);
        assert_eq!(circle, None);
    }

    #[test]
    fn a_lock_that_was_just_handed_to_its_waiter_is_no_circle() {
        let word = lock_of(11);
        let reason = wait_for(&word);
        let (_edge, circle) = begin(task(11), &reason);
        assert_eq!(circle, None);
        let own = Reason::new("join", &word).held(Holder::One(task(12)));
        let (_edge, circle) = begin(task(12), &own);
        assert_eq!(members(circle), [task(12)]);
    }

    #[test]
    fn a_wait_that_leads_to_a_circle_of_others_or_has_ended_is_none() {
        let (of_22, of_21, of_23) = (lock_of(22), lock_of(21), lock_of(23));
        let (one, two, outside) = (wait_for(&of_22), wait_for(&of_21), wait_for(&of_21));
        let (_one, _) = begin(task(21), &one);
        let (two, circle) = begin(task(22), &two);
        assert_eq!(members(circle).len(), 2);
        let (_outside, circle) = begin(task(23), &outside);
        assert_eq!(circle, None);
        drop(two);
        let free = wait_for(&of_23);
        let (_edge, circle) = begin(task(22), &free);
        assert_eq!(members(circle), [22, 23, 21].map(task));
    }
}
