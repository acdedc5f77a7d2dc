//! A socket's time limits: for each read, for each write, for idleness, and for all calls together.
//!
//! They are kept here: each call of a task gets a deadline. For a plain thread the kernel enforces
//! them as well, so that a call with a limit is one system call ([`KernelLimit`]).
//!
//! The idle limit concerns the connection, which several values may share (clones): each of them
//! records when it moves a byte. A call that ran into the limit reads that record, and continues if
//! it is more recent.
#![expect(unsafe_code, reason = "operations point at the caller's buffers")]

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fiveways_driver::{Direction, Op};
use fiveways_runtime::{clock, perform, perform_kept};
use fiveways_sys::net::option_name::{RECV_LIMIT, SEND_LIMIT};
use fiveways_sys::process::set_once::SetOnce;

use crate::net::kernel_limit::{Call, KernelLimit, NONE};
use crate::net::timeout::{Limit, TimeoutError, is_own_deadline};
use crate::net::traffic::Traffic;

/// The reference instant for all stored times.
static EPOCH: SetOnce<Instant> = SetOnce::new();

/// Returns the reference instant for all stored times.
fn epoch() -> Instant {
    *EPOCH.get_or_init(clock::now)
}

/// Below this the kernel's ticks are too coarse, and an additional poll with the exact limit costs
/// little in comparison.
const KERNEL_LEAST: u64 = 50_000_000;

/// A blocking send reports how much has moved only when it ends. If idleness counts, it ends after
/// this part of the limit.
const SLICES: u64 = 4;

/// The instant by which all calls of a socket must end, in the form in which the socket stores it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End(u64);

/// The limits of one value for a socket.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// Nanoseconds; 0: no limit.
    read: AtomicU64,
    write: AtomicU64,
    /// Nanoseconds after [`EPOCH`] at which everything ends; 0: never.
    end: AtomicU64,
    /// The part shared with its clones, once that is needed.
    shared: OnceLock<Arc<Shared>>,
}

/// The state shared by all values for one open socket.
#[derive(Debug)]
struct Shared {
    /// Nanoseconds; 0: no limit.
    idle: AtomicU64,
    /// How long a graceful close may take, in nanoseconds; 0: no graceful close.
    linger: AtomicU64,
    /// Nanoseconds after [`EPOCH`] at which a byte last moved, while there is an idle limit.
    moved: AtomicU64,
    /// The direction in which bytes moved, once a server wants to know.
    traffic: OnceLock<Arc<Traffic>>,
    receives: KernelLimit,
    sends: KernelLimit,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            idle: AtomicU64::new(0),
            linger: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            traffic: OnceLock::new(),
            receives: KernelLimit::new(RECV_LIMIT),
            sends: KernelLimit::new(SEND_LIMIT),
        }
    }
}

impl Limits {
    /// The limits for a clone: the same.
    pub(crate) fn of_clone(&self) -> Limits {
        let copy = |from: &AtomicU64| AtomicU64::new(from.load(Ordering::Relaxed));
        Limits {
            read: copy(&self.read),
            write: copy(&self.write),
            end: AtomicU64::new(0),
            shared: OnceLock::from(Arc::clone(self.shared())),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        self.shared.get_or_init(Arc::default)
    }

    fn of(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        }
    }

    pub(crate) fn timeout(&self, direction: Direction) -> Option<Duration> {
        some(self.of(direction).load(Ordering::Relaxed))
    }

    pub(crate) fn set_timeout(
        &self,
        direction: Direction,
        limit: Option<Duration>,
    ) -> io::Result<()> {
        self.of(direction).store(nanos(limit)?, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        some(self.shared.get().map_or(0, |shared| shared.idle.load(Ordering::Relaxed)))
    }

    /// Sets the idle limit of the connection, counted from now.
    pub(crate) fn set_idle_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        let limit = nanos(limit)?;
        if limit != 0 || self.shared.get().is_some() {
            let shared = self.shared();
            shared.note_move();
            shared.idle.store(limit, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sets how long a graceful close may take; `None`: no graceful close.
    pub(crate) fn set_linger_close(&self, limit: Option<Duration>) {
        if let Some(limit) = limit {
            let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
            self.shared().linger.store(nanos, Ordering::Relaxed);
        }
    }

    /// How long a graceful close may take, if this is the last value for the connection.
    pub(crate) fn linger_close(&self) -> Option<Duration> {
        let shared = self.shared.get().filter(|shared| Arc::strong_count(shared) == 1)?;
        some(shared.linger.load(Ordering::Relaxed))
    }

    /// The deadline of a call that begins now, by its own limit or the end of all calls.
    pub(crate) fn deadline(&self, direction: Direction) -> Option<Instant> {
        let own = some(self.of(direction).load(Ordering::Relaxed));
        let own = own.and_then(clock::after);
        own.into_iter().chain(self.end()).min()
    }

    fn end(&self) -> Option<Instant> {
        some(self.end.load(Ordering::Relaxed)).map(|end| epoch() + end)
    }

    /// Makes every call end at this instant at the latest, regardless of its own limits. Returns
    /// the previous setting, for [`Limits::set_end_back`].
    pub(crate) fn end_by(&self, end: Option<Instant>) -> End {
        let before = self.end.load(Ordering::Relaxed);
        if let Some(end) = end {
            let nanos = end.saturating_duration_since(epoch()).as_nanos();
            // Half a millennium counts as never; zero would as well.
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).max(1);
            let earlier = if before == 0 { nanos } else { nanos.min(before) };
            self.end.store(earlier, Ordering::Relaxed);
        }
        End(before)
    }

    /// Reverts [`Limits::end_by`].
    pub(crate) fn set_end_back(&self, before: End) {
        self.end.store(before.0, Ordering::Relaxed);
    }

    /// Removes the limit from the kernel: the open socket is about to get other users as well.
    pub(crate) fn give_away(&self, fd: RawFd) {
        let shared = self.shared();
        shared.receives.give_away(fd);
        shared.sends.give_away(fd);
    }

    /// As [`Limits::give_away`], when this value is not used any more.
    pub(crate) fn give_up(&self, fd: RawFd) {
        if self.shared.get().is_some() {
            self.give_away(fd);
        }
    }

    /// The record of the connection's traffic, which is kept from now on.
    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(self.shared().traffic.get_or_init(Arc::default))
    }

    /// Records what an operation has moved, if a server wants to know.
    #[inline]
    pub(crate) fn note(&self, op: &Op, count: usize) {
        if let Some(traffic) = self.shared.get().and_then(|shared| shared.traffic.get()) {
            traffic.note(op, count);
        }
    }

    /// Records that a reader was given bytes that had been received before.
    #[inline]
    pub(crate) fn note_given(&self) {
        if let Some(traffic) = self.shared.get().and_then(|shared| shared.traffic.get()) {
            traffic.note_given();
        }
    }

    /// Records that bytes of a reader's loan were used.
    #[inline]
    pub(crate) fn note_consumed(&self, count: usize) {
        if let Some(traffic) = self.shared.get().and_then(|shared| shared.traffic.get()) {
            traffic.note_consumed(count);
        }
    }

    /// Performs an operation within the limits.
    ///
    /// # Safety
    ///
    /// Those of [`perform`].
    #[inline]
    pub(crate) unsafe fn perform(&self, op: Op) -> io::Result<usize> {
        let own = self.of(op.direction()).load(Ordering::Relaxed);
        if own | self.end.load(Ordering::Relaxed) == 0 && self.shared.get().is_none() {
            // SAFETY: required: what the operation points at stays; passed on to our caller.
            return unsafe { perform(op, None) };
        }
        // SAFETY: required: as above.
        unsafe { self.perform_limited(op, own) }
    }

    /// As [`Limits::perform`], if there are limits.
    ///
    /// # Safety
    ///
    /// Those of [`perform`].
    unsafe fn perform_limited(&self, op: Op, own: u64) -> io::Result<usize> {
        let end = self.end();
        let own_end = some(own).and_then(clock::after);
        let first = own_end.into_iter().chain(end).min();
        let mut idleness = self.shared.get().and_then(|shared| Idleness::new(shared));
        loop {
            let idle_end = idleness.as_ref().map(|idleness| idleness.end);
            let deadline = first.into_iter().chain(idle_end).min();
            let kernel = in_kernel(op.direction(), own, idleness.as_ref());
            let keep = || self.keep(&op, kernel, deadline);
            // SAFETY: required: what the operation points at stays; passed on to our caller.
            let error = match unsafe { perform_kept(op, deadline, keep) } {
                Ok(count) => {
                    if let Some(idleness) = idleness {
                        idleness.shared.note_move();
                    }
                    self.note(&op, count);
                    return Ok(count);
                }
                Err(error) if is_own_deadline(&error) => error,
                Err(error) => return Err(error),
            };
            if first.is_some() && deadline == first {
                return Err(if first == end { error } else { limit_of(op.direction()).into() });
            }
            if !idleness.as_mut().is_some_and(|idleness| idleness.goes_on(op.direction())) {
                return Err(TimeoutError(Limit::Idle).into());
            }
        }
    }

    /// Makes the kernel end a plain thread's call after `limit` nanoseconds, if the deadline comes
    /// then.
    fn keep(&self, op: &Op, limit: u64, deadline: Option<Instant>) -> Option<Call<'_>> {
        let shared = self.shared();
        let kernel = match op.direction() {
            Direction::Read => &shared.receives,
            Direction::Write => &shared.sends,
        };
        if let Some(deadline) = deadline {
            // The kernel counts from the beginning of the call: ending earlier is fine, later is
            // not.
            let left = deadline.saturating_duration_since(clock::now());
            let late = Duration::from_nanos(limit).saturating_sub(left);
            if limit < KERNEL_LEAST || late > Duration::from_nanos(limit / 16) {
                return None;
            }
        }
        kernel.begin(op.source().fd, limit)
    }
}

/// Waiting for something to move on a connection with an idle limit.
struct Idleness<'a> {
    shared: &'a Shared,
    limit: u64,
    end: Instant,
    was_patient: bool,
}

impl<'a> Idleness<'a> {
    fn new(shared: &'a Shared) -> Option<Idleness<'a>> {
        let limit = shared.idle.load(Ordering::Relaxed);
        let end = shared.idle_end(limit);
        (limit != 0).then_some(Idleness { shared, limit, end, was_patient: false })
    }

    /// Called when the end has come: returns `true` if a byte has moved in the meantime, so that
    /// the end is now later.
    fn goes_on(&mut self, direction: Direction) -> bool {
        let (now, end) = (clock::now(), self.shared.idle_end(self.limit));
        if end > now {
            (self.end, self.was_patient) = (end, false);
            return true;
        }
        // A thread in a blocking send has not yet reported what moved; it does so within its slice.
        let waits = direction == Direction::Read && self.shared.sends.is_relied_on();
        if waits && !self.was_patient {
            self.end = now + Duration::from_nanos(self.limit / SLICES + self.limit / 16);
            self.was_patient = true;
            return true;
        }
        false
    }
}

impl Shared {
    /// Records that a byte has moved just now.
    #[inline]
    fn note_move(&self) {
        let now = clock::now().saturating_duration_since(epoch()).as_nanos();
        self.moved.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The instant at which the limit is over, as far as is known.
    fn idle_end(&self, limit: u64) -> Instant {
        let moved = self.moved.load(Ordering::Relaxed);
        epoch() + Duration::from_nanos(moved.saturating_add(limit))
    }
}

/// The limit for the kernel to enforce on a call, in nanoseconds.
fn in_kernel(direction: Direction, own: u64, idleness: Option<&Idleness<'_>>) -> u64 {
    let own = if own == 0 { NONE } else { own };
    let idle = idleness.map_or(NONE, |idleness| match direction {
        Direction::Read => idleness.limit,
        Direction::Write => idleness.limit / SLICES,
    });
    own.min(idle)
}

fn limit_of(direction: Direction) -> TimeoutError {
    TimeoutError(match direction {
        Direction::Read => Limit::Read,
        Direction::Write => Limit::Write,
    })
}

/// Returns `None` for 0.
fn some(nanos: u64) -> Option<Duration> {
    (nanos != 0).then(|| Duration::from_nanos(nanos))
}

fn nanos(limit: Option<Duration>) -> io::Result<u64> {
    match limit {
        Some(Duration::ZERO) => {
            let message = "a time limit of zero would mean none: use set_nonblocking";
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
        // Half a millennium counts as no limit.
        Some(limit) => Ok(u64::try_from(limit.as_nanos()).unwrap_or(0)),
        None => Ok(0),
    }
}
