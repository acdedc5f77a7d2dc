//! Threads of the process of which nothing is known.

use fiveways_sys::process;

use crate::blocked;
use crate::onlooker::Onlooker;
use crate::teams;

/// How many there are that are neither workers, nor blocked in a wait of ours, nor onlookers.
pub(crate) fn others() -> usize {
    let workers: usize = teams::all().iter().map(|team| team.len()).sum();
    let known = workers + blocked::count() + Onlooker::count();
    process::thread_count().unwrap_or(usize::MAX).saturating_sub(known)
}
