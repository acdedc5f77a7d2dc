//! Tasks and threads whose end is recorded: those that have used a channel or queue while deadlocks
//! were looked for.

use std::collections::HashSet;

use fiveways_sys::lock::{Mutex, MutexGuard};
use fiveways_sys::process::generation::PerProcess;

use crate::identity::Identity;

static RUNNING: PerProcess<Mutex<HashSet<Identity>>> = PerProcess::new();

fn lock() -> MutexGuard<'static, HashSet<Identity>> {
    RUNNING.get(Mutex::default).lock()
}

/// Adds a running task or thread. The caller ensures that it is taken out at its end.
pub(crate) fn watch(who: Identity) {
    lock().insert(who);
}

/// Takes out a task or thread that has ended.
pub(crate) fn notify_exit(who: Identity) {
    lock().remove(&who);
}

/// Returns `true` if this task or thread was added and has not ended.
pub(crate) fn is_running(who: Identity) -> bool {
    lock().contains(&who)
}
