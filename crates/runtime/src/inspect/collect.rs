//! Collecting the tasks of workers: each worker lists its own, between two tasks.
//!
//! ```text
//!   asker ── Inspect ──▶ inbox ──▶ worker: counts, chooses, lists a slice ── part ──▶ asker
//!                           ▲                    │
//!                           └── Inspect (the rest) ┘   so a million tasks do not stop it for long
//! ```
#![expect(unsafe_code, reason = "control blocks are reached through the worker's table")]

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use fiveways_driver::Pending;
use fiveways_sys::net::{self, Control, Reply};

use crate::clock;
use crate::dump_data::{Place, RuntimeDump, Stuck, TaskDump, TaskState, Wait, WorkerDump};
use crate::identity::Identity;
use crate::inspect::interrupt::{self, Activity};
use crate::inspect::symbols::Symbols;
use crate::park::blocked_threads::wait_for;
use crate::task_block::{State, Task, TaskId};
use crate::worker::inbox::{Inbox, Message};
use crate::worker::peek::{fiber, state_of};
use crate::worker::{Worker, WorkerSet, with_worker};

/// Tasks that are listed between two looks at the driver: their backtraces take some 20 µs each.
const SLICE: usize = 128;

/// What is requested.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Whether backtraces are taken.
    pub(crate) backtraces: bool,
    /// The most tasks of each worker, those that have waited longest.
    pub(crate) limit: usize,
    /// Only these tasks, if it is not empty.
    pub(crate) only: Vec<Identity>,
    /// How long a worker has to begin with its answer, and to go on with it.
    pub(crate) patience: Duration,
}

impl Default for Request {
    fn default() -> Request {
        let patience = Duration::from_secs(1);
        Request { backtraces: true, limit: usize::MAX, only: Vec::new(), patience }
    }
}

/// A part of a worker's answer.
struct Part {
    model: String,
    worker: WorkerDump,
    is_last: bool,
}

/// A worker that was asked, and its answers.
struct Asked {
    inbox: Arc<Inbox>,
    parts: Receiver<Part>,
}

/// What a worker has answered: everything, a part, or nothing.
pub(crate) struct Answer {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) worker: WorkerDump,
    pub(crate) is_whole: bool,
}

/// Asks all workers of a runtime and waits for their answers. Blocks the thread, so not for tasks.
pub(crate) fn ask(worker_set: &WorkerSet, request: &Request) -> (RuntimeDump, Vec<Answer>) {
    let asked: Vec<_> = worker_set.iter().filter_map(|inbox| send(inbox, request)).collect();
    let mut model = String::new();
    let answers = asked.into_iter().map(|asked| asked.collect(request, &mut model)).collect();
    (RuntimeDump { model, workers: Vec::new() }, answers)
}

/// Asks a worker; returns `None` if it has ended.
fn send(inbox: &Arc<Inbox>, request: &Request) -> Option<Asked> {
    let (answer, parts) = channel();
    let request = request.clone();
    let look = move || {
        with_worker(|worker| begin(worker, request, answer));
    };
    inbox.send(Message::Inspect(Box::new(look))).ok()?;
    Some(Asked { inbox: Arc::clone(inbox), parts })
}

impl Asked {
    fn collect(self, request: &Request, model: &mut String) -> Answer {
        let mut whole = WorkerDump { worker: self.inbox.index, ..WorkerDump::default() };
        let mut is_whole = false;
        while !is_whole {
            match self.parts.recv_timeout(request.patience) {
                Ok(part) => {
                    is_whole = part.is_last;
                    model.clone_from(&part.model);
                    let tasks = std::mem::take(&mut whole.tasks);
                    whole = part.worker;
                    whole.tasks.splice(0..0, tasks);
                }
                // The worker ends, and its tasks have ended.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        Answer { inbox: self.inbox, worker: whole, is_whole }
    }
}

/// Counts the tasks of the worker and chooses those to be listed.
fn begin(worker: &Worker, request: Request, answer: Sender<Part>) {
    let tasks = worker.tasks();
    let counters = worker.driver.borrow().counters();
    let mut dump = WorkerDump {
        worker: worker.inbox.index,
        thread: Some(fiveways_sys::thread::interrupt::Thread::current().number()),
        rounds: worker.inbox.status().rounds(),
        turns: counters.turns,
        events: counters.events,
        started: worker.started(),
        ..WorkerDump::default()
    };
    let mut chosen = Vec::new();
    for task in tasks {
        // SAFETY: required: a live task. The table holds live tasks only.
        let block = unsafe { task.as_ref() };
        dump.counts.add(state_of(task));
        if request.only.is_empty() || request.only.contains(&block.identity) {
            chosen.push((block.since.get(), block.id));
        }
    }
    chosen.sort_unstable_by_key(|(since, id)| (*since, id.index));
    let kept = chosen.len().min(request.limit);
    dump.omitted = dump.counts.total() - kept;
    let rest = chosen[..kept].iter().map(|(_, id)| *id).collect();
    go_on(worker, Job { request, dump, rest, next: 0, answer });
}

/// A request that is partly answered.
struct Job {
    request: Request,
    /// The answer without the tasks.
    dump: WorkerDump,
    rest: Vec<TaskId>,
    next: usize,
    answer: Sender<Part>,
}

/// Lists the next slice of tasks, and sends the rest of the job to the worker itself.
fn go_on(worker: &Worker, mut job: Job) {
    let slice = &job.rest[job.next..(job.next + SLICE).min(job.rest.len())];
    let live = slice.iter().filter_map(|id| worker.task(*id));
    let tasks = live.map(|task| tell_of(worker, task, job.request.backtraces)).collect();
    job.next += slice.len();
    let is_last = job.next == job.rest.len();
    let model = worker.driver.borrow().model().name().to_owned();
    let part = Part { model, worker: WorkerDump { tasks, ..job.dump.clone() }, is_last };
    if job.answer.send(part).is_err() || is_last {
        return;
    }
    let inbox = Arc::clone(&worker.inbox);
    let look = move || {
        with_worker(|worker| go_on(worker, job));
    };
    // The worker's own inbox is open as long as it reads its messages.
    let _ = inbox.send(Message::Inspect(Box::new(look)));
}

/// Describes a suspended task.
pub(crate) fn tell_of(worker: &Worker, task: NonNull<Task>, backtrace: bool) -> TaskDump {
    let fiber = fiber(task);
    let block = fiber.header();
    let state = state_of(task);
    // Before the stack is walked: walking touches it.
    let stack_touched = fiber.stack().touched_bytes().ok();
    TaskDump {
        task: block.identity.to_string(),
        name: fiber.name(),
        state,
        for_ms: clock::coarse_ms().saturating_sub(block.since.get()),
        wait: wait_of(worker, block),
        cancelled: block.cancelled.get(),
        spawned_at: block.origin.place.into(),
        spawned_by: Some(block.origin.by.to_string()),
        stack_size: fiber.stack().size(),
        stack_touched,
        backtrace: Vec::new(),
        addresses: match backtrace && state != TaskState::New {
            true => worker.backtrace_of(task),
            false => Vec::new(),
        },
    }
}

/// Describes what a suspended task waits for.
fn wait_of(worker: &Worker, task: &Task) -> Option<Wait> {
    let wait = match task.state.get() {
        State::Ready | State::Running => return None,
        State::Asleep => Wait { what: "sleep".to_owned(), ..Wait::default() },
        State::Waiting => {
            let pending = NonNull::new(task.pending.get().cast_mut())?;
            // SAFETY: required: valid. The task waits for it in a frame that stays.
            wait_for_operation(worker, unsafe { pending.as_ref() })
        }
        State::Parked => {
            // SAFETY: required: null or valid. A parked task keeps its reason in a frame that
            // stays until it has taken the pointer back.
            wait_for(unsafe { task.reason.get().as_ref() })
        }
    };
    let left = worker.deadline_of(task).map(|at| at.saturating_duration_since(clock::now()));
    Some(Wait { left_ms: left.map(|left| left.as_millis() as u64), ..wait })
}

fn wait_for_operation(worker: &Worker, pending: &Pending) -> Wait {
    let fd = pending.op.source().fd;
    // SAFETY: required: open, not -1. A task waits for an operation on it, and keeps it open.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    let name = |call| match worker.driver.borrow_mut().control(call) {
        Ok(Reply::Name(Some(address))) => name_of(&address),
        _ => None,
    };
    Wait {
        what: pending.op.name().to_owned(),
        fd: Some(fd),
        local: name(Control::LocalName(borrowed)),
        peer: name(Control::PeerName(borrowed)),
        ..Wait::default()
    }
}

/// Formats an address in its usual notation.
fn name_of(address: &net::Address) -> Option<String> {
    if let Ok(ip) = std::net::SocketAddr::try_from(address.clone()) {
        return Some(ip.to_string());
    }
    match net::unix_name(address)? {
        [] => Some("unnamed".to_owned()),
        [0, name @ ..] => Some(format!("@{}", String::from_utf8_lossy(name))),
        path => {
            let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            Some(String::from_utf8_lossy(&path[..end]).into_owned())
        }
    }
}

/// Takes a dump of one runtime, with backtraces.
pub(crate) fn dump_runtime(worker_set: &WorkerSet) -> RuntimeDump {
    runtime(worker_set, &Request::default(), &mut Symbols::default())
}

/// Takes a dump of one runtime, as far as requested.
pub(crate) fn runtime(
    worker_set: &WorkerSet,
    request: &Request,
    symbols: &mut Symbols,
) -> RuntimeDump {
    let (mut runtime, answers) = ask(worker_set, request);
    runtime.workers = answers.into_iter().map(|answer| worker(answer, symbols)).collect();
    runtime
}

fn worker(answer: Answer, symbols: &mut Symbols) -> WorkerDump {
    let Answer { inbox, mut worker, is_whole } = answer;
    for task in &mut worker.tasks {
        task.backtrace = symbols.resolve(&task.addresses);
        task.addresses = Vec::new();
    }
    if !is_whole {
        let activity = interrupt::ask_worker(&inbox).unwrap_or_default();
        worker.stuck = Some(stuck_by(activity, Duration::ZERO, symbols));
    }
    worker
}

/// Describes a worker that does not answer.
pub(crate) fn stuck_by(activity: Activity, at_least: Duration, symbols: &mut Symbols) -> Stuck {
    Stuck {
        task: activity.task.map(|task| task.to_string()),
        name: activity.name,
        spawned_at: activity.place.map(Place::from),
        for_ms: at_least.as_millis() as u64,
        backtrace: symbols.resolve(&activity.frames),
    }
}
