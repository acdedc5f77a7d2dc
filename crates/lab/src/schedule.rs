//! When each model is measured, and for how long: the order of each round and the time budget.
//! Pure: durations come in, durations go out.
//!
//! Models take turns within a round, in a random order for each round, so that slow changes of the
//! machine (other load, clock rates, temperature) affect all of them alike.

use std::time::Duration;

/// A shorter window means too little; a budget that cannot pay for it ends the run instead.
const WINDOW_MIN: Duration = Duration::from_millis(200);

/// Draws a seed for a run without one; short enough to be typed again.
pub fn fresh_seed() -> u64 {
    u64::from(fastrand::u32(1..))
}

/// The order of a round: the numbers below `count`, shuffled.
pub fn order(count: usize, seed: u64, round: usize) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut order: Vec<usize> = (0..count).collect();
    // One sequence of draws for all rounds, so that no round repeats another's order by design.
    for _ in 0..=round {
        random.shuffle(&mut order);
    }
    order
}

/// The time of a run, divided among its samples.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// For everything together; `None` if the user chose rounds and seconds.
    pub total: Option<Duration>,
    /// The window that a sample should have.
    pub window: Duration,
    /// The cost of a sample in addition to its window: start, connecting, warm-up, stop.
    pub beside: Duration,
}

impl Budget {
    /// The window of the next sample, with `left` samples to go (itself included) after `elapsed`.
    ///
    /// A run that is late gets shorter windows; `None` means to stop.
    pub fn window(&self, elapsed: Duration, left: usize) -> Option<Duration> {
        let Some(total) = self.total else { return Some(self.window) };
        let remaining = total.saturating_sub(elapsed);
        let floor = self.window.min(WINDOW_MIN);
        if remaining < floor + self.beside {
            return None;
        }
        let share = remaining / u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        Some(share.saturating_sub(self.beside).clamp(floor, self.window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn every_round_has_every_model_and_the_seed_decides_the_order() {
        for round in 0..20 {
            let mut drawn = order(11, 7, round);
            assert_eq!(drawn, order(11, 7, round));
            drawn.sort_unstable();
            assert_eq!(drawn, (0..11).collect::<Vec<_>>());
        }
        assert_ne!(order(11, 7, 0), order(11, 7, 1));
        assert_ne!(order(11, 7, 0), order(11, 8, 0));
        assert!(order(0, 7, 3).is_empty());
    }

    #[test]
    fn a_run_in_time_has_full_windows_and_a_late_one_shorter_ones() {
        let budget = Budget { total: Some(ms(78_000)), window: ms(1000), beside: ms(300) };
        assert_eq!(budget.window(ms(0), 55), Some(ms(1000)));
        assert_eq!(budget.window(ms(18_000), 50), Some(ms(900)));
        assert_eq!(budget.window(ms(60_000), 50), Some(ms(200)));
        assert_eq!(budget.window(ms(77_400), 1), Some(ms(300)));
        assert_eq!(budget.window(ms(77_501), 1), None);
        assert_eq!(budget.window(ms(99_000), 1), None);
    }

    #[test]
    fn a_run_without_a_budget_keeps_its_windows() {
        let budget = Budget { total: None, window: ms(3000), beside: ms(300) };
        assert_eq!(budget.window(ms(999_000), 1), Some(ms(3000)));
    }
}
