//! Spawning tasks: here, or on another worker.

use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;

use crate::panics::contain;
use crate::park::current::me;
use crate::park::limits::is_cancelled;
use crate::task::join::JoinHandle;
use crate::task::join_error::JoinError;
use crate::task::locals_api::end_of_task;
use crate::task::packet::{TaskSide, pair};
use crate::task_block::Origin;
use crate::worker::handle::{Handle, place};
use crate::worker::inbox::{Inbox, Message};
use crate::worker::{Settings, Worker, with_worker};

/// How to spawn a task.
#[derive(Clone, Debug, Default)]
pub struct Spawn {
    name: Option<Box<str>>,
    stack_size: Option<usize>,
}

impl Spawn {
    /// Creates the default: no name, the runtime's stack size.
    pub fn new() -> Spawn {
        Spawn::default()
    }

    /// Sets the name of the task, for messages.
    pub fn name(mut self, name: &str) -> Spawn {
        self.name = Some(name.into());
        self
    }

    /// Reserves a stack of this many bytes.
    pub fn stack_size(mut self, bytes: usize) -> Spawn {
        self.stack_size = Some(bytes);
        self
    }

    fn settings(self, spawned_at: &'static Location<'static>) -> Settings {
        let Spawn { name, stack_size } = self;
        let origin = Origin { place: spawned_at, by: me() };
        Settings { name, stack_size, origin }
    }

    /// Spawns on the caller's own worker; the closure and its value need not be `Send`.
    ///
    /// # Errors
    ///
    /// `Unsupported` on a thread that is no worker; the error of the allocation if no stack is
    /// available.
    #[track_caller]
    pub fn spawn_local<T: 'static>(
        self,
        f: impl FnOnce() -> T + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let settings = self.settings(Location::caller());
        let spawned = with_worker(|worker| start_here(worker, &settings, f));
        spawned.unwrap_or_else(|| {
            let message = "a plain thread has no worker for local tasks: use spawn, or a model \
                           with coroutines";
            Err(io::Error::new(io::ErrorKind::Unsupported, message))
        })
    }

    /// Spawns on a worker of the runtime: the caller's own if it is not much busier than the
    /// others.
    ///
    /// # Errors
    ///
    /// The error of the allocation if no stack is available here. On another worker that is found
    /// out later, and the join returns it.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        self,
        runtime: &Handle,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        self.spawn_on(runtime.place(), Location::caller(), f)
    }

    /// Spawns in the runtime of the calling task; returns all arguments on a plain thread.
    ///
    /// # Errors
    ///
    /// The inner result fails as [`Spawn::spawn`] does.
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
            let inbox = place(&worker.worker_set);
            // A worker that ends accepts no more tasks; ours has not ended yet.
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
    /// As [`Spawn::spawn`]; `InvalidInput` if there is no such worker.
    #[track_caller]
    pub fn spawn_at<T: Send + 'static>(
        self,
        runtime: &Handle,
        worker: usize,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let Some(inbox) = runtime.worker_set.get(worker) else {
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

/// Captures larger than this are kept on the heap: a closure is on its stack twice when it begins.
const CAPTURES_MAX: usize = 512;

/// Starts a task on the calling worker.
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
    let numbers = worker.number_next()?;
    let (side, handle) = pair(worker.number);
    handle.join_state().started(&numbers);
    let id = numbers.id;
    worker.start(stack, settings, numbers, move || run_task(side, f));
    // No other code has the handle yet, so the task cannot have been cancelled.
    if worker.is_ending() {
        worker.cancel(id);
    }
    Ok(JoinHandle(handle))
}

/// Sends a task to another worker, to which it was announced.
fn send<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
    inbox: &Arc<Inbox>,
    settings: Settings,
    f: F,
) -> JoinHandle<T> {
    if size_of::<F>() > CAPTURES_MAX {
        let f: Box<dyn FnOnce() -> T + Send> = Box::new(f);
        return send(inbox, settings, f);
    }
    let (side, handle) = pair(inbox.index);
    let start = move || {
        // The worker runs it itself; on any other thread the message is only ever dropped.
        with_worker(|worker| start_for(worker, &settings, side, f));
    };
    // The worker takes messages as long as an announced task has not arrived.
    let refused = inbox.send(Message::Run(Box::new(start))).is_err();
    debug_assert!(!refused, "an announced task was refused");
    JoinHandle(handle)
}

/// Starts a task that was sent by another thread.
fn start_for<T: 'static>(
    worker: &Worker,
    settings: &Settings,
    mut side: TaskSide<T>,
    f: impl FnOnce() -> T + 'static,
) {
    let stack = worker.take_stack(settings);
    match stack.and_then(|stack| Ok((stack, worker.number_next()?))) {
        Ok((stack, numbers)) => {
            let id = numbers.id;
            side.join_state().started(&numbers);
            let is_cancelled = side.join_state().is_cancelled();
            worker.start(stack, settings, numbers, move || run_task(side, f));
            if is_cancelled || worker.is_ending() {
                worker.cancel(id);
            }
        }
        Err(error) => {
            side.write(Err(JoinError::not_started(error)));
            drop(side.finish());
        }
    }
    // Not earlier, or the task would be counted nowhere for a moment.
    worker.inbox.arrived();
}

/// The whole life of a task.
// Not inlined: the frames of inlined callees would add up in the one that each idle task keeps.
#[inline(never)]
fn run_task<T>(mut side: TaskSide<T>, f: impl FnOnce() -> T) {
    let begin = move || (!is_cancelled()).then(f);
    side.write(match catch_unwind(AssertUnwindSafe(begin)) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(JoinError::cancelled()),
        Err(payload) => Err(JoinError::panicked(payload)),
    });
    // A joiner finds the locals destroyed.
    end_of_task();
    if let Some(orphan) = side.finish() {
        // The task was detached: its value is dropped here. A panic must not unwind further than
        // this.
        contain(move || drop(orphan));
        // The drop may have set further locals.
        end_of_task();
    }
}
