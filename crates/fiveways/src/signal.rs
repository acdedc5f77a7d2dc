//! Signals as data: tasks wait for them as for anything else.
//!
//! ```text
//!   handler (any thread, at any moment)          task
//!   ─────────────────────────────────            ────────────────────────────────
//!   set the signal's bit in `pending`            take the lowest bit of `pending`
//!   ring the bell (an eventfd)        ─────────▶ none: wait for the bell, quieten it, look again
//! ```
//!
//! Signals do not add up: several of one kind that arrive before the first is taken count as one,
//! as in the kernel.
//!
//! While this process does not wait for a signal here, the signal has its previous effect: a
//! handler that was installed before is called in any case, a signal that was ignored stays
//! ignored, and one that ended the process ends it again. (For the last case the handler stays
//! installed and acts as the system would have: other handlers may have been added, which must not
//! be lost. So a signal that other code began to handle through `signal-hook` while it was awaited
//! here ends the process once that wait is over.)

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use fiveways_sys::event_fd::EventFd;
use fiveways_sys::fault;
use fiveways_sys::lock::Mutex;
use fiveways_sys::net::duplicate;
use fiveways_sys::process::generation::{PerProcess, generation};
use fiveways_sys::signal::{Disposition, disposition};
use signal_hook::SigId;
use signal_hook::consts::FORBIDDEN;
use signal_hook::low_level::{emulate_default_handler, register, unregister};

pub use fiveways_sys::signal::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1,
    SIGUSR2, SIGWINCH, Signal,
};

use crate::descriptor::Descriptor;

/// One more than the highest signal.
const SIGNALS: usize = 65;

/// Receives signals, in tasks and threads; while it exists, they have no other effect.
///
/// # Examples
///
/// ```
/// use fiveways::signal::{SIGHUP, Signals};
///
/// # fn main() -> std::io::Result<()> {
/// let signals = Signals::new([SIGHUP])?;
/// let reloading = fiveways::task::spawn(move || signals.wait());
/// signal_hook::low_level::raise(SIGHUP)?;
/// assert_eq!(reloading.join().expect("it did not panic")?, SIGHUP);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Signals {
    // Dropped first: the handler uses the following fields.
    _watches: Vec<Watch>,
    inbox: Arc<Inbox>,
    bell: Descriptor,
}

#[derive(Debug)]
struct Inbox {
    /// The id of the process that owns the bell.
    process: Mutex<u64>,
    /// Bit n: signal n + 1 has arrived and was not taken. Set by handlers, cleared by receivers.
    pending: AtomicU64,
    bell: EventFd,
}

/// The bit of a signal; they are numbered from 1 to 64.
fn bit_of(signal: Signal) -> u64 {
    1 << (signal - 1)
}

impl Inbox {
    fn new(bell: EventFd) -> Inbox {
        Inbox { process: Mutex::new(generation()), pending: AtomicU64::new(0), bell }
    }

    /// Makes sure that a fork has a bell of its own under these numbers: the counter would be
    /// shared, and one process would reset it while another waits for it.
    fn renew_bell(&self, waited_for: &Descriptor) -> io::Result<()> {
        let mut process = self.process.lock();
        if *process != generation() {
            let new = EventFd::new()?;
            new.put_behind(self.bell.as_fd())?;
            new.put_behind(waited_for.as_fd())?;
            *process = generation();
            // A signal that came in between has rung either.
            self.bell.add_one();
        }
        Ok(())
    }

    fn put(&self, signal: Signal) {
        self.pending.fetch_or(bit_of(signal), Ordering::SeqCst);
        self.bell.add_one();
    }

    /// Takes one signal; if another is left, rings the bell again, for another task.
    fn take(&self) -> Option<Signal> {
        let lowest = |pending: u64| pending & pending.wrapping_neg();
        let update = |pending: u64| (pending != 0).then(|| pending & !lowest(pending));
        let before = self.pending.fetch_update(Ordering::SeqCst, Ordering::SeqCst, update).ok()?;
        let taken = lowest(before);
        if before != taken {
            self.bell.add_one();
        }
        Some(taken.trailing_zeros() as Signal + 1)
    }
}

impl Signals {
    /// Starts receiving the given signals.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a number that is no signal or for a signal that cannot be received
    /// (SIGKILL, SIGSTOP, SIGSEGV, SIGILL, SIGFPE); an error if no descriptor is left.
    #[doc(alias = "signalfd")]
    pub fn new(signals: impl IntoIterator<Item = Signal>) -> io::Result<Signals> {
        let bell = EventFd::new()?;
        let waited_for = Descriptor::new(duplicate(&bell)?);
        let inbox = Arc::new(Inbox::new(bell));
        let mut watches = Vec::new();
        for signal in signals {
            let inbox = Arc::clone(&inbox);
            watches.push(Watch::new(signal, move || inbox.put(signal))?);
        }
        Ok(Signals { _watches: watches, inbox, bell: waited_for })
    }

    /// Takes a signal that has arrived, if any.
    pub fn try_wait(&self) -> Option<Signal> {
        self.inbox.take()
    }

    /// Waits for a signal. Each is delivered to one of the waiters.
    ///
    /// # Suspends
    ///
    /// Until one arrives; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`; no signal is lost.
    ///
    /// # Errors
    ///
    /// Any error of the wait.
    #[doc(alias = "sigwait")]
    pub fn wait(&self) -> io::Result<Signal> {
        Ok(self.wait_by(None)?.expect("without a deadline one has come"))
    }

    /// Waits for a signal until a deadline; returns `None` if the deadline came first.
    ///
    /// # Suspends
    ///
    /// Until one arrives or the deadline has passed; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// Any error of the wait.
    #[doc(alias = "sigtimedwait")]
    pub fn wait_until(&self, deadline: Instant) -> io::Result<Option<Signal>> {
        self.wait_by(Some(deadline))
    }

    fn wait_by(&self, by: Option<Instant>) -> io::Result<Option<Signal>> {
        self.inbox.renew_bell(&self.bell)?;
        loop {
            let taken = self.inbox.take();
            if taken.is_some() || !self.bell.is_ready_by(false, by)? {
                return Ok(taken);
            }
            self.inbox.bell.reset();
        }
    }
}

impl Iterator for Signals {
    type Item = io::Result<Signal>;

    /// Waits for the next signal; the iterator never ends.
    fn next(&mut self) -> Option<io::Result<Signal>> {
        Some(self.wait())
    }
}

/// Waits for one signal. One that arrived before the call is not seen: use [`Signals`] for more
/// than one.
///
/// # Suspends
///
/// Until it arrives; a plain thread blocks.
///
/// # Errors
///
/// Those of [`Signals::new`]; `ECANCELED` in a cancelled task.
pub fn wait(signal: Signal) -> io::Result<()> {
    Signals::new([signal])?.wait().map(drop)
}

/// Waits for Ctrl-C (SIGINT).
///
/// # Suspends
///
/// Until it is pressed; a plain thread blocks.
///
/// # Errors
///
/// Those of [`Signals::new`]; `ECANCELED` in a cancelled task.
#[doc(alias = "KeyboardInterrupt")]
pub fn ctrl_c() -> io::Result<()> {
    wait(SIGINT)
}

/// Makes the present handler of a signal run on an alternate stack, if the interrupted thread has
/// one: threads that run tasks, generators or greenlets have, and std's.
///
/// A handler runs on the stack of the interrupted code unless it is installed with `SA_ONSTACK`,
/// and the kernel alone needs 1 to 4 KiB there: a task that has used nearly all of a small stack
/// would crash the process. Signals received by this module are handled correctly; call this after
/// a handler was installed by other means. The handler then has about 32 KiB (on other threads 8).
///
/// # Errors
///
/// `InvalidInput` if there is no such signal.
#[doc(alias = "SA_ONSTACK")]
pub fn handle_on_alternate_stack(signal: Signal) -> io::Result<()> {
    fault::handle_on_alternate_stack(signal)
}

/// The number of watches of each signal. At 0, the signal has its default effect.
static WATCHES: [AtomicU32; SIGNALS] = [const { AtomicU32::new(0) }; SIGNALS];

/// The signals that have been watched before, as bits. Written under [`FIRST`].
static KNOWN: AtomicU64 = AtomicU64::new(0);

/// Held while a signal is watched for the first time.
static FIRST: PerProcess<Mutex<()>> = PerProcess::new();

/// An action for a signal, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    signal: Signal,
    id: SigId,
}

impl Watch {
    /// Runs `action` in the signal's handler, so it must be async-signal-safe: it may use atomics
    /// and write to descriptors.
    #[expect(unsafe_code, reason = "the action runs in a signal handler")]
    pub(crate) fn new(
        signal: Signal,
        action: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Watch> {
        if !(1..SIGNALS as i32).contains(&signal) || FORBIDDEN.contains(&signal) {
            let message = format!("signal {signal} cannot be received");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        // Counted first: from its first moment on the handler must leave the signal to this module.
        WATCHES[signal as usize].fetch_add(1, Ordering::SeqCst);
        let registered = fall_back_to_default(signal).and_then(|()| {
            // SAFETY: required: async-signal-safe. Passed on to the callers, all in this crate.
            let id = unsafe { register(signal, action) }?;
            handle_on_alternate_stack(signal)?;
            Ok(id)
        });
        match registered {
            Ok(id) => Ok(Watch { signal, id }),
            Err(error) => {
                WATCHES[signal as usize].fetch_sub(1, Ordering::SeqCst);
                Err(error)
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // In this order: a signal that comes in between is seen by one of the two.
        WATCHES[self.signal as usize].fetch_sub(1, Ordering::SeqCst);
        unregister(self.id);
    }
}

/// Makes sure, once for each signal, that it has its default effect while there is no watch.
#[expect(unsafe_code, reason = "the action runs in a signal handler")]
fn fall_back_to_default(signal: Signal) -> io::Result<()> {
    let _first = FIRST.get(Mutex::default).lock();
    if KNOWN.load(Ordering::Relaxed) & bit_of(signal) != 0 {
        return Ok(());
    }
    if disposition(signal)? == Disposition::Default {
        let action = move || {
            if WATCHES[signal as usize].load(Ordering::SeqCst) == 0 {
                // It fails for signals that have no name; those do nothing.
                let _ = emulate_default_handler(signal);
            }
        };
        // SAFETY: required: async-signal-safe. An atomic load is, and the other says that it is.
        unsafe { register(signal, action) }?;
    }
    KNOWN.fetch_or(bit_of(signal), Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_taken_once_and_the_rest_rings_again() {
        let inbox = Inbox::new(EventFd::new().expect("an eventfd"));
        assert_eq!(inbox.take(), None);
        inbox.put(SIGTERM);
        inbox.put(SIGHUP);
        inbox.put(SIGHUP);
        assert!(inbox.bell.reset());
        assert_eq!(inbox.take(), Some(SIGHUP));
        assert!(inbox.bell.reset(), "SIGTERM is left: it must ring");
        assert_eq!(inbox.take(), Some(SIGTERM));
        assert!(!inbox.bell.reset());
        assert_eq!(inbox.take(), None);
    }

    #[test]
    fn the_first_and_the_last_signal_have_bits_of_their_own() {
        let inbox = Inbox::new(EventFd::new().expect("an eventfd"));
        inbox.put(64);
        inbox.put(1);
        assert_eq!([inbox.take(), inbox.take(), inbox.take()], [Some(1), Some(64), None]);
    }

    #[test]
    fn what_cannot_be_received_is_refused() {
        for signal in [-1, 0, 9, 11, 19, 65, 1000] {
            let error = Signals::new([signal]).expect_err("no signal for programs");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        }
    }
}
