//! The graph of waits, and which of them can never end.
//!
//! ```text
//!   task 1.2 ──waits for a mutex──▶ held by task 1.3
//!      ▲                                │ waits for a future
//!      │                                ▼
//!      │                           run by thread 7, or to be begun by thread 7 or thread 8
//!      │                                │                                 │
//!      └──────── both wait for a mutex held by ◀──────────────────────────┘
//! ```
//!
//! A wait names the tasks and threads that could end it: one, or several any of which would do. The
//! wait is *hopeless* if all of these wait hopelessly, in other words if no running task or thread
//! can be reached from it. Then everything that can be reached is a **knot**; a plain circle is the
//! simplest. The last wait of a knot to begin sees all others: they are in the graph, whose lock
//! orders them. So each wait searches when it begins. A wait that merely leads to a knot is not
//! reported: that knot was, by one of its own waits.
//!
//! *Certain* waits are those for locks, joins and the jobs of pools. A waiter in the graph runs no
//! code, so it keeps whatever it holds: hence no false alarm. A lock that was just handed to its
//! waiter is held by that waiter, and ends the search. A task that was asked to end, or a wait with
//! a time limit, counts as running.
//!
//! Waits at channels and queues are *uncertain*: their participants are recorded, but a handle may
//! have been moved to a task that has not used it yet. A knot with such a wait is only suspected:
//! dumps list it, and nothing else is done about it.
//!
//! Waits for jobs of pools are always in the graph, whether deadlocks are looked for or not. Waits
//! with a time limit are in it as well, for searches that need to know whether anything can happen
//! *before* some limit ends.
#![expect(unsafe_code, reason = "reasons lie in the frames of their waiters")]

use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::mem;
use std::ptr::NonNull;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use fiveways_sys::lock::{Mutex, MutexGuard};
use fiveways_sys::process::generation::PerProcess;

use crate::clock;
use crate::deadlock_data::{Deadlock, Link};
use crate::detection::{self, Detection};
use crate::dump_data::SuspectedWait;
use crate::identity::Identity;
use crate::park::current::Caller;
use crate::reason::{Holder, Reason};
use crate::task_block::Task;
use crate::worker::peek::fiber;

/// A wait in the graph.
struct Wait {
    /// Points into the waiter's frame; valid under the lock.
    reason: *const Reason<'static>,
    who: Who,
    since: Instant,
    is_timed: bool,
}

/// The source of a waiter's name.
enum Who {
    Task(NonNull<Task>),
    Thread(Thread),
}

// SAFETY: required: usable from any thread. It is read under the graph's lock only, while the
// waiter cannot leave the frame, or end; reasons are plain data and atomics, as are names.
unsafe impl Send for Wait {}

impl Wait {
    fn reason(&self) -> &Reason<'_> {
        // SAFETY: required: live and shared. The wait is in the graph, which is locked.
        unsafe { &*self.reason }
    }

    fn name(&self) -> String {
        match &self.who {
            Who::Task(task) => fiber(*task).name(),
            Who::Thread(thread) => thread.name().unwrap_or("").to_owned(),
        }
    }
}

/// How waits with a time limit count in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedWaits {
    /// As running: the wait ends when its time is over.
    Moving,
    /// As waiting, like all others.
    Waiting,
}

/// Which waits a search follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EdgeFilter {
    timed: bool,
    uncertain: bool,
}

const CERTAIN: EdgeFilter = EdgeFilter { timed: false, uncertain: false };
const ALL: EdgeFilter = EdgeFilter { timed: false, uncertain: true };

/// The reachable waiters, each with those that could end its wait; in the order of the search.
type Closure = Vec<(Identity, Vec<Identity>)>;

#[derive(Default)]
struct Graph {
    waits: HashMap<Identity, Wait>,
    /// The knots that were reported, by their sorted members.
    reported: HashSet<Vec<Identity>>,
    /// Tasks that were asked to end: their waits end by themselves, however late the request is
    /// seen.
    ending: HashSet<Identity>,
}

/// A fork has none of the tasks and threads that wait, so it starts with an empty graph.
static GRAPH: PerProcess<Mutex<Graph>> = PerProcess::new();

fn lock() -> MutexGuard<'static, Graph> {
    GRAPH.get(Mutex::default).lock()
}

/// How many reported knots are remembered; identities are never used again, so old ones may be
/// dropped.
const REPORTED_MAX: usize = 4096;

/// A wait at a channel that is younger than this is not suspected: an item may be on its way.
const SUSPECTED_AFTER: Duration = Duration::from_secs(1);

/// Keeps a wait in the graph while it lives.
pub(crate) struct Edge<'a> {
    who: Identity,
    _reason: PhantomData<&'a Reason<'a>>,
}

impl Edge<'_> {
    /// Leaves the wait in the graph when this is dropped, until [`end`] is called.
    pub(crate) fn keep(self) {
        mem::forget(self);
    }
}

impl Drop for Edge<'_> {
    fn drop(&mut self) {
        end(self.who);
    }
}

/// Takes a wait out of the graph.
pub(crate) fn end(who: Identity) {
    lock().waits.remove(&who);
}

/// Puts a wait into the graph, and returns the deadlock that it closes if that was not reported
/// before.
pub(crate) fn begin<'a>(me: Caller, reason: &'a Reason<'a>) -> (Edge<'a>, Option<Deadlock>) {
    let mut graph = lock();
    let edge = graph.insert(me, reason, false);
    let knot = graph.knot(me.identity, CERTAIN);
    // In panic mode every time: a waiter that caught the panic and retries must not wait for ever.
    let is_to_tell = |knot: &Closure, graph: &mut Graph| {
        graph.is_first_report(knot) || detection::detection() == Detection::Panic
    };
    let knot = knot.filter(|knot| is_to_tell(knot, &mut graph));
    let deadlock = knot.map(|knot| graph.deadlock(&knot));
    drop(graph);
    if deadlock.is_some() {
        detection::count_found();
    }
    (edge, deadlock)
}

/// Puts a wait into the graph, unless that would be hopeless. The error holds the deadlock to be
/// reported, if waits other than those for jobs of pools are in it.
pub(crate) fn begin_if_it_can_end<'a>(
    me: Caller,
    reason: &'a Reason<'a>,
) -> Result<Edge<'a>, Option<Deadlock>> {
    let mut graph = lock();
    let edge = graph.insert(me, reason, false);
    let Some(closure) = graph.closure(me.identity, reason, CERTAIN) else {
        return Ok(edge);
    };
    let is_mixed = |(who, _): &(Identity, Vec<Identity>)| {
        let wait = graph.waits.get(who);
        wait.is_some_and(|wait| !matches!(wait.reason().holder, Holder::AnyOf(_)))
    };
    let is_to_tell = detection::is_on() && closure.iter().any(is_mixed);
    let is_to_tell =
        is_to_tell && leads_to(&closure, me.identity) && graph.is_first_report(&closure);
    let deadlock = is_to_tell.then(|| graph.deadlock(&closure));
    drop(graph);
    drop(edge);
    if deadlock.is_some() {
        detection::count_found();
    }
    Err(deadlock)
}

/// Puts a wait with a time limit into the graph.
pub(crate) fn begin_timed<'a>(me: Caller, reason: &'a Reason<'a>) -> Edge<'a> {
    lock().insert(me, reason, true)
}

/// Returns `true` if no running task or thread can be reached from such a wait.
pub(crate) fn is_hopeless(me: Caller, reason: &Reason<'_>, timed_waits: TimedWaits) -> bool {
    let filter = EdgeFilter { timed: timed_waits == TimedWaits::Waiting, uncertain: false };
    lock().closure(me.identity, reason, filter).is_some()
}

/// Notes that a task was asked to end.
pub(crate) fn is_ending(who: Identity) {
    if !detection::is_on() {
        return;
    }
    let mut graph = lock();
    if graph.ending.len() >= REPORTED_MAX {
        graph.ending.clear();
    }
    graph.ending.insert(who);
}

/// Returns the waits that only another of them could end, if at least one is at a channel or queue.
/// The suspicion is wrong if a task or thread keeps a handle that it has not used yet.
pub(crate) fn suspects() -> Vec<SuspectedWait> {
    let graph = lock();
    let mut hopeless: Vec<_> = graph.hopeless().into_iter().collect();
    hopeless.sort_unstable();
    let waits = || hopeless.iter().filter_map(|who| Some((*who, graph.waits.get(who)?)));
    let is_uncertain = |wait: &Wait| matches!(wait.reason().holder, Holder::Participants(_));
    if !waits().any(|(_, wait)| is_uncertain(wait)) {
        return Vec::new();
    }
    waits().map(|(who, wait)| graph.suspect(who, wait)).collect()
}

/// Returns `true` if the search that found this closure leads back to its start.
fn leads_to(closure: &Closure, who: Identity) -> bool {
    closure.iter().any(|(_, holders)| holders.contains(&who))
}

impl Graph {
    fn insert<'a>(&mut self, me: Caller, reason: &'a Reason<'a>, is_timed: bool) -> Edge<'a> {
        let who = match me.task {
            Some(task) => Who::Task(task),
            None => Who::Thread(thread::current()),
        };
        let (reason, since) = (std::ptr::from_ref(reason).cast(), clock::machine());
        let wait = Wait { reason, who, since, is_timed };
        self.waits.insert(me.identity, wait);
        Edge { who: me.identity, _reason: PhantomData }
    }

    /// Returns those that could end this waiter's wait; `None` if it runs, or if others could end
    /// the wait as well.
    fn holders(&self, of: Identity, filter: EdgeFilter) -> Option<Vec<Identity>> {
        let wait = self.waits.get(&of).filter(|_| !self.ending.contains(&of))?;
        if wait.is_timed && !filter.timed {
            return None;
        }
        holders(of, wait.reason(), filter)
    }

    /// Returns everything that can be reached from a wait; `None` if a running task or thread is
    /// among it. The waiter itself counts as waiting.
    fn closure(&self, from: Identity, reason: &Reason<'_>, filter: EdgeFilter) -> Option<Closure> {
        let mut closure = vec![(from, holders(from, reason, filter)?)];
        let mut seen = HashSet::from([from]);
        let mut next = 0;
        while let Some((_, holders)) = closure.get(next) {
            let new: Vec<_> = holders.iter().copied().filter(|who| seen.insert(*who)).collect();
            for who in new {
                closure.push((who, self.holders(who, filter)?));
            }
            next += 1;
        }
        Some(closure)
    }

    /// Returns the knot that this wait is a part of, if it is.
    fn knot(&self, who: Identity, filter: EdgeFilter) -> Option<Closure> {
        let wait = self.waits.get(&who).filter(|_| !self.ending.contains(&who))?;
        self.closure(who, wait.reason(), filter).filter(|closure| leads_to(closure, who))
    }

    /// Returns the waiters from which no running task or thread, and no recent wait, can be
    /// reached.
    fn hopeless(&self) -> HashSet<Identity> {
        let now = clock::machine();
        let lasts = |wait: &Wait| now.saturating_duration_since(wait.since) >= SUSPECTED_AFTER;
        let mut hopeless = HashSet::new();
        let mut waiters: HashMap<Identity, Vec<Identity>> = HashMap::new();
        let mut moving = Vec::new();
        for (who, wait) in &self.waits {
            match self.holders(*who, ALL).filter(|_| lasts(wait)) {
                Some(holders) => {
                    hopeless.insert(*who);
                    holders.into_iter().for_each(|one| waiters.entry(one).or_default().push(*who));
                }
                None => moving.push(*who),
            }
        }
        moving.extend(waiters.keys().filter(|one| !hopeless.contains(one)));
        while let Some(one) = moving.pop() {
            let freed = waiters.remove(&one).unwrap_or_default();
            moving.extend(freed.into_iter().filter(|waiter| hopeless.remove(waiter)));
        }
        hopeless
    }

    /// Returns `true` if this knot was not reported yet. A wait begins again after each spurious
    /// wake-up.
    fn is_first_report(&mut self, closure: &Closure) -> bool {
        let mut members: Vec<_> = closure.iter().map(|(who, _)| *who).collect();
        members.sort_unstable();
        if self.reported.len() >= REPORTED_MAX {
            self.reported.clear();
        }
        self.reported.insert(members)
    }

    fn deadlock(&self, closure: &Closure) -> Deadlock {
        let link = |(who, holders): &(Identity, Vec<Identity>)| {
            let wait = self.waits.get(who)?;
            let Reason { what, place, .. } = *wait.reason();
            let (who, name, waits_on) = (*who, wait.name(), holders.clone());
            Some(Link { who, name, what, place, waits_on })
        };
        Deadlock::new(closure.iter().filter_map(link).collect())
    }

    fn suspect(&self, who: Identity, wait: &Wait) -> SuspectedWait {
        let enders = self.holders(who, ALL).unwrap_or_default();
        SuspectedWait {
            who: who.to_string(),
            name: wait.name(),
            what: wait.reason().what.to_owned(),
            place: wait.reason().place.into(),
            enders: enders.iter().map(Identity::to_string).collect(),
        }
    }
}

/// Returns those that could end such a wait of this waiter; `None` if others could as well, or if
/// it has ended.
fn holders(of: Identity, reason: &Reason<'_>, filter: EdgeFilter) -> Option<Vec<Identity>> {
    match &reason.holder {
        Holder::Anyone => None,
        Holder::One(one) => Some(vec![*one]),
        // A lock held by its own waiter was just handed to it.
        Holder::In(_) => reason.holder.one().filter(|one| *one != of).map(|one| vec![one]),
        Holder::Participants(_) if !filter.uncertain => None,
        Holder::AnyOf(_) | Holder::Participants(_) => {
            reason.holder.several().filter(|all| !all.is_empty())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::reason::Enders;

    fn task(count: u64) -> Identity {
        Identity::of_task((1 << 21) - 1, count)
    }

    fn caller(count: u64) -> Caller {
        Caller { identity: task(count), task: None }
    }

    fn lock_of(holder: u64) -> AtomicU64 {
        // The highest bit belongs to the lock.
        AtomicU64::new(task(holder).to_bits() | 1 << 63)
    }

    fn wait_for(word: &AtomicU64) -> Reason<'_> {
        Reason::new("mutex", word).held(Holder::In(word))
    }

    fn members(found: Option<Deadlock>) -> Vec<Identity> {
        found.map_or(Vec::new(), |deadlock| deadlock.members().collect())
    }

    /// An ender list: any of these could end the wait.
    struct Any(&'static [u64]);

    impl Enders for Any {
        fn enders(&self, each: &mut dyn FnMut(Identity)) -> bool {
            self.0.iter().for_each(|count| each(task(*count)));
            true
        }
    }

    fn wait_for_any(any: &Any) -> Reason<'_> {
        Reason::new("future", any).held(Holder::AnyOf(any))
    }

    #[test]
    fn the_last_of_three_closes_the_circle_and_it_is_told_of_once() {
        let (of_2, of_3, of_1) = (lock_of(2), lock_of(3), lock_of(1));
        let (one, two, three) = (wait_for(&of_2), wait_for(&of_3), wait_for(&of_1));
        let (_one, none) = begin(caller(1), &one);
        assert_eq!(members(none), []);
        let (_two, none) = begin(caller(2), &two);
        assert_eq!(members(none), []);
        let (last, circle) = begin(caller(3), &three);
        let Some(circle) = circle else { panic!("it closes the circle") };
        assert!(circle.to_string().starts_with("deadlock: task "), "{circle}");
        assert!(circle.is_circle());
        assert_eq!(circle.members().collect::<Vec<_>>(), [3, 1, 2].map(task));
        drop(last);
        let (_again, circle) = begin(caller(3), &three);
        assert_eq!(members(circle), []);
    }

    #[test]
    fn a_lock_that_was_just_handed_to_its_waiter_is_no_circle() {
        let word = lock_of(11);
        let reason = wait_for(&word);
        let (_edge, circle) = begin(caller(11), &reason);
        assert_eq!(members(circle), []);
        let own = Reason::new("join", &word).held(Holder::One(task(12)));
        let (_edge, circle) = begin(caller(12), &own);
        assert_eq!(members(circle), [task(12)]);
    }

    #[test]
    fn a_wait_that_leads_to_a_circle_of_others_or_has_ended_is_none() {
        let (of_22, of_21, of_23) = (lock_of(22), lock_of(21), lock_of(23));
        let (one, two, outside) = (wait_for(&of_22), wait_for(&of_21), wait_for(&of_21));
        let (_one, _) = begin(caller(21), &one);
        let (two, circle) = begin(caller(22), &two);
        assert_eq!(members(circle).len(), 2);
        let (_outside, circle) = begin(caller(23), &outside);
        assert_eq!(members(circle), []);
        drop(two);
        let free = wait_for(&of_23);
        let (_edge, circle) = begin(caller(22), &free);
        assert_eq!(members(circle), [22, 23, 21].map(task));
    }

    #[test]
    fn a_wait_that_any_of_several_could_end_is_hopeless_when_all_of_them_wait() {
        let (any, of_31) = (Any(&[32, 33]), lock_of(31));
        let (several, lock) = (wait_for_any(&any), wait_for(&of_31));
        let (_one, _) = begin(caller(31), &several);
        let (_two, none) = begin(caller(32), &lock);
        assert_eq!(members(none), [], "33 still moves");
        let (_three, knot) = begin(caller(33), &lock);
        let Some(knot) = knot else { panic!("nobody moves any more") };
        assert_eq!(knot.members().collect::<Vec<_>>(), [33, 31, 32].map(task));
        assert!(!knot.is_circle());
        let text = knot.to_string();
        assert!(
            text.contains("waits for future at") && text.contains("could be ended by"),
            "{text}"
        );
    }

    #[test]
    fn who_has_a_time_limit_moves_but_not_before_it_is_over() {
        let (any, of_41) = (Any(&[42]), lock_of(41));
        let (several, lock) = (wait_for_any(&any), wait_for(&of_41));
        let timed = begin_timed(caller(41), &several);
        assert!(!is_hopeless(caller(42), &lock, TimedWaits::Moving));
        assert!(is_hopeless(caller(42), &lock, TimedWaits::Waiting));
        let (_lock, none) = begin(caller(42), &lock);
        assert_eq!(members(none), []);
        drop(timed);
        let hopeless = begin_if_it_can_end(caller(41), &several).err();
        let reported = hopeless.flatten().map(|deadlock| deadlock.members().collect::<Vec<_>>());
        assert_eq!(reported, Some(vec![task(41), task(42)]));
    }

    #[test]
    fn who_is_asked_to_end_is_in_no_knot() {
        let (of_52, of_51) = (lock_of(52), lock_of(51));
        let (one, two) = (wait_for(&of_52), wait_for(&of_51));
        detection::detect_deadlocks(Detection::Report);
        is_ending(task(51));
        let (_one, _) = begin(caller(51), &one);
        let (_two, none) = begin(caller(52), &two);
        assert_eq!(members(none), []);
    }
}
