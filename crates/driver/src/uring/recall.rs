//! Giving back the memory of buffers that are not needed any more.
//!
//! A buffer in the ring is the kernel's until a completion names it, and only that proves that
//! nothing will be written to it: a request may have picked it already. So buffers leave the ring
//! as all others do, by a receive: of one byte, from a pair of sockets that is created for it and
//! that lives until the last of these receives has completed.
#![expect(unsafe_code, reason = "gives requests to the kernel")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use fiveways_sys::net::{self, Control, DONT_WAIT, Kind, Reply};
use fiveways_sys::uring::Entry;

use super::Uring;
use super::buffers::{GROUP, PIECE};
use super::slots::Tag;

/// The sockets through which bytes reach the buffers.
#[derive(Debug)]
pub(super) struct Pair {
    near: OwnedFd,
    _far: OwnedFd,
}

impl Uring {
    /// Gives some memory back. Returns `true` if there is more.
    pub(super) fn trim_buffers(&mut self) -> bool {
        let count = self.buffers.trim();
        if count > 0 {
            match pair_with(count as usize) {
                Ok(pair) => self.recall(pair, count),
                // Perhaps there is no descriptor left. The memory can wait.
                Err(_) => self.buffers.not_recalled(count),
            }
        }
        self.buffers.is_trimming()
    }

    fn recall(&mut self, pair: Pair, count: u32) {
        let entry = Entry::recv_byte_picked(pair.near.as_raw_fd(), GROUP);
        let entry = entry.tagged(Tag::Recall.to_bits());
        // It stays open until these requests have completed: the kernel may look its number up
        // late.
        self.recalling = Some(pair);
        for _ in 0..count {
            // SAFETY: required: what it points at stays valid. It points at nothing.
            unsafe { self.queue.push(&entry) };
        }
    }

    /// Takes a buffer that was recalled.
    pub(super) fn recalled(&mut self, id: Option<u16>) {
        if self.buffers.recall_ended(id) {
            self.recalling = None;
        }
    }
}

/// Creates a pair of sockets with this many bytes in it.
fn pair_with(count: usize) -> io::Result<Pair> {
    let Reply::Pair(near, far) = net::control(Control::Pair(Kind::Stream))? else {
        unreachable!("a pair was asked for")
    };
    let bytes = [0_u8; PIECE as usize];
    let bytes = &bytes[..count];
    // SAFETY: required: valid for so many bytes. They come from one slice.
    let answer = unsafe { net::send(far.as_raw_fd(), bytes.as_ptr(), bytes.len(), DONT_WAIT) };
    net::decode(answer)?;
    Ok(Pair { near, _far: far })
}
