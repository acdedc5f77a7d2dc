//! `epoll(7)`: create, change, wait.
//!
//! A registration belongs to the open file description, not to the descriptor: it outlives a
//! `close` while a duplicate is open elsewhere (D38). So deregister before closing.
#![expect(unsafe_code, reason = "epoll_pwait2 fills the spare capacity of a vector")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll as kernel;

use crate::multiplex::timeout::timespec;

pub use rustix::event::epoll::{Event, EventData, EventFlags};

/// Whether the kernel lacks `epoll_pwait2` (Linux before 5.11, or a filter). Found out by trying.
///
/// Written once, from false to true, by the first thread whose call is refused; a stale false costs
/// one more refusal.
static NO_PWAIT2: AtomicBool = AtomicBool::new(false);

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// Creates an instance, close-on-exec.
    pub fn new() -> io::Result<Epoll> {
        Ok(Epoll(kernel::create(kernel::CreateFlags::CLOEXEC)?))
    }

    /// Adds a descriptor (`EPOLL_CTL_ADD`).
    ///
    /// # Errors
    ///
    /// `EEXIST` if it is registered already, `EPERM` if it cannot be waited for (a regular file).
    #[inline]
    pub fn add(&self, fd: BorrowedFd<'_>, flags: EventFlags, data: u64) -> io::Result<()> {
        Ok(kernel::add(&self.0, fd, EventData::new_u64(data), flags)?)
    }

    /// Changes what is waited for (`EPOLL_CTL_MOD`); `ENOENT` if it is not registered.
    #[inline]
    pub fn modify(&self, fd: BorrowedFd<'_>, flags: EventFlags, data: u64) -> io::Result<()> {
        Ok(kernel::modify(&self.0, fd, EventData::new_u64(data), flags)?)
    }

    /// Removes a descriptor (`EPOLL_CTL_DEL`); `ENOENT` if it is not registered.
    #[inline]
    pub fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(kernel::delete(&self.0, fd)?)
    }

    /// Waits once for events and appends them to the vector, up to its spare capacity.
    ///
    /// Returns their number: zero if the timeout passed first, to the nanosecond if the kernel has
    /// `epoll_pwait2`, else rounded up to milliseconds, so never early.
    ///
    /// # Errors
    ///
    /// `EINTR` after a signal; `EINVAL` when the vector has no spare capacity.
    #[inline]
    pub fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<usize> {
        match timeout {
            Some(timeout) if !timeout.is_zero() => self.wait_for(events, timeout),
            None => Ok(kernel::wait(&self.0, spare_capacity(events), None)?),
            Some(_) => {
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                Ok(kernel::wait(&self.0, spare_capacity(events), Some(&now))?)
            }
        }
    }

    fn wait_for(&self, events: &mut Vec<Event>, timeout: Duration) -> io::Result<usize> {
        // ORDERING: relaxed, the flag guards nothing but itself.
        if !NO_PWAIT2.load(Ordering::Relaxed) {
            match self.pwait2(events, timeout) {
                Err(error) if is_refusal(&error) => NO_PWAIT2.store(true, Ordering::Relaxed),
                result => return result,
            }
        }
        // Days at most, so that rustix keeps to the old call; it rounds milliseconds up.
        let cut = timeout.min(Duration::from_secs(86_400));
        let timeout = Timespec { tv_sec: cut.as_secs() as _, tv_nsec: cut.subsec_nanos() as _ };
        Ok(kernel::wait(&self.0, spare_capacity(events), Some(&timeout))?)
    }

    #[inline]
    fn pwait2(&self, events: &mut Vec<Event>, timeout: Duration) -> io::Result<usize> {
        let spare = events.spare_capacity_mut();
        let (data, room) = (spare.as_mut_ptr(), spare.len().min(i32::MAX as usize));
        let timeout = timespec(timeout);
        let (fd, no_mask) = (self.0.as_raw_fd(), std::ptr::null::<u64>());
        // SAFETY: required: `data` valid for writes of `room` kernel events, a valid timeout. The
        // spare capacity is that, and `Event` has the kernel's layout.
        let count = unsafe {
            libc::syscall(libc::SYS_epoll_pwait2, fd, data, room, &raw const timeout, no_mask, 8)
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        let len = events.len() + count as usize;
        // SAFETY: required: within capacity and initialised. The kernel wrote `count` events.
        unsafe { events.set_len(len) };
        Ok(count as usize)
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns `true` if the system call is missing or filtered out. Old container filters answer
/// `EPERM`.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_fd::EventFd;

    #[test]
    fn both_ways_to_wait_keep_to_the_timeout_and_report() {
        let epoll = Epoll::new().expect("an epoll");
        let event = EventFd::new().expect("an eventfd");
        epoll.add(event.as_fd(), EventFlags::IN, 7).expect("add");
        for refused in [false, true] {
            NO_PWAIT2.store(refused, Ordering::Relaxed);
            let mut events = Vec::with_capacity(4);
            let timeout = Duration::from_micros(2_500);
            let before = std::time::Instant::now();
            assert_eq!(epoll.wait(&mut events, Some(timeout)).expect("wait"), 0);
            assert!(before.elapsed() >= timeout);
            event.add_one();
            assert_eq!(epoll.wait(&mut events, Some(timeout)).expect("wait"), 1);
            assert_eq!(events[0].data.u64(), 7);
            assert!(event.reset());
        }
        NO_PWAIT2.store(false, Ordering::Relaxed);
    }
}
