//! Waits of a task that unwinds: in a destructor it cannot be suspended, and blocks its worker.
//!
//! What only a neighbour on the same worker could give would never come; what others may give is
//! told of when it is long in coming.

use std::fmt;
use std::time::Duration;

use crate::identity::Identity;
use crate::reason::Reason;

/// How long a task that unwinds blocks its worker before that is told.
pub(crate) const BLOCKED_LIMIT: Duration = Duration::from_secs(1);

/// Refuses a wait of a task that unwinds for another that cannot go on before.
#[cold]
#[track_caller]
pub(crate) fn refuse_endless(me: Identity, reason: Option<&Reason<'_>>) {
    let holder = reason.and_then(|reason| reason.holder.one());
    // Ourselves: it has just been given to us, and the token comes.
    let neighbour = holder.filter(|holder| *holder != me && holder.shares_thread(me));
    if let Some(neighbour) = neighbour {
        let what = Unwinding(me, reason);
        panic!("{what}, for {neighbour} of the same worker, which cannot go on before");
    }
}

/// A task that waits while it unwinds.
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
