//! TCP, UDP and Unix sockets with std's names, for tasks and plain threads alike.
//!
//! Everything here has the signatures of `std::net` and `std::os::unix::net`. In a task a call that
//! must wait suspends the task, and the worker runs others; on a plain thread it blocks the thread.
//! The main differences:
//!
//! - streams also implement [`BufRead`](std::io::BufRead), without copying received bytes;
//! - the library enforces time limits: a call that exceeds one fails with
//!   [`TimedOut`](std::io::ErrorKind), and [`TimeoutError`] identifies the limit;
//! - `set_nonblocking` affects the calls made through the value, not the kernel's socket;
//! - the peer of an accepted connection is remembered, so `peer_addr` cannot fail;
//! - name resolution runs on a separate thread and does not stall the worker.

mod udp;
mod unix;
mod tcp;
mod resolve;
pub(crate) mod stream;
mod settings;
pub(crate) mod socket;
mod limits;
mod kernel_limit;
mod timeout;
pub(crate) mod traffic;

pub use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};

pub(crate) use limits::End;
pub use resolve::ToSocketAddrs;
pub(crate) use resolve::each;
pub use tcp::{Incoming, ReadHalf, TcpListener, TcpStream, WriteHalf};
pub use timeout::TimeoutError;
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixIncoming, UnixListener, UnixStream};
