//! When to check the descriptors of waiting operations without a report.
//!
//! A signal goes to one thread and carries one number, both of which belong to the open socket and
//! not to the descriptor: a stream that was used on another worker meanwhile, or through a clone,
//! reports there. So the signal model checks the descriptors of all waiting operations from time to
//! time (a *sweep*). A sweep that finds a ready one makes the sweeps frequent, one that finds none
//! makes them rarer:
//!
//! ```text
//!   every 5 ms ──found nothing──▶ 10 ms ──▶ … ──▶ 640 ms
//!       ▲                                           │
//!       └───────────────── found something ─────────┘
//! ```

use std::time::{Duration, Instant};

const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(640);

#[derive(Debug)]
pub(crate) struct Sweep {
    next: Instant,
    pause: Duration,
}

impl Sweep {
    pub(crate) fn new() -> Sweep {
        Sweep { next: Instant::now() + SHORTEST, pause: SHORTEST }
    }

    /// Returns the deadline of a sleep, at the next sweep at the latest.
    pub(crate) fn cap(&self, deadline: Option<Instant>) -> Instant {
        deadline.map_or(self.next, |deadline| deadline.min(self.next))
    }

    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Sets the time of the next sweep.
    pub(crate) fn looked(&mut self, found: bool) {
        self.pause = if found { SHORTEST } else { (self.pause * 2).min(LONGEST) };
        self.next = Instant::now() + self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rare_while_they_find_nothing() {
        let mut sweep = Sweep::new();
        for _ in 0..20 {
            sweep.looked(false);
        }
        assert_eq!(sweep.pause, LONGEST);
        assert!(!sweep.is_due());
        sweep.looked(true);
        assert_eq!(sweep.pause, SHORTEST);
        assert!(sweep.cap(None) <= Instant::now() + SHORTEST);
    }
}
