//! Pipes, terminals and other descriptors that are read and written by read(2) and write(2).
//!
//! They have no per-call "do not wait" as sockets have (I5). A descriptor that only this process
//! uses can be made non-blocking ([`set_nonblocking`](crate::net::set_nonblocking)); one that is
//! shared with other processes, as standard input is, must keep its mode: [`read_if_ready`].
//!
//! Reference: pipe(7), preadv2(2).
#![expect(unsafe_code, reason = "a descriptor comes as a number from another process")]

use std::io::{self, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::time::Instant;

use rustix::io::{Errno, ReadWriteFlags};

use crate::net::wait_ready;

/// Reads once; repeats the call after an interruption.
///
/// # Errors
///
/// The error of read(2): `WouldBlock` from a non-blocking descriptor that has no data.
pub fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut *buf))?)
}

/// Writes once; repeats the call after an interruption.
///
/// # Errors
///
/// The error of write(2): `WouldBlock` from a non-blocking descriptor that has no room.
pub fn write(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| rustix::io::write(fd, buf))?)
}

/// Reads from a descriptor in blocking mode if it has data, without waiting.
///
/// Pipes support exactly that (`RWF_NOWAIT`). Terminals do not: they are polled first, so another
/// process that reads in between makes this wait.
///
/// # Errors
///
/// `WouldBlock` if there is no data; else the error of read(2).
pub fn read_if_ready(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    const HERE: u64 = u64::MAX;
    let mut bufs = [IoSliceMut::new(buf)];
    let flags = ReadWriteFlags::NOWAIT;
    let at_once = || rustix::io::preadv2(fd, &mut bufs, HERE, flags);
    match rustix::io::retry_on_intr(at_once) {
        // `EAGAIN` is also the answer for a file whose bytes are on the disk.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::SPIPE | Errno::INVAL | Errno::AGAIN) => {}
        result => return Ok(result?),
    }
    match wait_ready(fd, false, Some(Instant::now()))? {
        true => read(fd, buf),
        false => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Duplicates standard input, close-on-exec.
///
/// # Errors
///
/// If there is no descriptor left.
pub fn standard_input() -> io::Result<OwnedFd> {
    duplicate_high(rustix::stdio::stdin())
}

/// Duplicates a descriptor to a number above those of the standard streams, close-on-exec.
///
/// # Errors
///
/// If there is no descriptor left.
pub fn duplicate_high(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

/// Duplicates the descriptor of a number that came from another process, close-on-exec.
///
/// # Errors
///
/// `EBADF` if it is not open.
pub fn duplicate_number(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: required: open for the length of the use, not -1. It is not negative; if it is not
    // open the kernel answers with an error, and nothing else happens.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    duplicate_high(fd)
}

/// Lets a descriptor survive the start of another program. Allocates nothing, so it may be called
/// between fork and exec.
///
/// # Errors
///
/// The error of fcntl(2).
pub fn keep_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn a_pipe_in_blocking_mode_is_read_without_waiting() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let mut buf = [0; 8];
        let error = read_if_ready(reader.as_fd(), &mut buf).expect_err("nothing is there");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        writer.write_all(b"abc").expect("room");
        assert_eq!(read_if_ready(reader.as_fd(), &mut buf).expect("it is there"), 3);
        drop(writer);
        assert_eq!(read_if_ready(reader.as_fd(), &mut buf).expect("the end"), 0);
    }

    #[test]
    fn a_file_is_read_where_it_stands() {
        let file = std::fs::File::open("/proc/self/exe").expect("a file");
        let mut magic = [0; 4];
        assert_eq!(read_if_ready(file.as_fd(), &mut magic).expect("a file"), 4);
        assert_eq!(&magic, b"\x7fELF");
        assert_eq!(read_if_ready(file.as_fd(), &mut magic).expect("a file"), 4);
        assert_ne!(&magic, b"\x7fELF");
    }
}
