//! Finding out that a wait would never end.
//!
//! Runners that wait for jobs without a time limit are noted here:
//!
//! ```text
//!   runner ──waits for any of──▶ jobs ──each run by──▶ a runner            (running)
//!                                       └─can be by──▶ any of its crew's  (queued)
//! ```
//!
//! A wait can end if from its jobs a runner can be reached that is not noted, or a job that has
//! ended. If none can, and only then, no runner there will ever move again. Who has a time limit
//! is not noted: it will move. The last runner that closes such a ring is the one that looks, and
//! it is told instead of being parked. What tasks and other threads wait for is not known here, so
//! a ring through them is not found; but none is found that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::executor::crew::{Job, RunnerId, Status};

type Jobs = Vec<Arc<dyn Job>>;

/// Runners that wait without a time limit, and for what.
static WAITING: Mutex<BTreeMap<RunnerId, Jobs>> = Mutex::new(BTreeMap::new());

fn waiting() -> MutexGuard<'static, BTreeMap<RunnerId, Jobs>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A note that a runner waits; taken away when dropped.
#[derive(Debug)]
pub(super) struct Noted(RunnerId);

impl Drop for Noted {
    fn drop(&mut self) {
        let jobs = waiting().remove(&self.0);
        // The last copy of a job drops users' values: not under the lock.
        drop(jobs);
    }
}

/// Notes that a runner is going to wait for any of the jobs; `None`: it would wait for ever.
pub(super) fn note(runner: RunnerId, jobs: Jobs) -> Option<Noted> {
    let mut waiting = waiting();
    if !can_end(&waiting, runner, &jobs) {
        return None;
    }
    waiting.insert(runner, jobs);
    Some(Noted(runner))
}

/// Is it certain that none of the jobs ends before this runner has ceased to wait?
pub(super) fn is_hopeless(runner: RunnerId, jobs: &Jobs) -> bool {
    !can_end(&waiting(), runner, jobs)
}

/// Can a runner be reached that moves?
fn can_end(waiting: &BTreeMap<RunnerId, Jobs>, me: RunnerId, jobs: &Jobs) -> bool {
    let mut seen = BTreeSet::from([me]);
    let mut ahead = vec![jobs];
    while let Some(jobs) = ahead.pop() {
        for job in jobs {
            let Some(runners) = takers(&**job) else { return true };
            for runner in runners {
                match waiting.get(&runner) {
                    _ if !seen.insert(runner) => {}
                    Some(jobs) => ahead.push(jobs),
                    None => return true,
                }
            }
        }
    }
    false
}

/// Who runs the job or could begin it; `None`: it has ended.
fn takers(job: &dyn Job) -> Option<Vec<RunnerId>> {
    match job.status() {
        Status::Ended => None,
        Status::Running(runner) => Some(vec![runner]),
        // Without a crew there is no queue: it is just being ended.
        Status::Queued(crew) => crew.upgrade().map(|crew| crew.runners()),
    }
}
