//! The state that the ring's driver keeps of each descriptor, and the tags of requests.
//!
//! A slot is found by the descriptor's number:
//!
//! ```text
//!   generation   the socket of the slot; another generation means a new socket
//!   readers      the operations that wait to receive or accept, first come first served; the
//!                request of the first is in the kernel, the others' follow one by one
//!   mode         Ring: receive into provided buffers. Poll: wait, then receive when asked.
//!   streak       pieces in a row that speak for the other mode
//!   maybe_ready  mode Poll: whether an attempt may succeed
//!   left_some    whether the last receive has left bytes behind
//! ```
//!
//! Nothing here outlives its waiters: the kernel has a request of a descriptor only while an
//! operation waits for its answer.
//!
//! A tag is the address of a waiting operation, with a kind in its lowest bits:
//!
//! ```text
//!   63                                             3 2   0
//!   │           address of a Pending               │ 0,1 │   Once, Poll
//!   │                        0                       │4,5,7│   Wake, Ignore, Recall
//! ```

use std::os::fd::RawFd;
use std::ptr::{self, NonNull};

use crate::op::{Pending, Source};
use crate::pending_list::PendingList;

/// The receiver of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// The operation itself: its answer is the result.
    Once(NonNull<Pending>),
    /// A poll on behalf of the operation, which is then to be submitted again.
    Poll(NonNull<Pending>),
    /// The waker's request.
    Wake,
    /// None (the answer of a cancel).
    Ignore,
    /// The buffers: one of them was recalled.
    Recall,
}

const ONCE: u64 = 0;
const POLL: u64 = 1;
const WAKE: u64 = 4;
const IGNORE: u64 = 5;
const RECALL: u64 = 7;
const KIND: u64 = 7;

impl Tag {
    /// Returns the bits that the kernel carries.
    #[inline]
    pub(super) fn to_bits(self) -> u64 {
        match self {
            Tag::Once(pending) => pending.as_ptr().expose_provenance() as u64 | ONCE,
            Tag::Poll(pending) => pending.as_ptr().expose_provenance() as u64 | POLL,
            Tag::Wake => WAKE,
            Tag::Ignore => IGNORE,
            Tag::Recall => RECALL,
        }
    }

    /// Returns the tag of the bits that the kernel brought back.
    #[inline]
    pub(super) fn from_bits(bits: u64) -> Tag {
        let pending = || {
            let address = (bits & !KIND) as usize;
            NonNull::new(ptr::with_exposed_provenance_mut::<Pending>(address))
        };
        match bits & KIND {
            ONCE => pending().map_or(Tag::Ignore, Tag::Once),
            POLL => pending().map_or(Tag::Ignore, Tag::Poll),
            WAKE => Tag::Wake,
            RECALL => Tag::Recall,
            _ => Tag::Ignore,
        }
    }
}

/// How a stream is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Into provided buffers, which the kernel picks.
    Ring,
    /// Into the worker's buffer, once there are bytes: for large pieces, or if no provided buffers
    /// are left.
    Poll,
}

/// The state of one descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) readers: PendingList,
    pub(super) generation: u64,
    pub(super) streak: u16,
    pub(super) mode: Mode,
    pub(super) maybe_ready: bool,
    pub(super) left_some: bool,
}

const _: () = assert!(size_of::<Slot>() <= 32, "two slots in a cache line");

impl Slot {
    pub(super) const fn new(generation: u64) -> Slot {
        Slot {
            readers: PendingList::EMPTY,
            generation,
            streak: 0,
            mode: Mode::Ring,
            maybe_ready: true,
            left_some: false,
        }
    }

    /// Changes to receiving into the worker's buffer.
    pub(super) fn poll_from_now_on(&mut self) {
        (self.mode, self.streak, self.maybe_ready) = (Mode::Poll, 0, true);
    }
}

/// The slots of all descriptors.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<Slot>);

impl Slots {
    /// Returns the slot of a socket, reset if the generation is another one.
    #[inline]
    pub(super) fn claim(&mut self, source: Source) -> &mut Slot {
        let at = source.fd as usize;
        if at >= self.0.len() {
            self.grow(at);
        }
        let slot = &mut self.0[at];
        if slot.generation != source.generation {
            debug_assert!(slot.readers.is_empty(), "a descriptor was closed while awaited");
            *slot = Slot::new(source.generation);
        }
        slot
    }

    /// Forgets a socket, if the slot is (still) its.
    pub(super) fn forget(&mut self, source: Source) {
        let Some(slot) = self.0.get_mut(source.fd as usize) else { return };
        if slot.generation == source.generation {
            debug_assert!(slot.readers.is_empty(), "a descriptor is closed while awaited");
            *slot = Slot::new(0);
        }
    }

    #[cold]
    fn grow(&mut self, at: usize) {
        self.0.resize((at + 1).next_power_of_two(), Slot::new(0));
    }
}

/// The descriptor of the largest number that has a slot.
pub(super) const MAX_FD: RawFd = (1 << 29) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Op;

    #[test]
    fn tags_survive_the_kernel() {
        let op = Op::Readable { source: Source { fd: 1, generation: 1 } };
        let pending = Pending::new(op, ptr::null_mut());
        let pending = NonNull::from(&pending);
        let others = [Tag::Wake, Tag::Ignore, Tag::Recall];
        for tag in [Tag::Once(pending), Tag::Poll(pending)].into_iter().chain(others) {
            assert_eq!(Tag::from_bits(tag.to_bits()), tag);
        }
    }

    #[test]
    fn a_slot_of_another_generation_is_made_anew() {
        let mut slots = Slots::default();
        let source = |generation| Source { fd: 5, generation };
        slots.claim(source(7)).left_some = true;
        slots.forget(source(6));
        assert!(slots.claim(source(7)).left_some);
        assert!(!slots.claim(source(8)).left_some);
    }
}
