//! How a socket leaves the ring: detached, with what was received ahead, or closed, or replaced
//! behind our back.
//!
//! The first two end the socket's requests and wait for their last completions: bytes may come with
//! them, and as long as the kernel has a request it holds the socket open, so that the peer would
//! not see the end.
#![expect(unsafe_code, reason = "descriptors are kept as numbers; bytes go where a pointer says")]

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;

use fiveways_sys::net::Answer;
use fiveways_sys::uring::Entry;

use super::news;
use super::queue::Queue;
use super::slots::{OPEN, Part, Slot, Tag};
use super::streams::{Streams, Taken};
use crate::op::{Pending, Source};

impl Streams {
    /// Leaves what is left of an earlier socket to die: its completions will find no slot.
    #[cold]
    pub(super) fn renew(&mut self, queue: &mut Queue, source: Source) {
        let slot = self.slots.at(source.fd);
        news::discard(slot, &self.buffers);
        debug_assert!(slot.line.is_empty(), "a descriptor was closed while awaited");
        debug_assert!(slot.closing == OPEN, "an open descriptor's number was given out again");
        let before = Source { fd: source.fd, generation: slot.generation };
        let (receive, watch) = (slot.receive, slot.watch);
        *slot = Slot::new(source.generation);
        if receive == Part::Armed {
            self.push_cancel(queue, Tag::Receive(before));
        }
        if watch == Part::Armed {
            self.push_cancel(queue, Tag::Watch(before));
        }
    }

    fn push_cancel(&mut self, queue: &mut Queue, tag: Tag) {
        self.registrations += 1;
        let entry = Entry::cancel(tag.to_bits()).tagged(Tag::Quiet.to_bits());
        // SAFETY: required: what it points at stays valid. It points at nothing.
        unsafe { queue.push(&entry) };
    }

    /// Asks the kernel to end the receiving request.
    #[cold]
    pub(super) fn end_receive(&mut self, queue: &mut Queue, source: Source) {
        let slot = self.slots.at(source.fd);
        if slot.receive == Part::Armed {
            slot.receive = Part::Ending;
            self.push_cancel(queue, Tag::Receive(source));
        }
    }

    /// Asks the kernel to end the watching request.
    #[cold]
    pub(super) fn end_watch(&mut self, queue: &mut Queue, source: Source) {
        let slot = self.slots.at(source.fd);
        if slot.watch == Part::Armed {
            slot.watch = Part::Ending;
            self.push_cancel(queue, Tag::Watch(source));
        }
    }

    /// Serves `Detach`.
    pub(super) fn detach(
        &mut self,
        queue: &mut Queue,
        source: Source,
        pending: NonNull<Pending>,
        bytes: *mut Vec<u8>,
    ) -> Taken {
        // Another socket has this number by now: nothing of this one is left here.
        let Some(slot) = self.slots.find(source) else { return Taken::Done(0) };
        if !slot.is_held() {
            debug_assert!(slot.line.is_empty(), "somebody waits for nothing");
            return Taken::Done(self.finish_detach(source, bytes));
        }
        self.end_receive(queue, source);
        self.end_watch(queue, source);
        // Before those who read: what still comes is for whoever detaches, and they try again then.
        self.stand_in_front(source, pending);
        Taken::InLine
    }

    /// Moves what was read ahead to the caller and forgets the socket.
    pub(super) fn finish_detach(&mut self, source: Source, bytes: *mut Vec<u8>) -> Answer {
        // SAFETY: required: valid and ours to write. By the contract of `submit`.
        let bytes = unsafe { &mut *bytes };
        let slot = self.slots.at(source.fd);
        let error = slot.error;
        let count = news::append_to(slot, &self.buffers, bytes) as Answer;
        // Its first is being served at this moment; the others are told to try again.
        *slot = Slot { line: slot.line, ..Slot::new(0) };
        if count == 0 { error } else { count }
    }

    /// Closes a descriptor, at once or when the kernel lets go of it.
    pub(super) fn close(&mut self, queue: &mut Queue, source: Source, fd: OwnedFd) {
        let Some(slot) = self.slots.find(source) else { return drop(fd) };
        debug_assert!(slot.line.is_empty(), "a descriptor is closed while awaited");
        slot.closing = fd.into_raw_fd();
        news::discard(slot, &self.buffers);
        self.end_receive(queue, source);
        self.end_watch(queue, source);
        self.close_if_free(source);
    }

    /// Closes the descriptor if the kernel holds nothing of it.
    pub(super) fn close_if_free(&mut self, source: Source) {
        let slot = self.slots.at(source.fd);
        if !slot.is_held() {
            let fd = slot.closing;
            *slot = Slot::new(0);
            // SAFETY: required: an open descriptor that is ours. `close` put it here.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }

    /// Closes whatever was waiting to be closed; for the end of the driver.
    pub(super) fn close_all(&mut self) {
        for slot in self.slots.iter_mut() {
            if slot.closing != OPEN {
                let fd = std::mem::replace(&mut slot.closing, OPEN);
                // SAFETY: required: an open descriptor that is ours. `close` put it here.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }

    /// Keeps the buffers mapped for ever.
    #[cold]
    pub(super) fn leak_buffers(&mut self) {
        self.buffers.leak();
    }
}
