//! The worker's idle time: it spins for a moment, then sleeps in the driver.

use std::io;
use std::time::{Duration, Instant};

use super::Worker;
use crate::clock;
use crate::task_block::earlier;
use crate::worker::watchers;

/// Unused stacks that may keep their memory.
const WARM_STACKS: usize = 64;

/// Further stacks, and buffers of the driver, are given back if they have been unused for this long
/// (at most twice as long).
const TRIM_AFTER: Duration = Duration::from_secs(1);

impl Worker {
    /// Returns when to look for unused stacks and buffers; `None` if there are few.
    fn trim_at(&self) -> Option<Instant> {
        let many = self.stacks.borrow().warm() > WARM_STACKS;
        let many = many || self.driver.borrow().has_unused_memory();
        let at = many.then(|| self.trim_at.get().unwrap_or_else(|| clock::now() + TRIM_AFTER));
        self.trim_at.set(at);
        at
    }

    /// Gives back memory that was only needed for a peak.
    fn trim(&self, at: Instant) {
        if clock::now() < at {
            return;
        }
        if !self.trims_driver.get() {
            self.stacks.borrow_mut().trim_unused(WARM_STACKS);
        }
        // The driver does it piece by piece, so tasks that become ready do not wait for all of it.
        let more = self.driver.borrow_mut().trim();
        self.trims_driver.set(more);
        self.trim_at.set(more.then_some(self.past));
    }

    /// Waits for messages, completions or deadlines.
    pub(super) fn wait(&self) -> io::Result<()> {
        if self.spin.borrow_mut().is_worth_it() && self.spin_a_while()? {
            return Ok(());
        }
        if !self.inbox.prepare_sleep() {
            return self.look();
        }
        let trim_at = self.trim_at();
        let due = self.timers.borrow().next();
        let deadline = earlier(due, trim_at);
        self.inbox.rest(due.is_none() && self.driver.borrow().waiting() == 0);
        let turned = {
            let mut spin = self.spin.borrow_mut();
            let before = spin.before_sleep();
            let turned = self.driver.borrow_mut().turn(deadline, &mut self.ready.borrow_mut());
            spin.after_sleep(before);
            turned
        };
        self.inbox.woke();
        watchers::wake();
        self.deliver();
        if let Some(at) = trim_at {
            self.trim(at);
        }
        turned
    }

    /// Polls for a moment. Returns `true` if there is something to do.
    fn spin_a_while(&self) -> io::Result<bool> {
        let started = clock::machine();
        loop {
            // The spin may last longer than the watchdog's limit, so it counts as rounds.
            self.inbox.beat();
            self.look()?;
            if !self.has_nothing_to_run() || self.inbox.is_filled() {
                self.spin.borrow_mut().paid();
                return Ok(true);
            }
            let due = self.timers.borrow().next().is_some_and(|at| at <= clock::now());
            if due {
                return Ok(true);
            }
            if clock::machine() - started > self.spin.borrow().limit {
                self.spin.borrow_mut().failed();
                return Ok(false);
            }
        }
    }
}
