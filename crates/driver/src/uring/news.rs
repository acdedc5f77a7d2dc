//! What a socket has received ahead: pieces in order, then what the stream came to.
//!
//! ```text
//!   slot.head ─▶ buffer ─next▶ buffer ─next▶ … slot.last        `queued` of them
//!                  └ the first `offset` bytes are taken already
//!   slot.error, slot.ended: told when the queue is empty; an error once, the end for ever
//! ```

use fiveways_sys::net::Answer;

use super::buffers::Buffers;
use super::slots::Slot;
use crate::loan::Loan;

/// Puts a piece at the end of the queue.
#[inline]
pub(super) fn put(slot: &mut Slot, buffers: &Buffers, id: u16) {
    if slot.queued == 0 {
        (slot.head, slot.offset) = (id, 0);
    } else {
        buffers.link(slot.last, id);
    }
    slot.last = id;
    slot.queued += 1;
}

/// What the stream came to, when every piece before it was taken.
#[inline]
pub(super) fn verdict(slot: &mut Slot, keep: bool) -> Option<Answer> {
    if slot.error != 0 {
        let error = slot.error;
        if !keep {
            slot.error = 0;
        }
        return Some(error);
    }
    slot.ended.then_some(0)
}

/// Lends the first piece, if there is one.
#[inline]
pub(super) fn lend(slot: &mut Slot, buffers: &Buffers) -> Option<Loan> {
    if slot.queued == 0 {
        return None;
    }
    let lent = buffers.lend(slot.head, slot.offset);
    slot.head = buffers.next(slot.head);
    slot.offset = 0;
    slot.queued -= 1;
    Some(lent)
}

/// Copies out of the pieces; to `keep` them is to peek.
///
/// `copy` takes bytes and how many it took before, and answers how many it took of these.
pub(super) fn copy_out(
    slot: &mut Slot,
    buffers: &Buffers,
    keep: bool,
    mut copy: impl FnMut(&[u8], usize) -> usize,
) -> Option<Answer> {
    if slot.queued == 0 {
        return verdict(slot, keep);
    }
    let (mut id, mut offset, mut left, mut copied) = (slot.head, slot.offset, slot.queued, 0);
    while left > 0 {
        let bytes = &buffers.bytes(id)[offset as usize..];
        let count = copy(bytes, copied);
        copied += count;
        if count < bytes.len() {
            offset += count as u32;
            break;
        }
        let next = buffers.next(id);
        if !keep {
            buffers.recycle(id);
        }
        (id, offset, left) = (next, 0, left - 1);
    }
    if !keep {
        (slot.head, slot.offset, slot.queued) = (id, offset, left);
    }
    Some(copied as Answer)
}

/// Appends all pieces to `bytes` and forgets them; answers how many bytes they were.
pub(super) fn append_to(slot: &mut Slot, buffers: &Buffers, bytes: &mut Vec<u8>) -> usize {
    let before = bytes.len();
    copy_out(slot, buffers, false, |piece, _| {
        bytes.extend_from_slice(piece);
        piece.len()
    });
    bytes.len() - before
}

/// Forgets all pieces.
pub(super) fn discard(slot: &mut Slot, buffers: &Buffers) {
    copy_out(slot, buffers, false, |piece, _| piece.len());
}
