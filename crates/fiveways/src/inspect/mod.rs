//! Inspecting a running program: what every task waits for, and since when.
//!
//! - [`dump`] lists all tasks of all runtimes of the process: name, state, what they wait for (the
//!   descriptor and its peer, the lock and its holder, the time left), for how long, where and by
//!   which task they were spawned, their backtraces, and their stack usage; and the plain threads
//!   that are blocked in a wait of this library. A [`Dump`] can be printed as text and serialised.
//! - [`on_sigquit`] prints one on stderr when the process gets `SIGQUIT` (Ctrl-\ in a terminal).
//! - [`listen`] lets `fiveways dump PID` and `fiveways top PID` of the same user inspect the
//!   process from outside, by means of [`of_process`].
//! - [`watchdog`] reports a worker that does not return to its scheduler, because a task computes
//!   for a long time or blocks the thread, and identifies that task. In debug builds it is on by
//!   default, with a limit of one second; `FIVEWAYS_WATCHDOG=off` turns it off.
//! - [`detect_deadlocks`] sets how deadlocks are handled: debug builds report them by default.
//!
//! # Deadlocks
//!
//! Waits for locks, joins and futures of pools that can only end when another of them does are
//! detected when the last of them begins: reliably, and without false positives. Waits with a
//! deadline, and waits that any thread may end (semaphores, events, `select!`), are not covered.
//! Debug builds report each deadlock on stderr; the environment variable `FIVEWAYS_DEADLOCK`
//! overrides that with `off`, `report` or `panic`. A wait for a future returns an error instead.
//!
//! Channels and queues that are created while detection is on record their participants: the tasks
//! and threads that created them, cloned a handle, sent or received. If all participants wait for
//! each other, a [`Dump`] lists the waits as a suspected deadlock. This is no proof (a handle may
//! have been moved to a task that has not used it yet), so it is printed only in dumps.
//!
//! With detection on, a plain thread that joins a task (as `block_on` does) also notices that *all
//! tasks are asleep*: no worker runs, and there is no deadline, no operation in progress, and no
//! message. That is reported after one second; if the process has other threads, which may be about
//! to wake a task, after ten. Threads that do so later are not known.
//!
//! # What it costs
//!
//! Nothing until used, except for a few loads and stores each time a task suspends, and the
//! watchdog of debug builds: a thread that checks four times a second, and only while a worker is
//! busy. A dump takes each worker some microseconds per task, in slices between which other tasks
//! run. To take a task's backtrace, the task is resumed and immediately suspended again, without
//! running its own code.

mod socket;
mod clients;

use std::io;
use std::thread;
use std::time::Duration;

pub use fiveways_runtime::{
    Counts, Deadlock, Detection, Dump, DumpOptions as Options, Frame, Identity, Incident, Link,
    LostTask, Place, RuntimeDump, ShutdownReport, Stuck, SuspectedWait, TaskDump, TaskState,
    ThreadDump, Wait, Watchdog, WorkerDump, deadlocks_found, detect_deadlocks, incidents,
    watch_workers as watchdog,
};
use fiveways_runtime::{ServiceThread, unblock};
use fiveways_sys::fault::write_to_stderr;
use fiveways_sys::lock::Mutex;
use fiveways_sys::process::generation::PerProcess;

pub use socket::{listen, of_process, processes};

use crate::signal::{SIGQUIT, Signals};

/// Lists all tasks of all runtimes of the process, with backtraces.
///
/// Workers answer one after the other; a worker that is blocked by a task is inspected by signal
/// after one second.
///
/// # Suspends
///
/// Until all workers have answered; a plain thread blocks.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fiveways::{inspect, task, time};
///
/// # fn main() -> std::io::Result<()> {
/// let idler = task::Builder::new().name("idler");
/// let idler = idler.spawn(|| time::sleep(Duration::from_secs(60)))?;
/// let dump = task::spawn(inspect::dump).join().expect("it did not panic");
/// assert!(dump.to_string().contains("'idler': asleep"));
/// # idler.cancel();
/// # Ok(())
/// # }
/// ```
#[doc(alias = "print_run_info")]
#[doc(alias = "jstack")]
#[doc(alias = "faulthandler")]
pub fn dump() -> Dump {
    dump_with(&Options::new())
}

/// As [`dump`], with options.
///
/// # Suspends
///
/// Until all workers have answered; a plain thread blocks.
pub fn dump_with(options: &Options) -> Dump {
    let options = options.clone();
    unblock(move || options.dump())
}

/// Whether the threads of one kind have been started; a fork has none of them.
struct Started(PerProcess<Mutex<bool>>);

impl Started {
    const fn never() -> Started {
        Started(PerProcess::new())
    }

    /// Runs `start` unless it has already run in this process.
    fn once(&self, start: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let started = self.0.get(Mutex::default);
        let mut started = started.lock();
        if !*started {
            start()?;
            *started = true;
        }
        Ok(())
    }
}

/// Starts a service thread.
fn service_thread(name: &str, life: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let life = move || {
        let _onlooker = ServiceThread::enter();
        life();
    };
    thread::Builder::new().name(name.to_owned()).spawn(life).map(drop)
}

/// Prints a dump on stderr whenever the process gets `SIGQUIT`, which then no longer ends it.
///
/// Runs in a separate thread; later calls do nothing. After a fork, the child must call it again.
///
/// # Errors
///
/// If the thread cannot be started, or no descriptor is left.
pub fn on_sigquit() -> io::Result<()> {
    static STARTED: Started = Started::never();
    STARTED.once(|| {
        let signals = Signals::new([SIGQUIT])?;
        service_thread("fiveways-sigquit", move || {
            while signals.wait().is_ok() {
                let text = Options::new().patience(Duration::from_secs(1)).dump().to_string();
                write_to_stderr(format!("\n{text}").as_bytes());
            }
        })
    })
}
