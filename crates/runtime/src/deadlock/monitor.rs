//! What happens when a wait begins whose possible enders are known: the wait is put into the graph,
//! and is refused or reported if it would never end.
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
/// Panics with the [`Deadlock`](crate::Deadlock) if the wait closes one and detection is set to
/// [`Detection::Panic`](crate::Detection::Panic).
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

/// The error of a wait that was refused because it would never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WouldDeadlock;

/// Which waits are entered into the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Every wait, whether deadlocks are looked for or not.
    Always,
    /// Waits without time limit, while deadlocks are looked for.
    WhenDetecting,
}

/// Runs `wait`, which parks for this reason, with the wait in the graph: other searches see the
/// reason and its [`Enders`](crate::Enders), any of which could end the wait.
///
/// # Suspends
///
/// As `wait` does.
///
/// # Errors
///
/// [`WouldDeadlock`] if the wait has no deadline and no task or thread could ever end it. The
/// deadlock is also reported if deadlocks are looked for and other kinds of waits are part of it.
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

/// Returns `true` if a wait for this reason could end only by the action of a task or thread that
/// waits itself; `movers` says how waits with a deadline count.
pub fn is_hopeless(reason: &Reason<'_>, movers: TimedWaits) -> bool {
    wait_graph::is_hopeless(Caller::now(), reason, movers)
}
