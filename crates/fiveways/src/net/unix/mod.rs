//! Unix sockets: streams, listeners and datagrams.

mod listener;
mod stream;
mod datagram;

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use fiveways_runtime::{clock, sleep_until};
use fiveways_sys::net::{Address, UnixAddress, unix_name};

pub use datagram::UnixDatagram;
pub use listener::{UnixIncoming, UnixListener};
pub use stream::UnixStream;

/// Sleeps for `length`, unless the deadline has passed.
fn pause(length: Duration, by: Option<Instant>) -> io::Result<()> {
    let now = clock::now();
    if by.is_some_and(|by| by <= now) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    sleep_until(now + length);
    Ok(())
}

fn of_path(path: &Path) -> io::Result<Address> {
    Ok(Address::from(UnixAddress::new(path)?))
}

fn of_std(address: &SocketAddr) -> io::Result<Address> {
    let address = match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => UnixAddress::new(path)?,
        (None, Some(name)) => UnixAddress::new_abstract_name(name)?,
        (None, None) => UnixAddress::new_unnamed(),
    };
    Ok(Address::from(address))
}

fn to_std(address: Address) -> io::Result<SocketAddr> {
    match unix_name(&address) {
        Some([]) => SocketAddr::from_pathname(""),
        Some([0, name @ ..]) => SocketAddr::from_abstract_name(name),
        Some(path) => {
            let path = path.split(|byte| *byte == 0).next().unwrap_or(path);
            SocketAddr::from_pathname(OsStr::from_bytes(path))
        }
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket is no Unix socket")),
    }
}
