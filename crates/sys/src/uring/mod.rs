//! The kernel's completion ring, set up by trial and used through a few typed calls.
//!
//! Role: the only module that names the `io-uring` crate. A [`Ring`] is used by the thread that
//! opened it. [`Entry`] is a request, [`Completion`] an answer, [`BufferRing`] the memory from
//! which the kernel picks a buffer when bytes have arrived.
//!
//! Set-up asks for every flag that helps and drops them one by one, youngest first, as long as the
//! kernel answers `EINVAL`: what a kernel can do is found by asking it, never by its version.
//!
//! References: io_uring_setup(2), io_uring_enter(2), io_uring_register(2).
#![expect(unsafe_code, reason = "requests carry pointers; the ring is entered by a raw call")]

mod refusal;
mod entry;
mod buffer_ring;

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{Builder, EnterFlags, IoUring, Probe, cqueue, opcode};

pub use buffer_ring::BufferRing;
pub use entry::Entry;
pub use refusal::Refused;

/// The size of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize {
    /// Requests that can be queued between two calls of the kernel.
    pub entries: u32,
    /// Completions that fit before the kernel has to buffer further ones.
    pub completions: u32,
}

/// One answer of the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Completion {
    /// The tag of the request.
    pub user_data: u64,
    /// A count or a negated `errno`.
    pub result: i32,
    flags: u32,
}

impl Completion {
    /// Returns `true` if the same request will complete again.
    #[inline]
    pub fn has_more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// Returns the buffer that the kernel picked.
    #[inline]
    pub fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// Returns `true` if there was more to receive.
    #[inline]
    pub fn left_some(&self) -> bool {
        cqueue::sock_nonempty(self.flags)
    }
}

/// A submission and a completion queue.
pub struct Ring {
    ring: IoUring,
    /// Flags for every enter.
    enter: u32,
    /// Whether the kernel sets a flag of the queue when it has completions to be fetched.
    flags_work: bool,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({})", self.ring.as_raw_fd())
    }
}

/// A flag of set-up, and how to request it.
type Flag = fn(&mut Builder) -> &mut Builder;

/// The flags of the first attempt; the first is dropped first. Completions are processed when the
/// worker asks (`DEFER_TASKRUN`), which requires one thread to be the only issuer.
const DEFERRED: [Flag; 6] = [
    Builder::setup_no_sqarray,
    Builder::setup_defer_taskrun,
    Builder::setup_single_issuer,
    Builder::setup_taskrun_flag,
    Builder::setup_submit_all,
    Builder::setup_clamp,
];

/// The flags if those were refused: completions wait for the next kernel call of any kind.
const COOPERATIVE: [Flag; 5] = [
    Builder::setup_single_issuer,
    Builder::setup_taskrun_flag,
    Builder::setup_coop_taskrun,
    Builder::setup_submit_all,
    Builder::setup_clamp,
];

/// Opcodes that the driver needs, by number and name.
const NEEDED: [(u8, &str); 7] = [
    (opcode::Recv::CODE, "recv"),
    (opcode::Send::CODE, "send"),
    (opcode::RecvMsg::CODE, "recvmsg"),
    (opcode::SendMsg::CODE, "sendmsg"),
    (opcode::Connect::CODE, "connect"),
    (opcode::PollAdd::CODE, "poll"),
    (opcode::AsyncCancel::CODE, "cancel"),
];

/// The flag sets to try, in order, each with whether the kernel then flags completions to be
/// fetched.
fn flag_sets() -> impl Iterator<Item = (&'static [Flag], bool)> {
    // The indirection array may stay; without deferring there is no point in the first list.
    let deferred = (0..2).map(|dropped| (&DEFERRED[dropped..], true));
    let cooperative = (0..=COOPERATIVE.len()).map(|at| (&COOPERATIVE[at..], at < 2));
    deferred.chain(cooperative)
}

/// Tries one flag set after the other until the kernel takes one.
fn set_up<R>(
    size: RingSize,
    mut build: impl FnMut(&Builder, u32) -> io::Result<R>,
) -> io::Result<(R, bool)> {
    let mut refused = io::Error::from_raw_os_error(libc::EINVAL);
    for (flags, flags_work) in flag_sets() {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(size.completions);
        for flag in flags {
            flag(&mut builder);
        }
        match build(&builder, size.entries) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = error,
            result => return Ok((result?, flags_work)),
        }
    }
    Err(refused)
}

impl Ring {
    /// Opens a ring for the calling thread.
    ///
    /// # Errors
    ///
    /// [`Refused`] inside, which names what is missing: no io_uring in this kernel, a prohibition
    /// by the administrator or a filter, or a kernel that lacks an operation.
    pub fn open(size: RingSize) -> io::Result<Ring> {
        let (ring, flags_work) = set_up(size, |builder, entries| builder.build(entries))
            .map_err(refusal::explain_set_up)?;
        let given = ring.params();
        let features = [
            (given.is_feature_nodrop(), "completions that are never dropped (Linux 5.5)"),
            (given.is_feature_fast_poll(), "polling instead of worker threads (Linux 5.7)"),
            (given.is_feature_ext_arg(), "a time limit when waiting (Linux 5.11)"),
        ];
        for (has, what) in features {
            if !has {
                return Err(refusal::lacking(what, None));
            }
        }
        check_operations(&ring)?;
        let mut enter = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if given.is_feature_no_iowait() {
            // An idle server is accounted as idle, not as "waiting for I/O".
            enter |= EnterFlags::NO_IOWAIT;
        }
        Ok(Ring { ring, enter: enter.bits(), flags_work })
    }

    /// Queues a request for the next [`Ring::enter`]. Returns `false` if the queue is full.
    ///
    /// # Safety
    ///
    /// What the request points at must stay valid until its last completion was taken.
    #[inline]
    pub unsafe fn push(&mut self, entry: &Entry) -> bool {
        // SAFETY: required: what the entry points at stays valid; passed on to our caller.
        unsafe { self.ring.submission().push(&entry.0) }.is_ok()
    }

    /// Returns the number of requests queued and not yet given to the kernel.
    #[inline]
    pub fn queued(&mut self) -> usize {
        self.ring.submission().len()
    }

    /// Returns `true` if there are completions to take without calling the kernel.
    #[inline]
    pub fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// Returns `true` if a call of the kernel has an effect: there are requests to give, or
    /// completions that it holds back.
    #[inline]
    pub fn wants_enter(&mut self) -> bool {
        let queue = self.ring.submission();
        !self.flags_work || !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    /// Gives the queued requests to the kernel and fetches completions; may sleep until the first
    /// one.
    ///
    /// Returns early when interrupted, and when the kernel can take no more requests at the moment
    /// (it wants completions taken, or has no memory).
    ///
    /// # Errors
    ///
    /// Any error means that the ring cannot be used any more.
    #[inline]
    pub fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let queued = self.queued() as u32;
        let limit;
        let mut args = SubmitArgs::new();
        let least = match wait {
            Wait::No => 0,
            Wait::Forever => 1,
            Wait::AtMost(time) => {
                limit = Timespec::from(time);
                args = args.timespec(&limit);
                1
            }
        };
        let submitter = self.ring.submitter();
        // SAFETY: required: `args` is what EXT_ARG says it is and outlives the call. It is a local,
        // as is the time it points at.
        match unsafe { submitter.enter(queued, least, self.enter, Some(&args)) } {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes completions; returns their number.
    #[inline]
    pub fn take(&mut self, into: &mut [Completion]) -> usize {
        let mut queue = self.ring.completion();
        let mut count = 0;
        for place in into {
            let Some(entry) = queue.next() else { break };
            *place = Completion {
                user_data: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            };
            count += 1;
        }
        count
    }

    /// Makes the kernel pick buffers of `group` from this ring of buffers.
    ///
    /// # Safety
    ///
    /// `buffers` must stay alive until [`Ring::unregister_buffers`] or the end of this ring.
    ///
    /// # Errors
    ///
    /// [`Refused`] inside if the kernel has no such rings.
    pub unsafe fn register_buffers(&mut self, buffers: &BufferRing, group: u16) -> io::Result<()> {
        let (at, entries) = (buffers.address(), buffers.entries());
        let submitter = self.ring.submitter();
        // SAFETY: required: memory of that many entries that stays valid; passed on to our caller.
        let done = unsafe { submitter.register_buf_ring_with_flags(at, entries, group, 0) };
        done.map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => {
                refusal::lacking("rings of provided buffers (Linux 5.19)", Some(error))
            }
            _ => error,
        })
    }

    /// Takes a group of buffers back from the kernel.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such group.
    pub fn unregister_buffers(&mut self, group: u16) -> io::Result<()> {
        self.ring.submitter().unregister_buf_ring(group)
    }
}

/// The longest sleep until the first completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// Until there is one.
    Forever,
    /// Not longer than this.
    AtMost(Duration),
}

/// Returns `true` if the condition is over as soon as the call is repeated.
#[cold]
fn is_passing(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    matches!(errno, Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY))
}

fn check_operations(ring: &IoUring) -> io::Result<()> {
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| refusal::lacking("a way to ask for its operations", Some(error)))?;
    for (code, name) in NEEDED {
        if !probe.is_supported(code) {
            return Err(refusal::lacking(&format!("the operation '{name}'"), None));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: RingSize = RingSize { entries: 8, completions: 16 };

    #[test]
    fn flags_are_dropped_one_by_one_until_the_kernel_takes_the_rest() {
        for accepted in 1..=7 {
            let mut tries = 0;
            let built = set_up(SIZE, |_, entries| {
                tries += 1;
                let refused = io::Error::from_raw_os_error(libc::EINVAL);
                if tries < accepted { Err(refused) } else { Ok(entries) }
            });
            assert_eq!(built.expect("accepted at last").0, SIZE.entries);
            assert_eq!(tries, accepted);
        }
    }

    #[test]
    fn a_refusal_is_not_answered_by_dropping_flags() {
        let mut tries = 0;
        let refused = set_up(SIZE, |_, _| -> io::Result<()> {
            tries += 1;
            Err(io::Error::from_raw_os_error(libc::EPERM))
        });
        assert_eq!(refused.expect_err("refused").raw_os_error(), Some(libc::EPERM));
        assert_eq!(tries, 1);
    }

    #[test]
    fn a_ring_that_takes_nothing_gives_up() {
        let refused = set_up(SIZE, |_, _| -> io::Result<()> {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        });
        assert_eq!(refused.expect_err("refused").raw_os_error(), Some(libc::EINVAL));
    }
}
