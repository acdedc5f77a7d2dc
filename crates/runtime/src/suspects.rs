//! Suspected deadlocks: knots with waits at channels and queues, looked into after a while.
//!
//! ```text
//!   a wait begins that may close one, or somebody ends who had a hand in a channel
//!        │ raise
//!        ▼
//!   the thread looks for all such knots ──after the patience──▶ the same waits still stand?
//!        ▲                                                          │ yes
//!        │ refuted: later again, ever more seldom                   ▼
//!        └────────────────────────────────── could anybody else have a handle? ──no──▶ told of
//! ```
//!
//! Nobody who moves has had a hand in what the knot waits for, nobody in it has moved for a second,
//! and no handle was found with anybody else (see [`reach`](crate::reach)). That is much, but no
//! proof: it is told as a suspicion, with its doubt, and never made an error.
//!
//! The thread exists only while there is such a knot, or may be.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fiveways_sys::generation::PerProcess;

use crate::detection;
use crate::graph::{self, Suspect};
use crate::living;
use crate::onlooker::Onlooker;
use crate::reach;
use crate::telling::Tale;

/// The thread that looks, if there is one; a fork has none.
static LOOKOUT: PerProcess<Lookout> = PerProcess::new();

#[derive(Default)]
struct Lookout {
    /// Was there reason to look since the last look? Set by anybody, taken back by the thread.
    is_raised: AtomicBool,
    /// Is there a thread that looks?
    is_watched: Mutex<bool>,
}

fn lookout() -> &'static Lookout {
    LOOKOUT.get(Lookout::default)
}

/// Cases that are closed, by their waits.
static CLOSED: LazyLock<Mutex<HashSet<Vec<u64>>>> = LazyLock::new(Mutex::default);

/// Closed cases that are remembered.
const CLOSED_MAX: usize = 4096;

/// Between two looks at the graph.
const INTERVAL: Duration = Duration::from_millis(250);

/// Looks into a case that refutes it; each comes after twice the time.
const LOOKS_MAX: u32 = 7;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has ends of those heard of that have had a hand in a channel: the last but one may have ended.
pub(crate) fn heed_ends() {
    living::heed_ends(|| {
        if graph::has_uncertain() {
            raise();
        }
    });
}

/// Has the waits looked at.
pub(crate) fn raise() {
    if lookout().is_raised.swap(true, Ordering::Relaxed) {
        return;
    }
    let mut is_watched = lock(&lookout().is_watched);
    if !*is_watched {
        let thread = thread::Builder::new().name("fiveways-suspect".to_owned());
        // Without a thread nothing is suspected, until the next reason to look.
        *is_watched = thread.spawn(watch).is_ok();
        lookout().is_raised.store(*is_watched, Ordering::Relaxed);
    }
}

/// A knot that is watched.
struct Case {
    serials: Vec<u64>,
    /// When it is looked into.
    at: Instant,
    /// How often it was.
    looks: u32,
}

fn watch() {
    let _onlooker = Onlooker::enter();
    let mut cases = Vec::new();
    while let Some(patience) = detection::patience() {
        lookout().is_raised.store(false, Ordering::Relaxed);
        cases = look(cases, patience);
        let mut is_watched = lock(&lookout().is_watched);
        if cases.is_empty() && !lookout().is_raised.load(Ordering::Relaxed) {
            *is_watched = false;
            return;
        }
        drop(is_watched);
        thread::sleep(INTERVAL.min(patience));
    }
    let mut is_watched = lock(&lookout().is_watched);
    *is_watched = false;
    lookout().is_raised.store(false, Ordering::Relaxed);
}

/// Looks for knots, and into those whose time has come; gives those that are still open.
fn look(mut known: Vec<Case>, patience: Duration) -> Vec<Case> {
    let (suspects, stuck) = graph::suspects();
    let mut open = Vec::new();
    for suspect in suspects {
        if lock(&CLOSED).contains(&suspect.serials) {
            continue;
        }
        let at = known.iter().position(|case| case.serials == suspect.serials);
        let new =
            || Case { serials: suspect.serials.clone(), at: Instant::now() + patience, looks: 0 };
        let mut case = at.map_or_else(new, |at| known.swap_remove(at));
        if case.at > Instant::now() {
            open.push(case);
        } else if !reach::is_held_outside(&stuck, &suspect.spans) {
            close(suspect.serials.clone());
            tell(suspect);
        } else if case.looks == LOOKS_MAX {
            close(case.serials);
        } else {
            case.looks += 1;
            case.at = Instant::now() + patience * (1 << case.looks);
            open.push(case);
        }
    }
    open
}

fn close(serials: Vec<u64>) {
    let mut closed = lock(&CLOSED);
    if closed.len() >= CLOSED_MAX {
        closed.clear();
    }
    closed.insert(serials);
}

/// Tells of it, unless it was undone meanwhile.
fn tell(suspect: Suspect) {
    let (now, _) = graph::suspects();
    if now.iter().any(|other| other.serials == suspect.serials) {
        detection::count_suspected();
        Tale::of_others(suspect.deadlock).tell();
    }
}
