//! What is done when a wait begins whose enders are known: it is put into the graph, and refused or
//! reported where it would never end.
#![expect(unsafe_code, reason = "the graph keeps pointers to reasons")]

use std::panic::resume_unwind;
use std::time::Instant;

use crate::deadlock::report::{begin_to_tell_of, tell_of};
use crate::deadlock::wait_graph::{self, Movers};
use crate::detection::{self, Detection};
use crate::park::current::Caller;
use crate::reason::Reason;

/// Puts a wait of the caller into the graph, and reports the deadlock that it closes.
///
/// # Panics
///
/// With the [`Deadlock`](crate::Deadlock), where that is asked for.
///
/// # Safety
///
/// The reason lives until the caller's wait is taken out of the graph, unless this panics.
pub(crate) unsafe fn wait_begins(me: Caller, reason: &Reason<'_>) {
    let (edge, found) = wait_graph::begin(me, reason);
    match found {
        Some(deadlock) if detection::detection() == Detection::Panic => {
            tell_of(deadlock.clone());
            resume_unwind(Box::new(deadlock));
        }
        Some(deadlock) => drop(begin_to_tell_of(deadlock, || {})),
        None => {}
    }
    edge.keep();
}

/// A wait that would never end, and did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hopeless;

/// Whose waits are seen by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// These: others look whether it can end, with deadlocks looked for or not.
    Always,
    /// Those without time limit, while deadlocks are looked for.
    WhenLookedFor,
}

/// Waits by `wait`, which parks for this reason: anything that others hold, and that any of the
/// [`Enders`](crate::Enders) in it could end. Meanwhile others see who waits for whom.
///
/// # Suspends
///
/// As `wait` does.
///
/// # Errors
///
/// [`Hopeless`] when it has no deadline and nobody would ever end it. A deadlock with more in it
/// than such waits is told of, where deadlocks are looked for.
pub fn stand<R>(
    reason: &Reason<'_>,
    seen: Seen,
    deadline: Option<Instant>,
    wait: impl FnOnce() -> R,
) -> Result<R, Hopeless> {
    let me = Caller::now();
    let ends_by_itself = deadline.is_some() || me.will_end();
    match seen {
        Seen::WhenLookedFor if ends_by_itself || !detection::is_on() => return Ok(wait()),
        Seen::Always if ends_by_itself => {
            let _edge = wait_graph::begin_timed(me, reason);
            return Ok(wait());
        }
        Seen::Always | Seen::WhenLookedFor => {}
    }
    match wait_graph::begin_if_it_can_end(me, reason) {
        Ok(_edge) => Ok(wait()),
        Err(deadlock) => {
            if let Some(deadlock) = deadlock {
                tell_of(deadlock);
            }
            Err(Hopeless)
        }
    }
}

/// Would a wait for this reason end only if somebody moves who waits, too? Those with a deadline
/// count as told.
///
/// Never suspends.
pub fn is_hopeless(reason: &Reason<'_>, movers: Movers) -> bool {
    wait_graph::is_hopeless(Caller::now(), reason, movers)
}
