//! Running a function in another thread by a signal, whatever that thread does.
//!
//! ```text
//!   interrupt(thread) ── tgkill(SIGURG) ──▶ our action in that thread ──▶ observer(interrupted)
//!                                                  │ the action that was there before us runs too
//! ```
//!
//! SIGURG, as in Go: debuggers let it pass, libc does not use it, and by itself it does nothing.
//! The observer runs in the signal handler and may only do what signal-safety(7) allows. The action
//! runs on the alternate stack: a small stack has no room for it.
#![expect(unsafe_code, reason = "signal actions are a raw interface")]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem;
use std::time::Duration;

use libc::SIGURG;

use crate::process::set_once::SetOnce;

/// The kernel's number of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thread(i32);

impl Thread {
    /// Returns the calling thread.
    pub fn current() -> Thread {
        Thread(rustix::thread::gettid().as_raw_pid())
    }

    /// Returns the number.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Returns the total time that the thread, one of this process, has been ready to run without a
    /// processor.
    ///
    /// # Errors
    ///
    /// `NotFound` if it has ended, and on kernels that do not count this (`CONFIG_SCHED_INFO`).
    #[doc(alias = "schedstat")]
    pub fn time_in_run_queue(self) -> io::Result<Duration> {
        let text = std::fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.0))?;
        let nanos = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        nanos.map(Duration::from_nanos).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// The state of a thread when it was interrupted.
#[derive(Clone, Copy, Debug)]
pub struct Interrupted {
    /// The next instruction, on processors that this file knows.
    pub instruction: Option<usize>,
}

/// Called with the state of the interrupted thread, in the signal handler.
pub type Observer = fn(Interrupted);

struct Installed {
    observer: Observer,
    previous: libc::sigaction,
}

static INSTALLED: SetOnce<Installed> = SetOnce::new();

/// Installs the one observer of this process; later calls change nothing.
///
/// # Errors
///
/// Those of sigaction(2); none is known to happen.
pub fn observe(observer: Observer) -> io::Result<()> {
    if INSTALLED.get().is_some() {
        return Ok(());
    }
    // SAFETY: required: zeroes are a valid value. It is a C structure.
    let mut previous: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: required: valid or null pointers. `previous` is a local of the right type.
    check(unsafe { libc::sigaction(SIGURG, std::ptr::null(), &raw mut previous) })?;
    // The handler reads `INSTALLED`, so it is filled first; the loser of a race has nothing to do.
    if !INSTALLED.set(Installed { observer, previous }) {
        return Ok(());
    }
    // SAFETY: required: zeroes are a valid value. It is a C structure: no flags, empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_interrupt;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: required: an action that is fit for the signal. It does what is safe in handlers.
    check(unsafe { libc::sigaction(SIGURG, &raw const action, std::ptr::null_mut()) })
}

/// Makes a thread of this process run the observer soon.
///
/// # Errors
///
/// `ESRCH` if it has ended.
#[doc(alias = "tgkill")]
pub fn interrupt(thread: Thread) -> io::Result<()> {
    let process = rustix::process::getpid().as_raw_pid();
    // SAFETY: required: nothing, the arguments are numbers.
    let answer = unsafe { libc::syscall(libc::SYS_tgkill, process, thread.0, SIGURG) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check(answer: c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The action of SIGURG.
extern "C" fn on_interrupt(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(installed) = INSTALLED.get() else { return };
    // SAFETY: required: nothing. It is this thread's own variable.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: required: valid. libc gave it.
    let kept = unsafe { *errno };
    (installed.observer)(Interrupted { instruction: instruction(context) });
    chain(&installed.previous, signal, info, context);
    // SAFETY: required: valid. libc gave it.
    unsafe { *errno = kept };
}

/// Calls the previous action; by default there is none.
fn chain(
    previous: &libc::sigaction,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    let handler = previous.sa_sigaction;
    if handler == libc::SIG_IGN || handler == libc::SIG_DFL {
        return;
    }
    if previous.sa_flags & libc::SA_SIGINFO != 0 {
        type Full = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
        // SAFETY: required: a function of this type. SA_SIGINFO was set when it was installed.
        let call = unsafe { mem::transmute::<usize, Full>(handler) };
        call(signal, info, context);
    } else {
        // SAFETY: required: a function of this type. SA_SIGINFO was not set when it was installed.
        let call = unsafe { mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
        call(signal);
    }
}

/// Returns the instruction pointer of the interrupted code.
fn instruction(context: *mut c_void) -> Option<usize> {
    let context = context.cast::<libc::ucontext_t>();
    if context.is_null() {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    // SAFETY: required: valid. The kernel gives it with SA_SIGINFO.
    return Some(unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] } as usize);
    #[cfg(target_arch = "aarch64")]
    // SAFETY: required: valid. The kernel gives it with SA_SIGINFO.
    return Some(unsafe { (*context).uc_mcontext.pc } as usize);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    None
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    static SEEN: AtomicI32 = AtomicI32::new(0);
    static WHERE: AtomicUsize = AtomicUsize::new(0);

    fn note(interrupted: Interrupted) {
        WHERE.store(interrupted.instruction.unwrap_or(1), Ordering::Relaxed);
        SEEN.store(Thread::current().number(), Ordering::Release);
    }

    #[test]
    fn the_thread_that_was_asked_runs_the_observer() {
        observe(note).expect("installed");
        let (tx, rx) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let other = thread::spawn(move || {
            tx.send(Thread::current()).expect("awaited");
            // Interrupted in here, and not ended by it.
            let _ = ended.recv();
        });
        let thread = rx.recv().expect("sent");
        interrupt(thread).expect("it lives");
        while SEEN.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        assert_eq!(SEEN.load(Ordering::Relaxed), thread.number());
        assert_ne!(WHERE.load(Ordering::Relaxed), 0);
        drop(end);
        other.join().expect("no panic");
        assert!(interrupt(Thread(i32::MAX)).is_err());
    }
}
