//! The contract of all selectors.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Instant;

use crate::event::{Events, Interest, Token};
use crate::waker::Waker;

/// Watches descriptors and tells which became ready.
///
/// The rules, the same for every backend; [`capabilities`](Selector::capabilities) says where they
/// differ:
///
/// - A descriptor is registered at most once. Deregister it *before* closing it: a selector knows
///   numbers, and a number that is closed and given out again is somebody else. Poll, select
///   and signal forget a number that they find closed; epoll forgets it when its last duplicate is
///   closed.
/// - Registering or modifying reports what is ready *already*, by edge too. So nothing is lost
///   between the last attempt and the registration.
/// - By level, what is ready is reported in every wait. By edge, a change is reported once, and at
///   times once more than needed: read (write, accept) until it would block, then wait. A selector
///   that reports always claims everything in every wait: try, and expect that it would block.
/// - One wait reports at most as many events as the buffer holds. What did not fit comes in the
///   next one, and nothing starves.
/// - Blocking and non-blocking descriptors are watched alike. But readiness is a hint and may
///   be out of date: make calls that cannot block.
pub trait Selector: Send {
    /// The kind's name as models are spelled: `epoll`.
    fn name(&self) -> &'static str;

    /// Begins to watch a descriptor.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) when it is watched already;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for [`Token::RESERVED`] and, from `select` and
    /// holding an [`FdTooLarge`](crate::FdTooLarge), for a descriptor of 1024 or more; the
    /// kernel's where this kind of file cannot be watched.
    #[doc(alias = "EPOLL_CTL_ADD")]
    fn register(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()>;

    /// Changes what a descriptor is watched for, and its token.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) when it is not watched.
    #[doc(alias = "EPOLL_CTL_MOD")]
    fn modify(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()>;

    /// Stops watching a descriptor. No later wait reports it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) when it is not watched.
    #[doc(alias = "unregister")]
    #[doc(alias = "EPOLL_CTL_DEL")]
    fn deregister(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Forgets every registration, also those that cannot be named any more: of descriptors that
    /// were closed without being deregistered while a duplicate was open. `false`: this
    /// selector knows numbers only, nothing of the kind can be left, and nothing was forgotten.
    ///
    /// # Errors
    ///
    /// The kernel's: too many descriptors are open. Then nothing was forgotten.
    fn renew(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    /// Clears the buffer, waits until something is ready, and fills it.
    ///
    /// Without deadline it waits as long as it takes; a deadline that has passed means looking once
    /// without waiting. Signals that interrupt the wait do not end or lengthen it. It returns
    /// without events when the deadline passes, and when only the waker ended it.
    ///
    /// # Suspends
    ///
    /// Blocks the thread.
    ///
    /// # Errors
    ///
    /// Only what makes the selector useless: the wrong thread for [`Signal`](crate::Signal), or the
    /// kernel out of memory.
    #[doc(alias = "select")]
    fn wait(&mut self, events: &mut Events, deadline: Option<Instant>) -> io::Result<()>;

    /// A handle that ends a wait from any thread. Never reported as an event.
    fn waker(&self) -> Waker;

    /// How many descriptors are registered.
    fn len(&self) -> usize;

    /// Is nothing registered?
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What this selector can and cannot do.
    fn capabilities(&self) -> Capabilities;

    /// How many times the kernel lost reports and everything was looked at instead; only the signal
    /// selector can lose any.
    fn overflows(&self) -> u64 {
        0
    }
}

/// When a selector reports what is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// In every wait while it is ready.
    Level,
    /// Once for each change.
    Edge,
    /// In every wait, ready or not: the caller tries.
    Always,
}

/// What a selector can and cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// When it reports.
    pub trigger: Trigger,
    /// Does changing an interest make no system call?
    pub modify_is_free: bool,
    /// The highest descriptor it takes, where there is one.
    pub max_fd: Option<RawFd>,
    /// Does it take regular files? They are ready always.
    pub regular_files: bool,
    /// Does it know urgent data?
    pub priority: bool,
    /// Does it report errors and hang-ups in flags of their own? Without, they show as readable,
    /// and errors as writable too.
    pub closing: bool,
}

impl Capabilities {
    /// What most can; backends change what differs.
    pub const fn new(trigger: Trigger) -> Capabilities {
        Capabilities {
            trigger,
            modify_is_free: false,
            max_fd: None,
            regular_files: false,
            priority: true,
            closing: true,
        }
    }
}

impl<S: Selector + ?Sized> Selector for Box<S> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    #[inline]
    fn register(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()> {
        (**self).register(fd, interest, token)
    }

    #[inline]
    fn modify(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()> {
        (**self).modify(fd, interest, token)
    }

    #[inline]
    fn deregister(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        (**self).deregister(fd)
    }

    fn renew(&mut self) -> io::Result<bool> {
        (**self).renew()
    }

    #[inline]
    fn wait(&mut self, events: &mut Events, deadline: Option<Instant>) -> io::Result<()> {
        (**self).wait(events, deadline)
    }

    fn waker(&self) -> Waker {
        (**self).waker()
    }

    fn len(&self) -> usize {
        (**self).len()
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn overflows(&self) -> u64 {
        (**self).overflows()
    }
}
