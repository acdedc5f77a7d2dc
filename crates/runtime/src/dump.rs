//! Taking a dump: every worker is asked, and those that do not answer are looked at by signal.

use std::time::Duration;

use fiveways_sys::process;

use crate::deadlock::wait_graph;
use crate::dump_data::{Dump, Place, RuntimeDump, Stuck, WorkerDump};
use crate::inspect::collect::{self, Answer, Request};
use crate::inspect::interrupt::{self, Told};
use crate::park::blocked_threads;
use crate::worker::Team;
use crate::worker::backtrace::Symbols;
use crate::worker::registry;

/// What a dump is to tell.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    request: Request,
}

impl Default for DumpOptions {
    fn default() -> DumpOptions {
        DumpOptions::new()
    }
}

impl DumpOptions {
    /// Makes the default: all tasks, with backtraces; workers have a second to answer.
    pub fn new() -> DumpOptions {
        DumpOptions { request: Request::default() }
    }

    /// Sets whether tasks tell where they stand. Without, a dump is some twenty times as fast.
    pub fn backtraces(mut self, backtraces: bool) -> DumpOptions {
        self.request.backtraces = backtraces;
        self
    }

    /// Sets how many tasks of each worker are told of: those that have waited longest.
    pub fn limit(mut self, tasks: usize) -> DumpOptions {
        self.request.limit = tasks;
        self
    }

    /// Sets how long a worker has to answer.
    pub fn patience(mut self, patience: Duration) -> DumpOptions {
        self.request.patience = patience;
        self
    }

    /// Takes the dump. Blocks the calling thread, which must not be a worker: that one is asked.
    pub fn take(&self) -> Dump {
        let mut symbols = Symbols::default();
        let teams = registry::all();
        let runtimes = teams.iter().map(|team| runtime(team, &self.request, &mut symbols));
        Dump {
            process: process::id().as_raw_nonzero().get().unsigned_abs(),
            runtimes: runtimes.filter(|runtime| !runtime.workers.is_empty()).collect(),
            threads: blocked_threads::all(),
            suspected: wait_graph::suspects(),
        }
    }
}

/// A dump of one runtime, with backtraces.
pub(crate) fn dump_team(team: &Team) -> RuntimeDump {
    runtime(team, &Request::default(), &mut Symbols::default())
}

fn runtime(team: &Team, request: &Request, symbols: &mut Symbols) -> RuntimeDump {
    let (mut runtime, answers) = collect::ask(team, request);
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
        let told = interrupt::ask_worker(&inbox).unwrap_or_default();
        worker.stuck = Some(stuck_by(told, Duration::ZERO, symbols));
    }
    worker
}

/// What a worker does that does not answer.
pub(crate) fn stuck_by(told: Told, at_least: Duration, symbols: &mut Symbols) -> Stuck {
    Stuck {
        task: told.task.map(|task| task.to_string()),
        name: told.name,
        spawned_at: told.place.map(Place::from),
        for_ms: at_least.as_millis() as u64,
        backtrace: symbols.resolve(&told.frames),
    }
}
