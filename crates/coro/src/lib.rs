//! Stackful coroutines on guarded, pooled stacks; knows no I/O.
//!
//! The only crate of Fiveways that switches stacks (I2). It wraps `corosensei`, which does the
//! switch itself, and adds what a runtime with a million tasks needs: stacks from large mappings, a
//! guard under each, the control block at the top of the task's own stack, and a readable message
//! when a stack overflows.
//!
//! A slot, one of 16 to 1,024 in a slab:
//!
//! ```text
//!   high ┌──────────────────────────────┐
//!        │ colour: 0, 320 … 1,920 bytes │  staggers the hot lines over the cache's sets
//!        ├──────────────────────────────┤
//!        │ stack name, 64 bytes         │  read by the overflow handler
//!        ├──────────────────────────────┤
//!        │ head: stack, header H        │  ◀── NonNull<H>, on a cache line of its own
//!        │       switch state, 48 bytes │  ┐
//!        ├──────────────────────────────┤◀─┼─ base
//!        │ parent link, 16 bytes        │  ┘ one cache line
//!        │ frames of the body           │
//!        │   ⋮ grows down               │  untouched pages cost nothing
//!        ├──────────────────────────────┤◀── limit + guard
//!        │ guard, 64 KiB                │  touching it is SIGSEGV
//!   low  └──────────────────────────────┘◀── limit
//! ```
//!
//! Rust's frames are probed page by page as they grow; those of C usually are not, and step over a
//! guard that is smaller than themselves. A guard is address space only.
//!
//! So a task that waits with less than about 1 KiB of frames owns one touched page, whatever its
//! colour.

#[cfg(not(panic = "unwind"))]
compile_error!(
    "Fiveways needs `panic = \"unwind\"`: cancelled tasks, time limits and generators that are \
     dropped end by unwinding their stacks, which would end the process instead"
);

mod coroutine;
mod fiber;
mod pool;
mod stack;
mod slab;
mod overflow;
mod tsan_fiber;
mod slab_registry;
mod slot_layout;
mod stack_name;

pub use coroutine::{Coroutine, Phase, Suspender};
pub use fiber::{Fiber, State};
pub use overflow::{install_overflow_handler, prepare_thread};
pub use pool::{Guard, StackPool};
pub use stack::Stack;

/// The default size of a stack: room for `println!`, a TLS handshake and a panic with a backtrace
/// in a debug build.
pub const DEFAULT_STACK_SIZE: usize = 256 * 1024;
