//! The contract of all selectors.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Instant;

use crate::event::{Events, Interest, Token};
use crate::waker::Waker;

/// Watches descriptors and reports which became ready.
///
/// The rules are the same for every backend; [`capabilities`](Selector::capabilities) returns where
/// they differ:
///
/// - A descriptor is registered at most once. Deregister it *before* closing it: a selector knows
///   numbers, and a number that is closed and given out again is another file. Poll, select and
///   signal forget a number that they find closed; epoll forgets it when its last duplicate is
///   closed.
/// - Registering or modifying reports descriptors that are ready *already*, by edge too. So nothing
///   is lost between the last attempt and the registration.
/// - By level, a descriptor is reported in every wait while it is ready. By edge, a change is
///   reported once, and at times once more than needed: read (write, accept) until the call would
///   block, then wait. A selector that reports always claims that everything is ready in every
///   wait: try, and expect that the call would block.
/// - One wait reports at most as many events as the buffer holds. The remaining ones come in the
///   next wait, and no descriptor starves.
/// - Blocking and non-blocking descriptors are watched alike. But readiness is a hint and may be
///   out of date: make calls that cannot block.
pub trait Selector: Send {
    /// Returns the kind's name, spelled like the model: `epoll`.
    fn name(&self) -> &'static str;

    /// Begins to watch a descriptor.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if it is watched already;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for [`Token::RESERVED`] and, from `select` and
    /// holding an [`FdTooLarge`](crate::FdTooLarge), for a descriptor of 1024 or more; the error of
    /// the system call if this kind of file cannot be watched.
    #[doc(alias = "EPOLL_CTL_ADD")]
    fn register(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()>;

    /// Changes what a descriptor is watched for, and its token.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if it is not watched.
    #[doc(alias = "EPOLL_CTL_MOD")]
    fn modify(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: Token) -> io::Result<()>;

    /// Stops watching a descriptor. No later wait reports it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if it is not watched.
    #[doc(alias = "unregister")]
    #[doc(alias = "EPOLL_CTL_DEL")]
    fn deregister(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Forgets every registration, also those that cannot be named any more: of descriptors that
    /// were closed without being deregistered while a duplicate was open. Returns `false` if this
    /// selector knows numbers only: such registrations cannot exist, and nothing was forgotten.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENFILE` if too many descriptors are open. Then nothing was forgotten.
    fn renew(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    /// Clears the buffer, waits until a descriptor is ready, and fills the buffer.
    ///
    /// Without deadline it waits as long as necessary; a deadline that has passed means one look
    /// without waiting. Signals that interrupt the wait neither end nor lengthen it. It returns
    /// without events when the deadline passes, and when only the waker ended it.
    ///
    /// # Suspends
    ///
    /// Blocks the thread.
    ///
    /// # Errors
    ///
    /// Only errors that make the selector useless: the wrong thread for [`Signal`](crate::Signal),
    /// or the kernel out of memory.
    #[doc(alias = "select")]
    fn wait(&mut self, events: &mut Events, deadline: Option<Instant>) -> io::Result<()>;

    /// Returns a handle that ends a wait from any thread. It is never reported as an event.
    fn waker(&self) -> Waker;

    /// Returns the number of registered descriptors.
    fn len(&self) -> usize;

    /// Returns `true` if nothing is registered.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns what this selector can and cannot do.
    fn capabilities(&self) -> Capabilities;

    /// Returns how many times the kernel lost reports and every descriptor was checked instead;
    /// only the signal selector can lose reports.
    fn overflows(&self) -> u64 {
        0
    }
}

/// When a selector reports a ready descriptor.
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
    /// When it reports ready descriptors.
    pub trigger: Trigger,
    /// Whether changing an interest makes no system call.
    pub modify_is_free: bool,
    /// The highest descriptor that it accepts, if there is a limit.
    pub max_fd: Option<RawFd>,
    /// Whether it accepts regular files. They are always ready.
    pub regular_files: bool,
    /// Whether it reports urgent data.
    pub priority: bool,
    /// Whether it reports errors and hang-ups in flags of their own. If not, they appear as
    /// readable, and errors as writable too.
    pub closing: bool,
}

impl Capabilities {
    /// The capabilities of most selectors; backends change what differs.
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
