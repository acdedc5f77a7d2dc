//! Finding out that a wait would never end.
//!
//! Runners that wait for jobs are noted here:
//!
//! ```text
//!   runner ──waits for any of──▶ jobs ──each run by──▶ a runner            (running)
//!                                       └─can be by──▶ any of its crew's  (queued)
//! ```
//!
//! A wait can end if from its jobs a runner can be reached that is not noted, or a job that has
//! ended. If none can, and only then, no runner there will ever move again. Who has a time limit
//! will move, but not before its time: that is enough for who must know whether a wait ends, and
//! not for who asks whether to run a job itself. The last runner that closes such a ring is the one
//! that looks, and it is told instead of being parked. What tasks and other threads wait for is not
//! known here, so a ring through them is not found; but none is found that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::executor::crew::{Job, RunnerId, Status};

type Jobs = Vec<Arc<dyn Job>>;

/// What a runner waits for.
struct Wait {
    jobs: Jobs,
    /// It will move when its time is over.
    is_timed: bool,
}

/// Runners that wait, and for what.
static WAITING: Mutex<BTreeMap<RunnerId, Wait>> = Mutex::new(BTreeMap::new());

fn waiting() -> MutexGuard<'static, BTreeMap<RunnerId, Wait>> {
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

/// Who counts as one that moves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Movers {
    /// Who waits for nothing, and who waits until its time is over.
    WithTimed,
    /// Who waits for nothing.
    Free,
}

/// Notes that a runner is going to wait for any of the jobs; `None`: it would wait for ever.
pub(super) fn note(runner: RunnerId, jobs: Jobs) -> Option<Noted> {
    let mut waiting = waiting();
    if !can_end(&waiting, runner, &jobs, Movers::WithTimed) {
        return None;
    }
    waiting.insert(runner, Wait { jobs, is_timed: false });
    Some(Noted(runner))
}

/// Notes that a runner is going to wait for any of the jobs until its time is over.
pub(super) fn note_timed(runner: RunnerId, jobs: Jobs) -> Noted {
    waiting().insert(runner, Wait { jobs, is_timed: true });
    Noted(runner)
}

/// Is it certain that none of the jobs ends before this runner has ceased to wait?
pub(super) fn is_hopeless(runner: RunnerId, jobs: &Jobs) -> bool {
    !can_end(&waiting(), runner, jobs, Movers::WithTimed)
}

/// Is everybody waiting who could bring one of the jobs to its end, with or without a time limit?
pub(super) fn is_stalled(runner: RunnerId, jobs: &Jobs) -> bool {
    !can_end(&waiting(), runner, jobs, Movers::Free)
}

/// Can a runner be reached that moves?
fn can_end(waiting: &BTreeMap<RunnerId, Wait>, me: RunnerId, jobs: &Jobs, movers: Movers) -> bool {
    let mut seen = BTreeSet::from([me]);
    let mut ahead = vec![jobs];
    while let Some(jobs) = ahead.pop() {
        for job in jobs {
            let Some(runners) = takers(&**job) else { return true };
            for runner in runners {
                match waiting.get(&runner) {
                    _ if !seen.insert(runner) => {}
                    Some(wait) if movers == Movers::Free || !wait.is_timed => {
                        ahead.push(&wait.jobs);
                    }
                    _ => return true,
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
