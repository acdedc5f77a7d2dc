//! Tasks and threads whose end is heard of: those that have touched a channel or queue while
//! deadlocks were looked for.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fiveways_sys::generation::PerProcess;

use crate::identity::Identity;

static RUNNING: PerProcess<Mutex<HashSet<Identity>>> = PerProcess::new();

fn lock() -> MutexGuard<'static, HashSet<Identity>> {
    RUNNING.get(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds one that has not ended. Whoever adds it sees to it that it is taken out.
pub(crate) fn watch(who: Identity) {
    lock().insert(who);
}

/// Takes one out that has ended.
pub(crate) fn notify_exit(who: Identity) {
    lock().remove(&who);
}

/// Is it among them?
pub(crate) fn is_running(who: Identity) -> bool {
    lock().contains(&who)
}
