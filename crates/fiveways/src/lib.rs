//! A networking runtime in which the I/O model is a parameter.
//!
//! Write the handler once, in plain blocking Rust over `Read + Write`. Run it on threads or
//! processes, or on coroutines over select, poll, epoll, signals or io_uring, chosen at run time:
//!
//! ```no_run
//! use std::io::{BufRead, Write};
//! use fiveways::net::TcpStream;
//! use fiveways::server::Server;
//! use fiveways::Model;
//!
//! fn echo(mut stream: TcpStream) -> std::io::Result<()> {
//!     let (mut reader, mut writer) = stream.halves();
//!     loop {
//!         let bytes = reader.fill_buf()?;
//!         if bytes.is_empty() {
//!             return Ok(());
//!         }
//!         writer.write_all(bytes)?;
//!         let count = bytes.len();
//!         reader.consume(count);
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let server = Server::bind("127.0.0.1:0")?.model(Model::Uring).workers(2);
//! println!("listening on {}", server.local_addr()?);
//! server.serve(echo)?;
//! # Ok(())
//! # }
//! ```
//!
//! - [`server`]: a handler, a model, limits, a graceful end;
//! - [`net`]: TCP, UDP and Unix sockets with std's names;
//! - [`task`]: spawn, join, cancel, time limits; [`time`]: sleep;
//! - [`inspect`]: what every task waits for; deadlocks; tasks that block a worker;
//! - [`runtime`]: workers, for programs that need more than the defaults;
//! - [`selector`]: the multiplexers, usable on their own.
//!
//! Everything works from tasks and from plain threads: in a task a call that must wait suspends the
//! task; on a plain thread it blocks the thread. A function suspends only if its documentation has
//! a section "Suspends", which says when.
//!
//! # Guarantees
//!
//! No safe call of this library is undefined behaviour, provided that the program does not assume
//! that a thread does one thing at a time. A task stays on the thread on which it began, but
//! whenever it waits, other tasks run on that thread and see thread-local state as the waiting task
//! left it. Code that is sound only because nothing else runs on its thread in the meantime is not
//! sound here, unless it calls nothing that suspends during that time:
//!
//! - *Initialisers of std's `thread_local!` that suspend.* A second task of the thread finds the
//!   value uninitialised, creates it and borrows it; then the first task resumes, and std replaces
//!   the value under that borrow. This library cannot prevent that. An initialiser may take a lock
//!   of std or compute, but must not call anything that suspends (a read, a sleep, a lock of
//!   [`sync`]): create the value beforehand, or keep it in a [`local!`] or a
//!   [`ThreadLocal`](local::ThreadLocal), for which an initialiser that suspends is safe.
//! - *Scoped values in thread-locals*, as in `scoped_tls`, and other unsafe code that stores a
//!   pointer to a stack frame in a thread-local for the duration of a call, if that call suspends.
//!
//! Behaviour that is safe but may surprise (a `RefCell` borrowed across a wait, a lock of std held
//! across one) is described in the guide, under "What tasks of one thread share".

pub mod service;
pub mod server;
pub mod handoff;
pub mod process;
pub mod inspect;
pub mod signal;
pub mod io;
pub mod executor;
pub mod task;
mod stackful;
pub mod local;
pub mod queue;
pub mod sync;
mod exchange;
mod descriptor;
pub mod time;
pub mod net;

/// Workers, for programs that need more than the defaults.
pub mod runtime {
    pub use fiveways_runtime::{Builder, Handle, Runtime, Stats, counters, current};

    /// What a worker waits with, for [`Builder::driver`].
    pub mod driver {
        #[doc(inline)]
        pub use fiveways_driver::{
            Answer, Clock, Control, Counters, Driver, Op, Opened, Options, Outcome, Pending, Ready,
            Reply, Source, Submitted, open,
        };
    }
}

/// Readiness multiplexers, usable on their own.
pub mod selector {
    #[doc(inline)]
    pub use fiveways_selector::{
        Capabilities, End, Epoll, Event, Events, FdTooLarge, Flow, Interest, Key, Kind,
        Nonblocking, Poll, Reactor, Readiness, Ready, Registry, Select, Selector, Signal, Token,
        TooManyPolled, Trigger, Waker, best, first_of,
    };
}

pub use fiveways_driver::{Model, ParseModelError, resolve, support};
pub use stackful::{generator, greenlet};

/// The README's example, compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The guide's examples, compiled and run with the documentation's.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/servers.md")]
    struct Servers;
    #[doc = include_str!("../../../docs/guide/tasks.md")]
    struct Tasks;
    #[doc = include_str!("../../../docs/guide/time.md")]
    struct Time;
    #[doc = include_str!("../../../docs/guide/locks.md")]
    struct Locks;
    #[doc = include_str!("../../../docs/guide/channels.md")]
    struct Channels;
    #[doc = include_str!("../../../docs/guide/executors.md")]
    struct Executors;
    #[doc = include_str!("../../../docs/guide/handoff.md")]
    struct Handoff;
    #[doc = include_str!("../../../docs/guide/processes.md")]
    struct Processes;
    #[doc = include_str!("../../../docs/guide/inside.md")]
    struct Inside;
}
