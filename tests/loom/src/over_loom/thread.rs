//! In the place of `std::thread`: all of loom's threads are one to std.

pub use std::thread::Result;

/// Does the calling thread unwind?
pub fn panicking() -> bool {
    crate::park::limits::unwinds()
}
