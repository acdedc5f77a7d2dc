//! Which processor a thread may run on.

use std::io;

/// Keeps the calling thread, and what it starts later, on one processor.
///
/// Makes one system call and allocates nothing, so it may run between fork and exec.
pub fn pin(processor: usize) -> io::Result<()> {
    // SAFETY: a `cpu_set_t` is an array of integers, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if processor >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the index was checked against the size of the set.
    unsafe { libc::CPU_SET(processor, &mut set) };
    let len = size_of::<libc::cpu_set_t>();
    // SAFETY: `set` is live and `len` bytes long; the call only reads it.
    let answer = unsafe { libc::sched_setaffinity(0, len, &raw const set) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
