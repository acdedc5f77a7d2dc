//! The process and user at the other end of a Unix socket, as the kernel knows them.
//!
//! References: unix(7), `SO_PEERCRED`.

use std::io;
use std::os::fd::BorrowedFd;

/// A process and its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The process that connected or listened, in our pid namespace.
    pub process: u32,
    /// Its effective user at that time.
    pub user: u32,
}

/// Returns the peer of a connected Unix stream socket.
///
/// # Errors
///
/// The error of getsockopt(2).
#[doc(alias = "SO_PEERCRED")]
pub fn of(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let peer = rustix::net::sockopt::socket_peercred(socket)?;
    let process = peer.pid.as_raw_nonzero().get().unsigned_abs();
    Ok(Peer { process, user: peer.uid.as_raw() })
}

/// Returns the effective user of this process.
#[doc(alias = "geteuid")]
pub fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn both_ends_of_a_pair_are_ours() {
        let (a, _b) = UnixStream::pair().expect("a pair");
        let peer = of(a.as_fd()).expect("connected");
        assert_eq!(peer, Peer { process: std::process::id(), user: own_user() });
    }
}
