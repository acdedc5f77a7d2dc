//! Waiting for futures: parks tasks, blocks threads, and lets threads of pools help.
//!
//! A thread of a pool that waits for a job of its own pool which nobody has begun runs it then and
//! there: exactly that one, so nothing happens on its stack that the wait did not need.
//!
//! A wait names who could end it: of a running job its runner, of a queued one any of its crew's.
//! Threads of pools always stand in the runtime's graph of waits, so a ring of them is told instead
//! of hanging; where deadlocks are looked for all others do, too, and so do waits for locks and
//! joins: then a ring may lead through anything.
//!
//! Who has a time limit will move, but not before its time: that is enough for who must know
//! whether a wait ends, and not for who asks whether to run a job itself.

use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::time::Instant;

use fiveways_runtime::{
    Completions, Enders, Holder, Identity, Reason, TimedWaits, Visibility, WouldDeadlock,
    is_hopeless, wait_in_graph,
};

use crate::executor::failure::FutureError;
use crate::executor::pool_core::{Job, PoolCore, PoolThread, Status, with_runner};

/// A wait for jobs, which come out one after the other as they end.
pub(super) struct Waiting {
    ends: Completions,
    /// By number; `None` when it has come out.
    jobs: Vec<Option<Arc<dyn Job>>>,
    /// None of the jobs before this one is in a queue.
    begun: usize,
    /// Where the user's code waits.
    place: &'static Location<'static>,
}

impl Waiting {
    #[track_caller]
    pub(super) fn new(jobs: impl IntoIterator<Item = Arc<dyn Job>>) -> Waiting {
        let jobs = jobs.into_iter().map(Some).collect();
        let waiting =
            Waiting { ends: Completions::new(), jobs, begun: 0, place: Location::caller() };
        for (number, job) in waiting.jobs.iter().enumerate() {
            if let Some(job) = job {
                job.watch(waiting.ends.observer(number));
            }
        }
        waiting
    }

    /// Waits for the next job to end and gives its number.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> Result<usize, FutureError> {
        let number = with_runner(|pool_thread| match (self.ends.pop(), pool_thread) {
            (Some(number), _) => Ok(number),
            (None, None) => self.park(Visibility::WhenDetecting, deadline),
            (None, Some(me)) if deadline.is_some() => self.wait_awhile(me, deadline),
            (None, Some(me)) => self.wait_long(me),
        })?;
        self.jobs[number] = None;
        Ok(number)
    }

    /// Waits on a thread of a pool, for as long as it takes.
    fn wait_long(&mut self, me: &PoolThread) -> Result<usize, FutureError> {
        if self.help(&me.pool_core) {
            return Ok(self.ends.pop().expect("what was run here has told its end"));
        }
        self.park(Visibility::Always, None)
    }

    /// Waits on a thread of a pool, until the deadline. Helps only if nobody else can: helping
    /// knows no time limit.
    fn wait_awhile(
        &mut self,
        me: &PoolThread,
        deadline: Option<Instant>,
    ) -> Result<usize, FutureError> {
        // It is seen before it looks: of two that come at once, one sees the other.
        let unless_stalled = |reason: &Reason<'_>| {
            (!is_hopeless(reason, TimedWaits::Waiting)).then(|| self.wait(reason, deadline))
        };
        let waited = self.seen(Visibility::Always, deadline, unless_stalled);
        if let Ok(Some(number)) = waited {
            return number.ok_or(FutureError::TimedOut);
        }
        if self.help(&me.pool_core) {
            return Ok(self.ends.pop().expect("what was run here has told its end"));
        }
        if self.told(|reason| is_hopeless(reason, TimedWaits::Moving)) {
            return self.ends.pop().ok_or(FutureError::WouldDeadlock);
        }
        self.park(Visibility::Always, deadline)
    }

    /// Runs one of the jobs here, if one is in the queue of this crew.
    fn help(&mut self, pool_core: &Arc<PoolCore>) -> bool {
        for job in &self.jobs[self.begun..] {
            self.begun += 1;
            let Some(job) = job else { continue };
            let Status::Queued(theirs) = job.status() else { continue };
            let ours = ptr::eq(theirs.as_ptr(), Arc::as_ptr(pool_core));
            if ours && Arc::clone(job).run() {
                return true;
            }
        }
        false
    }

    fn park(&self, seen: Visibility, deadline: Option<Instant>) -> Result<usize, FutureError> {
        match self.seen(seen, deadline, |reason| self.wait(reason, deadline)) {
            Ok(number) => number.ok_or(FutureError::TimedOut),
            // It may have ended since we looked.
            Err(_hopeless) => self.ends.pop().ok_or(FutureError::WouldDeadlock),
        }
    }

    /// Returns the number of the job that ended first; `None` if the deadline came before.
    fn wait(&self, reason: &Reason<'_>, deadline: Option<Instant>) -> Option<usize> {
        self.ends.wait_for(reason, 1, deadline);
        self.ends.pop()
    }

    /// Runs `wait` with the reason of this wait, while others see it.
    fn seen<R>(
        &self,
        seen: Visibility,
        deadline: Option<Instant>,
        wait: impl FnOnce(&Reason<'_>) -> R,
    ) -> Result<R, WouldDeadlock> {
        self.told(|reason| wait_in_graph(reason, seen, deadline, || wait(reason)))
    }

    /// Runs `f` with the reason of this wait.
    fn told<R>(&self, f: impl FnOnce(&Reason<'_>) -> R) -> R {
        let (on, jobs) = (ptr::from_ref(&self.ends).addr(), Jobs(&self.jobs));
        f(&Reason { what: "future", on, holder: Holder::AnyOf(&jobs), place: self.place })
    }
}

/// The jobs that are waited for, any of which ends the wait.
struct Jobs<'a>(&'a [Option<Arc<dyn Job>>]);

impl Enders for Jobs<'_> {
    fn enders(&self, each: &mut dyn FnMut(Identity)) -> bool {
        self.0.iter().flatten().all(|job| job.enders(each))
    }
}

impl Drop for Waiting {
    /// Also when the wait is unwound.
    fn drop(&mut self) {
        for job in self.jobs.iter().flatten() {
            job.unwatch(&self.ends);
        }
    }
}
