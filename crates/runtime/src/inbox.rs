//! A worker's inbox: the only way in from other threads.
//!
//! `asleep` has two states. The worker sets it before it sleeps in the driver and looks at the
//! queue once more; a sender that finds it set clears it and wakes the driver. So a message is
//! either seen by the worker's last look or followed by a wake-up, and a busy worker costs senders
//! no system call.

use std::mem;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use fiveways_driver::{Source, Waker};

use crate::task::TaskId;

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
    /// Closes a stream of which the worker's driver may hold something.
    Close(Source, OwnedFd),
    /// Cancels every task and ends when none is left.
    Shutdown,
}

/// What other threads know of a worker.
pub(crate) struct Inbox {
    pub(crate) index: u32,
    queue: Mutex<Queue>,
    /// Is there anything in the queue? Written under its lock.
    filled: AtomicBool,
    /// Is the worker about to sleep, or asleep?
    asleep: AtomicBool,
    waker: OnceLock<Waker>,
    /// Live tasks, for placement and statistics. Written by the worker alone.
    pub(crate) live: AtomicUsize,
    /// Tasks on their way to the worker. Raised by senders, lowered by the worker (and by a sender
    /// that is refused).
    coming: AtomicUsize,
    /// Does the worker leave? false → true, and back if a task was on its way; by the worker.
    leaving: AtomicBool,
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
            queue: Mutex::default(),
            filled: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            waker: OnceLock::new(),
            live: AtomicUsize::new(0),
            coming: AtomicUsize::new(0),
            leaving: AtomicBool::new(false),
        }
    }

    /// Announces a task, which must then be sent. False: the worker ends, nothing is to be sent.
    pub(crate) fn announce(&self) -> bool {
        self.coming.fetch_add(1, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `leave`: either it sees our task or we see it leave.
        fence(Ordering::SeqCst);
        let leaves = self.leaving.load(Ordering::Relaxed);
        if leaves {
            self.coming.fetch_sub(1, Ordering::Relaxed);
        }
        !leaves
    }

    /// Notes that an announced task has arrived.
    pub(crate) fn arrived(&self) {
        self.coming.fetch_sub(1, Ordering::Relaxed);
    }

    /// Refuses further tasks, for ever. False: one is here or on its way, nothing is refused yet.
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

    /// Tasks that the worker has.
    #[inline]
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Tasks that the worker has or will have.
    #[inline]
    pub(crate) fn load(&self) -> usize {
        self.live() + self.coming.load(Ordering::Relaxed)
    }

    pub(crate) fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held; a poisoned queue is still a good queue.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message; gives it back when the worker has ended.
    pub(crate) fn send(&self, message: Message) -> Result<(), Message> {
        let mut queue = self.lock();
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
            // Whoever comes next need not wake it again.
            self.asleep.store(false, Ordering::Relaxed);
            waker.wake();
        }
        Ok(())
    }

    /// Is there anything to take? A hint, good enough between tasks.
    #[inline]
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    /// Takes everything, keeping the storage of `into`.
    pub(crate) fn take(&self, into: &mut Vec<Message>) {
        let mut queue = self.lock();
        self.filled.store(false, Ordering::Relaxed);
        mem::swap(&mut queue.messages, into);
    }

    /// Announces that the worker is going to sleep. False: it must not, there is mail.
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

    /// The worker is awake again.
    pub(crate) fn woke(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Refuses further messages; gives the last ones.
    pub(crate) fn close(&self) -> Vec<Message> {
        let mut queue = self.lock();
        queue.closed = true;
        mem::take(&mut queue.messages)
    }
}
