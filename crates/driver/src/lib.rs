//! The I/O models behind one completion-shaped contract.
//!
//! A worker of the runtime waits with one [`Driver`]. The contract, in full:
//!
//! 1. [`Driver::submit`] takes an operation ([`Pending`], [`Op`]). It is finished at once
//!    ([`Submitted::Done`]) or the driver keeps a pointer to it and it *waits*.
//! 2. [`Driver::turn`] waits for events until a deadline and hands back operations that waited:
//!    each is `Done` with an answer, or is to be submitted again (`Retry`) by its waiter. Retrying
//!    in the waiter's own context is what keeps buffers hot: the bytes arrive when they are used.
//! 3. [`Driver::cancel`] asks for a waiting operation back. It always comes back: at once through
//!    `ready`, or from a later turn; with `-ECANCELED`, or with the answer that came first.
//! 4. [`Driver::forget`] and [`Driver::close`] end the driver's knowledge of a descriptor on which
//!    no operation waits. The kernel then holds nothing of it: work begun for an operation ends
//!    with that.
//! 5. [`Driver::waker`] ends a turn from any thread.
//! 6. [`Driver::trim`] gives back memory that a peak needed, piece by piece, while the worker is
//!    idle.
//!
//! Invariants: a driver runs no user code and allocates nothing per event (I4); it is used by one
//! thread; it never touches a `Pending` after handing it back (I6); a descriptor is known by number
//! *and generation*, so a late report of an earlier descriptor of the same number reaches no
//! waiter.
//!
//! Backends: [`Readiness`] over any selector (attempt → arm on would-block → retry), [`Uring`].
#![deny(clippy::wildcard_enum_match_arm)]
#![expect(unsafe_code, reason = "the contract is unsafe to submit to: operations hold pointers")]

mod open;
mod uring;
mod readiness;
mod attempt;
mod sweep;
mod slot;
mod pending_list;
mod model;
mod op;
mod loan;
mod clock;

use std::io;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::rc::Rc;
use std::time::Instant;

pub use fiveways_selector::Waker;
use fiveways_sys::net;
pub use fiveways_sys::net::{Answer, Control, Reply};

pub use attempt::ReceiveBuffers;
pub use clock::Clock;
pub use loan::{HotBuffers, Lender, Loan};
pub use model::{Model, ParseModelError};
pub use op::{Direction, Op, Outcome, Pending, Source};
pub use open::{Opened, Options, open, resolve, support};
pub use readiness::Readiness;
pub use uring::{Uring, UringOptions};

/// The result of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// Finished: a count or a negated `errno`. The driver holds nothing.
    Done(Answer),
    /// The driver holds a pointer to the operation until it hands it back.
    Waiting,
}

/// Operations handed back by a driver, in the order in which they are to go on.
pub type Ready = Vec<NonNull<Pending>>;

/// Figures for reports and tests; all since the driver was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Turns made.
    pub turns: u64,
    /// Events or completions taken from the kernel.
    pub events: u64,
    /// Changes of registration (`epoll_ctl`, ring cancels and the like).
    pub registrations: u64,
    /// Times the provided buffers ran out.
    pub buffers_exhausted: u64,
    /// Times a signal queue overflowed.
    pub overflows: u64,
}

/// The I/O engine of a worker. See the module documentation for the contract.
///
/// # Safety
///
/// A driver hands back the operations that were submitted to it, once for each time that it
/// returned [`Submitted::Waiting`], and nothing else; until then it alone uses what the operation
/// points at, and it does not touch a [`Pending`] any more that it has handed back. An operation
/// that it reports as done was performed: as many bytes as its answer were written into the buffer.
pub unsafe trait Driver {
    /// Returns the model, in its one spelling.
    fn model(&self) -> Model;

    /// Submits an operation.
    ///
    /// Whatever the slot's `outcome` was before, it is [`Outcome::Idle`] after
    /// [`Submitted::Done`], whose answer is the only one, and [`Outcome::Waiting`] after
    /// [`Submitted::Waiting`].
    ///
    /// # Safety
    ///
    /// The slot, and everything its operation points at, must stay valid and in place until the
    /// driver hands it back (or returns [`Submitted::Done`]). Only this thread may touch it.
    unsafe fn submit(&mut self, pending: NonNull<Pending>) -> Submitted;

    /// Asks for a waiting operation back.
    ///
    /// # Safety
    ///
    /// `pending` must be waiting in this driver.
    unsafe fn cancel(&mut self, pending: NonNull<Pending>, ready: &mut Ready);

    /// Takes the kernel's events, waiting for the first one until the deadline.
    ///
    /// `None` waits without limit; an instant that has passed means one look without sleep.
    /// Returns early when woken. Appends to `ready`.
    ///
    /// # Errors
    ///
    /// Only errors that make the driver useless (a closed selector); the worker ends with it.
    fn turn(&mut self, deadline: Option<Instant>, ready: &mut Ready) -> io::Result<()>;

    /// Forgets a descriptor on which no operation waits: its owner will not use it here any more.
    fn forget(&mut self, source: Source);

    /// Forgets the descriptor and closes it.
    fn close(&mut self, source: Source, fd: OwnedFd) {
        self.forget(source);
        drop(fd);
    }

    /// Returns `true` if memory is held that was needed for a peak and is not in use now.
    fn has_unused_memory(&self) -> bool {
        false
    }

    /// Gives back some of the memory that has not been used since the last trimming began; to be
    /// called when idle. Returns `true` if there is more: then it is to be called again after a
    /// turn.
    fn trim(&mut self) -> bool {
        false
    }

    /// Ends a turn from any thread.
    fn waker(&self) -> Waker;

    /// Makes a control call (I8).
    ///
    /// # Errors
    ///
    /// The error of the system call.
    fn control(&mut self, call: Control<'_>) -> io::Result<Reply> {
        net::control(call)
    }

    /// Returns the clock that the deadlines of its turns refer to; `None` for the machine's. The
    /// worker asks once, when it begins.
    fn clock(&self) -> Option<Rc<dyn Clock>> {
        None
    }

    /// Returns the seed of the random numbers on its worker, so that they are the same in each run;
    /// `None` for a new seed each time. The worker asks once, when it begins.
    fn seed(&self) -> Option<u64> {
        None
    }

    /// Returns the number of operations that wait here now.
    fn waiting(&self) -> usize;

    /// Returns figures for reports and tests.
    fn counters(&self) -> Counters;
}
