//! What a dump tells, as plain data: made here, sent between processes, printed elsewhere.
//!
//! Everything is owned and can be serialised. Times are whole milliseconds: that is how precise the
//! clocks of dumps are.

use std::panic::Location;

use serde::{Deserialize, Serialize};

/// All tasks of all runtimes of a process, and its threads that are blocked in waits of ours.
///
/// Not one instant: each worker tells of its own tasks, a few hundred at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Dump {
    /// The process.
    pub process: u32,
    /// Its runtimes, oldest first.
    pub runtimes: Vec<RuntimeDump>,
    /// Its plain threads that are blocked in a wait of ours.
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
    /// Its thread, as the kernel counts them.
    pub thread: Option<i32>,
    /// What it was seen doing when it did not answer in time; all below is empty then.
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

/// What a task is doing while its worker tells of it.
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
    /// In one word.
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
    /// Which one: `task 3.17`.
    pub task: String,
    /// Its name; empty if it has none.
    pub name: String,
    /// What it is doing.
    pub state: TaskState,
    /// For how long.
    pub for_ms: u64,
    /// What it waits for.
    pub wait: Option<Wait>,
    /// Has it been cancelled?
    pub cancelled: bool,
    /// Where it was spawned.
    pub spawned_at: Place,
    /// By whom.
    pub spawned_by: Option<String>,
    /// The bytes of its stack.
    pub stack_size: usize,
    /// The bytes of it that are in memory: how deep it has been used.
    pub stack_touched: Option<usize>,
    /// Where it stands, innermost first.
    pub backtrace: Vec<Frame>,
    /// The same, not yet resolved.
    #[serde(skip)]
    pub(crate) addresses: Vec<usize>,
}

/// A task that was cancelled because its runtime ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LostTask {
    /// Which one: `task 3.17`.
    pub task: String,
    /// Its name; empty if it has none.
    pub name: String,
    /// Where it was spawned.
    pub spawned_at: Place,
    /// What it was doing.
    pub state: TaskState,
}

/// A plain thread that is blocked in a wait of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ThreadDump {
    /// Which one: `thread 2`; a task's number, if it blocks its worker because it unwinds.
    pub who: String,
    /// Its name; empty if it has none.
    pub name: String,
    /// Its number, as the kernel counts them.
    pub thread: i32,
    /// For how long it has been blocked.
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
    /// Who can end the wait, where that is one.
    pub holder: Option<String>,
    /// Those any of whom could end the wait, where they are known: the threads of a pool; who has
    /// had a hand in the other side of a channel.
    #[serde(default)]
    pub enders: Vec<String>,
    /// Where the user's code waits.
    pub place: Option<Place>,
    /// The descriptor that is waited for.
    pub fd: Option<i32>,
    /// Its own address.
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
    /// The function; its address where it has no name.
    pub function: String,
    /// The file, if it is known.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u32>,
}

/// A worker that has not come back to its scheduler for long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stuck {
    /// The task that keeps it: `task 3.17`; `None` if it could not be asked, or runs none.
    pub task: Option<String>,
    /// Its name; empty if it has none.
    pub name: String,
    /// Where it was spawned.
    pub spawned_at: Option<Place>,
    /// For at least how long.
    pub for_ms: u64,
    /// Where it stood, innermost first; empty if it could not be asked.
    pub backtrace: Vec<Frame>,
}
