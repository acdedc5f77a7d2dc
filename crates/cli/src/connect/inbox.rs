//! Received bytes that belong to no reply yet.
//!
//! ```text
//!   buf   ├── taken ──┼── waiting ──┼── room ──┤
//!         0         start          end      capacity
//! ```

use std::io;
use std::ops::Range;

/// Room for one read.
const CHUNK: usize = 16 * 1024;

/// A buffer between reads of any size and replies of any size.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buf: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// The bytes that have arrived and were not taken.
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.buf[self.start..self.end]
    }

    /// Lets a read append to the waiting bytes; returns how much it appended.
    pub(crate) fn fill(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buf.len() - self.end < CHUNK {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            self.buf.resize(self.buf.len().max(2 * self.end + CHUNK), 0);
        }
        let count = read(&mut self.buf[self.end..])?;
        self.end += count;
        Ok(count)
    }

    /// Takes bytes from the front; they stay in place until the next fill.
    pub(crate) fn take(&mut self, count: usize) -> Range<usize> {
        let taken = self.start..self.start + count;
        assert!(taken.end <= self.end, "took more bytes than have arrived");
        self.start = taken.end;
        taken
    }

    /// The bytes taken before, as long as nothing was filled since.
    pub(crate) fn taken(&self, range: Range<usize>) -> &[u8] {
        &self.buf[range]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_whatever_the_sizes() {
        let mut rng = fastrand_like(7);
        let (mut inbox, mut next_in, mut next_out) = (Inbox::default(), 0_u64, 0_u64);
        for _ in 0..2_000 {
            let wanted = rng() as usize % 40_000;
            let filled = inbox.fill(|room| {
                assert!(room.len() >= CHUNK);
                let count = wanted.min(room.len());
                for byte in &mut room[..count] {
                    *byte = (next_in % 251) as u8;
                    next_in += 1;
                }
                Ok(count)
            });
            assert!(filled.is_ok());
            let count = rng() as usize % (inbox.waiting().len() + 1);
            let taken = inbox.take(count);
            for byte in inbox.taken(taken) {
                assert_eq!(*byte, (next_out % 251) as u8);
                next_out += 1;
            }
        }
        assert_eq!(inbox.waiting().len() as u64, next_in - next_out);
    }

    /// A small generator of test sizes.
    fn fastrand_like(mut seed: u64) -> impl FnMut() -> u64 {
        move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 33
        }
    }
}
