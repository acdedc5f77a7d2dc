//! Signals about descriptors: `F_SETSIG`, `F_SETOWN_EX`, `O_ASYNC`, and `signalfd(2)` to read them.
//!
//! The kernel queues one real-time signal for each change of a descriptor. When the queue is full
//! (`RLIMIT_SIGPENDING`, counted per user) it sends one plain `SIGIO` instead, and what changed is
//! lost.
#![expect(unsafe_code, reason = "fcntl, rt_sigprocmask and signalfd4 are reached by number")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub use libc::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1,
    SIGUSR2, SIGWINCH,
};

/// A signal number.
pub type Signal = i32;

/// Sent in place of a real-time signal for which the queue had no room.
pub const OVERFLOW: Signal = libc::SIGIO;

/// `F_SETSIG`, `F_GETSIG`, `F_SETOWN_EX`, `F_GETOWN_EX` and `F_OWNER_TID` of
/// `<asm-generic/fcntl.h>`, which libc leaves out.
const SET_SIGNAL: i32 = 10;
const GET_SIGNAL: i32 = 11;
const SET_OWNER: i32 = 15;
const GET_OWNER: i32 = 16;
const OWNER_THREAD: i32 = 0;

/// Signals read in one batch.
const BATCH: usize = 64;

/// Returns the real-time signals that are free for programs.
pub fn real_time() -> std::ops::RangeInclusive<Signal> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

/// A set of signals in the kernel's layout: bit n − 1 is signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(u64);

impl SignalSet {
    /// Creates a set of some signals.
    pub fn of(signals: &[Signal]) -> SignalSet {
        SignalSet(signals.iter().fold(0, |set, signal| set | 1 << (signal - 1)))
    }
}

/// Blocks signals in this thread (and in threads it starts from now on).
pub fn block(signals: SignalSet) -> io::Result<()> {
    let (set, no_old) = (&raw const signals.0, std::ptr::null_mut::<u64>());
    let (call, how) = (libc::SYS_rt_sigprocmask, libc::SIG_BLOCK);
    // SAFETY: required: `set` valid for 8 bytes of reads. It is a `u64`.
    let answer = unsafe { libc::syscall(call, how, set, no_old, size_of::<u64>()) };
    check(answer)
}

/// What a process does on a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The system's default (`SIG_DFL`), most often ending the process.
    Default,
    /// Nothing (`SIG_IGN`).
    Ignore,
    /// A function runs.
    Handler,
}

/// Returns what this process does on a signal.
///
/// # Errors
///
/// `EINVAL` when there is no such signal.
#[doc(alias = "sigaction")]
pub fn disposition(signal: Signal) -> io::Result<Disposition> {
    // The kernel's `struct sigaction` begins with the handler, here and on every architecture but
    // MIPS; 64 bytes have room for all of it.
    let mut action = [0_usize; 8];
    let (call, no_new) = (libc::SYS_rt_sigaction, std::ptr::null::<u64>());
    // SAFETY: required: valid for writes of a kernel `sigaction`. The local is longer than that.
    check(unsafe { libc::syscall(call, signal, no_new, action.as_mut_ptr(), size_of::<u64>()) })?;
    Ok(match action[0] {
        libc::SIG_DFL => Disposition::Default,
        libc::SIG_IGN => Disposition::Ignore,
        _ => Disposition::Handler,
    })
}

/// Where the signals of a descriptor go, and which signal that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    thread: i32,
    signal: Signal,
}

impl Target {
    /// Returns the calling thread as the target.
    pub fn here(signal: Signal) -> Target {
        Target { thread: rustix::thread::gettid().as_raw_pid(), signal }
    }

    /// Returns the signal.
    pub fn signal(self) -> Signal {
        self.signal
    }
}

/// Directs the signals of a descriptor at a thread, with the descriptor's number in `si_fd`.
///
/// Applies to the open file description, so to every duplicate of the descriptor as well.
///
/// # Errors
///
/// The error of fcntl(2): `ENOTTY` if this kind of file sends no signals (regular files, eventfd,
/// epoll).
pub fn direct(fd: BorrowedFd<'_>, to: Target) -> io::Result<()> {
    let owner = Owner { kind: OWNER_THREAD, id: to.thread };
    let (call, number) = (libc::SYS_fcntl, fd.as_raw_fd());
    // SAFETY: required: a valid `f_owner_ex` for reads. It is a local of that layout.
    check(unsafe { libc::syscall(call, number, SET_OWNER, &raw const owner) })?;
    // SAFETY: required: nothing, the argument is a number.
    check(unsafe { libc::syscall(call, number, SET_SIGNAL, to.signal) })?;
    set_async(fd, true)
}

/// Returns `true` if the signals of a descriptor go to that target.
pub fn is_directed(fd: BorrowedFd<'_>, to: Target) -> bool {
    let mut owner = Owner { kind: 0, id: 0 };
    let (call, number) = (libc::SYS_fcntl, fd.as_raw_fd());
    // SAFETY: required: a valid `f_owner_ex` for writes. It is a local of that layout.
    let answer = unsafe { libc::syscall(call, number, GET_OWNER, &raw mut owner) };
    if answer < 0 || (owner.kind, owner.id) != (OWNER_THREAD, to.thread) {
        return false;
    }
    // SAFETY: required: nothing.
    let signal = unsafe { libc::syscall(call, number, GET_SIGNAL) };
    signal == libc::c_long::from(to.signal)
}

/// Switches the signals of a descriptor (`O_ASYNC`) on or off.
///
/// Uses `FIOASYNC`, one call that leaves the other status flags alone and fails if the file cannot
/// send signals, which `F_SETFL` does not.
pub fn set_async(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let on = i32::from(on);
    let (call, number) = (libc::SYS_ioctl, fd.as_raw_fd());
    // SAFETY: required: valid for reads of an `int`. It is a local.
    check(unsafe { libc::syscall(call, number, libc::FIOASYNC, &raw const on) })
}

/// `struct f_owner_ex`
#[repr(C)]
struct Owner {
    kind: i32,
    id: i32,
}

fn check(answer: libc::c_long) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The content of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The descriptor of this number changed in some way.
    Changed(RawFd),
    /// The queue was full: any descriptor may have changed.
    Overflow,
}

/// Reads blocked signals of the calling thread as data. Non-blocking and close-on-exec.
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
    buf: Box<[MaybeUninit<u8>]>,
}

const RECORD: usize = size_of::<libc::signalfd_siginfo>();
const SIGNAL_AT: usize = std::mem::offset_of!(libc::signalfd_siginfo, ssi_signo);
const FD_AT: usize = std::mem::offset_of!(libc::signalfd_siginfo, ssi_fd);

impl SignalFd {
    /// Opens a reader for some signals, which must be blocked.
    pub fn new(signals: SignalSet) -> io::Result<SignalFd> {
        let set = &raw const signals.0;
        let (call, flags) = (libc::SYS_signalfd4, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        // SAFETY: required: `set` valid for 8 bytes of reads. It is a `u64`.
        let fd = unsafe { libc::syscall(call, -1, set, size_of::<u64>(), flags) };
        check(fd)?;
        // SAFETY: required: an open descriptor without another owner. The kernel just made it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        Ok(SignalFd { fd, buf: Box::new_uninit_slice(BATCH * RECORD) })
    }

    /// Reads one batch and calls `take` with each note. Returns `true` if the batch was full: there
    /// may be more.
    pub fn read(&mut self, mut take: impl FnMut(Note)) -> io::Result<bool> {
        let (bytes, _) = match rustix::io::read(&self.fd, &mut *self.buf) {
            Ok(filled) => filled,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        for record in bytes.chunks_exact(RECORD) {
            take(match word(record, SIGNAL_AT) {
                OVERFLOW => Note::Overflow,
                _ => Note::Changed(word(record, FD_AT)),
            });
        }
        Ok(bytes.len() == BATCH * RECORD)
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn word(record: &[u8], at: usize) -> i32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&record[at..at + 4]);
    i32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_change_of_a_descriptor_arrives_as_its_number() {
        let signal = *real_time().start() + 20;
        let signals = SignalSet::of(&[signal, OVERFLOW]);
        block(signals).expect("block");
        let mut reader = SignalFd::new(signals).expect("a signalfd");
        let (mut a, b) = UnixStream::pair().expect("a pair");
        let here = Target::here(signal);
        assert!(!is_directed(b.as_fd(), here));
        direct(b.as_fd(), here).expect("direct");
        assert!(is_directed(b.as_fd(), here));
        assert!(!is_directed(b.as_fd(), Target::here(signal + 1)));
        a.write_all(b"x").expect("write");
        let mut notes = Vec::new();
        assert!(!reader.read(|note| notes.push(note)).expect("read"));
        assert!(notes.contains(&Note::Changed(b.as_raw_fd())), "{notes:?}");
        set_async(b.as_fd(), false).expect("off");
        notes.clear();
        a.write_all(b"y").expect("write");
        reader.read(|note| notes.push(note)).expect("read");
        assert_eq!(notes, []);
    }

    #[test]
    fn the_disposition_of_a_signal_can_be_asked_for() {
        assert_eq!(disposition(SIGUSR2).expect("a signal"), Disposition::Default);
        // std ignores it before `main`.
        assert_eq!(disposition(SIGPIPE).expect("a signal"), Disposition::Ignore);
        assert!(disposition(0).is_err());
    }

    #[test]
    fn a_file_that_sends_no_signals_says_so() {
        let file = std::fs::File::open("/proc/self/exe").expect("a file");
        let error =
            direct(file.as_fd(), Target::here(*real_time().start())).expect_err("no signals");
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
    }
}
