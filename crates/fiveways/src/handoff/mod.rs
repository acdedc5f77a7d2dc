//! Handing a live connection over: to another worker, to a thread of its own, to another process.
//!
//! One connection must not block a worker that multiplexes thousands, and work that takes many
//! rounds of sending and receiving may need a thread, or a process, that may block. So the
//! connection is detached from its worker, used elsewhere, and returned. With your own selector
//! that takes five steps, each of which can be forgotten:
//!
//! | | on a bare selector | here |
//! |---|---|---|
//! | 1 | unregister it | [`TcpStream::detach`]: no driver watches it any more |
//! | 2 | make it blocking | nothing to do |
//! | 3 | exchange, many rounds | [`run`] on a thread; [`send`], [`receive`] for a process |
//! | 4 | make it non-blocking | nothing to do, even if the work has failed |
//! | 4 | make it non-blocking | nothing to do, even if the work failed |
//!
//! Steps 2 and 4 are more than a nuisance: the mode belongs to the open socket and not to the
//! descriptor, so changing it changes it for every process that shares the socket. Here sockets
//! stay in blocking mode, and each call is made non-blocking by a flag.
//!
//! A handed-over connection consists of the descriptor, the bytes that were read and not consumed,
//! the bytes still to be sent, and its time limits. It has exactly one owner at a time:
//! [`Detached`] cannot be cloned, and [`send`] closes the sender's copy, so that the peer sees the
//! end as soon as the receiver closes.
//!
//! # Examples
//!
//! ```
//! use std::io::{BufRead, Read, Write};
//! use std::time::{Duration, Instant};
//! use fiveways::handoff;
//! use fiveways::net::{TcpListener, TcpStream};
//!
//! # fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut client = TcpStream::connect(listener.local_addr()?)?;
//! let (mut stream, _) = listener.accept()?;
//! client.write_all(b"order: 3 rounds\n")?;
//! let mut order = String::new();
//! stream.read_line(&mut order)?;
//!
//! // The rounds run on a thread that may block; the task waits and its worker serves others.
//! let deadline = Instant::now() + Duration::from_secs(10);
//! let (connection, rounds) = handoff::run(stream.detach()?, Some(deadline), |stream| {
//!     (0..3).try_for_each(|round| writeln!(stream, "round {round}"))
//! });
//! rounds.map_err(std::io::Error::other)??;
//! let stream = connection.into_stream()?;
//! drop(stream);
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert_eq!(answer.lines().count(), 3);
//! # Ok(())
//! # }
//! ```

mod passing;
mod run;
mod frame;
mod detached;

pub use detached::{Connection, Detached, Failed};
pub use frame::FrameError;
pub use passing::{ReceiveError, receive, send};
pub use run::{WorkError, run};

#[cfg(doc)]
use crate::net::TcpStream;
