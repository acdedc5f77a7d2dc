//! Taking a dump: every worker is asked; one that does not answer is interrupted by a signal.

use std::time::Duration;

use fiveways_sys::process;

use crate::deadlock::wait_graph;
use crate::dump_data::Dump;
use crate::inspect::collect::{self, Request};
use crate::inspect::symbols::Symbols;
use crate::park::blocked_threads;
use crate::worker::registry;

/// What a dump contains.
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
    /// Creates the default: all tasks, with backtraces; workers have a second to answer.
    pub fn new() -> DumpOptions {
        DumpOptions { request: Request::default() }
    }

    /// Sets whether tasks are dumped with backtraces. Without them a dump is about 20 times as
    /// fast.
    pub fn backtraces(mut self, backtraces: bool) -> DumpOptions {
        self.request.backtraces = backtraces;
        self
    }

    /// Sets how many tasks of each worker are listed: those that have waited longest.
    pub fn limit(mut self, tasks: usize) -> DumpOptions {
        self.request.limit = tasks;
        self
    }

    /// Sets how long a worker has to answer.
    pub fn patience(mut self, patience: Duration) -> DumpOptions {
        self.request.patience = patience;
        self
    }

    /// Performs the dump. Blocks the calling thread, which must not be a worker: workers are asked.
    pub fn dump(&self) -> Dump {
        let mut symbols = Symbols::default();
        let worker_sets = registry::all();
        let runtimes = worker_sets
            .iter()
            .map(|worker_set| collect::runtime(worker_set, &self.request, &mut symbols));
        Dump {
            process: process::id().as_raw_nonzero().get().unsigned_abs(),
            runtimes: runtimes.filter(|runtime| !runtime.workers.is_empty()).collect(),
            threads: blocked_threads::all(),
            suspected: wait_graph::suspects(),
        }
    }
}
