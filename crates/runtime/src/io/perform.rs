//! Performing operations: in a task through its worker's driver, on a plain thread by blocking.
//!
//! The order of steps in a task: refuse if cancelled; submit (most operations are done at once);
//! else suspend with the operation in this very frame, which stays until the driver has handed it
//! back (I6). A deadline or a cancellation asks the driver for the operation and waits for the
//! answer; a result that came first is delivered.
#![expect(unsafe_code, reason = "operations are handed to drivers by pointer")]

use std::cell::RefCell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::thread;
use std::time::{Duration, Instant};

use fiveways_driver::{HotBuffers, Op, Outcome, Pending, ReceiveBuffers, Source, Submitted};
use fiveways_sys::errno;
use fiveways_sys::net::{self, Answer, Control, DONT_WAIT, Reply};

use crate::clock;
use crate::may_park::{assert_may_park, is_park_forbidden};
use crate::park::limits::{Elapsed, refuse, thread_scope};
use crate::park::{as_task, is_over};
use crate::task_block::{State, Task, earlier};
use crate::worker::{Worker, units_of, whole, with_worker};

/// Performs one operation, waiting for it as long as it takes or until the deadline.
///
/// # Suspends
///
/// While the operation waits; a plain thread blocks.
///
/// # Errors
///
/// The error of the system call; `TimedOut` after the deadline; `ECANCELED` in a cancelled task.
///
/// # Safety
///
/// What the operation points at must stay valid and in place until this returns, and its
/// descriptor must stay open.
#[inline]
pub unsafe fn perform(op: Op, deadline: Option<Instant>) -> io::Result<usize> {
    // SAFETY: required: what the operation points at stays; passed on to our caller.
    unsafe { perform_kept(op, deadline, || None::<()>) }
}

/// As [`perform`]; `keep` lets the kernel keep the deadline of a plain thread: it makes a blocking
/// call of the operation end by itself at the deadline (`SO_RCVTIMEO`, `SO_SNDTIMEO`), until its
/// value is dropped. The call may end earlier; then it is made again. If `keep` returns `None`, the
/// thread waits by poll(2) and makes calls that do not wait.
///
/// # Suspends
///
/// While the operation waits; a plain thread blocks.
///
/// # Errors
///
/// As of [`perform`].
///
/// # Safety
///
/// As of [`perform`].
#[inline]
pub unsafe fn perform_kept<K>(
    op: Op,
    deadline: Option<Instant>,
    keep: impl FnOnce() -> Option<K>,
) -> io::Result<usize> {
    match as_task(|worker, task| perform_task(worker, task, op, deadline)) {
        Some(result) => result,
        None => perform_thread(op, deadline, keep),
    }
}

#[inline]
fn perform_task(
    worker: &Worker,
    task: NonNull<Task>,
    op: Op,
    deadline: Option<Instant>,
) -> io::Result<usize> {
    // SAFETY: required: a live task. It is the running one.
    let block = unsafe { task.as_ref() };
    admit(block).inspect_err(|_| worker.spend(task, units_of(0)))?;
    let pending = Pending::new(op, task.as_ptr().cast());
    // SAFETY: required: in place until handed back. This frame stays: `wait_for` returns only then.
    let submit = || unsafe { worker.driver.borrow_mut().submit(NonNull::from(&pending)) };
    match whole(submit) {
        Submitted::Done(answer) => {
            worker.spend(task, units_of(answer));
            net::decode(answer)
        }
        Submitted::Waiting => wait_for(worker, block, &pending, deadline),
    }
}

/// Refuses the operation of a task that was cancelled, or whose time is over.
#[inline]
fn admit(task: &Task) -> io::Result<()> {
    if !task.is_to_unwind() && task.scope.get().is_none() && !is_park_forbidden() {
        return Ok(());
    }
    // Checked now: later the operation would be in the kernel already (I6).
    assert_may_park(None);
    if task.is_to_unwind() {
        return Err(refuse(task));
    }
    is_over(task).map_or(Ok(()), |_| Err(Elapsed.into()))
}

/// Waits until the driver has handed the operation back for the last time.
fn wait_for(
    worker: &Worker,
    task: &Task,
    pending: &Pending,
    deadline: Option<Instant>,
) -> io::Result<usize> {
    task.timed_out.set(false);
    task.pending.set(pending);
    if let Some(at) = earlier(deadline, task.scope.get()) {
        worker.set_timer(NonNull::from(task), at);
    }
    let answer = loop {
        worker.suspend(NonNull::from(task), State::Waiting);
        if let Outcome::Done(answer) = pending.outcome.get() {
            break answer;
        }
        // SAFETY: required: in place until handed back. This loop ends only then.
        let submit = || unsafe { worker.driver.borrow_mut().submit(NonNull::from(pending)) };
        match whole(submit) {
            Submitted::Done(answer) => break answer,
            Submitted::Waiting if task.timed_out.get() || task.is_to_unwind() => {
                worker.cancel_operation(NonNull::from(task));
            }
            Submitted::Waiting => {}
        }
    };
    task.pending.set(std::ptr::null());
    worker.clear_timer(task);
    conclude(task, answer, deadline)
}

/// Returns the error for an operation that was taken back.
#[inline]
fn conclude(task: &Task, answer: Answer, deadline: Option<Instant>) -> io::Result<usize> {
    if answer != -errno::ECANCELED {
        return net::decode(answer);
    }
    if task.is_to_unwind() {
        return Err(refuse(task));
    }
    if task.timed_out.get() {
        return Err(timed_out(deadline, task.scope.get()));
    }
    net::decode(answer)
}

/// Returns the error of a late call: of its own deadline, or of the `timeout` scope around it.
fn timed_out(deadline: Option<Instant>, scope: Option<Instant>) -> io::Error {
    match scope {
        Some(scope) if deadline.is_none_or(|own| scope < own) => Elapsed.into(),
        Some(_) | None => io::ErrorKind::TimedOut.into(),
    }
}

thread_local! {
    /// The receive buffers of a plain thread.
    static HOT: RefCell<HotBuffers> = RefCell::new(HotBuffers::new(64 * 1024));
}

/// The receive buffers of the calling thread, which are made when it first needs them.
struct OfThread;

impl ReceiveBuffers for OfThread {
    fn with(&mut self, receive: impl FnOnce(&mut HotBuffers) -> Answer) -> Answer {
        HOT.with_borrow_mut(receive)
    }
}

/// The end of a plain thread's call, by the machine's clock: its own deadline, and that of the
/// `timeout` scope.
#[derive(Clone, Copy)]
struct Until {
    own: Option<Instant>,
    scope: Option<Instant>,
}

impl Until {
    fn deadline(self) -> Option<Instant> {
        earlier(self.own, self.scope)
    }

    fn is_over(self) -> bool {
        self.deadline().is_some_and(|at| at <= clock::machine())
    }

    /// Waits in poll(2).
    fn wait(self, fd: RawFd, writable: bool) -> io::Result<()> {
        match net::wait_ready(borrow(fd), writable, self.deadline())? {
            true => Ok(()),
            false => Err(self.error()),
        }
    }

    fn error(self) -> io::Error {
        timed_out(self.own, self.scope)
    }
}

/// Performs an operation on a plain thread: the socket is in blocking mode, so the kernel waits.
#[cold]
fn perform_thread<K>(
    op: Op,
    own: Option<Instant>,
    keep: impl FnOnce() -> Option<K>,
) -> io::Result<usize> {
    if !op.must_not_wait() {
        assert_may_park(None);
    }
    let until = Until { own: clock::to_machine(own), scope: clock::to_machine(thread_scope()) };
    // A listener is in non-blocking mode (I5): the kernel would not wait.
    if let Op::Accept { .. } = op {
        return ask_again(&op, until);
    }
    ask_thread(&op, until, keep)
}

/// How long a plain thread pauses if the kernel reports a socket as writable that is not.
const FUTILE_PAUSE: Duration = Duration::from_millis(1);

/// Makes the call once, and the kernel waits in it if it keeps the deadline or there is none. If
/// that was not enough, goes on without waiting in the call.
fn ask_thread<K>(op: &Op, until: Until, keep: impl FnOnce() -> Option<K>) -> io::Result<usize> {
    let scope_is_first = until.scope.is_some_and(|scope| until.own.is_none_or(|own| scope < own));
    let kept = if scope_is_first { None } else { keep() };
    if kept.is_none() && until.deadline().is_some() {
        return ask_again(op, until);
    }
    let answer = attempt_thread(op, 0);
    drop(kept);
    match answer {
        // A limit of the kernel restarts after an interruption, and may be shorter than ours.
        Some(errno::NEG_EINTR) | None if !op.must_not_wait() => {
            if until.is_over() {
                return Err(until.error());
            }
            ask_again(op, until)
        }
        answer => net::decode(answer.unwrap_or(-errno::EAGAIN)),
    }
}

/// Makes calls that do not wait, and waits in between.
fn ask_again(op: &Op, until: Until) -> io::Result<usize> {
    let writes = op.direction() == fiveways_driver::Direction::Write;
    let mut waited = false;
    loop {
        match attempt_thread(op, DONT_WAIT) {
            Some(errno::NEG_EINTR) => continue,
            None if op.must_not_wait() => return net::decode(-errno::EAGAIN),
            None => {}
            Some(answer) => return net::decode(answer),
        }
        if waited {
            if until.is_over() {
                return Err(until.error());
            }
            // The kernel reports a Unix datagram socket as writable even if its receiver's queue is
            // full.
            if writes {
                thread::sleep(FUTILE_PAUSE);
            }
        }
        until.wait(op.source().fd, writes)?;
        waited = true;
    }
}

/// Makes the call once; `None`: it would have had to wait.
fn attempt_thread(op: &Op, flags: u32) -> Option<Answer> {
    // SAFETY: required: what it points at valid, its descriptor open. By the contract of `perform`.
    unsafe { op.attempt(flags, &mut OfThread) }
}

fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: required: open for the length of the use, not -1. By the contract of `perform`.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Makes a control call: through the driver in a task (I8), directly elsewhere.
///
/// # Errors
///
/// The error of the system call.
pub fn control(call: Control<'_>) -> io::Result<Reply> {
    let mut call = Some(call);
    let answered = with_worker(|worker| {
        worker.current()?;
        Some(worker.driver.borrow_mut().control(call.take()?))
    });
    match (answered.flatten(), call) {
        (Some(reply), _) => reply,
        (None, Some(call)) => net::control(call),
        (None, None) => unreachable!("a call is only taken to be made"),
    }
}

/// Informs this thread's driver that the owner gives away a descriptor, on which no task waits.
pub fn forget(source: Source) {
    with_worker(|worker| {
        if let Ok(mut driver) = worker.driver.try_borrow_mut() {
            whole(|| driver.forget(source));
        }
    });
}

/// Closes a descriptor on which no task waits, and informs this thread's driver.
pub fn close(source: Source, fd: OwnedFd) {
    let mut fd = Some(fd);
    with_worker(|worker| {
        if let (Ok(mut driver), Some(fd)) = (worker.driver.try_borrow_mut(), fd.take()) {
            whole(|| driver.close(source, fd));
        }
    });
    // On a plain thread the descriptor is closed here, by its drop.
    drop(fd);
}

/// Returns the time limit of the running task or plain thread, by its scopes; `None` if it has
/// none.
pub fn time_limit() -> Option<Instant> {
    // SAFETY: required: a live task. It is the running one.
    let of_task = as_task(|_, task| unsafe { task.as_ref() }.scope.get());
    of_task.unwrap_or_else(thread_scope)
}

/// Returns the number of this thread's worker, unique in the process.
#[inline]
pub fn worker_index() -> Option<u32> {
    with_worker(|worker| worker.inbox.index)
}
