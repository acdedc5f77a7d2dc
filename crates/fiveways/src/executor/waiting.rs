//! Waiting for futures: parks tasks, blocks threads, and lets threads of pools help.
//!
//! A thread of a pool that waits for a job of its own pool which nobody has begun runs it then and
//! there: exactly that one, so nothing happens on its stack that the wait did not need. Waiting for
//! others it is noted (see [`deadlock`]), and told when the wait would never end.

use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use fiveways_runtime::{Holder, Reason};

use crate::executor::crew::{Crew, Job, Runner, Status, with_runner};
use crate::executor::deadlock;
use crate::executor::failure::FutureError;
use crate::executor::watch::Watch;

/// A wait for jobs, which come out one after the other as they end.
pub(super) struct Waiting {
    watch: Arc<Watch>,
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
        let waiting = Waiting { watch: Watch::new(), jobs, begun: 0, place: Location::caller() };
        for (number, job) in waiting.jobs.iter().enumerate() {
            let watched = job.as_ref().is_some_and(|job| job.watch(number, &waiting.watch));
            if !watched {
                waiting.watch.tell(number);
            }
        }
        waiting
    }

    /// Waits for the next job to end and gives its number.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> Result<usize, FutureError> {
        let number = with_runner(|runner| match (self.watch.look(), runner) {
            (Some(number), _) => Ok(number),
            (None, None) => self.park(deadline).ok_or(FutureError::TimedOut),
            (None, Some(me)) if deadline.is_some() => self.wait_awhile(me, deadline),
            (None, Some(me)) => self.wait_long(me),
        })?;
        self.jobs[number] = None;
        Ok(number)
    }

    /// Waits on a thread of a pool, for as long as it takes.
    fn wait_long(&mut self, me: &Runner) -> Result<usize, FutureError> {
        if self.help(&me.crew) {
            return Ok(self.watch.look().expect("what was run here has told its end"));
        }
        match deadlock::note(me.id, self.left()) {
            Some(_noted) => Ok(self.park(None).expect("there is no deadline")),
            // It may have ended since we looked.
            None => self.watch.look().ok_or(FutureError::WouldDeadlock),
        }
    }

    /// Waits on a thread of a pool, until the deadline. Helps only if nobody else can: helping
    /// knows no time limit.
    fn wait_awhile(
        &mut self,
        me: &Runner,
        deadline: Option<Instant>,
    ) -> Result<usize, FutureError> {
        // Noted before it looks: of two that come at once, one sees the other.
        let noted = deadlock::note_timed(me.id, self.left());
        if deadlock::is_stalled(me.id, &self.left()) {
            drop(noted);
            if self.help(&me.crew) {
                return Ok(self.watch.look().expect("what was run here has told its end"));
            }
            if deadlock::is_hopeless(me.id, &self.left()) {
                return self.watch.look().ok_or(FutureError::WouldDeadlock);
            }
            let _noted = deadlock::note_timed(me.id, self.left());
            return self.park(deadline).ok_or(FutureError::TimedOut);
        }
        self.park(deadline).ok_or(FutureError::TimedOut)
    }

    /// Runs one of the jobs here, if one is in the queue of this crew.
    fn help(&mut self, crew: &Arc<Crew>) -> bool {
        for job in &self.jobs[self.begun..] {
            self.begun += 1;
            let Some(job) = job else { continue };
            let Status::Queued(theirs) = job.status() else { continue };
            let ours = std::ptr::eq(theirs.as_ptr(), Arc::as_ptr(crew));
            if ours && Arc::clone(job).run() {
                return true;
            }
        }
        false
    }

    fn park(&self, deadline: Option<Instant>) -> Option<usize> {
        let on = Arc::as_ptr(&self.watch).addr();
        let reason = Reason { what: "future", on, holder: Holder::Anyone, place: self.place };
        self.watch.wait(&reason, deadline)
    }

    fn left(&self) -> Vec<Arc<dyn Job>> {
        self.jobs.iter().flatten().cloned().collect()
    }
}

impl Drop for Waiting {
    /// Also when the wait is unwound.
    fn drop(&mut self) {
        for job in self.jobs.iter().flatten() {
            job.unwatch(&self.watch);
        }
    }
}
