//! A limit on concurrency: of the semaphore the course says that, if a mutex is one toilet, this is
//! several.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::Args;
use fiveways::sync::{BoundedSemaphore, Semaphore};
use fiveways::time;

use super::stage::{Outcome, Pace, say};

/// Many visitors, few places: never too many inside
#[derive(Args, Debug)]
pub(super) struct SemaphoreArgs {
    /// Number of places
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = positive)]
    places: usize,

    /// Number of threads that want one, for a second each
    #[arg(long, value_name = "N", default_value_t = 20)]
    visitors: usize,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("nobody could ever enter".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a number".to_owned()),
    }
}

/// Counts the visitors inside, and the maximum.
#[derive(Default)]
struct Gauge {
    inside: AtomicUsize,
    most: AtomicUsize,
    total: AtomicUsize,
}

impl Gauge {
    fn enter(&self) {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        self.total.fetch_add(1, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) fn run(args: &SemaphoreArgs, pace: Pace) -> Outcome {
    let start = Instant::now();
    let (places, gauge) = (Semaphore::new(args.places), Gauge::default());
    say!("{} places, {} visitors", args.places, args.visitors);
    thread::scope(|scope| {
        for _ in 0..args.visitors {
            scope.spawn(|| {
                let _permit = places.acquire();
                gauge.enter();
                time::sleep(pace.seconds(1.0));
                gauge.leave();
            });
        }
    });
    say!("inside at a time: {} at most", gauge.most.into_inner());
    say!(
        "have been inside: {}, are inside: {}",
        gauge.total.into_inner(),
        gauge.inside.into_inner()
    );
    say!("took {}", pace.since(start));
    bounded(args.places)
}

/// A bounded one detects a release without an acquire.
fn bounded(places: usize) -> Outcome {
    let bounded = BoundedSemaphore::new(places);
    if let Err(error) = bounded.release(1) {
        say!("one release too many: {error}");
    }
    Ok(())
}
