//! Performing operations: in a task through its worker's driver, on a plain thread by blocking.
//!
//! The order of things in a task: refuse if cancelled; submit (most operations are done then and
//! there); else suspend with the operation in this very frame, which stays until the driver has
//! handed it back (I6). A deadline or a cancellation asks the driver for the operation and waits
//! for the answer; a result that won the race is delivered.
#![expect(unsafe_code, reason = "operations are handed to drivers by pointer")]

use std::cell::RefCell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::thread;
use std::time::{Duration, Instant};

use fiveways_driver::{HotBuffers, Op, Outcome, Pending, Source, Submitted};
use fiveways_sys::errno;
use fiveways_sys::message;
use fiveways_sys::net::{self, Answer, Control, DONT_WAIT, Reply};

use crate::forbid::{allow_wait, is_forbidden};
use crate::park::{as_task, is_over};
use crate::task::{State, Task, earlier};
use crate::unwind::refuse;
use crate::worker::{Worker, units_of, whole, with_worker};

/// Performs one operation, waiting for it as long as it takes or until the deadline.
///
/// # Suspends
///
/// While the operation waits; a plain thread blocks.
///
/// # Errors
///
/// The kernel's; `TimedOut` after the deadline; `ECANCELED` in a cancelled task.
///
/// # Safety
///
/// What the operation points at must stay valid and in place until this returns, and its
/// descriptor must stay open.
#[inline]
pub unsafe fn perform(op: Op, deadline: Option<Instant>) -> io::Result<usize> {
    match as_task(|worker, task| perform_task(worker, task, op, deadline)) {
        Some(result) => result,
        None => perform_thread(op, deadline),
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

/// Refuses a task that was cancelled, or whose time is over.
#[inline]
fn admit(task: &Task) -> io::Result<()> {
    if !task.is_to_unwind() && task.scope.get().is_none() && !is_forbidden() {
        return Ok(());
    }
    // Later it would be in the kernel already (I6).
    allow_wait(None);
    if task.is_to_unwind() {
        return Err(refuse(task));
    }
    is_over(task).map_or(Ok(()), |_| Err(timed_out()))
}

/// Waits until the driver has handed the operation back for good.
fn wait_for(
    worker: &Worker,
    task: &Task,
    pending: &Pending,
    deadline: Option<Instant>,
) -> io::Result<usize> {
    let deadline = earlier(deadline, task.scope.get());
    task.timed_out.set(false);
    task.pending.set(pending);
    if let Some(at) = deadline {
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
    conclude(task, answer)
}

/// Tells why an operation was asked back.
#[inline]
fn conclude(task: &Task, answer: Answer) -> io::Result<usize> {
    if answer != -errno::ECANCELED {
        return net::decode(answer);
    }
    if task.is_to_unwind() {
        return Err(refuse(task));
    }
    if task.timed_out.get() {
        return Err(timed_out());
    }
    net::decode(answer)
}

fn timed_out() -> io::Error {
    io::Error::from(io::ErrorKind::TimedOut)
}

thread_local! {
    /// The receive buffers of a plain thread.
    static HOT: RefCell<HotBuffers> = RefCell::new(HotBuffers::new(64 * 1024));
}

/// Performs an operation on a plain thread: the socket is in blocking mode, so the kernel waits.
#[cold]
fn perform_thread(op: Op, deadline: Option<Instant>) -> io::Result<usize> {
    if !op.must_not_wait() {
        allow_wait(None);
    }
    let source = op.source();
    let wait = |writable| match net::wait_ready(borrow(source.fd), writable, deadline)? {
        true => Ok(()),
        false => Err(timed_out()),
    };
    match op {
        Op::Readable { .. } => wait(false).map(|()| 0),
        Op::Writable { .. } => wait(true).map(|()| 0),
        Op::Connect { address, .. } => connect_thread(source.fd, address, deadline),
        _ => ask_thread(&op, deadline, wait),
    }
}

/// How long a plain thread pauses when the kernel calls a socket writable that is not.
const FUTILE_PAUSE: Duration = Duration::from_millis(1);

/// Asks again and again, waiting in between as far as the kernel does not wait itself.
fn ask_thread(
    op: &Op,
    deadline: Option<Instant>,
    wait: impl Fn(bool) -> io::Result<()>,
) -> io::Result<usize> {
    // A call that must end in time waits outside, then asks without waiting.
    let flags = if deadline.is_some() { DONT_WAIT } else { 0 };
    let must_wait_here = flags != 0 || matches!(op, Op::Accept { .. });
    let writes = op.direction() == fiveways_driver::Direction::Write;
    let mut waited = false;
    loop {
        let answer = attempt_thread(op, flags);
        if !must_wait_here || !net::is_would_block(answer) || op.must_not_wait() {
            return net::decode(answer);
        }
        if waited {
            if deadline.is_some_and(|at| at <= Instant::now()) {
                return Err(timed_out());
            }
            // A Unix datagram socket is called writable however full its receiver's queue is.
            if writes {
                thread::sleep(FUTILE_PAUSE);
            }
        }
        wait(writes)?;
        waited = true;
    }
}

fn attempt_thread(op: &Op, more: u32) -> Answer {
    match *op {
        Op::Recv { source, buf, len, flags } => {
            // SAFETY: required: valid for `len` bytes. By the contract of `perform`.
            unsafe { net::recv(source.fd, buf, len, flags | more) }
        }
        Op::Send { source, buf, len, flags } => {
            // SAFETY: required: valid for `len` bytes. By the contract of `perform`.
            unsafe { net::send(source.fd, buf, len, flags | more) }
        }
        Op::RecvMsg { source, header, flags } => {
            // SAFETY: required: a prepared header in place. By the contract of `perform`.
            unsafe { message::recvmsg(source.fd, header, flags | more) }
        }
        Op::SendMsg { source, header, flags } => {
            // SAFETY: required: a prepared header in place. By the contract of `perform`.
            unsafe { message::sendmsg(source.fd, header, flags | more) }
        }
        Op::Accept { source, peer } => {
            // SAFETY: required: `peer` valid for writes. By the contract of `perform`.
            unsafe { net::accept(source.fd, peer) }
        }
        Op::Fill { source, loan } => HOT.with_borrow_mut(|hot| {
            let buffer = hot.writable();
            let (buf, len) = (buffer.as_mut_ptr(), buffer.len());
            // SAFETY: required: valid for `len` bytes. They come from one slice.
            let answer = unsafe { net::recv(source.fd, buf, len, more) };
            if answer > 0 {
                // SAFETY: required: valid for writes. By the contract of `perform`.
                unsafe { *loan = Some(hot.lend(answer as usize)) };
            }
            answer
        }),
        Op::Connect { .. } | Op::Readable { .. } | Op::Writable { .. } => 0,
    }
}

/// Connects on a plain thread: blocking, or without blocking and then waiting until the deadline.
fn connect_thread(
    fd: RawFd,
    address: *const net::Address,
    deadline: Option<Instant>,
) -> io::Result<usize> {
    let limited = deadline.is_some();
    if limited {
        net::set_nonblocking(borrow(fd), true)?;
    }
    // SAFETY: required: valid for reads. By the contract of `perform`.
    let mut answer = net::connect(fd, unsafe { &*address });
    if answer == errno::NEG_EINPROGRESS {
        answer = match net::wait_ready(borrow(fd), true, deadline)? {
            true => net::take_error(fd),
            false => return Err(timed_out()),
        };
    }
    if limited {
        net::set_nonblocking(borrow(fd), false)?;
    }
    net::decode(answer)
}

fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: required: open for the length of the use, not -1. By the contract of `perform`.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Makes a control call, of the driver in a task (I8) and of the kernel elsewhere.
///
/// Never suspends.
///
/// # Errors
///
/// The kernel's.
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

/// Tells this thread's driver that a descriptor, which nobody waits on, is no longer its owner's to
/// use here.
///
/// Never suspends.
pub fn forget(source: Source) {
    with_worker(|worker| {
        if let Ok(mut driver) = worker.driver.try_borrow_mut() {
            whole(|| driver.forget(source));
        }
    });
}

/// Closes a descriptor that nobody waits on, telling this thread's driver.
///
/// Never suspends.
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

/// When the time of the running task is over, by a limit of its scope; `None`: never, and on plain
/// threads.
pub fn time_limit() -> Option<Instant> {
    // SAFETY: required: a live task. It is the running one.
    as_task(|_, task| unsafe { task.as_ref() }.scope.get()).flatten()
}

/// The number of this thread's worker, unique in the process.
#[inline]
pub fn worker_index() -> Option<u32> {
    with_worker(|worker| worker.inbox.index)
}
