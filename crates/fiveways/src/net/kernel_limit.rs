//! A time limit that the kernel enforces for plain threads: `SO_RCVTIMEO` or `SO_SNDTIMEO`.
//!
//! A blocking call then ends by itself, so a read with a limit is one `recv` and not a `recv`, a
//! `poll` and a `recv`. The kernel stores the limit in the *open socket*, which has more users than
//! one value of this library: clones, which may have other limits, and descriptors that were
//! duplicated or sent away, whose users know of no limit. A call reads the limit once, when it
//! begins.
//!
//! ```text
//!   calls    bit 31: given away; else how many calls rely on the limit just now
//!   set_to   what the kernel has, in nanoseconds; NONE; CHANGING while that is not certain
//! ```
//!
//! 1. A call never waits longer than its own limit: the limit is raised only while exactly one call
//!    relies on it, the one that raises it. That call counts itself, writes CHANGING, and then
//!    reads the count; another call counts itself, and then reads the limit. One of them sees the
//!    other.
//! 2. A call may end early: the limit may be lowered at any time. The caller then tries again.
//! 3. A socket that is given away has no limit: the last call that relied on one removes it, and no
//!    later call sets one again.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use fiveways_sys::lock::Mutex;
use fiveways_sys::multiplex::timeout::timeval_bytes;
use fiveways_sys::net::{OptionName, set_option};

/// No limit.
pub(super) const NONE: u64 = u64::MAX;

const CHANGING: u64 = u64::MAX - 1;
const GIVEN_AWAY: u32 = 1 << 31;

/// The kernel's limit of one direction of an open socket.
#[derive(Debug)]
pub(super) struct KernelLimit {
    name: OptionName,
    calls: AtomicU32,
    set_to: AtomicU64,
    changing: Mutex<()>,
}

impl KernelLimit {
    pub(super) const fn new(name: OptionName) -> KernelLimit {
        KernelLimit {
            name,
            calls: AtomicU32::new(0),
            set_to: AtomicU64::new(NONE),
            changing: Mutex::new(()),
        }
    }

    /// Begins a call that the kernel ends after `limit` nanoseconds or earlier; `None` if it would
    /// not.
    #[inline]
    pub(super) fn begin(&self, fd: RawFd, limit: u64) -> Option<Call<'_>> {
        let limit = limit.min(CHANGING - 1).max(if limit == NONE { NONE } else { 1 });
        // ORDERING: SeqCst: pairs with that of `set` and `give_away` (1, 3).
        let before = self.calls.fetch_add(1, Ordering::SeqCst);
        let call = Call { limit: self, fd };
        if before & GIVEN_AWAY != 0 {
            return None;
        }
        let is_set = self.set_to.load(Ordering::SeqCst) == limit;
        (is_set || self.set(fd, limit)).then_some(call)
    }

    /// Sets the limit; returns `false` if the kernel would wait longer. The caller must have
    /// counted itself.
    #[cold]
    fn set(&self, fd: RawFd, limit: u64) -> bool {
        let _changing = self.changing.lock();
        let calls = || self.calls.load(Ordering::SeqCst);
        let now = self.set_to.load(Ordering::SeqCst);
        if calls() & GIVEN_AWAY != 0 {
            return false;
        }
        if now < limit {
            self.set_to.store(CHANGING, Ordering::SeqCst);
            if calls() != 1 {
                self.set_to.store(now, Ordering::SeqCst);
                return true;
            }
        }
        let is_set = self.write(fd, limit);
        self.set_to.store(if is_set { limit } else { now }, Ordering::SeqCst);
        is_set
    }

    /// Returns `true` if a call in progress relies on it.
    pub(super) fn is_relied_on(&self) -> bool {
        self.calls.load(Ordering::SeqCst) & !GIVEN_AWAY != 0
    }

    /// Removes the limit for good: the open socket is about to get users that know of no limit.
    pub(super) fn give_away(&self, fd: RawFd) {
        let before = self.calls.fetch_or(GIVEN_AWAY, Ordering::SeqCst);
        if before & !GIVEN_AWAY == 0 {
            self.take_off(fd);
        }
    }

    #[cold]
    fn take_off(&self, fd: RawFd) {
        let _changing = self.changing.lock();
        if self.set_to.load(Ordering::SeqCst) != NONE && self.write(fd, NONE) {
            self.set_to.store(NONE, Ordering::SeqCst);
        }
    }

    fn write(&self, fd: RawFd, limit: u64) -> bool {
        let limit = if limit == NONE { Duration::ZERO } else { Duration::from_nanos(limit) };
        set_option(fd, self.name, &timeval_bytes(limit)).is_ok()
    }
}

/// A call that relies on the kernel's limit.
pub(super) struct Call<'a> {
    limit: &'a KernelLimit,
    fd: RawFd,
}

impl Drop for Call<'_> {
    #[inline]
    fn drop(&mut self) {
        let before = self.limit.calls.fetch_sub(1, Ordering::SeqCst);
        if before == GIVEN_AWAY | 1 {
            self.limit.take_off(self.fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use fiveways_sys::net::option_name::RECV_LIMIT;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// The kernel's limit, as std reports it.
    fn kept(stream: &UnixStream) -> Option<u64> {
        stream.read_timeout().expect("a socket").map(|limit| limit.as_secs())
    }

    fn scene() -> (KernelLimit, UnixStream) {
        let (ours, _theirs) = UnixStream::pair().expect("descriptors");
        (KernelLimit::new(RECV_LIMIT), ours)
    }

    #[test]
    fn a_limit_grows_only_while_nobody_else_relies_on_it() {
        let (limit, stream) = scene();
        let fd = stream.as_raw_fd();
        let first = limit.begin(fd, 5 * SECOND).expect("it is kept");
        assert_eq!(kept(&stream), Some(5));
        let second = limit.begin(fd, 9 * SECOND).expect("it ends early");
        assert_eq!(kept(&stream), Some(5), "the first would wait too long");
        let third = limit.begin(fd, 2 * SECOND).expect("it is kept");
        assert_eq!(kept(&stream), Some(2));
        drop((first, second, third));
        assert_eq!(kept(&stream), Some(2), "nobody asked for another");
        drop(limit.begin(fd, NONE).expect("nobody else is there"));
        assert_eq!(kept(&stream), None);
    }

    #[test]
    fn what_is_given_away_has_no_limit_once_the_last_call_is_over() {
        let (limit, stream) = scene();
        let fd = stream.as_raw_fd();
        let call = limit.begin(fd, 5 * SECOND).expect("it is kept");
        limit.give_away(fd);
        assert_eq!(kept(&stream), Some(5), "a call relies on it");
        assert!(limit.begin(fd, 3 * SECOND).is_none());
        drop(call);
        assert_eq!(kept(&stream), None);
        assert!(limit.begin(fd, 3 * SECOND).is_none());
        assert_eq!(kept(&stream), None);
    }
}
