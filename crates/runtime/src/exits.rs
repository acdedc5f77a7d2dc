//! Tasks and threads whose end is heard of: those that have touched a channel or queue while
//! deadlocks were looked for.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::identity::Identity;

static LIVING: LazyLock<Mutex<HashSet<Identity>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashSet<Identity>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds one that has not ended. Whoever adds it sees to it that it is taken out.
pub(crate) fn add(who: Identity) {
    lock().insert(who);
}

/// Takes one out that has ended.
pub(crate) fn end(who: Identity) {
    lock().remove(&who);
}

/// Is it among them?
pub(crate) fn is_living(who: Identity) -> bool {
    lock().contains(&who)
}
