//! What the ring knows of each descriptor, and the tags by which completions find it.
//!
//! A slot is one cache line, found by the descriptor's number:
//!
//! ```text
//!   generation   whose slot it is; another generation means a new socket
//!   line         who waits for bytes of this stream, first come first served
//!   queue        buffers that arrived and nobody has taken: head … last, linked by the buffers
//!   offset       bytes of the head already taken
//!   receive      the request that receives again and again:   Off → Armed → (Ending →) Off
//!   watch        the request that waits for readability once: Off → Armed → (Ending →) Off
//!   mode         Ring: receive into provided buffers. Poll: watch, then receive when asked.
//!   error, ended what the stream came to, for the next reader
//!   closing      the descriptor to close when receive and watch are Off
//! ```
//!
//! `Armed` → `Off` is the kernel's (its last completion), `Armed` → `Ending` is ours (a cancel is
//! queued; the last completion is still to come). While anything is not Off the kernel holds the
//! socket open, so a descriptor is closed only then, or its peer would not see the end.
//!
//! A tag is the address of a waiting operation, or a kind, a generation and a descriptor:
//!
//! ```text
//!   63                    32 31                   3 2   0
//!   │           address of a Pending               │ 0,1 │   Once, Nudge
//!   │      generation        │       descriptor      │ 2,3 │   Receive, Watch
//!   │                        0                       │ 4,5 │   Wake, Quiet
//! ```

use std::os::fd::RawFd;
use std::ptr::{self, NonNull};

use fiveways_sys::net::Answer;

use super::buffers::NONE;
use super::line::Line;
use crate::op::{Pending, Source};

/// Whom a completion is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// The operation itself: its answer is the result.
    Once(NonNull<Pending>),
    /// A poll on behalf of the operation, which is then to be submitted again.
    Nudge(NonNull<Pending>),
    /// The receiving request of a descriptor.
    Receive(Source),
    /// The watching request of a descriptor.
    Watch(Source),
    /// The waker's request.
    Wake,
    /// Nobody (the answer of a cancel, and of the request made to try the kernel).
    Quiet,
}

const ONCE: u64 = 0;
const NUDGE: u64 = 1;
const RECEIVE: u64 = 2;
const WATCH: u64 = 3;
const WAKE: u64 = 4;
const QUIET: u64 = 5;
const KIND: u64 = 7;

/// The largest descriptor that fits into a tag.
pub(super) const MAX_FD: RawFd = (1 << 29) - 1;

fn of_source(source: Source, kind: u64) -> u64 {
    u64::from(source.generation) << 32 | (source.fd as u64) << 3 | kind
}

impl Tag {
    /// The tag as the kernel carries it.
    #[inline]
    pub(super) fn to_bits(self) -> u64 {
        match self {
            Tag::Once(pending) => pending.as_ptr().expose_provenance() as u64 | ONCE,
            Tag::Nudge(pending) => pending.as_ptr().expose_provenance() as u64 | NUDGE,
            Tag::Receive(source) => of_source(source, RECEIVE),
            Tag::Watch(source) => of_source(source, WATCH),
            Tag::Wake => WAKE,
            Tag::Quiet => QUIET,
        }
    }

    /// The tag that the kernel brought back.
    #[inline]
    pub(super) fn from_bits(bits: u64) -> Tag {
        let source = || Source { fd: (bits as u32 >> 3) as RawFd, generation: (bits >> 32) as u32 };
        let pending = || {
            let address = (bits & !KIND) as usize;
            NonNull::new(ptr::with_exposed_provenance_mut::<Pending>(address))
        };
        match bits & KIND {
            ONCE => pending().map_or(Tag::Quiet, Tag::Once),
            NUDGE => pending().map_or(Tag::Quiet, Tag::Nudge),
            RECEIVE => Tag::Receive(source()),
            WATCH => Tag::Watch(source()),
            WAKE => Tag::Wake,
            _ => Tag::Quiet,
        }
    }
}

/// Where a request of a slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The kernel has none.
    Off,
    /// The kernel has it.
    Armed,
    /// The kernel has it and is asked to end it.
    Ending,
}

/// How a stream is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Into provided buffers, ahead of the reader.
    Ring,
    /// Into the worker's buffer, when the reader asks: large pieces, or no provided buffers left.
    Poll,
}

/// What the ring knows of one descriptor.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) line: Line,
    pub(super) generation: u32,
    pub(super) closing: RawFd,
    pub(super) error: Answer,
    pub(super) offset: u32,
    pub(super) head: u16,
    pub(super) last: u16,
    pub(super) queued: u16,
    /// Pieces in a row that speak for the other mode.
    pub(super) streak: u16,
    pub(super) receive: Part,
    pub(super) watch: Part,
    pub(super) mode: Mode,
    pub(super) ended: bool,
    /// Mode Poll: may an attempt succeed?
    pub(super) wet: bool,
    /// Did the last plain receive leave bytes behind?
    pub(super) left_some: bool,
}

const _: () = assert!(size_of::<Slot>() == 64);

/// Nothing is to be closed.
pub(super) const OPEN: RawFd = -1;

impl Slot {
    pub(super) const fn new(generation: u32) -> Slot {
        Slot {
            line: Line::EMPTY,
            generation,
            closing: OPEN,
            error: 0,
            offset: 0,
            head: NONE,
            last: NONE,
            queued: 0,
            streak: 0,
            receive: Part::Off,
            watch: Part::Off,
            mode: Mode::Ring,
            ended: false,
            wet: true,
            left_some: false,
        }
    }

    /// Does the kernel hold the socket for this slot?
    #[inline]
    pub(super) fn is_held(&self) -> bool {
        self.receive != Part::Off || self.watch != Part::Off
    }

    /// Has the stream come to something that its next reader must be told without the kernel?
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.queued > 0 || self.error != 0 || self.ended
    }

    /// May bytes have left the socket ahead of its reader?
    #[inline]
    pub(super) fn is_ahead(&self) -> bool {
        self.receive != Part::Off || self.has_news()
    }
}

/// The slots of all descriptors.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<Slot>);

impl Slots {
    /// The slot of this number, whoever's it is.
    #[inline]
    pub(super) fn at(&mut self, fd: RawFd) -> &mut Slot {
        let at = fd as usize;
        if at >= self.0.len() {
            self.grow(at);
        }
        &mut self.0[at]
    }

    /// The slot of this very socket, if it is (still) its.
    #[inline]
    pub(super) fn find(&mut self, source: Source) -> Option<&mut Slot> {
        let slot = self.0.get_mut(source.fd as usize)?;
        (slot.generation == source.generation).then_some(slot)
    }

    /// The sockets that are open and ahead of their readers.
    pub(super) fn ahead(&self) -> Vec<Source> {
        let ahead = |slot: &Slot| slot.is_ahead() && slot.closing == OPEN;
        let numbered = self.0.iter().enumerate().filter(|(_, slot)| ahead(slot));
        numbered.map(|(fd, slot)| Source { fd: fd as RawFd, generation: slot.generation }).collect()
    }

    /// Every slot with its number.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.0.iter_mut()
    }

    #[cold]
    fn grow(&mut self, at: usize) {
        self.0.resize((at + 1).next_power_of_two(), Slot::new(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Op;

    #[test]
    fn tags_survive_the_kernel() {
        let source = Source { fd: MAX_FD, generation: u32::MAX };
        let pending = Pending::new(Op::Accept { source }, ptr::null_mut());
        let pending = NonNull::from(&pending);
        for tag in [
            Tag::Once(pending),
            Tag::Nudge(pending),
            Tag::Receive(source),
            Tag::Watch(source),
            Tag::Wake,
            Tag::Quiet,
        ] {
            assert_eq!(Tag::from_bits(tag.to_bits()), tag);
        }
    }

    #[test]
    fn a_slot_of_another_generation_is_not_found() {
        let mut slots = Slots::default();
        *slots.at(5) = Slot::new(7);
        assert!(slots.find(Source { fd: 5, generation: 7 }).is_some());
        assert!(slots.find(Source { fd: 5, generation: 8 }).is_none());
        assert!(slots.find(Source { fd: 99, generation: 7 }).is_none());
    }
}
