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
//! - [`inspect`]: what every task waits for; deadlocks; tasks that keep a worker;
//! - [`runtime`]: workers, when the defaults will not do;
//! - [`selector`]: the multiplexers by themselves.
//!
//! Everything works from tasks and from plain threads: in a task a call that must wait suspends the
//! task; on a plain thread it blocks the thread.

pub mod service;
pub mod server;
pub mod handoff;
pub mod process;
pub mod inspect;
pub mod signal;
pub mod io;
pub mod executor;
pub mod task;
pub mod greenlet;
pub mod generator;
pub mod local;
pub mod queue;
pub mod sync;
mod exchange;
mod descriptor;
pub mod time;
pub mod net;
mod aside;

/// Workers, when the defaults will not do.
pub mod runtime {
    pub use fiveways_runtime::{Builder, Handle, Runtime, Stats, counters, current};
}

/// Readiness multiplexers, usable on their own.
pub mod selector {
    #[doc(inline)]
    pub use fiveways_selector::{
        Capabilities, End, Epoll, Event, Events, FdTooLarge, Flow, Interest, Key, Kind, Poll,
        Reactor, Readiness, Ready, Registry, Select, Selector, Signal, Spin, Token, TooManyPolled,
        Trigger, Waker, best, first_of,
    };
}

pub use fiveways_driver::{Model, ParseModelError, resolve, support};

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
