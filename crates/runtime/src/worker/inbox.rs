//! A worker's inbox: the only way in from other threads.
//!
//! # Invariants
//!
//! Tests are in `tests/runtime`, in the file that is named.
//!
//! 1. A message that was sent is seen by the worker's last look before it sleeps, or is followed by
//!    a wake-up. The worker sets `asleep` before it sleeps in the driver and looks at the queue
//!    once more; a sender that finds `asleep` set clears it and wakes the driver. A busy worker
//!    costs senders no system call (`parking`:
//!    `no_wake_up_is_lost_in_a_million_hand_overs_between_two_workers`,
//!    `no_wake_up_is_lost_on_any_model`).
//! 2. `filled` is true while the queue holds a message: both change under the queue's lock (the
//!    same tests).
//! 3. A task that was announced can be sent: the worker takes messages until it has arrived.
//!    `coming` rises before the sender reads `leaving`; `leaving` is set before the worker reads
//!    `coming` (`ending`: `tasks_sent_while_the_runtime_ends_are_refused_or_come_to_an_end`;
//!    `storms`: `heavy_a_storm_of_spawns_from_64_threads_loses_no_task`).
//! 4. A closed queue accepts no message, and neither does the inbox of another process (`parking`:
//!    `an_unpark_after_the_end_of_the_task_reaches_nobody`;
//!    `a_join_in_a_fork_of_a_task_that_is_elsewhere_does_not_wait` of the workspace).

use std::mem;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use fiveways_driver::Waker;
use fiveways_sys::lock::Mutex;
use fiveways_sys::process::generation::generation;
use fiveways_sys::thread::interrupt::Thread;

use crate::dump_data::LostTask;
use crate::task_block::TaskId;

/// Starts a task, on the worker and between tasks.
pub(crate) type Start = Box<dyn FnOnce() + Send>;

/// Work for a worker, from another thread.
pub(crate) enum Message {
    /// A task to be started.
    Run(Start),
    /// Unparks a task.
    Wake(TaskId),
    /// Cancels a task.
    Cancel(TaskId),
    /// Runs a function that inspects the worker, between two tasks.
    Inspect(Start),
    /// Cancels every task and ends when none is left.
    Shutdown,
}

/// The part of a worker that other threads use.
pub(crate) struct Inbox {
    pub(crate) index: u32,
    /// The generation of the process that the worker's thread belongs to.
    process: u64,
    queue: Mutex<Queue>,
    /// Whether the queue holds a message. Written under its lock.
    filled: AtomicBool,
    /// Whether the worker is about to sleep, or asleep.
    asleep: AtomicBool,
    waker: OnceLock<Waker>,
    /// The worker's thread while it runs; for signals, which are sent under the lock.
    pub(crate) thread: Mutex<Option<Thread>>,
    /// What the worker is doing, see [`WorkerStatus`]. Written by the worker alone.
    status: AtomicU64,
    /// Tasks that were cancelled because the worker ended; `None` if they are not wanted.
    pub(crate) lost: Mutex<Option<Vec<LostTask>>>,
    /// Live tasks, for placement and statistics. Written by the worker alone.
    pub(crate) live: AtomicUsize,
    /// Tasks on their way to the worker. Raised by senders, lowered by the worker (and by a sender
    /// that is refused).
    coming: AtomicUsize,
    /// Whether the worker refuses tasks. false → true, and back if a task was on its way; written
    /// by the worker.
    leaving: AtomicBool,
}

/// What a worker does at the moment of the look: the number of its rounds, and whether it sleeps.
///
/// ```text
///   bits 63…2   rounds, counting up
///   bits 1, 0   00 running   01 asleep until something comes   11 asleep, and nothing is to come:
///               no deadline, no operation in the driver
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerStatus(u64);

impl WorkerStatus {
    const ROUND: u64 = 4;
    const ASLEEP: u64 = 1;
    const NOTHING_TO_COME: u64 = 2;

    pub(crate) fn rounds(self) -> u64 {
        self.0 / WorkerStatus::ROUND
    }

    pub(crate) fn is_asleep(self) -> bool {
        self.0 & WorkerStatus::ASLEEP != 0
    }

    /// Returns `true` if it sleeps and only other threads could end its sleep.
    pub(crate) fn is_asleep_for_good(self) -> bool {
        self.0 & WorkerStatus::NOTHING_TO_COME != 0
    }
}

#[derive(Default)]
struct Queue {
    messages: Vec<Message>,
    closed: bool,
}

impl Inbox {
    pub(crate) fn new(index: u32) -> Inbox {
        Inbox {
            index,
            process: generation(),
            queue: Mutex::default(),
            filled: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            waker: OnceLock::new(),
            thread: Mutex::new(None),
            lost: Mutex::new(None),
            status: AtomicU64::new(0),
            live: AtomicUsize::new(0),
            coming: AtomicUsize::new(0),
            leaving: AtomicBool::new(false),
        }
    }

    /// Announces a task, which must then be sent. Returns `false` if the worker ends: nothing is to
    /// be sent.
    pub(crate) fn announce(&self) -> bool {
        self.coming.fetch_add(1, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `leave`: either it sees our task or we see that it
        // leaves.
        fence(Ordering::SeqCst);
        let leaves = self.leaving.load(Ordering::Relaxed);
        if leaves {
            self.coming.fetch_sub(1, Ordering::Relaxed);
        }
        !leaves
    }

    /// Records that an announced task has arrived.
    pub(crate) fn arrived(&self) {
        self.coming.fetch_sub(1, Ordering::Relaxed);
    }

    /// Refuses further tasks, for ever. Returns `false` if a task is here or on its way: nothing is
    /// refused yet.
    pub(crate) fn leave(&self) -> bool {
        self.leaving.store(true, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
        let empty = self.load() == 0;
        if !empty {
            self.leaving.store(false, Ordering::Relaxed);
        }
        empty
    }

    /// Returns the number of tasks that the worker has.
    #[inline]
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Returns the number of tasks that the worker has or will have.
    #[inline]
    pub(crate) fn load(&self) -> usize {
        self.live() + self.coming.load(Ordering::Relaxed)
    }

    pub(crate) fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    /// Sends a message; returns it if the worker has ended, or if this process is a fork of the
    /// worker's.
    pub(crate) fn send(&self, message: Message) -> Result<(), Message> {
        if self.process != generation() {
            return Err(message);
        }
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(message);
        }
        queue.messages.push(message);
        self.filled.store(true, Ordering::Relaxed);
        drop(queue);
        // ORDERING: pairs with the fence in `prepare_sleep`: either that look sees our message or
        // we see that the worker is going to sleep.
        fence(Ordering::SeqCst);
        let asleep = self.asleep.load(Ordering::Relaxed);
        if let (true, Some(waker)) = (asleep, self.waker.get()) {
            // The next sender need not wake it again.
            self.asleep.store(false, Ordering::Relaxed);
            waker.wake();
        }
        Ok(())
    }

    /// Returns `true` if there is a message. A hint, good enough between tasks.
    #[inline]
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    /// Takes all messages; the queue goes on with the storage of `into`.
    pub(crate) fn take(&self, into: &mut Vec<Message>) {
        let mut queue = self.queue.lock();
        self.filled.store(false, Ordering::Relaxed);
        mem::swap(&mut queue.messages, into);
    }

    /// Returns what the worker is doing.
    pub(crate) fn status(&self) -> WorkerStatus {
        // ORDERING: Acquire: a reader that sees the worker asleep sees the wake-ups that it has
        // sent.
        WorkerStatus(self.status.load(Ordering::Acquire))
    }

    /// Returns `true` if the worker's thread runs.
    pub(crate) fn has_thread(&self) -> bool {
        self.thread.lock().is_some()
    }

    /// Records that the worker begins a round.
    #[inline]
    pub(crate) fn beat(&self) {
        let rounds = self.status.load(Ordering::Relaxed) & !(WorkerStatus::ROUND - 1);
        self.status.store(rounds + WorkerStatus::ROUND, Ordering::Release);
    }

    /// Records that the worker goes to sleep; it ends with [`Inbox::woke`].
    pub(crate) fn rest(&self, nothing_to_come: bool) {
        let rounds = self.status.load(Ordering::Relaxed) & !(WorkerStatus::ROUND - 1);
        let nothing = if nothing_to_come { WorkerStatus::NOTHING_TO_COME } else { 0 };
        self.status.store(rounds | WorkerStatus::ASLEEP | nothing, Ordering::Release);
    }

    /// Announces that the worker is going to sleep. Returns `false` if it must not: there are
    /// messages.
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `send`.
        fence(Ordering::SeqCst);
        if self.is_filled() {
            self.asleep.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Records that the worker is awake again.
    pub(crate) fn woke(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        self.beat();
    }

    /// Refuses further messages; returns the last ones.
    pub(crate) fn close(&self) -> Vec<Message> {
        let mut queue = self.queue.lock();
        queue.closed = true;
        mem::take(&mut queue.messages)
    }
}
