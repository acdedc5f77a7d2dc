//! Timers that come once, and again and again.

use std::time::{Duration, Instant};

use fiveways::task;
use fiveways::time::{self, MissedTicks};

use crate::{FOREVER, on_workers};

const PERIOD: Duration = Duration::from_millis(30);

#[test]
fn a_timer_comes_once_and_not_too_early() {
    let claim = || {
        let started = Instant::now();
        let mut timer = time::after(PERIOD);
        assert!(!timer.is_due());
        let at = timer.wait();
        assert!(at >= started + PERIOD && Instant::now() >= at);
        assert!(timer.is_due());
        assert_eq!(timer.wait(), at);
        assert_eq!(timer.next(), None);
        assert_eq!(time::after(Duration::ZERO).count(), 1);
        assert_eq!(time::after(Duration::MAX).deadline(), None);
    };
    on_workers(1, claim);
    claim();
}

#[test]
fn an_interval_ticks_at_once_and_then_each_period() {
    let claim = || {
        let started = Instant::now();
        let ticks: Vec<_> = time::interval(PERIOD).take(4).collect();
        assert!(started.elapsed() >= 3 * PERIOD);
        assert!(ticks.windows(2).all(|two| two[1] - two[0] == PERIOD));
    };
    on_workers(1, claim);
    claim();
}

#[test]
fn missed_ticks_are_treated_as_asked_for() {
    // Late by two periods and a half: the ticks at 1 and 2 were missed, and part of the third.
    let late = |missed| {
        let start = Instant::now() - PERIOD * 5 / 2;
        let mut interval = time::interval_at(start, PERIOD).missed_ticks(missed);
        let first = interval.tick();
        assert_eq!(first, start);
        (interval.deadline().expect("it is near"), start)
    };
    let (next, start) = late(MissedTicks::Burst);
    assert_eq!(next, start + PERIOD);
    let (next, start) = late(MissedTicks::Delay);
    assert!(next >= start + PERIOD * 7 / 2);
    let (next, start) = late(MissedTicks::Skip);
    let periods = (next - start).as_nanos() / PERIOD.as_nanos();
    assert_eq!(next, start + PERIOD * u32::try_from(periods).expect("few"));
    assert!(periods >= 3);
}

#[test]
fn a_tick_is_not_lost_with_a_time_limit() {
    on_workers(1, || {
        let mut interval = time::interval_at(Instant::now() + PERIOD, PERIOD);
        let due = interval.deadline();
        let early = task::timeout(Duration::from_millis(1), || interval.tick());
        assert!(early.is_err());
        assert_eq!(Some(interval.tick()), due);
    });
}

#[test]
fn a_task_can_be_cancelled_in_a_timer_without_end() {
    on_workers(1, || {
        let waits = task::spawn(|| time::after(Duration::MAX).wait());
        let ticks = task::spawn(|| time::interval_at(Instant::now() + FOREVER, FOREVER).tick());
        task::yield_now();
        waits.cancel();
        ticks.cancel();
        assert!(waits.join().expect_err("it is cancelled").is_cancelled());
        assert!(ticks.join().expect_err("it is cancelled").is_cancelled());
    });
}

#[test]
#[should_panic(expected = "would tick without end")]
fn an_interval_has_a_period() {
    let _ = time::interval(Duration::ZERO);
}
