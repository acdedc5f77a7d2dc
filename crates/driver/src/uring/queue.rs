//! The ring as a queue that never refuses and that counts the kernel's requests.
//!
//! A request is *in flight* from when it is pushed until its last completion is taken. A full
//! submission queue is given to the kernel on the spot; if a kernel will not take requests before
//! its completions are taken (`EBUSY`), these are kept in a list.
#![expect(unsafe_code, reason = "requests hold pointers")]

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use fiveways_sys::uring::{Completion, Entry, Ring, Wait};

use super::slots::Tag;

/// How long to wait for one of the last completions: the requests were cancelled, so they are due.
const LAST_WAIT: Duration = Duration::from_millis(200);

/// The ring, its requests in flight, and completions kept back.
#[derive(Debug)]
pub(super) struct Queue {
    ring: Ring,
    in_flight: usize,
    overflow: VecDeque<Completion>,
}

impl Queue {
    pub(super) fn new(ring: Ring) -> Queue {
        Queue { ring, in_flight: 0, overflow: VecDeque::new() }
    }

    /// Returns the ring itself, for registrations.
    pub(super) fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }

    /// Queues a request.
    ///
    /// # Safety
    ///
    /// What it points at must stay valid until its last completion was taken.
    #[inline]
    pub(super) unsafe fn push(&mut self, entry: &Entry) {
        self.in_flight += 1;
        // SAFETY: required: what it points at stays valid; passed on to our caller.
        while !unsafe { self.ring.push(entry) } {
            self.make_room();
        }
    }

    /// Gives a full queue to the kernel.
    #[cold]
    fn make_room(&mut self) {
        let queued = self.ring.queued();
        if let Err(error) = self.ring.enter(Wait::No) {
            // The worker cannot go on, and an error would lose the request.
            panic!("the ring takes no requests: {error}");
        }
        if self.ring.queued() == queued {
            self.put_aside();
        }
    }

    fn put_aside(&mut self) {
        let mut batch = [Completion::default(); 64];
        let count = self.ring.take(&mut batch);
        self.overflow.extend(&batch[..count]);
    }

    /// Returns `true` if there are completions to take without calling the kernel.
    #[inline]
    pub(super) fn has_completions(&mut self) -> bool {
        !self.overflow.is_empty() || self.ring.has_completions()
    }

    /// Gives the kernel the queued requests and fetches completions, without sleeping; makes no
    /// call if there is nothing to give or to fetch.
    #[inline]
    pub(super) fn look(&mut self) -> io::Result<()> {
        if self.ring.wants_enter() { self.ring.enter(Wait::No) } else { Ok(()) }
    }

    /// Gives the kernel the queued requests and sleeps until there is a completion or the deadline
    /// comes.
    #[inline]
    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        while !self.has_completions() {
            let wait = match deadline {
                None => Wait::Forever,
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return self.look();
                    }
                    Wait::AtMost(left)
                }
            };
            self.ring.enter(wait)?;
        }
        Ok(())
    }

    /// Takes completions; returns their number.
    #[inline]
    pub(super) fn take(&mut self, into: &mut [Completion]) -> usize {
        let count =
            if self.overflow.is_empty() { self.ring.take(into) } else { self.take_overflow(into) };
        for completion in &into[..count] {
            self.in_flight -= usize::from(!completion.has_more());
        }
        count
    }

    #[cold]
    fn take_overflow(&mut self, into: &mut [Completion]) -> usize {
        let count = into.len().min(self.overflow.len());
        for (place, completion) in into.iter_mut().zip(self.overflow.drain(..count)) {
            *place = completion;
        }
        count
    }

    /// Cancels all requests in the kernel. Returns `true` if the kernel holds none any more.
    pub(super) fn wind_up(&mut self) -> bool {
        let entry = Entry::cancel_all().tagged(Tag::Ignore.to_bits());
        // SAFETY: required: what it points at stays valid. It points at nothing.
        unsafe { self.push(&entry) };
        let mut batch = [Completion::default(); 64];
        for _ in 0..self.in_flight + 64 {
            if self.in_flight == 0 {
                return true;
            }
            if self.wait(Some(Instant::now() + LAST_WAIT)).is_err() {
                return false;
            }
            self.take(&mut batch);
        }
        self.in_flight == 0
    }
}
