//! Seeing inside a running program: what every task waits for, and since when.
//!
//! - [`dump`] tells of all tasks of all runtimes of the process: name, state, what they wait for
//!   (the descriptor and its peer, the lock and who holds it, the time left), for how long, where
//!   they were spawned and by whom, where they stand, how deep their stacks have been used; and of
//!   the plain threads that are blocked in a wait of this library. A [`Dump`] prints as text, and
//!   serialises.
//! - [`on_sigquit`] prints one on stderr when the process gets `SIGQUIT` (Ctrl-\ in a terminal).
//! - [`listen`] lets `fiveways dump PID` and `fiveways top PID` look in from outside, if they are
//!   the same user's; [`of_process`] is what they use.
//! - [`watchdog`] reports a worker that does not come back to its scheduler, because a task
//!   computes for long or calls what blocks the thread, and which task that is: in debug builds
//!   without being asked, after a second; `FIVEWAYS_WATCHDOG=off` turns it off.
//! - [`detect_deadlocks`] sets what is done about deadlocks: in debug builds they are reported.
//!
//! # Deadlocks
//!
//! Waits for locks, joins and futures of pools that can only end when another of them does are
//! found when the last of them begins: with certainty, and without false alarms. Waits with a
//! deadline and waits that anybody may end (semaphores, events, `select!`) are no part of it. In
//! debug builds each is reported on stderr; the environment says otherwise with
//! `FIVEWAYS_DEADLOCK=off`, `report` or
//! `panic`. Who waits for a future is not reported to but told, by its error.
//!
//! Channels and queues that are made meanwhile record their participants: the tasks and threads
//! that made them, cloned a handle, sent or received. If all participants wait for each other, a
//! [`Dump`] lists the waits as a suspected deadlock. It is no proof (a handle may have been moved
//! to a task that has not used it yet), so nothing is printed unless a dump is asked for.
//!
//! Where deadlocks are looked for, a plain thread that joins a task (as `block_on` does) also
//! notices that *all tasks are asleep*: no worker runs, no deadline is set, no operation is under
//! way, no message. That is reported after a second; if the process has other threads, which may be
//! about to wake a task, after ten. Threads that do so later are not known of.
//!
//! # What it costs
//!
//! Nothing until asked, but for a few loads and stores each time a task is suspended, and the
//! watchdog of debug builds: a thread that looks four times a second, and only while a worker
//! works. A dump takes each worker some microseconds a task, in slices between which other tasks
//! run. A task that is asked where it stands is resumed for that and suspended at once; it notices
//! nothing.

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
use fiveways_sys::generation::PerProcess;
use fiveways_sys::lock::Mutex;

pub use socket::{listen, of_process, processes};

use crate::signal::{SIGQUIT, Signals};

/// Tells of all tasks of all runtimes of the process, with backtraces.
///
/// Worker after worker answers; one that is kept by a task is looked at by signal after a second.
///
/// # Suspends
///
/// Until all have answered; a plain thread blocks.
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

/// As [`dump`], with a choice of what is told.
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

    /// Runs `start` unless it has been in this process.
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

/// Starts a thread that looks at others.
fn service_thread(name: &str, life: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let life = move || {
        let _onlooker = ServiceThread::enter();
        life();
    };
    thread::Builder::new().name(name.to_owned()).spawn(life).map(drop)
}

/// Prints a dump on stderr whenever the process gets `SIGQUIT`, which then ends it no more.
///
/// By a thread of its own; later calls do nothing. After a fork, the child calls it again.
///
/// # Errors
///
/// When the thread cannot be started, or no descriptor is left.
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
