//! Readiness multiplexers: select, poll, epoll, signal-driven and spinning, behind one contract.
//!
//! A [`Selector`] watches descriptors and reports which became ready. The contract is small and
//! stated once, in [`Selector`]; each backend is one short file:
//!
//! | kind | type | mechanism | limits |
//! |---|---|---|---|
//! | `select` | [`Select`] | `select(2)` | descriptors below 1024, no flag for a hang-up |
//! | `poll` | [`Poll`] | `poll(2)` | the whole table is passed in each wait |
//! | `epoll` | [`Epoll::new`] | `epoll(7)`, level-triggered | no regular files |
//! | `epoll-et` | [`Epoll::et`] | `epoll(7)`, edge-triggered | drain before you wait again |
//! | `signal` | [`Signal`] | one real-time signal per change | one thread; drain as above |
//! | `nonblocking` | [`Nonblocking`] | no readiness call at all | burns a core |
//!
//! [`best`] picks epoll, else poll, else select. Above the selectors, [`Registry`] keeps data
//! beside each descriptor (as CPython's `selectors` does), and [`Reactor`] calls a callback for
//! each.
//!
//! # Examples
//!
//! ```
//! use std::io::Write;
//! use std::os::fd::AsFd;
//! use std::os::unix::net::UnixStream;
//!
//! use fiveways_selector::{Events, Interest, Selector, Token, best};
//!
//! # fn main() -> std::io::Result<()> {
//! let (mut ours, theirs) = UnixStream::pair()?;
//! let mut selector = best()?;
//! selector.register(theirs.as_fd(), Interest::READABLE, Token(7))?;
//!
//! ours.write_all(b"hello")?;
//! let mut events = Events::with_capacity(64);
//! selector.wait(&mut events, None)?;
//! for event in &events {
//!     assert_eq!(event.token(), Token(7));
//!     assert!(event.is_readable());
//! }
//! selector.deregister(theirs.as_fd())?;
//! # Ok(())
//! # }
//! ```

mod reactor;
mod registry;
mod choice;
mod epoll;
mod poll;
mod select;
mod signal;
mod nonblocking;
mod table;
mod contract;
mod waker;
mod event;
mod deadline;

pub use choice::{Kind, UnknownKind, best, first_of};
pub use contract::{Capabilities, Selector, Trigger};
pub use epoll::Epoll;
pub use event::{Event, Events, Interest, Iter, Readiness, Token};
pub use nonblocking::Nonblocking;
pub use poll::{Poll, TooManyPolled};
pub use reactor::{End, Flow, Reactor};
pub use registry::{Key, Ready, Registry};
pub use select::{FdTooLarge, Select};
pub use signal::{Signal, WrongThread};
pub use waker::Waker;
