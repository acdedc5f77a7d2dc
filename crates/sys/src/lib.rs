//! Typed, I/O-safe system calls: the only place of Fiveways that calls the kernel.
//!
//! Invariant I1: nothing here goes through libc's hookable I/O symbols. Calls are made by `rustix`
//! (inline assembly), by `io-uring`, or by `libc::syscall` for what those two leave out, so the
//! libc patch can never capture the runtime itself.

#[cfg(not(target_os = "linux"))]
compile_error!("Fiveways runs on Linux only: what cannot be tested elsewhere is not claimed");

pub mod clock;
pub mod thread;
pub mod multiplex;
pub mod errno;
pub mod event_fd;
pub mod pipe;
pub mod fault;
pub mod lock;
pub mod process;
pub mod signal;
pub mod terminal;
pub mod uring;
pub mod memory;
pub mod net;
