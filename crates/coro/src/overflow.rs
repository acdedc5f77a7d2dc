//! Reporting which task has overflowed its stack, instead of a bare SIGSEGV.
//!
//! Nothing is recorded when stacks are switched: the handler finds the slab from the fault's
//! address, the slot from the slab, and the name from the slot. It runs on the alternate signal
//! stack and does only loads, formatting into a local buffer and write(2).
#![expect(unsafe_code, reason = "reads the stack's name by its address")]

use std::io;

use fiveways_sys::fault::{self, Fault};

use crate::slab_registry;
use crate::stack_name::{NAME_MAX, StackName};

/// Installs a handler that ends the process at an overflow of a coroutine's stack, with a message
/// that names the task and its stack's size. Once per process; later calls do nothing. Other faults
/// are passed to the previous action.
///
/// Threads that run coroutines also call [`prepare_thread`].
///
/// # Errors
///
/// Those of sigaction(2); none is known to happen.
pub fn install_overflow_handler() -> io::Result<()> {
    fault::observe(report)
}

/// Gives this thread an alternate signal stack if it has none: without one, an overflow kills the
/// process with no message.
///
/// # Errors
///
/// `ENOMEM` if that stack cannot be mapped.
pub fn prepare_thread() -> io::Result<()> {
    fault::ensure_alternate_stack()
}

/// Reports a fault that is an overflow; runs in the signal handler.
fn report(fault: Fault) -> bool {
    let Some(place) = slab_registry::find(fault.address) else { return false };
    let (low, slot_layout) = (place.low(), place.slot_layout);
    let in_guard = fault.address < low + slot_layout.guard;
    // A stray access to a guard from another stack is not an overflow. Frames are probed page by
    // page, so an overflowing one still points into its own slot.
    let slot = low..low + slot_layout.slot;
    let on_stack = fault.stack_pointer.is_none_or(|pointer| slot.contains(&pointer));
    if !in_guard || !on_stack {
        return false;
    }
    let stack_name = place.slab + slot_layout.stack_name(place.index);
    // SAFETY: required: a name is there, shared. We run on that very stack, so it is mapped; names
    // are atomics and all bit patterns are valid.
    let stack_name = unsafe { &*(stack_name as *const StackName) };
    let mut name = [0; NAME_MAX];
    let mut line = Line::default();
    line.push(b"\nfiveways: task '");
    line.push(match stack_name.read(&mut name) {
        b"" => b"unnamed",
        name => name,
    });
    line.push(b"' has overflowed its stack of ");
    line.push_number(slot_layout.usable() / 1024);
    line.push(b" KiB (hint: spawn it with a larger one: task::Builder::stack_size)\n");
    fault::write_to_stderr(line.bytes());
    true
}

/// A message of bounded length, formatted without allocating.
struct Line {
    bytes: [u8; 256],
    len: usize,
}

impl Default for Line {
    fn default() -> Line {
        Line { bytes: [0; 256], len: 0 }
    }
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = *byte;
                self.len += 1;
            }
        }
    }

    fn push_number(&mut self, number: usize) {
        if number >= 10 {
            self.push_number(number / 10);
        }
        self.push(&[b'0' + (number % 10) as u8]);
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full_and_long_lines_are_cut() {
        let mut line = Line::default();
        line.push(b"x");
        line.push_number(1_048_570);
        line.push_number(0);
        assert_eq!(line.bytes(), b"x10485700");
        line.push(&[b'y'; 300]);
        assert_eq!(line.bytes().len(), 256);
    }
}
