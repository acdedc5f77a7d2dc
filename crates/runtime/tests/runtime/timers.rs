//! Timers: exact enough, in order, and not slowed down by many others.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fiveways_driver::Model;
use fiveways_runtime::{Spawn, Wake, park_until, sleep_until, unparker};

use crate::support::{builder, in_time, on_every_model, runtime};

#[test]
fn a_sleep_is_never_too_short_and_seldom_much_too_long() {
    on_every_model(1, |runtime| {
        let mut late: Vec<Duration> = runtime.block_on(|| {
            let nap = |micros| {
                let at = Instant::now() + Duration::from_micros(micros);
                sleep_until(at);
                Instant::now().checked_duration_since(at).expect("not before its time")
            };
            (0..40).map(|round| nap(round * 100)).collect()
        });
        late.sort();
        // Generous: the machine may be busy with other things.
        assert!(late[late.len() / 2] < Duration::from_millis(50), "{late:?}");
    });
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    on_every_model(1, |runtime| {
        let order = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now() + Duration::from_millis(30);
        let mut random = fastrand::Rng::with_seed(11);
        let tasks: Vec<_> = (0..300)
            .map(|_| {
                let at = start + Duration::from_micros(random.u64(0..20_000));
                let order = Arc::clone(&order);
                let task = Spawn::new().spawn(runtime.handle(), move || {
                    let in_time = Instant::now() < start;
                    sleep_until(at);
                    if in_time {
                        order.lock().expect("no panic").push(at);
                    }
                });
                task.expect("a stack")
            })
            .collect();
        for task in tasks {
            task.join().expect("no panic");
        }
        // On a busy machine few of them may have begun in time.
        let order = order.lock().expect("no panic");
        assert!(order.is_sorted(), "{order:?}");
    });
}

/// Tasks of which each waits for a deadline, an hour away, and is then unparked: a million of them
/// where the code is optimised.
const COUNT: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

#[test]
fn a_million_pending_timers_do_not_hurt() {
    in_time(|| {
        let runtime = builder(Model::Epoll, 1).stack_size(64 * 1024).build().expect("epoll");
        let started = Instant::now();
        let (setting, waking, nap) = runtime.block_on(|| {
            let parked = std::rc::Rc::new(std::cell::RefCell::new(Vec::with_capacity(COUNT)));
            let hour = Instant::now() + Duration::from_secs(3600);
            let begun = Instant::now();
            let tasks: Vec<_> = (0..COUNT)
                .map(|number| {
                    let parked = std::rc::Rc::clone(&parked);
                    let task = Spawn::new().spawn_local(move || {
                        parked.borrow_mut().push(unparker());
                        // Not all the same, and not in order.
                        let spread = Duration::from_nanos((number as u64 * 7_919) % 1_000_003);
                        park_until(Some(hour + spread))
                    });
                    task.expect("a stack")
                })
                .collect();
            while parked.borrow().len() < COUNT {
                fiveways_runtime::yield_now();
            }
            let setting = begun.elapsed();
            let at = Instant::now() + Duration::from_millis(1);
            sleep_until(at);
            let nap = at.elapsed();
            let begun = Instant::now();
            for task in parked.take() {
                task.unpark();
            }
            for task in tasks {
                assert_eq!(task.join().expect("no panic"), Wake::Unparked);
            }
            (setting, begun.elapsed(), nap)
        });
        eprintln!("set in {setting:?}, woken in {waking:?}; a nap among them was {nap:?} late");
        assert!(nap < Duration::from_secs(5));
        assert!(started.elapsed() < crate::support::PATIENCE);
    });
}

#[test]
fn a_timer_of_a_wait_that_ended_early_does_not_fire_in_the_next() {
    runtime(1).block_on(|| {
        for _ in 0..100 {
            unparker().unpark();
            let soon = Instant::now() + Duration::from_micros(50);
            assert_eq!(park_until(Some(soon)), Wake::Unparked);
            let later = Instant::now() + Duration::from_micros(300);
            assert_eq!(park_until(Some(later)), Wake::TimedOut);
            assert!(Instant::now() >= later);
        }
    });
}
