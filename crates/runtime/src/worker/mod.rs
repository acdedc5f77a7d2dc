//! A worker: one thread that runs tasks over one driver.
//!
//! The order of its work is in [`round`].
//!
//! All fields are used by the worker's own thread only, from the scheduler or from the running
//! task. Borrows of the cells are short and never held across a suspension.
#![expect(unsafe_code, reason = "control blocks are reached through pointers in queues")]

mod round;
mod messages;
mod idle;
mod lifecycle;
mod slice;
mod table;
pub(crate) mod handle;
pub(crate) mod registry;
pub(crate) mod spin;
pub(crate) mod timers;
pub(crate) mod inbox;
pub(crate) mod watchers;
pub(crate) mod peek;
pub(crate) mod backtrace;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fiveways_coro::{Fiber, StackPool};
use fiveways_driver::{Driver, Ready};
use fiveways_sys::thread::interrupt::Thread;
use fiveways_sys::thread::thread_exit;

use crate::may_park::{abort_if_park_forbidden, is_park_forbidden};
use crate::task_block::{NOWHERE, State, Task, TaskId};
use crate::worker::inbox::{Inbox, Message, Start};
use crate::worker::spin::Spin;
use crate::worker::timers::Timers;
use crate::{clock, random};

pub(crate) use lifecycle::Settings;
use slice::Slice;
pub(crate) use slice::units_of;
use table::Table;

thread_local! {
    static CURRENT: Cell<*const Worker> = const { Cell::new(ptr::null()) };
}

/// The inboxes of a runtime's workers.
pub(crate) type WorkerSet = Arc<[Arc<Inbox>]>;

/// A worker; lives on the stack of its thread.
pub(crate) struct Worker {
    pub(crate) inbox: Arc<Inbox>,
    /// The worker's number, unique in the process.
    pub(crate) number: u32,
    /// The inboxes of the whole runtime, for placing new tasks.
    pub(crate) worker_set: WorkerSet,
    pub(crate) driver: RefCell<Box<dyn Driver>>,
    timers: RefCell<Timers>,
    run: RefCell<VecDeque<NonNull<Task>>>,
    /// Tasks that yielded or used their slice up: behind all others.
    yielded: RefCell<VecDeque<NonNull<Task>>>,
    tasks: RefCell<Table>,
    stacks: RefCell<StackPool>,
    current: Cell<Option<NonNull<Task>>>,
    /// How much the running task may still do before other tasks have their turn.
    slice: Slice,
    /// Whether a slice was used up in this round.
    slice_is_over: Cell<bool>,
    ready: RefCell<Ready>,
    messages: RefCell<Vec<Message>>,
    /// Tasks that were sent and have not begun: they get their stacks a few at a time, or each of
    /// many short tasks would need one.
    arrivals: RefCell<VecDeque<Start>>,
    spin: RefCell<Spin>,
    ending: Cell<bool>,
    /// Tasks started so far.
    started: Cell<u64>,
    /// When to look for unused memory, see [`Worker::trim_at`].
    trim_at: Cell<Option<Instant>>,
    /// Whether the driver has more memory to give back at once.
    trims_driver: Cell<bool>,
    /// The coarse clock at the beginning of this round, in milliseconds.
    clock: Cell<u64>,
    /// Whether a task is resumed only for its backtrace.
    probing: Cell<Probe>,
    /// The frames of that backtrace.
    frames: RefCell<Vec<usize>>,
    /// An instant in the past: the deadline for a look at the driver without reading the clock.
    past: Instant,
    /// The thread goes by the driver's clock while the worker lives.
    _clock: clock::Installed,
}

/// The purpose for which a suspended task is resumed without going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    No,
    /// For its backtrace.
    Backtrace,
}

impl Worker {
    /// Creates a worker around a driver that was opened on this thread.
    pub(crate) fn new(
        worker_set: WorkerSet,
        place: usize,
        driver: Box<dyn Driver>,
        stacks: StackPool,
        spin: Duration,
    ) -> Worker {
        let installed = clock::Installed::new(driver.clock());
        if let Some(seed) = driver.seed() {
            random::begin(seed);
        }
        let inbox = Arc::clone(&worker_set[place]);
        inbox.set_waker(driver.waker());
        Worker {
            number: inbox.index,
            inbox,
            worker_set,
            driver: RefCell::new(driver),
            timers: RefCell::default(),
            run: RefCell::new(VecDeque::with_capacity(1024)),
            yielded: RefCell::default(),
            tasks: RefCell::default(),
            stacks: RefCell::new(stacks),
            current: Cell::new(None),
            slice: Slice::new(),
            slice_is_over: Cell::new(false),
            ready: RefCell::new(Vec::with_capacity(1024)),
            messages: RefCell::default(),
            arrivals: RefCell::default(),
            spin: RefCell::new(Spin::new(spin)),
            ending: Cell::new(false),
            started: Cell::new(0),
            trim_at: Cell::new(None),
            trims_driver: Cell::new(false),
            clock: Cell::new(0),
            probing: Cell::new(Probe::No),
            frames: RefCell::default(),
            past: clock::now(),
            _clock: installed,
        }
    }

    /// Runs until a shutdown is requested and no task is left.
    pub(crate) fn run(&self) -> io::Result<()> {
        let whole = AbortOnDrop;
        CURRENT.set(self);
        let inside = thread_exit::inside();
        self.set_thread(Some(Thread::current()));
        self.inbox.beat();
        watchers::wake();
        let result = self.rounds();
        // None of the messages is a task: `leave` has ensured that.
        drop(self.inbox.close());
        self.set_thread(None);
        CURRENT.set(ptr::null());
        drop(inside);
        mem::forget(whole);
        result
    }

    #[inline]
    fn resume(&self, task: NonNull<Task>) {
        // SAFETY: required: a live task. It was in the run queue and has not finished.
        unsafe { task.as_ref() }.state.set(State::Running);
        self.current.set(Some(task));
        self.slice.begin();
        // SAFETY: required: a suspended (or new) fiber of this thread, on no other stack. Only the
        // run queue held it.
        let state = unsafe { Fiber::resume_raw(task) };
        self.current.set(None);
        if state == fiveways_coro::State::Finished {
            self.retire(task);
        } else {
            // A suspended task's frames may borrow thread-locals, which an `exit` of another task
            // would destroy.
            thread_exit::keep_mark();
        }
    }

    /// Suspends the running task until it is made ready again. Only this function does (I2).
    /// Meanwhile the task may be resumed for its backtrace; it does not leave this frame for that.
    #[inline]
    pub(crate) fn suspend(&self, task: NonNull<Task>, state: State) {
        // SAFETY: required: a live task. It is the running one.
        let block = unsafe { task.as_ref() };
        abort_if_park_forbidden();
        debug_assert!(!thread::panicking(), "a task that unwinds is not suspended");
        block.state.set(state);
        block.since.set(self.clock.get());
        // SAFETY: required: called on the fiber's own stack. `task` is the running task.
        unsafe { Fiber::suspend(task) };
        while self.probing.get() != Probe::No {
            self.answer_probe(task);
        }
    }

    /// Takes the backtrace of the task that runs this, and suspends it again.
    #[cold]
    #[inline(never)]
    fn answer_probe(&self, task: NonNull<Task>) {
        self.capture_backtrace(task);
        // SAFETY: required: called on the fiber's own stack. `task` runs this.
        unsafe { Fiber::suspend(task) };
    }

    /// Takes the backtrace of the task that runs this.
    fn capture_backtrace(&self, task: NonNull<Task>) {
        let mut frames = self.frames.take();
        // A worker is on its thread's stack, further out than its loop.
        let base = ptr::from_ref(self).addr();
        let look = || backtrace::other_stack(base, &mut frames);
        // SAFETY: required: called on the fiber's own stack, with a function that does not unwind.
        // `task` runs this; walking a stack unwinds nothing.
        unsafe { Fiber::on_resumers_stack(task, look) };
        self.frames.replace(frames);
    }

    /// Returns the backtrace of a suspended task of this worker: return addresses, innermost first.
    /// To be called between tasks.
    pub(crate) fn backtrace_of(&self, task: NonNull<Task>) -> Vec<usize> {
        self.probe(task, Probe::Backtrace);
        self.frames.take()
    }

    fn probe(&self, task: NonNull<Task>, probe: Probe) {
        self.probing.set(probe);
        // SAFETY: required: a suspended fiber of this thread. Callers found it in the table, begun,
        // and no task is running. It suspends itself again at once, in the same frame.
        unsafe { Fiber::resume_raw(task) };
        self.probing.set(Probe::No);
    }

    /// Returns the live tasks.
    pub(crate) fn tasks(&self) -> Vec<NonNull<Task>> {
        self.tasks.borrow().all()
    }

    /// Returns the live task of this number.
    pub(crate) fn task(&self, id: TaskId) -> Option<NonNull<Task>> {
        self.tasks.borrow().find(id)
    }

    /// Returns the deadline of a task's present wait.
    pub(crate) fn deadline_of(&self, task: &Task) -> Option<Instant> {
        self.timers.borrow().at(task.timer.get())
    }

    /// Returns the number of tasks started so far.
    pub(crate) fn started(&self) -> u64 {
        self.started.get()
    }

    fn set_thread(&self, thread: Option<Thread>) {
        *self.inbox.thread.lock() = thread;
    }

    /// Counts an operation of the running task, of so many units, that did not wait; suspends the
    /// task if its slice is over. Never refuses or unwinds the task.
    #[inline]
    pub(crate) fn spend(&self, task: NonNull<Task>, units: u32) {
        if self.slice.use_up(units) && !is_park_forbidden() {
            self.end_slice(task);
        }
    }

    #[cold]
    pub(crate) fn end_slice(&self, task: NonNull<Task>) {
        self.slice_is_over.set(true);
        self.yield_task(task);
    }

    /// Counts an operation of one unit that did not wait. Returns `true` if the slice is over.
    #[inline]
    pub(crate) fn has_spent(&self) -> bool {
        self.slice.use_up(1)
    }

    /// Suspends the running task until other tasks had their turn.
    // Each frame between the caller and the switch costs a mispredicted return.
    #[inline(always)]
    pub(crate) fn yield_task(&self, task: NonNull<Task>) {
        self.yielded.borrow_mut().push_back(task);
        self.suspend(task, State::Ready);
    }

    /// Puts a suspended task into the run queue.
    #[inline]
    pub(crate) fn make_ready(&self, task: NonNull<Task>) {
        // SAFETY: required: a live task. Callers found it suspended.
        unsafe { task.as_ref() }.state.set(State::Ready);
        self.run.borrow_mut().push_back(task);
    }

    /// Runs `f` as if this were a plain thread: its waits block the thread.
    pub(crate) fn as_thread<R>(&self, f: impl FnOnce() -> R) -> R {
        let _task = Restored { worker: self, task: self.current.take() };
        f()
    }

    /// Returns the running task.
    #[inline]
    pub(crate) fn current(&self) -> Option<NonNull<Task>> {
        self.current.get()
    }

    /// Makes the waiters of operations that came back ready.
    fn deliver(&self) {
        let mut ready = self.ready.borrow_mut();
        let mut run = self.run.borrow_mut();
        for pending in ready.drain(..) {
            // SAFETY: required: valid. Its waiter is suspended until we resume it.
            let context = unsafe { pending.as_ref() }.context;
            if let Some(task) = NonNull::new(context.cast::<Task>()) {
                // SAFETY: required: a live task. It waits for this very operation.
                unsafe { task.as_ref() }.state.set(State::Ready);
                run.push_back(task);
            }
        }
    }

    fn fire_timers(&self) {
        if self.timers.borrow().len() == 0 {
            return;
        }
        let now = clock::now();
        loop {
            let due = self.timers.borrow_mut().pop_due(now);
            let Some(task) = due else { return };
            // SAFETY: required: a live task. It is suspended with this deadline.
            let block = unsafe { task.as_ref() };
            let state = block.state.get();
            // A task that was already woken is not late, unless it was woken only to retry its
            // operation. If the retry fails, it has no deadline any more and must not wait.
            let tries_again = !block.pending.get().is_null();
            block.timed_out.set(state != State::Ready || tries_again);
            match state {
                State::Parked | State::Asleep => self.make_ready(task),
                State::Waiting => self.cancel_operation(task),
                State::Ready | State::Running => {}
            }
        }
    }

    /// Sets a deadline for the wait that the running task is about to begin.
    pub(crate) fn set_timer(&self, task: NonNull<Task>, at: Instant) {
        self.timers.borrow_mut().insert(at, task);
    }

    /// Removes the running task's deadline if it has not come.
    #[inline]
    pub(crate) fn clear_timer(&self, task: &Task) {
        let place = task.timer.get();
        if place != NOWHERE {
            self.timers.borrow_mut().remove(place);
        }
    }
}

/// Restores the running task when dropped.
struct Restored<'a> {
    worker: &'a Worker,
    task: Option<NonNull<Task>>,
}

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        self.worker.current.set(self.task);
    }
}

/// Calls the driver, for a task. A panic in there ends the process: it must not unwind the frame
/// that holds an operation which the driver, or the kernel, has a pointer to (I6).
#[inline(always)]
pub(crate) fn whole<T>(call: impl FnOnce() -> T) -> T {
    let whole = AbortOnDrop;
    let value = call();
    mem::forget(whole);
    value
}

/// Ends the process when the scheduler itself or its driver panics: suspended tasks hold pointers
/// to the worker, and the driver holds pointers to them.
struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        eprintln!("fiveways: a worker has failed and cannot go on");
        std::process::abort();
    }
}

/// Runs `f` with this thread's worker, if it is one.
// Three instructions, and the closures are often the switch itself.
#[inline(always)]
pub(crate) fn with_worker<R>(f: impl FnOnce(&Worker) -> R) -> Option<R> {
    let worker = CURRENT.get();
    // SAFETY: required: a live worker. `run` clears the pointer before the worker goes away.
    let worker = unsafe { worker.as_ref() }?;
    Some(f(worker))
}
