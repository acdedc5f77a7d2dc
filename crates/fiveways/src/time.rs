//! Time: sleeping and ticking, for tasks and plain threads.

use std::iter::FusedIterator;
use std::time::{Duration, Instant};

use fiveways_runtime::{clock, sleep_until as sleep_until_instant};

/// Returns the current time, by the clock that the caller's sleeps, timers and time limits use.
///
/// That is the machine's, unless the caller is a task whose driver has a clock of its own (see
/// [`Builder::driver`](crate::runtime::Builder::driver)).
pub fn now() -> Instant {
    clock::now()
}

/// Sleeps for a duration; the worker runs other tasks in the meantime.
///
/// # Suspends
///
/// For that duration; a plain thread blocks. A duration of zero yields to other tasks.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let started = Instant::now();
/// let naps: Vec<_> = (0..100)
///     .map(|_| fiveways::task::spawn(|| fiveways::time::sleep(Duration::from_millis(20))))
///     .collect();
/// for nap in naps {
///     nap.join().expect("a nap does not panic");
/// }
/// assert!(started.elapsed() < Duration::from_secs(1));
/// ```
#[doc(alias = "gevent.sleep")]
pub fn sleep(duration: Duration) {
    // An instant too far away to represent becomes an hour, repeated without end.
    let hour = Duration::from_secs(3600);
    match clock::after(duration) {
        Some(at) => sleep_until(at),
        None => loop {
            sleep_until(clock::now() + hour);
        },
    }
}

/// Sleeps until an instant.
///
/// # Suspends
///
/// Until the instant; a plain thread blocks.
///
/// # Cancellation
///
/// A cancelled task is unwound from here.
pub fn sleep_until(at: Instant) {
    sleep_until_instant(at);
}

/// Makes a timer that fires once, after a duration.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fiveways::time;
///
/// let mut timer = time::after(Duration::from_millis(10));
/// // Something else meanwhile; then:
/// let at = timer.wait();
/// assert!(at <= std::time::Instant::now());
/// ```
#[doc(alias = "call_later")]
pub fn after(duration: Duration) -> After {
    After { at: clock::after(duration), came: false }
}

/// A timer that fires once; see [`after`]. As an iterator it yields one instant.
#[derive(Clone, Debug)]
pub struct After {
    /// `None`: too far away to represent.
    at: Option<Instant>,
    came: bool,
}

impl After {
    /// Returns the instant at which it fires; `None` if that is too far away to represent.
    pub fn deadline(&self) -> Option<Instant> {
        self.at
    }

    /// Returns `true` if its instant has come.
    pub fn is_due(&self) -> bool {
        self.at.is_some_and(|at| at <= clock::now())
    }

    /// Waits until it fires, unless it has already, and returns its instant.
    ///
    /// # Suspends
    ///
    /// Until it fires; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here; the timer still fires.
    pub fn wait(&mut self) -> Instant {
        let Some(at) = self.at else {
            loop {
                sleep(Duration::MAX);
            }
        };
        if !self.came && at > clock::now() {
            sleep_until(at);
        }
        self.came = true;
        at
    }
}

impl Iterator for After {
    type Item = Instant;

    /// Waits until it fires, the first time.
    fn next(&mut self) -> Option<Instant> {
        if self.came { None } else { Some(self.wait()) }
    }
}

impl FusedIterator for After {}

/// How an [`Interval`] handles ticks that were not awaited in time.
///
/// With a period of 10, and work that once took from 10 to 35:
///
/// ```text
///             due:  0   10   20   30   40   50   60
///   Burst           0   10      35 35 40   50   60     catches up, then is on time again
///   Delay           0   10      35    45   55   65     a period after the last tick, always
///   Skip            0   10      35    40   50   60     leaves out what was missed
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[doc(alias = "MissedTickBehavior")]
pub enum MissedTicks {
    /// Missed ticks fire at once, one after the other, until it has caught up.
    #[default]
    Burst,
    /// The late tick fires at once; the following ones a period after it.
    Delay,
    /// The late tick fires at once; the next at the next multiple of the period.
    Skip,
}

/// Makes a timer that fires periodically; the first time at once.
///
/// # Panics
///
/// If the period is zero.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fiveways::time;
///
/// let started = std::time::Instant::now();
/// for _tick in time::interval(Duration::from_millis(10)).take(3) {
///     // Something to be done every 10 ms.
/// }
/// assert!(started.elapsed() >= Duration::from_millis(20));
/// ```
#[doc(alias = "ticker")]
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(clock::now(), period)
}

/// Makes a timer that fires periodically, the first time at `start`.
///
/// # Panics
///
/// If the period is zero.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval of {period:?} would tick without end at once");
    Interval { due: Some(start), period, missed: MissedTicks::default() }
}

/// A timer that fires periodically; see [`interval`]. As an iterator it never ends.
#[derive(Clone, Debug)]
pub struct Interval {
    /// The instant of the next tick. `None`: too far away to represent.
    due: Option<Instant>,
    period: Duration,
    missed: MissedTicks,
}

impl Interval {
    /// Sets how missed ticks are handled.
    pub fn missed_ticks(mut self, missed: MissedTicks) -> Interval {
        self.missed = missed;
        self
    }

    /// Returns the time from tick to tick.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Returns the instant of the next tick; `None` if that is too far away to represent.
    pub fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Waits for the next tick and returns the instant at which it was due.
    ///
    /// # Suspends
    ///
    /// Until the tick; a plain thread blocks. Does not suspend if the tick is late.
    ///
    /// # Cancellation
    ///
    /// A cancelled task is unwound from here; the tick is not lost.
    pub fn tick(&mut self) -> Instant {
        let Some(due) = self.due else {
            loop {
                sleep(Duration::MAX);
            }
        };
        if due > clock::now() {
            sleep_until(due);
        }
        self.due = self.next_due(due, clock::now());
        due
    }

    /// Resets the timer: the next tick is a period from now.
    pub fn reset(&mut self) {
        self.due = clock::after(self.period);
    }

    /// The instant of the tick after `due`, if `due` is seen at `now`.
    fn next_due(&self, due: Instant, now: Instant) -> Option<Instant> {
        let next = due.checked_add(self.period)?;
        match self.missed {
            _ if next > now => Some(next),
            MissedTicks::Burst => Some(next),
            MissedTicks::Delay => now.checked_add(self.period),
            MissedTicks::Skip => {
                let late = (now - due).as_nanos() % self.period.as_nanos();
                let late = Duration::from_nanos_u128(late);
                now.checked_add(self.period - late)
            }
        }
    }
}

impl Iterator for Interval {
    type Item = Instant;

    /// Waits for the next tick.
    fn next(&mut self) -> Option<Instant> {
        Some(self.tick())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ticks of an interval of 10 ms, if the one at 20 was seen at 35 and the others in time.
    fn dues(missed: MissedTicks) -> Vec<u64> {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut interval = interval_at(start, Duration::from_millis(10)).missed_ticks(missed);
        let mut dues = Vec::new();
        let mut now = start;
        for _ in 0..6 {
            let due = interval.due.expect("it is near");
            now = now.max(due);
            dues.push((due - start).as_millis() as u64);
            if due == at(20) {
                now = at(35);
            }
            interval.due = interval.next_due(due, now);
        }
        dues
    }

    #[test]
    fn missed_ticks_burst_delay_or_are_skipped() {
        assert_eq!(dues(MissedTicks::Burst), [0, 10, 20, 30, 40, 50]);
        assert_eq!(dues(MissedTicks::Delay), [0, 10, 20, 45, 55, 65]);
        assert_eq!(dues(MissedTicks::Skip), [0, 10, 20, 40, 50, 60]);
    }

    #[test]
    fn a_tick_that_is_late_by_whole_periods_is_followed_by_the_next_multiple() {
        let start = Instant::now();
        let interval =
            interval_at(start, Duration::from_millis(10)).missed_ticks(MissedTicks::Skip);
        let now = start + Duration::from_millis(30);
        assert_eq!(interval.next_due(start, now), Some(start + Duration::from_millis(40)));
    }
}
