//! Tasks and what is built of them: spawning and joining in the course's order, groups, pools,
//! scopes, timers.

mod course;
mod groups;
mod joins;
mod pools;
mod scopes;
mod telling;
mod timers;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fiveways::runtime::Runtime;

/// Longer than any test; what sleeps so long is cancelled.
pub(crate) const FOREVER: Duration = Duration::from_secs(3600);

/// Runs `f` as a task of a runtime with so many workers.
#[track_caller]
pub(crate) fn on_workers<T: Send + 'static>(
    workers: usize,
    f: impl FnOnce() -> T + Send + 'static,
) -> T {
    Runtime::builder().workers(workers).build().expect("a runtime").block_on(f)
}

/// Lines, from anywhere.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn say(&self, line: impl Into<String>) {
        self.0.lock().expect("whole").push(line.into());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("whole").clone()
    }
}

/// Logs its end.
pub(crate) struct Tell(pub(crate) Log, pub(crate) &'static str);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.say(self.1);
    }
}
