//! The runtimes of this process, for those who look at all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::inbox::Inbox;
use crate::worker::Team;

static TEAMS: Mutex<Vec<Weak<[Arc<Inbox>]>>> = Mutex::new(Vec::new());

fn lock() -> MutexGuard<'static, Vec<Weak<[Arc<Inbox>]>>> {
    TEAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a runtime; it is forgotten when nobody holds its team any more.
pub(crate) fn add(team: &Team) {
    let mut teams = lock();
    teams.retain(|team| team.strong_count() > 0);
    teams.push(Arc::downgrade(team));
}

/// Those that live, oldest first. Some of their workers may have ended.
pub(crate) fn all() -> Vec<Team> {
    lock().iter().filter_map(Weak::upgrade).collect()
}

/// The runtime that a worker belongs to.
pub(crate) fn of(inbox: &Arc<Inbox>) -> Option<Team> {
    all().into_iter().find(|team| team.iter().any(|other| Arc::ptr_eq(other, inbox)))
}

/// The inbox of the worker of this number, while its runtime lives.
pub(crate) fn inbox_of(worker: u32) -> Option<Arc<Inbox>> {
    let of_team = |team: Team| team.iter().find(|inbox| inbox.index == worker).cloned();
    all().into_iter().find_map(of_team)
}
