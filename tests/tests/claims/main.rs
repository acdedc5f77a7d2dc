//! Sayings about concurrency, each settled here as far as a test can: the ratio is asserted, with
//! room for a busy machine, and the figures are printed.
//!
//! What depends on time is tried again a few times: a machine that others use can spoil a trial,
//! but it cannot make a false claim true.

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

/// A claim that one thing takes at least `factor` times as long as another.
fn at_least(factor: f64, slow: Duration, fast: Duration) -> Result<String, String> {
    let ratio = slow.as_secs_f64() / fast.as_secs_f64();
    let figures = format!("{slow:.2?} against {fast:.2?}, {ratio:.2} times");
    if ratio >= factor { Ok(figures) } else { Err(figures) }
}
