//! Sayings about concurrency, each settled here as far as a test can: the ratio is asserted, with
//! room for a busy machine, and the figures are printed.
//!
//! What depends on time is tried again a few times: a machine that others use can spoil a trial. So
//! a factor must be one that no false claim reaches by chance; where two things cost nearly the
//! same, the thread's own clock is asked, and the least of all trials is judged.

mod switching;
mod waiting;
mod servers;

use std::time::{Duration, Instant};

/// How long something takes.
fn time(f: impl FnOnce()) -> Duration {
    let started = Instant::now();
    f();
    started.elapsed()
}

/// Tries until the claim holds; fails with the last figures.
fn settle(claim: &str, mut trial: impl FnMut() -> Result<String, String>) {
    let mut last = String::new();
    for _ in 0..10 {
        match trial() {
            Ok(figures) => return eprintln!("{claim}: {figures}"),
            Err(figures) => last = figures,
        }
    }
    panic!("{claim}: does not hold: {last}");
}

/// A claim about the thread's own clock, which runs while it computes alone: the least of ten
/// trials is what the work costs, however busy the machine, so it is judged once.
fn always(claim: &str, factor: f64, trial: impl FnMut() -> (Duration, Duration)) {
    let trials: Vec<(Duration, Duration)> = std::iter::repeat_with(trial).take(10).collect();
    let slow = trials.iter().map(|trial| trial.0).min().expect("ten trials");
    let fast = trials.iter().map(|trial| trial.1).min().expect("ten trials");
    match at_least(factor, slow, fast) {
        Ok(figures) => eprintln!("{claim}: {figures}"),
        Err(figures) => panic!("{claim}: does not hold: {figures}"),
    }
}

/// Nine trials say that both cost the same; one, in which something else disturbed the slow side,
/// says what is claimed.
#[test]
#[should_panic(expected = "does not hold")]
fn a_trial_that_was_disturbed_settles_no_claim() {
    let mut trials = (0..10).map(|number| if number == 4 { 20 } else { 10 });
    always("a false claim", 1.5, || {
        let slow = trials.next().expect("ten trials");
        (Duration::from_millis(slow), Duration::from_millis(10))
    });
}

/// How much processor time the calling thread uses for something.
fn thread_time(f: impl FnOnce()) -> Duration {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let started = now();
    f();
    now() - started
}

/// A claim that one thing takes at least `factor` times as long as another.
fn at_least(factor: f64, slow: Duration, fast: Duration) -> Result<String, String> {
    let ratio = slow.as_secs_f64() / fast.as_secs_f64();
    let figures = format!("{slow:.2?} against {fast:.2?}, {ratio:.2} times");
    if ratio >= factor { Ok(figures) } else { Err(figures) }
}
