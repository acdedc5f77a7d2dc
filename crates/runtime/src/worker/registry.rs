//! The runtimes of this process, for those who look at all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use fiveways_sys::generation::PerProcess;

use crate::worker::Team;
use crate::worker::inbox::Inbox;

/// A runtime, by the numbers of its workers, which follow each other.
struct Entry {
    first: u32,
    team: Weak<[Arc<Inbox>]>,
}

/// A fork has none of their threads, and may find the lock held.
static TEAMS: PerProcess<Mutex<Vec<Entry>>> = PerProcess::new();

fn lock() -> MutexGuard<'static, Vec<Entry>> {
    TEAMS.get(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a runtime; it is forgotten when nobody holds its team any more.
pub(crate) fn add(team: &Team) {
    let Some(first) = team.first() else { return };
    let mut teams = lock();
    teams.retain(|entry| entry.team.strong_count() > 0);
    teams.push(Entry { first: first.index, team: Arc::downgrade(team) });
}

/// Those that live, oldest first. Some of their workers may have ended.
pub(crate) fn all() -> Vec<Team> {
    lock().iter().filter_map(|entry| entry.team.upgrade()).collect()
}

/// The inbox of the worker of this number in its team.
#[inline]
pub(crate) fn member(team: &[Arc<Inbox>], number: u32) -> Option<&Arc<Inbox>> {
    let place = number.checked_sub(team.first()?.index)?;
    team.get(place as usize)
}

/// The team that the worker of this number belongs to, if its runtime lives.
pub(crate) fn with(number: u32) -> Option<Team> {
    let teams = lock();
    let before = teams.iter().filter(|entry| entry.first <= number);
    let team = before.max_by_key(|entry| entry.first)?.team.upgrade();
    drop(teams);
    team
}

/// The runtime that a worker belongs to.
pub(crate) fn of(inbox: &Arc<Inbox>) -> Option<Team> {
    all().into_iter().find(|team| team.iter().any(|other| Arc::ptr_eq(other, inbox)))
}

/// The inbox of the worker of this number, while its runtime lives.
pub(crate) fn inbox_of(worker: u32) -> Option<Arc<Inbox>> {
    let team = with(worker)?;
    member(&team, worker).cloned()
}
