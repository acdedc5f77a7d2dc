//! What happens to a thread of a model: its deadline comes, or it is cancelled.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::park::limits::Cancelled;
use crate::park::{Token, with_token};

/// The fate of one thread of a model, in the hands of another.
#[derive(Clone, Default)]
pub struct Fate(Arc<Token>);

impl Fate {
    /// Makes a fate; until it strikes, nothing happens.
    pub fn new() -> Fate {
        Fate::default()
    }

    /// Runs `f` under this fate; `None`: it was cancelled, and has unwound.
    pub fn rule<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        let ended = with_token(&self.0, || catch_unwind(AssertUnwindSafe(f)));
        match ended {
            Ok(result) => Some(result),
            Err(panic) if panic.is::<Cancelled>() => None,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Lets every deadline of the thread come.
    pub fn expire(&self) {
        self.0.expire();
    }

    /// Cancels the thread.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}
