//! The contents of a dump as plain data: created here, sent between processes, formatted elsewhere.
//!
//! Everything is owned and can be serialised. Times are whole milliseconds, the precision of the
//! clocks that dumps use.

use std::panic::Location;

use serde::{Deserialize, Serialize};

/// All tasks of all runtimes of a process, and its threads that are blocked in a wait of this
/// library.
///
/// A dump is not of one instant: each worker lists its own tasks, a few hundred at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Dump {
    /// The process.
    pub process: u32,
    /// Its runtimes, oldest first.
    pub runtimes: Vec<RuntimeDump>,
    /// Its plain threads that are blocked in a wait of this library.
    pub threads: Vec<ThreadDump>,
    /// Waits that no task or thread but another waiter among them could end, if no handle of a
    /// channel is kept by a task or thread that has not used it yet.
    #[serde(default)]
    pub suspected: Vec<SuspectedWait>,
}

/// One wait of a suspected deadlock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SuspectedWait {
    /// The waiter: `task 3.17` or `thread 2`.
    pub who: String,
    /// Its name; empty if it has none.
    pub name: String,
    /// What it waits for: `receive from channel`, `mutex`.
    pub what: String,
    /// Where the user's code waits.
    pub place: Place,
    /// The recorded participants, any of which could end the wait.
    pub enders: Vec<String>,
}

/// One runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RuntimeDump {
    /// The model its workers wait with; empty if no worker has answered.
    pub model: String,
    /// Its workers.
    pub workers: Vec<WorkerDump>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerDump {
    /// Its number, unique in the process: the first half of its tasks' numbers.
    pub worker: u32,
    /// The kernel's number of its thread.
    pub thread: Option<i32>,
    /// What it was doing if it did not answer in time; all fields below are empty then.
    pub stuck: Option<Stuck>,
    /// Rounds of its loop so far.
    pub rounds: u64,
    /// Turns of its driver so far.
    pub turns: u64,
    /// Events and completions taken from the kernel so far.
    pub events: u64,
    /// Tasks started so far.
    pub started: u64,
    /// How many tasks there are in each state.
    pub counts: Counts,
    /// Tasks left out, because only some were asked for.
    pub omitted: usize,
    /// The tasks, those that have waited longest first.
    pub tasks: Vec<TaskDump>,
}

/// How many tasks are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// Not begun.
    pub new: usize,
    /// In the run queue.
    pub ready: usize,
    /// With an operation in the driver.
    pub waiting: usize,
    /// Until unparked.
    pub parked: usize,
    /// Until their deadlines.
    pub asleep: usize,
}

impl Counts {
    /// All of them.
    pub fn total(&self) -> usize {
        self.new + self.ready + self.waiting + self.parked + self.asleep
    }

    pub(crate) fn add(&mut self, state: TaskState) {
        match state {
            TaskState::New => self.new += 1,
            TaskState::Ready => self.ready += 1,
            TaskState::Waiting => self.waiting += 1,
            TaskState::Parked => self.parked += 1,
            TaskState::Asleep => self.asleep += 1,
        }
    }
}

/// What a task is doing while its worker lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TaskState {
    /// It has not begun.
    New,
    /// It is in the run queue.
    Ready,
    /// An operation of it is in the driver.
    Waiting,
    /// It waits for another task or thread.
    Parked,
    /// It sleeps.
    Asleep,
}

impl TaskState {
    /// Returns the state in one word.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::New => "new",
            TaskState::Ready => "ready",
            TaskState::Waiting => "waiting",
            TaskState::Parked => "parked",
            TaskState::Asleep => "asleep",
        }
    }
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskDump {
    /// Its identity: `task 3.17`.
    pub task: String,
    /// Its name; empty if it has none.
    pub name: String,
    /// What it is doing.
    pub state: TaskState,
    /// How long it has been in this state.
    pub for_ms: u64,
    /// What it waits for.
    pub wait: Option<Wait>,
    /// Whether it has been cancelled.
    pub cancelled: bool,
    /// Where it was spawned.
    pub spawned_at: Place,
    /// The task or thread that spawned it.
    pub spawned_by: Option<String>,
    /// The bytes of its stack.
    pub stack_size: usize,
    /// The bytes of the stack that are in memory: how deep it has been used.
    pub stack_touched: Option<usize>,
    /// Its backtrace, innermost frame first.
    pub backtrace: Vec<Frame>,
    /// The addresses of the backtrace, not yet resolved.
    #[serde(skip)]
    pub(crate) addresses: Vec<usize>,
}

/// A task that was cancelled because its runtime ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LostTask {
    /// Its identity: `task 3.17`.
    pub task: String,
    /// Its name; empty if it has none.
    pub name: String,
    /// Where it was spawned.
    pub spawned_at: Place,
    /// What it was doing when it was cancelled.
    pub state: TaskState,
}

/// A plain thread that is blocked in a wait of this library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ThreadDump {
    /// Its identity: `thread 2`; that of a task, if the task blocks its worker because it unwinds.
    pub who: String,
    /// Its name; empty if it has none.
    pub name: String,
    /// The kernel's number of the thread.
    pub thread: i32,
    /// How long it has been blocked.
    pub for_ms: u64,
    /// What it waits for.
    pub wait: Wait,
}

/// What is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Wait {
    /// In words: `recv`, `mutex`, `join`, `sleep`.
    pub what: String,
    /// The address of what is waited for.
    pub on: Option<usize>,
    /// The one task or thread that can end the wait, if it is known to be one.
    pub holder: Option<String>,
    /// The tasks and threads any of which could end the wait, if they are known: the threads of a
    /// pool, or the participants on the other side of a channel.
    #[serde(default)]
    pub enders: Vec<String>,
    /// Where the user's code waits.
    pub place: Option<Place>,
    /// The descriptor that is waited for.
    pub fd: Option<i32>,
    /// The local address of the socket.
    pub local: Option<String>,
    /// The address of its peer.
    pub peer: Option<String>,
    /// The time left until the deadline.
    pub left_ms: Option<u64>,
}

/// A place in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of `std::panic::Location`")]
pub struct Place {
    pub file: String,
    pub line: u32,
    pub column: u32,
}

impl From<&Location<'_>> for Place {
    fn from(location: &Location<'_>) -> Place {
        let file = location.file().to_owned();
        Place { file, line: location.line(), column: location.column() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A frame of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Frame {
    /// The function; its address if it has no name.
    pub function: String,
    /// The file, if it is known.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u32>,
}

/// A worker that has not returned to its scheduler for long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stuck {
    /// The task that it runs: `task 3.17`; `None` if the worker could not be asked, or runs none.
    pub task: Option<String>,
    /// Its name; empty if it has none.
    pub name: String,
    /// Where it was spawned.
    pub spawned_at: Option<Place>,
    /// How long it has lasted, at least.
    pub for_ms: u64,
    /// The backtrace of the worker's thread, innermost frame first; empty if it could not be asked.
    pub backtrace: Vec<Frame>,
}
