//! The name of a stack: the task that runs on it, for the overflow handler and for dumps.
//!
//! Its place follows from the slot's number alone, so that a signal handler finds it from the
//! fault's address. It is written by the thread that owns the stack and read by the same thread,
//! possibly inside a signal handler; its bytes are atomic, so the worst result of an interrupted
//! write is a torn name.

use std::sync::atomic::{AtomicU8, Ordering};

/// Bytes of a name that are kept.
pub(crate) const NAME_MAX: usize = 63;

/// A name of at most [`NAME_MAX`] bytes of UTF-8; one cache line.
#[repr(C, align(64))]
pub(crate) struct StackName {
    len: AtomicU8,
    bytes: [AtomicU8; NAME_MAX],
}

impl StackName {
    /// Clears the name. One store: this is on the path of every spawn.
    #[inline]
    pub(crate) fn clear(&self) {
        self.len.store(0, Ordering::Relaxed);
    }

    /// Writes a name, cut at a character if it is too long.
    pub(crate) fn set(&self, name: &str) {
        let kept = &name[..name.floor_char_boundary(NAME_MAX)];
        self.clear();
        for (to, from) in self.bytes.iter().zip(kept.bytes()) {
            to.store(from, Ordering::Relaxed);
        }
        self.len.store(kept.len() as u8, Ordering::Relaxed);
    }

    /// Copies the name out; safe in a signal handler.
    pub(crate) fn read<'a>(&self, into: &'a mut [u8; NAME_MAX]) -> &'a [u8] {
        let len = usize::from(self.len.load(Ordering::Relaxed)).min(NAME_MAX);
        for (to, from) in into.iter_mut().zip(&self.bytes) {
            *to = from.load(Ordering::Relaxed);
        }
        &into[..len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str) -> String {
        let stack_name =
            StackName { len: AtomicU8::new(9), bytes: [const { AtomicU8::new(0xff) }; NAME_MAX] };
        stack_name.set(name);
        let mut bytes = [0; NAME_MAX];
        String::from_utf8(stack_name.read(&mut bytes).to_vec()).expect("whole characters")
    }

    #[test]
    fn a_name_is_read_as_it_was_written() {
        for name in ["", "a", "acceptor", &"x".repeat(63)] {
            assert_eq!(written(name), name);
        }
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        assert_eq!(written(&"x".repeat(64)), "x".repeat(63));
        assert_eq!(written(&"ü".repeat(40)), "ü".repeat(31));
    }
}
