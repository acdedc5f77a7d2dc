//! Spawning tasks and joining them.
//!
//! A task and its handle share one [`Packet`]:
//!
//! ```text
//!   outcome    written once by the task's end (returned, panicked, cancelled, never started)
//!   finished   false → true, after `outcome`; the reader's permission to take it
//!   neighbour  a joiner on the same worker: no lock, no atomic
//!   strangers  a joiner elsewhere, and who watches for the end; `waiting`: the end must look
//! ```
#![expect(unsafe_code, reason = "the packet is shared between the task and its joiner")]

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fiveways_coro::Stack;

use crate::canceller;
use crate::completions::{Completions, Observer};
use crate::deadlock::{self, Deadlock, Detection};
use crate::handle::{Handle, place};
use crate::identity::Identity;
use crate::inbox::{Inbox, Message};
use crate::local::end_of_task;
use crate::park::{Unparker, as_task, in_task, me, park_for_while_not, unparker};
use crate::quiet;
use crate::reason::{Holder, Reason};
use crate::task::{Origin, TaskId};
use crate::unwind::{is_cancel, is_cancelled};
use crate::worker::{Settings, Worker, contain, with_worker};

/// Why a task gave no value.
pub struct JoinError(Why);

enum Why {
    Cancelled,
    /// Locked only to be `Sync`, as errors should be: it is taken out by value.
    Panicked(Mutex<Box<dyn Any + Send>>),
    NotStarted(io::Error),
    /// Joined where it cannot run, and not ended.
    Unending,
}

impl JoinError {
    /// Makes the error of a task that unwound with this payload.
    pub fn panicked(payload: Box<dyn Any + Send>) -> JoinError {
        JoinError(if is_cancel(payload.as_ref()) {
            Why::Cancelled
        } else {
            Why::Panicked(Mutex::new(payload))
        })
    }

    /// Makes the error of a task that was cancelled.
    pub fn cancelled() -> JoinError {
        JoinError(Why::Cancelled)
    }

    /// Makes the error of a join that would never end.
    pub fn unending() -> JoinError {
        JoinError(Why::Unending)
    }

    /// Was the task cancelled (unwound, or dropped before it began)?
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0, Why::Cancelled)
    }

    /// Did the task panic?
    pub fn is_panic(&self) -> bool {
        matches!(self.0, Why::Panicked(_))
    }

    /// The panic's payload, as std's `JoinHandle::join` gives it; of other ends, a message.
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self.0 {
            Why::Panicked(payload) => payload.into_inner().unwrap_or_else(PoisonError::into_inner),
            other => Box::new(JoinError(other).to_string()),
        }
    }

    /// Goes on panicking in the caller, with the task's payload.
    pub fn resume(self) -> ! {
        resume_unwind(self.into_panic())
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Cancelled => f.write_str("the task was cancelled"),
            Why::NotStarted(error) => write!(f, "the task could not be started: {error}"),
            Why::Unending => {
                f.write_str("the task cannot go on while its worker unwinds the one that joins it")
            }
            Why::Panicked(payload) => {
                let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
                match message_of(payload.as_ref()) {
                    Some(message) => write!(f, "the task panicked: {message}"),
                    None => f.write_str("the task panicked"),
                }
            }
        }
    }
}

fn message_of(payload: &(dyn Any + Send)) -> Option<&str> {
    let literal = payload.downcast_ref::<&str>().copied();
    let text = || payload.downcast_ref::<String>().map(String::as_str);
    literal.or_else(text).or_else(|| payload.downcast_ref::<Deadlock>().map(Deadlock::text))
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

/// What a task and its handle share.
struct Packet<T> {
    outcome: UnsafeCell<Option<Result<T, JoinError>>>,
    /// false → true, by the task's end.
    finished: AtomicBool,
    /// false → true, by who has left something in `strangers`.
    waiting: AtomicBool,
    /// false → true, by `cancel`.
    cancelled: AtomicBool,
    /// The task's number once it has one, see [`TaskId::to_bits`]; written by its worker.
    id: AtomicU64,
    /// Which task it is, once it has begun: for who asks whom a join waits for.
    identity: AtomicU64,
    /// The worker that has the task, or will have it.
    inbox: Arc<Inbox>,
    /// A joiner on the task's own worker. Touched by that worker's thread only.
    neighbour: Cell<Option<TaskId>>,
    /// Who is to be told of the end, besides.
    strangers: Mutex<Option<Box<Strangers>>>,
}

// SAFETY: required: shareable between the task's thread and the joiner's. `outcome` is written
// before `finished` is set and taken after it was seen set, by the one owner of the handle;
// `neighbour` is touched by the thread of the task's worker only; the rest is atomic or locked.
unsafe impl<T: Send> Sync for Packet<T> {}

impl<T> Packet<T> {
    fn new(inbox: Arc<Inbox>) -> Packet<T> {
        Packet {
            outcome: UnsafeCell::new(None),
            finished: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            id: AtomicU64::new(0),
            identity: AtomicU64::new(0),
            inbox,
            neighbour: Cell::new(None),
            strangers: Mutex::default(),
        }
    }

    /// Notes which task it is: the worker's newest.
    fn started(&self, worker: &Worker, id: TaskId) {
        self.identity.store(worker.newest().to_bits(), Ordering::Relaxed);
        self.id.store(id.to_bits(), Ordering::Relaxed);
    }

    fn strangers(&self) -> MutexGuard<'_, Option<Box<Strangers>>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for a task from outside its worker, or for several tasks.
#[derive(Default)]
struct Strangers {
    joiner: Option<Unparker>,
    observers: Vec<Observer>,
}

impl Strangers {
    fn tell(self) {
        if let Some(joiner) = self.joiner {
            joiner.unpark();
        }
        self.observers.into_iter().for_each(Observer::tell);
    }
}

/// The task's side of the packet; being dropped unfinished means cancelled.
struct Finisher<T>(Arc<Packet<T>>);

impl<T> Finisher<T> {
    fn finish(&self, outcome: Result<T, JoinError>) {
        let packet = &*self.0;
        // SAFETY: required: no other access. `finished` is not set, and only we set it.
        unsafe { *packet.outcome.get() = Some(outcome) };
        // ORDERING: SeqCst with those of `wait_elsewhere` and `watch`: either we see their
        // `waiting` or they see our `finished`.
        packet.finished.store(true, Ordering::SeqCst);
        if packet.waiting.load(Ordering::SeqCst) {
            let strangers = packet.strangers().take();
            strangers.into_iter().for_each(|strangers| strangers.tell());
        }
        with_worker(|worker| {
            // A task that never started may be dropped on another thread, and then has no
            // neighbour either: its joiner would have had to be there.
            let own = Arc::ptr_eq(&worker.inbox, &packet.inbox);
            if let Some(joiner) = own.then(|| packet.neighbour.take()).flatten() {
                worker.unpark(joiner);
            }
        });
    }
}

impl<T> Drop for Finisher<T> {
    fn drop(&mut self) {
        if !self.0.finished.load(Ordering::Relaxed) {
            self.finish(Err(JoinError(Why::Cancelled)));
        }
    }
}

/// Owns the right to join a task. Dropping it detaches the task.
#[must_use = "a task that nobody joins may be cut short when its runtime ends"]
pub struct JoinHandle<T> {
    packet: Arc<Packet<T>>,
}

// SAFETY: required: usable from other threads. Then `T` comes out there, hence `T: Send`; all else
// in the packet is atomic, locked or left to the task's worker.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: required: shared use is harmless. `&JoinHandle` gives no `T` out.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

impl<T> JoinHandle<T> {
    /// Waits for the task to end and gives its value.
    ///
    /// # Suspends
    ///
    /// Until the task has ended; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// If the joining task is cancelled it is unwound from here.
    ///
    /// # Errors
    ///
    /// [`JoinError`] when the task panicked, was cancelled or could not be started; and when it has
    /// not ended and never would: joined by a destructor of a task of the same worker that unwinds,
    /// and so cannot let it run; and a task that joins itself.
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        if self.wait_until(None) { self.take() } else { Err(JoinError(Why::Unending)) }
    }

    /// Waits for the task to end until the deadline; gives the handle back if it has not.
    ///
    /// # Suspends
    ///
    /// Until the task has ended or the deadline has come; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// The handle itself, when the deadline has come.
    #[track_caller]
    pub fn join_until(self, deadline: Instant) -> Result<Result<T, JoinError>, JoinHandle<T>> {
        if self.wait_until(Some(deadline)) { Ok(self.take()) } else { Err(self) }
    }

    /// Waits for the task to end for a duration; gives the handle back if it has not.
    ///
    /// # Suspends
    ///
    /// Until the task has ended or the time is over; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// If the joining task is cancelled it is unwound from here.
    ///
    /// # Errors
    ///
    /// The handle itself, when the time is over.
    #[track_caller]
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, JoinHandle<T>> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.join_until(deadline),
            None => Ok(self.join()),
        }
    }

    /// Has the task ended? Never suspends.
    pub fn is_finished(&self) -> bool {
        self.packet.finished.load(Ordering::Acquire)
    }

    /// Asks the task to end: see [`crate::with_deadline`] and the runtime's documentation for how
    /// that surfaces in it. Never suspends; does not wait for the end.
    pub fn cancel(&self) {
        self.packet.cancelled.store(true, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `start_for`.
        fence(Ordering::SeqCst);
        let Some(id) = TaskId::from_bits(self.packet.id.load(Ordering::Relaxed)) else { return };
        let identity = Identity::from_bits(self.packet.identity.load(Ordering::Relaxed));
        canceller::cancel(&self.packet.inbox, id, identity);
    }

    /// Gives the value of a task that has ended with one, without taking it: `None` before the end,
    /// and after an end without value. Never suspends.
    ///
    /// It borrows the handle mutably, so that handles can be shared whose values cannot.
    #[doc(alias = "Greenlet.value")]
    pub fn value(&mut self) -> Option<&T> {
        if !self.is_finished() {
            return None;
        }
        // SAFETY: required: no other writer. `finished` was seen set, so the task has written, and
        // only the owner of the one handle takes.
        let outcome = unsafe { &*self.packet.outcome.get() };
        outcome.as_ref().and_then(|outcome| outcome.as_ref().ok())
    }

    /// Has `tag` put into the queue at the task's end; at once if it has ended.
    ///
    /// A task that cannot end while the caller waits, because the caller unwinds on its worker,
    /// counts as ended: [`JoinHandle::join`] says what is the matter.
    ///
    /// Never suspends.
    pub fn watch(&self, completions: &Completions, tag: usize) {
        let observer = completions.observer(tag);
        if self.is_finished() || self.is_stuck() {
            return observer.tell();
        }
        self.packet.strangers().get_or_insert_default().observers.push(observer);
        // ORDERING: SeqCst with `finish`'s, as there.
        self.packet.waiting.store(true, Ordering::SeqCst);
        if self.packet.finished.load(Ordering::SeqCst) {
            // Whoever takes it out tells, we or the task's end.
            self.take_observers(completions).into_iter().for_each(Observer::tell);
        }
    }

    /// Takes back what [`JoinHandle::watch`] asked for, unless the task has ended.
    ///
    /// Never suspends.
    pub fn unwatch(&self, completions: &Completions) {
        if self.packet.waiting.load(Ordering::Relaxed) {
            drop(self.take_observers(completions));
        }
    }

    fn take_observers(&self, completions: &Completions) -> Vec<Observer> {
        let mut strangers = self.packet.strangers();
        let observers = strangers.iter_mut().flat_map(|strangers| {
            strangers.observers.extract_if(.., |observer| observer.is_of(completions))
        });
        observers.collect()
    }

    /// Can it not end while the caller waits, because the caller unwinds on its worker?
    fn is_stuck(&self) -> bool {
        let own = with_worker(|worker| Arc::ptr_eq(&worker.inbox, &self.packet.inbox));
        own == Some(true) && as_task(|_, _| ()).is_none()
    }

    #[inline]
    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        if self.is_finished() {
            return true;
        }
        let reason = self.reason();
        if self.is_own() && deadlock::detection() == Detection::Off {
            // Nobody will say so later.
            return false;
        }
        let own = with_worker(|worker| Arc::ptr_eq(&worker.inbox, &self.packet.inbox));
        if own != Some(true) {
            return self.wait_elsewhere(&reason, deadline);
        }
        // SAFETY: required: a live task. It is the running one.
        let me = as_task(|_, task| unsafe { task.as_ref() }.id);
        // Unwinding, we cannot let the task run: it will not end while we wait.
        me.is_some_and(|me| self.wait_next_door(me, &reason, deadline))
    }

    /// Is it the handle of the calling task itself?
    #[inline]
    fn is_own(&self) -> bool {
        self.packet.identity.load(Ordering::Relaxed) == me().to_bits()
    }

    /// What a join waits for: the end of the task, which only it can bring.
    #[track_caller]
    fn reason(&self) -> Reason<'_> {
        let task = &self.packet.identity;
        // A word may be passed on, as locks are; that one is itself is final.
        let holder = if self.is_own() { Holder::One(me()) } else { Holder::In(task) };
        Reason::new("join", &*self.packet).held(holder)
    }

    /// Waits on the task's own worker: nothing can happen between a look and a park.
    #[inline]
    fn wait_next_door(&self, me: TaskId, reason: &Reason<'_>, deadline: Option<Instant>) -> bool {
        let look = || {
            self.packet.neighbour.set(Some(me));
            self.is_finished()
        };
        let finished = park_for_while_not(reason, look, deadline);
        self.packet.neighbour.set(None);
        finished
    }

    fn wait_elsewhere(&self, reason: &Reason<'_>, deadline: Option<Instant>) -> bool {
        let me = unparker();
        self.packet.strangers().get_or_insert_default().joiner = Some(me);
        // ORDERING: SeqCst with `finish`'s, as there.
        self.packet.waiting.store(true, Ordering::SeqCst);
        let is_finished = || self.packet.finished.load(Ordering::SeqCst);
        if deadline.is_none() && deadlock::detection() != Detection::Off && !in_task() {
            quiet::park_watching(reason, is_finished, &self.packet.inbox);
            return true;
        }
        park_for_while_not(reason, is_finished, deadline)
    }

    fn take(self) -> Result<T, JoinError> {
        // SAFETY: required: no other access. `finished` was seen set, and only the owner of the
        // one handle takes, once, by value.
        let outcome = unsafe { &mut *self.packet.outcome.get() };
        outcome.take().expect("an outcome is taken once")
    }
}

/// How to spawn a task.
#[derive(Clone, Debug, Default)]
pub struct Spawn {
    name: Option<Box<str>>,
    stack_size: Option<usize>,
    begins_cancelled: bool,
}

impl Spawn {
    /// Makes the default: no name, the runtime's stack size.
    pub fn new() -> Spawn {
        Spawn::default()
    }

    /// Names the task for messages.
    pub fn name(mut self, name: &str) -> Spawn {
        self.name = Some(name.into());
        self
    }

    /// Reserves a stack of this many bytes.
    pub fn stack_size(mut self, bytes: usize) -> Spawn {
        self.stack_size = Some(bytes);
        self
    }

    /// Lets it begin even though it was cancelled before, for what must be done.
    pub(crate) fn even_cancelled(mut self) -> Spawn {
        self.begins_cancelled = true;
        self
    }

    fn settings(self, spawned_at: &'static Location<'static>) -> Settings {
        let Spawn { name, stack_size, begins_cancelled } = self;
        let origin = Origin { place: spawned_at, by: me() };
        Settings { name, stack_size, begins_cancelled, origin }
    }

    /// Spawns on the caller's own worker; the closure and its value need not be `Send`.
    ///
    /// # Errors
    ///
    /// When there is no stack to be had.
    ///
    /// # Panics
    ///
    /// On a thread that is no worker.
    #[track_caller]
    pub fn spawn_local<T: 'static>(
        self,
        f: impl FnOnce() -> T + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let settings = self.settings(Location::caller());
        let spawned = with_worker(|worker| start_here(worker, &settings, f));
        spawned.expect("spawn_local must be called in a task")
    }

    /// Spawns on a worker of the runtime: the caller's own if it is not much busier than the
    /// others.
    ///
    /// # Errors
    ///
    /// When there is no stack to be had here. On another worker that is found out later, and told
    /// by the join.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        self,
        runtime: &Handle,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        self.spawn_on(runtime.place(), Location::caller(), f)
    }

    /// Spawns in the runtime of the calling task; gives everything back on a plain thread.
    ///
    /// # Errors
    ///
    /// As [`Spawn::spawn`], inside.
    #[track_caller]
    #[inline]
    pub fn spawn_in_task<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        self,
        f: F,
    ) -> Result<io::Result<JoinHandle<T>>, (Spawn, F)> {
        let spawned_at = Location::caller();
        let mut parts = Some((self, f));
        let spawned = with_worker(|worker| {
            let (spawn, f) = parts.take()?;
            let inbox = place(&worker.team);
            // A worker that ends takes nothing more; we have not ended yet.
            if Arc::ptr_eq(inbox, &worker.inbox) || !inbox.announce() {
                return Some(start_here(worker, &spawn.settings(spawned_at), f));
            }
            Some(Ok(send(inbox, spawn.settings(spawned_at), f)))
        });
        match (spawned.flatten(), parts) {
            (Some(result), _) => Ok(result),
            (None, Some(parts)) => Err(parts),
            (None, None) => unreachable!("the parts are only taken to be spawned"),
        }
    }

    /// Spawns on the given worker of the runtime, counted from 0.
    ///
    /// # Errors
    ///
    /// As [`Spawn::spawn`]; `InvalidInput` when there is no such worker.
    #[track_caller]
    pub fn spawn_at<T: Send + 'static>(
        self,
        runtime: &Handle,
        worker: usize,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let Some(inbox) = runtime.team.get(worker) else {
            let message = format!("there is no worker {worker} among {}", runtime.workers());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        self.spawn_on(inbox, Location::caller(), f)
    }

    pub(crate) fn spawn_on<T: Send + 'static>(
        self,
        inbox: &Arc<Inbox>,
        spawned_at: &'static Location<'static>,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let settings = self.settings(spawned_at);
        let mut f = Some(f);
        let here = with_worker(|worker| {
            let own = Arc::ptr_eq(&worker.inbox, inbox);
            let f = if own { f.take() } else { None };
            f.map(|f| start_here(worker, &settings, f))
        });
        match (here.flatten(), f) {
            (Some(started), _) => started,
            (None, Some(f)) if inbox.announce() => Ok(send(inbox, settings, f)),
            (None, Some(_)) => Err(io::Error::other("the runtime has ended")),
            (None, None) => unreachable!("the function is only taken to be started here"),
        }
    }
}

/// Captures larger than this are kept on the heap: a body lies on its stack twice when it begins.
const CAPTURES_MAX: usize = 512;

/// Starts a task on this very worker.
fn start_here<T: 'static, F: FnOnce() -> T + 'static>(
    worker: &Worker,
    settings: &Settings,
    f: F,
) -> io::Result<JoinHandle<T>> {
    if size_of::<F>() > CAPTURES_MAX {
        let f: Box<dyn FnOnce() -> T> = Box::new(f);
        return start_here(worker, settings, f);
    }
    let stack = worker.take_stack(settings)?;
    let packet = Arc::new(Packet::new(Arc::clone(&worker.inbox)));
    let id = start_on(worker, stack, settings, Finisher(Arc::clone(&packet)), f);
    packet.started(worker, id);
    // Nobody else has the handle yet, so nobody can have cancelled it.
    if worker.is_ending() {
        worker.cancel(id);
    }
    Ok(JoinHandle { packet })
}

/// Has a task started on another worker, to which it was announced.
fn send<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
    inbox: &Arc<Inbox>,
    settings: Settings,
    f: F,
) -> JoinHandle<T> {
    if size_of::<F>() > CAPTURES_MAX {
        let f: Box<dyn FnOnce() -> T + Send> = Box::new(f);
        return send(inbox, settings, f);
    }
    let packet = Arc::new(Packet::new(Arc::clone(inbox)));
    let finisher = Finisher(Arc::clone(&packet));
    let start = move || {
        // The worker runs it itself; elsewhere it is only ever dropped.
        with_worker(|worker| start_for(worker, &settings, finisher, f));
    };
    // It takes mail as long as an announced task has not arrived.
    let refused = inbox.send(Message::Run(Box::new(start))).is_err();
    debug_assert!(!refused, "an announced task was refused");
    JoinHandle { packet }
}

/// Starts a task that another thread has sent.
fn start_for<T: 'static>(
    worker: &Worker,
    settings: &Settings,
    finisher: Finisher<T>,
    f: impl FnOnce() -> T + 'static,
) {
    match worker.take_stack(settings) {
        Ok(stack) => {
            let packet = Arc::clone(&finisher.0);
            let id = start_on(worker, stack, settings, finisher, f);
            packet.started(worker, id);
            // ORDERING: pairs with the fence in `cancel`: either it sees the number or we see its
            // wish.
            fence(Ordering::SeqCst);
            if packet.cancelled.load(Ordering::Relaxed) || worker.is_ending() {
                worker.cancel(id);
            }
        }
        Err(error) => finisher.finish(Err(JoinError(Why::NotStarted(error)))),
    }
    // Only now, or it would be seen nowhere.
    worker.inbox.arrived();
}

fn start_on<T: 'static>(
    worker: &Worker,
    stack: Stack,
    settings: &Settings,
    finisher: Finisher<T>,
    f: impl FnOnce() -> T + 'static,
) -> TaskId {
    let anyway = settings.begins_cancelled;
    worker.start(stack, settings, move || run_task(finisher, f, anyway))
}

/// The whole life of a task.
// Inlined handlers would add their frames up into one that each idle task pays for.
#[inline(never)]
fn run_task<T>(finisher: Finisher<T>, f: impl FnOnce() -> T, anyway: bool) {
    let begin = move || (anyway || !is_cancelled()).then(f);
    let outcome = match catch_unwind(AssertUnwindSafe(begin)) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(JoinError(Why::Cancelled)),
        Err(payload) => Err(JoinError::panicked(payload)),
    };
    // Who has joined finds them destroyed.
    end_of_task();
    finisher.finish(outcome);
    // If nobody joins, the value is dropped here. Nothing may unwind further than this.
    contain(move || drop(finisher));
    // That may have set others.
    end_of_task();
}
