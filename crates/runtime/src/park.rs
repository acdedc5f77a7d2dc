//! Parking and sleeping, the same for tasks and plain threads.
//!
//! The token is std's: an unpark before the park makes the park return at once; tokens do not add
//! up. Anything that waits for another task or thread is built on this.
#![expect(unsafe_code, reason = "the running task's block is reached by pointer")]

use std::cell::Cell;
use std::fmt;
use std::mem::{self, ManuallyDrop};
use std::panic::resume_unwind;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::blocked::Listed;
use crate::deadlock::{self, Detection, Edge, Finding};
use crate::forbid::{allow_wait, is_forbidden};
use crate::identity::{Identity, this_thread};
use crate::inbox::{Inbox, Message};
use crate::reason::{Holder, Reason};
use crate::task::{State, Task, TaskId, earlier};
use crate::unwind::{unwind_cancelled, unwind_expired};
use crate::worker::{Worker, with_worker};

/// Why a park ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Unparked, now or before.
    Unparked,
    /// The deadline has come.
    TimedOut,
}

/// Unparks one task or thread, from anywhere, any number of times, even after its end.
#[derive(Clone)]
pub struct Unparker(Who);

#[derive(Clone)]
enum Who {
    Task { inbox: Arc<Inbox>, id: TaskId },
    Thread(Arc<Token>),
}

impl fmt::Debug for Unparker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Who::Task { inbox, id } => write!(f, "Unparker(task {}.{})", inbox.index, id.index),
            Who::Thread(token) => write!(f, "Unparker(thread {:p})", Arc::as_ptr(token)),
        }
    }
}

impl Unparker {
    pub(crate) fn of_task(inbox: &Arc<Inbox>, id: TaskId) -> Unparker {
        Unparker(Who::Task { inbox: Arc::clone(inbox), id })
    }

    /// Makes it unpark the caller, and nobody else.
    #[inline]
    pub(crate) fn renew(&mut self) {
        let renewed = as_task(|worker, task| match &mut self.0 {
            Who::Task { inbox, id } if Arc::ptr_eq(inbox, &worker.inbox) => {
                // SAFETY: required: a live task. It is the running one.
                *id = unsafe { task.as_ref() }.id;
                true
            }
            _ => false,
        });
        if renewed != Some(true) {
            *self = unparker();
        }
    }

    /// Makes the task's or thread's present or next park return.
    ///
    /// Never suspends.
    #[inline]
    pub fn unpark(&self) {
        match &self.0 {
            Who::Thread(token) => token.give(),
            Who::Task { inbox, id } => {
                let here = with_worker(|worker| {
                    let own = Arc::ptr_eq(&worker.inbox, inbox);
                    if own {
                        worker.unpark(*id);
                    }
                    own
                });
                if here != Some(true) {
                    // A worker that has ended has no task to unpark.
                    let _ = inbox.send(Message::Wake(*id));
                }
            }
        }
    }
}

/// Is the caller a task (and may it park as one)?
#[inline]
pub fn in_task() -> bool {
    with_worker(|worker| worker.current().is_some()) == Some(true) && !thread::panicking()
}

/// The caller's number: of the running task (also while it unwinds), else of this thread.
///
/// Never suspends.
#[inline]
pub fn me() -> Identity {
    let task = with_worker(|worker| {
        // SAFETY: required: a live task. It is the running one.
        worker.current().map(|task| unsafe { task.as_ref() }.identity)
    });
    task.flatten().unwrap_or_else(this_thread)
}

/// Gives the means to unpark the caller.
pub fn unparker() -> Unparker {
    let task = with_worker(|worker| {
        let task = worker.current().filter(|_| !thread::panicking())?;
        // SAFETY: required: a live task. It is the running one.
        let id = unsafe { task.as_ref() }.id;
        Some(Unparker::of_task(&worker.inbox, id))
    });
    task.flatten().unwrap_or_else(|| Unparker(Who::Thread(Token::of_thread())))
}

/// Parks the caller until it is unparked.
///
/// # Suspends
///
/// Until unparked; a plain thread blocks.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
pub fn park() {
    park_until(None);
}

/// Parks the caller until it is unparked or the deadline comes.
///
/// # Suspends
///
/// Until unparked or late; a plain thread blocks.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
pub fn park_until(deadline: Option<Instant>) -> Wake {
    allow_wait(None);
    let parked = as_task(|worker, task| park_task(worker, task, State::Parked, deadline));
    parked.unwrap_or_else(|| park_thread(None, deadline))
}

/// As [`park_until`], and dumps tell for what.
///
/// # Suspends
///
/// Until unparked or late; a plain thread blocks.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
///
/// # Panics
///
/// With a [`Deadlock`](crate::Deadlock), where that is asked for and the wait closes a circle.
#[inline]
pub fn park_for(reason: &Reason<'_>, deadline: Option<Instant>) -> Wake {
    allow_wait(Some(reason));
    let is_lasting = deadline.is_none() && !matches!(reason.holder, Holder::Anyone);
    let watches = is_lasting && deadlock::detection() != Detection::Off && !will_end();
    let _edge = watches.then(|| wait_in_graph(reason));
    let parked = as_task(|worker, task| {
        // SAFETY: required: a live task. It is the running one.
        let block = unsafe { task.as_ref() };
        let _told = Told::new(block, reason);
        park_task(worker, task, State::Parked, deadline)
    });
    parked.unwrap_or_else(|| park_thread(Some(reason), deadline))
}

/// As [`park_for`] of the running task, where no circle is looked for.
// Each frame between the caller and the switch costs a mispredicted return.
#[inline(always)]
pub(crate) fn park_here(
    worker: &Worker,
    task: NonNull<Task>,
    reason: &Reason<'_>,
    deadline: Option<Instant>,
) -> Wake {
    // SAFETY: required: a live task. It is the running one.
    let _told = Told::new(unsafe { task.as_ref() }, reason);
    park_task(worker, task, State::Parked, deadline)
}

/// Will the running task's waits end by themselves, by a cancel or a `timeout` scope?
fn will_end() -> bool {
    let ends = |_: &Worker, task: NonNull<Task>| {
        // SAFETY: required: a live task. It is the running one.
        let block = unsafe { task.as_ref() };
        block.is_to_unwind() || block.scope.get().is_some()
    };
    as_task(ends) == Some(true)
}

/// How long the panic of a deadlock waits for the report, for which other workers are asked.
const REPORT_LIMIT: Duration = Duration::from_secs(5);

/// Stands in the graph of those who wait; deals with the circle, if that closes one.
#[cold]
fn wait_in_graph<'a>(reason: &'a Reason<'a>) -> Edge<'a> {
    let (edge, circle) = deadlock::begin(me(), reason);
    let Some(circle) = circle else { return edge };
    let finding = Finding::new(circle.clone());
    let is_told = Arc::new(AtomicBool::new(false));
    let (tells, waiter) = (Arc::clone(&is_told), unparker());
    let tell = move || {
        finding.tell();
        tells.store(true, Ordering::Release);
        waiter.unpark();
    };
    // Not by ourselves: our own worker is asked, too.
    let told = thread::Builder::new().name("fiveways-deadlock".to_owned()).spawn(tell);
    if deadlock::detection() == Detection::Panic {
        if told.is_ok() {
            let limit = Instant::now() + REPORT_LIMIT;
            park_while_not(|| is_told.load(Ordering::Acquire), Some(limit));
        }
        resume_unwind(Box::new(circle));
    }
    edge
}

/// Keeps what a task waits for in its control block while this lives.
struct Told<'a>(&'a Task);

impl<'a> Told<'a> {
    #[inline(always)]
    fn new(task: &'a Task, reason: &'a Reason<'_>) -> Told<'a> {
        task.reason.set(ptr::from_ref(reason).cast());
        Told(task)
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.reason.set(ptr::null());
    }
}

/// Parks until `is_so`, which is looked at before each park; false: the deadline came first.
///
/// Unparks that were meant for others than the condition are kept for the caller's next park: who
/// waits for a task in between must not lose them.
pub fn park_while_not(is_so: impl Fn() -> bool, deadline: Option<Instant>) -> bool {
    park_by_turns(is_so, || park_until(deadline))
}

/// As [`park_while_not`], and dumps tell for what.
#[inline]
pub fn park_for_while_not(
    reason: &Reason<'_>,
    is_so: impl Fn() -> bool,
    deadline: Option<Instant>,
) -> bool {
    park_by_turns(is_so, || park_for(reason, deadline))
}

/// Blocks the calling thread until `is_so`, and calls `look` in between until that says false.
pub(crate) fn park_watched(
    reason: &Reason<'_>,
    is_so: impl Fn() -> bool,
    interval: Duration,
    mut look: impl FnMut() -> bool,
) {
    allow_wait(Some(reason));
    let _edge = (!matches!(reason.holder, Holder::Anyone)).then(|| wait_in_graph(reason));
    let token = Token::of_thread();
    let _listed = Listed::new(me(), Some(reason), None);
    let (mut looks, mut keeps) = (true, false);
    while !is_so() {
        let limit = looks.then(|| Instant::now() + interval);
        if token.take(limit, || None) {
            keeps |= !is_so();
        } else {
            looks = look();
        }
    }
    if keeps {
        token.give();
    }
}

#[inline(always)]
pub(crate) fn park_by_turns(is_so: impl Fn() -> bool, park: impl Fn() -> Wake) -> bool {
    let mut kept = None;
    let so = loop {
        if is_so() {
            break true;
        }
        if park() == Wake::TimedOut {
            break is_so();
        }
        if !is_so() {
            kept.get_or_insert_with(unparker);
        }
    };
    if let Some(me) = kept {
        me.unpark();
    }
    so
}

/// Sleeps until the instant.
///
/// # Suspends
///
/// Until then; a plain thread blocks.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
#[track_caller]
pub fn sleep_until(at: Instant) {
    allow_wait(None);
    let slept = as_task(|worker, task| {
        if at <= Instant::now() {
            yield_task(worker, task);
        } else {
            park_task(worker, task, State::Asleep, Some(at));
        }
    });
    if slept.is_none() {
        thread::sleep(at.saturating_duration_since(Instant::now()));
    }
}

/// Lets every other task that can run go first.
///
/// # Suspends
///
/// Until its turn comes again; a plain thread yields to the system's scheduler.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
#[inline]
#[track_caller]
pub fn yield_now() {
    allow_wait(None);
    if as_task(yield_task).is_none() {
        thread::yield_now();
    }
}

/// Notes that the caller is about to do something for which it may never have to wait; lets every
/// other task go first when that has been so for long.
///
/// # Suspends
///
/// Now and then, as [`yield_now`]; a plain thread goes on at once.
///
/// # Cancellation
///
/// A cancelled task is unwound from here now and then.
#[inline]
pub fn spend() {
    as_task(|worker, task| {
        if !worker.has_spent() || is_forbidden() {
            return;
        }
        yield_task(worker, task);
    });
}

/// Runs `f` with the running task, unless there is none or it is unwinding.
#[inline]
pub(crate) fn as_task<R>(f: impl FnOnce(&Worker, NonNull<Task>) -> R) -> Option<R> {
    with_worker(|worker| {
        let task = worker.current()?;
        if thread::panicking() { None } else { Some(f(worker, task)) }
    })
    .flatten()
}

#[inline]
fn yield_task(worker: &Worker, task: NonNull<Task>) {
    // SAFETY: required: a live task. It is the running one.
    let block = unsafe { task.as_ref() };
    if block.is_to_unwind() {
        unwind_cancelled();
    }
    if let Some(scope) = is_over(block) {
        unwind_expired(scope);
    }
    worker.make_ready(task);
    worker.suspend(task, State::Ready);
}

// Each frame between the caller and the switch costs a mispredicted return.
#[inline(always)]
fn park_task(worker: &Worker, task: NonNull<Task>, how: State, deadline: Option<Instant>) -> Wake {
    // SAFETY: required: a live task. It is the running one.
    let block = unsafe { task.as_ref() };
    if how == State::Parked && block.token.replace(false) {
        return Wake::Unparked;
    }
    if block.is_to_unwind() {
        unwind_cancelled();
    }
    let scope = block.scope.get();
    block.timed_out.set(false);
    if let Some(at) = earlier(deadline, scope) {
        worker.set_timer(task, at);
    }
    worker.suspend(task, how);
    worker.clear_timer(block);
    if block.is_to_unwind() {
        unwind_cancelled();
    }
    if !block.timed_out.get() {
        return Wake::Unparked;
    }
    match scope {
        Some(scope) if deadline.is_none_or(|own| scope < own) => unwind_expired(scope),
        _ => Wake::TimedOut,
    }
}

/// The deadline of the innermost `timeout` scope, if it has come.
#[inline]
pub(crate) fn is_over(task: &Task) -> Option<Instant> {
    task.scope.get().filter(|scope| *scope <= Instant::now())
}

fn park_thread(reason: Option<&Reason<'_>>, deadline: Option<Instant>) -> Wake {
    let (token, me) = (Token::of_thread(), me());
    let mut told = me.is_thread();
    loop {
        if !me.is_thread() && deadline.is_none() {
            refuse_endless(me, reason);
        }
        let tick = (!told).then(|| Instant::now() + BLOCKED_LIMIT);
        if token.take(earlier(deadline, tick), || Some(Listed::new(me, reason, deadline))) {
            return Wake::Unparked;
        }
        if tick.is_none() || deadline.is_some_and(|at| at <= Instant::now()) {
            return Wake::TimedOut;
        }
        told = true;
        let what = Unwinding(me, reason);
        eprintln!("fiveways: {what}, and blocks its worker until another thread ends that");
    }
}

/// How long a task that unwinds blocks its worker before that is told.
const BLOCKED_LIMIT: Duration = Duration::from_secs(1);

/// Refuses a wait of a task that unwinds for another that cannot go on before.
#[cold]
#[track_caller]
fn refuse_endless(me: Identity, reason: Option<&Reason<'_>>) {
    let holder = match reason.map(|reason| reason.holder) {
        Some(Holder::One(holder)) => Some(holder),
        Some(Holder::In(word)) => Identity::from_bits(word.load(Ordering::Relaxed)),
        Some(Holder::Anyone) | None => None,
    };
    // Ourselves: it has just been given to us, and the token comes.
    let neighbour = holder.filter(|holder| *holder != me && holder.shares_thread(me));
    if let Some(neighbour) = neighbour {
        let what = Unwinding(me, reason);
        panic!("{what}, for {neighbour} of the same worker, which cannot go on before");
    }
}

/// A task that waits while it unwinds.
struct Unwinding<'a>(Identity, Option<&'a Reason<'a>>);

impl fmt::Display for Unwinding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waits in a destructor while it unwinds", self.0)?;
        match self.1 {
            Some(reason) => write!(f, " ('{}' at {})", reason.what, reason.place),
            None => Ok(()),
        }
    }
}

/// A plain thread's token. Not std's: its `park_timeout` does not say whether it took the token,
/// so that a deadline could swallow an unpark.
#[derive(Default)]
struct Token {
    given: Mutex<bool>,
    news: Condvar,
}

impl Token {
    /// The same one for as long as the thread lives, while its locals are destroyed as well: it may
    /// still wait then, and who unparks it must have the token it waits for.
    fn of_thread() -> Arc<Token> {
        thread_local! {
            /// Without a destructor, so that it is always there.
            static HERE: Cell<Option<ManuallyDrop<Arc<Token>>>> = const { Cell::new(None) };
            static LAST: LetGo = const { LetGo };
        }
        struct LetGo;
        impl Drop for LetGo {
            fn drop(&mut self) {
                // A wait that comes later still makes another one, which then is not freed.
                drop(HERE.take().map(ManuallyDrop::into_inner));
            }
        }
        let here = HERE.take().unwrap_or_else(|| {
            // Registers the destructor, while that can be done.
            let _ = LAST.try_with(|_| ());
            ManuallyDrop::new(Arc::default())
        });
        let token = Arc::clone(&here);
        HERE.set(Some(here));
        token
    }

    fn give(&self) {
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.news.notify_one();
    }

    /// Waits for the token and takes it; false: the deadline came first. `list` is called if the
    /// thread blocks, and what it gives lives as long.
    fn take<'a>(
        &self,
        deadline: Option<Instant>,
        list: impl FnOnce() -> Option<Listed<'a>>,
    ) -> bool {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let _listed = if *given { None } else { list() };
        while !*given {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            given = match left {
                None => self.news.wait(given).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    let waited = self.news.wait_timeout(given, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        mem::take(&mut *given)
    }
}
