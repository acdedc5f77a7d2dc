//! Waits that any of several could end, and that are refused where nobody ever would.

use std::time::Instant;

use crate::caller::Caller;
use crate::detection;
use crate::graph::{self, Movers};
use crate::park::tell_of;
use crate::reason::Reason;

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
            let _edge = graph::begin_timed(me, reason);
            return Ok(wait());
        }
        Seen::Always | Seen::WhenLookedFor => {}
    }
    match graph::begin_if_it_can_end(me, reason) {
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
    graph::is_hopeless(Caller::now(), reason, movers)
}
