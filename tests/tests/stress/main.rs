//! Everything at once: 64 threads and 10,000 tasks on the same lock, condition, semaphore, channel
//! and queue, with joins in between, while one task in ten is cancelled.
//!
//! Sends, puts, locks and permits wait without a limit, so a lost wake-up never ends. Items in are
//! counted against items out, so none may be lost or come twice, whichever task was cancelled.
//! `FIVEWAYS_SEED` repeats a run as far as the scheduler lets it.

mod world;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fiveways::runtime::Runtime;
use fiveways::{Model, task};
use fiveways_tests::patience::Watchdog;
use fiveways_tests::stage;

use crate::world::World;

const THREADS: u64 = 64;
/// Debug builds are slow.
const TASKS: u64 = if cfg!(debug_assertions) { 400 } else { 10_000 };
/// What each of them does.
const ACTS: u64 = if cfg!(debug_assertions) { 20 } else { 100 };

#[test]
fn heavy_everything_at_once_on_epoll() {
    on(Model::Epoll);
}

#[test]
fn heavy_everything_at_once_on_poll() {
    on(Model::Poll);
}

#[test]
fn heavy_everything_at_once_on_signal() {
    on(Model::Signal);
}

#[test]
fn heavy_everything_at_once_on_uring() {
    on(Model::Uring);
}

fn on(model: Model) {
    if let Err(reason) = fiveways::support(model) {
        return stage::missing(&format!("the model {model}"), &reason.to_string());
    }
    let seed = std::env::var("FIVEWAYS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    for workers in [1, 2] {
        println!("{model}, {workers} workers, FIVEWAYS_SEED={seed}");
        let what = format!("the storm of seed {seed} on {model}");
        let _watchdog = Watchdog::new(what, Duration::from_secs(150));
        let began = Instant::now();
        let runtime = Runtime::builder().model(model).workers(workers).build();
        let cancelled = storm(&runtime.expect("a runtime"), seed);
        println!("{cancelled} were cancelled; {:?}", began.elapsed());
    }
}

/// Tells how many tasks ended by a cancel.
fn storm(runtime: &Runtime, seed: u64) -> usize {
    let world = Arc::new(World::new());
    let drains = [World::drain_channel, World::drain_queue].map(|drain| {
        let world = Arc::clone(&world);
        thread::spawn(move || drain(&world))
    });
    let act = |number: u64| {
        let world = Arc::clone(&world);
        move || world.act(fastrand::Rng::with_seed(seed ^ number << 32), ACTS)
    };
    let threads: Vec<_> = (0..THREADS).map(|number| thread::spawn(act(TASKS + number))).collect();
    let acts: Vec<_> = (0..TASKS).map(act).collect();
    let mut random = fastrand::Rng::with_seed(seed);
    let cancelled = runtime.block_on(move || {
        let tasks: Vec<_> = acts.into_iter().map(task::spawn).collect();
        for victim in tasks.iter().filter(|_| random.u8(..10) == 0) {
            task::yield_now();
            victim.cancel();
        }
        let errors = tasks.into_iter().filter_map(|task| task.join().err());
        errors.inspect(|error| assert!(error.is_cancelled(), "{error}")).count()
    });
    for thread in threads {
        thread.join().expect("it does not panic");
    }
    world.close();
    for drain in drains {
        drain.join().expect("it does not panic");
    }
    world.check();
    assert!(cancelled > 0, "nobody was cancelled: that tests nothing");
    cancelled
}
