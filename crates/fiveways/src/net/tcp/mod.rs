//! TCP: streams and listeners.

mod listener;
mod stream;

use std::net::SocketAddr;

use fiveways_sys::net::Family;

pub use listener::{Incoming, TcpListener};
pub use stream::{ReadHalf, TcpStream, WriteHalf};

/// The backlog of listeners: the system's maximum; the kernel caps it at `somaxconn`.
pub(crate) const BACKLOG: i32 = i32::MAX;

pub(crate) fn family(address: &SocketAddr) -> Family {
    if address.is_ipv4() { Family::Inet } else { Family::Inet6 }
}
