//! Waiting for futures: parks tasks, blocks threads, and lets threads of pools run queued work.
//!
//! A thread of a pool that waits for a job of its own pool that has not begun runs it itself:
//! exactly that one, so nothing runs on its stack that the wait did not need.
//!
//! A wait names the threads that could end it: of a running job its thread, of a queued one any of
//! its pool's. Threads of pools are always in the runtime's wait graph, so a cycle of them is
//! reported instead of hanging; with deadlock detection all other waiters are, too, and so are
//! waits for locks and joins: then a cycle may lead through any of them.
//!
//! A waiter with a time limit will continue, but not before its time: that answers whether a wait
//! ends, but not whether a thread should run a job itself.

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

/// A wait for jobs, which are returned one after the other as they end.
pub(super) struct Waiting {
    ends: Completions,
    /// By number; `None` once it has been returned.
    jobs: Vec<Option<Arc<dyn Job>>>,
    /// None of the jobs before this index is queued.
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

    /// Waits for the next job to end and returns its number.
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

    /// Waits on a thread of a pool, without a time limit.
    fn wait_long(&mut self, me: &PoolThread) -> Result<usize, FutureError> {
        if self.help(&me.pool_core) {
            return Ok(self.ends.pop().expect("what was run here has told its end"));
        }
        self.park(Visibility::Always, None)
    }

    /// Waits on a thread of a pool, until the deadline. Runs a job only if no other thread can: a
    /// job has no time limit.
    fn wait_awhile(
        &mut self,
        me: &PoolThread,
        deadline: Option<Instant>,
    ) -> Result<usize, FutureError> {
        // It is visible before it looks: of two that come at once, one sees the other.
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

    /// Runs one of the jobs here, if one is in the queue of this pool.
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
            // It may have ended in the meantime.
            Err(_would_deadlock) => self.ends.pop().ok_or(FutureError::WouldDeadlock),
        }
    }

    /// Returns the number of the job that ended first; `None` if the deadline came before.
    fn wait(&self, reason: &Reason<'_>, deadline: Option<Instant>) -> Option<usize> {
        self.ends.wait_for(reason, 1, deadline);
        self.ends.pop()
    }

    /// Runs `wait` with the reason of this wait, visible to other waits.
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
    /// Also if the wait is unwound.
    fn drop(&mut self) {
        for job in self.jobs.iter().flatten() {
            job.unwatch(&self.ends);
        }
    }
}
