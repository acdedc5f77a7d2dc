//! Waits of a task that unwinds: it cannot be suspended in a destructor, so it blocks its worker.
//!
//! A wait that only another task of the same worker could end is refused, because it would never
//! end; a long wait for others is reported.

use std::fmt;
use std::time::Duration;

use crate::identity::Identity;
use crate::reason::Reason;

/// How long a task that unwinds blocks its worker before that is reported.
pub(crate) const BLOCKED_LIMIT: Duration = Duration::from_secs(1);

/// Refuses a wait of a task that unwinds for a task that cannot run meanwhile.
#[cold]
#[track_caller]
pub(crate) fn refuse_endless(me: Identity, reason: Option<&Reason<'_>>) {
    let holder = reason.and_then(|reason| reason.holder.one());
    // If the holder is the caller, the lock was just handed over, and the token comes.
    let other = holder.filter(|holder| *holder != me && holder.shares_thread(me));
    if let Some(other) = other {
        let what = Unwinding(me, reason);
        panic!("{what}, for {other} of the same worker, which cannot go on before");
    }
}

/// A task that waits while it unwinds, for messages.
pub(crate) struct Unwinding<'a>(pub(crate) Identity, pub(crate) Option<&'a Reason<'a>>);

impl fmt::Display for Unwinding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waits in a destructor while it unwinds", self.0)?;
        match self.1 {
            Some(reason) => write!(f, " ('{}' at {})", reason.what, reason.place),
            None => Ok(()),
        }
    }
}
