//! Tasks and threads whose end is heard of: those that have touched a channel or queue while
//! deadlocks were looked for.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::identity::Identity;

static LIVING: LazyLock<Mutex<HashSet<Identity>>> = LazyLock::new(Mutex::default);

/// What is done when one of them has ended.
static AT_END: OnceLock<fn()> = OnceLock::new();

fn lock() -> MutexGuard<'static, HashSet<Identity>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has `heed` called after each end from now on; only the first such call counts.
pub(crate) fn heed_ends(heed: fn()) {
    let _ = AT_END.set(heed);
}

/// Adds one that has not ended. Whoever adds it sees to it that it is taken out.
pub(crate) fn add(who: Identity) {
    lock().insert(who);
}

/// Takes one out that has ended.
pub(crate) fn end(who: Identity) {
    let was_there = lock().remove(&who);
    if let Some(heed) = AT_END.get().filter(|_| was_there) {
        heed();
    }
}

/// Is it among them?
pub(crate) fn is_living(who: Identity) -> bool {
    lock().contains(&who)
}
