//! What is done when a wait begins whose enders are known: it is put into the graph, and refused or
//! reported where it would never end.
#![expect(unsafe_code, reason = "the graph keeps pointers to reasons")]

use std::panic::resume_unwind;
use std::time::Instant;

use crate::deadlock::report::{report_and_wait, report_in_background};
use crate::deadlock::wait_graph::{self, TimedWaits};
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
            report_and_wait(deadlock.clone());
            resume_unwind(Box::new(deadlock));
        }
        Some(deadlock) => drop(report_in_background(deadlock, || {})),
        None => {}
    }
    edge.keep();
}

/// A wait that would never end, and did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WouldDeadlock;

/// Whose waits are seen by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// These: others look whether it can end, with deadlocks looked for or not.
    Always,
    /// Those without time limit, while deadlocks are looked for.
    WhenDetecting,
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
/// [`WouldDeadlock`] when it has no deadline and nobody would ever end it. A deadlock with more in
/// it than such waits is told of, where deadlocks are looked for.
pub fn wait_in_graph<R>(
    reason: &Reason<'_>,
    seen: Visibility,
    deadline: Option<Instant>,
    wait: impl FnOnce() -> R,
) -> Result<R, WouldDeadlock> {
    let me = Caller::now();
    let ends_by_itself = deadline.is_some() || me.will_end();
    match seen {
        Visibility::WhenDetecting if ends_by_itself || !detection::is_on() => return Ok(wait()),
        Visibility::Always if ends_by_itself => {
            let _edge = wait_graph::begin_timed(me, reason);
            return Ok(wait());
        }
        Visibility::Always | Visibility::WhenDetecting => {}
    }
    match wait_graph::begin_if_it_can_end(me, reason) {
        Ok(_edge) => Ok(wait()),
        Err(deadlock) => {
            if let Some(deadlock) = deadlock {
                report_and_wait(deadlock);
            }
            Err(WouldDeadlock)
        }
    }
}

/// Would a wait for this reason end only if somebody moves who waits, too? Those with a deadline
/// count as told.
///
/// Never suspends.
pub fn is_hopeless(reason: &Reason<'_>, movers: TimedWaits) -> bool {
    wait_graph::is_hopeless(Caller::now(), reason, movers)
}
