//! A storm over locks, channels and queues on plain threads; ThreadSanitizer watches.
//!
//! `fiveways-tsan` runs the storm. `fiveways-tsan race` makes a data race on purpose, which must be
//! reported: else a run without a report would say nothing.

#[expect(unsafe_code, reason = "stands between the program and compiled functions of std")]
mod wrappers {
    include!(concat!(env!("OUT_DIR"), "/wrappers.rs"));
}

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::time::Duration;
use std::{env, thread};

use fiveways::queue::JoinableQueue;
use fiveways::sync::{Condvar, Event, Mutex, Once, RwLock, Semaphore, channel};

const THREADS: usize = 4;
const ROUNDS: usize = 20_000;
const FEW: usize = ROUNDS / 10;
const POISON: &str = "nobody panics";

/// A number that only the sanitizer protects.
#[derive(Default)]
struct Bare(UnsafeCell<usize>);

#[expect(unsafe_code, reason = "whether it is shared in order is what the sanitizer is asked")]
// SAFETY: required: shared in order. The sanitizer tells where it is not.
unsafe impl Sync for Bare {}

impl Bare {
    #[expect(unsafe_code, reason = "whether it is alone is what the sanitizer is asked")]
    fn add(&self) {
        // SAFETY: required: nobody else uses it. The sanitizer tells when somebody does.
        unsafe { *self.0.get() += 1 };
    }
}

/// Runs `work` on some threads at once, each with its number.
fn together(work: impl Fn(usize) + Send + Sync + 'static) {
    let work = Arc::new(work);
    let start = |number| {
        let work = Arc::clone(&work);
        thread::spawn(move || work(number))
    };
    let threads: Vec<_> = (0..THREADS).map(start).collect();
    for thread in threads {
        thread.join().expect("it does not panic");
    }
}

fn main() {
    if env::args().nth(1).as_deref() == Some("race") {
        let bare = Bare::default();
        return together(move |_| (0..ROUNDS).for_each(|_| bare.add()));
    }
    locks();
    conditions();
    semaphores();
    flags();
    channels();
    queues();
    println!("the storm is over");
}

fn locks() {
    let mutex = Mutex::new(Bare::default());
    together(move |_| {
        for round in 0..ROUNDS {
            let held = mutex.lock().expect(POISON);
            held.add();
            if round % 64 == 0 {
                thread::yield_now();
            }
        }
        let _ = mutex.lock_timeout(Duration::from_micros(50)).map(|held| held.add());
    });
    let lock = RwLock::new(0);
    together(move |number| {
        for _ in 0..FEW {
            if number % 2 == 0 {
                *lock.write().expect(POISON) += 1;
            } else {
                assert!(*lock.read().expect(POISON) <= THREADS * FEW);
            }
        }
    });
}

fn conditions() {
    let (things, news) = (Mutex::new(0), Condvar::new());
    together(move |number| {
        for _ in 0..FEW {
            let mut held = things.lock().expect(POISON);
            if number % 2 == 0 {
                *held += 1;
                drop(held);
                news.notify_one();
            } else {
                *news.wait_while(held, |things| *things == 0).expect(POISON) -= 1;
            }
        }
    });
}

fn semaphores() {
    let (one, guests) = (Semaphore::new(1), Bare::default());
    together(move |_| {
        for _ in 0..ROUNDS {
            let _permit = one.acquire();
            guests.add();
        }
        if let Some(_permit) = one.acquire_timeout(Duration::from_micros(50)) {
            guests.add();
        }
    });
}

fn flags() {
    for _ in 0..FEW {
        let (once, event, value) = (Once::new(), Event::new(), RwLock::new(Box::new(0)));
        together(move |number| {
            once.call_once(|| **value.write().expect(POISON) += 1);
            assert_eq!(**value.read().expect(POISON), 1);
            if number == 0 { event.set() } else { event.wait() }
        });
    }
}

fn channels() {
    for bound in [0, 1, 16] {
        let (sender, receiver) = channel::bounded(bound);
        together(move |number| {
            for round in 0..FEW {
                if number % 2 == 0 {
                    sender.send(Box::new(round)).expect("there are receivers");
                } else {
                    *receiver.recv().expect("there are senders") += 1;
                }
            }
        });
    }
    let (sender, receiver) = channel::unbounded();
    together(move |number| {
        let (sender, receiver) = (sender.clone(), receiver.clone());
        for round in 0..FEW {
            sender.send(Box::new(round)).expect("there are receivers");
            let got = receiver.recv_timeout(Duration::from_micros(number as u64));
            let _ = got.map(|mut item| *item += 1);
        }
    });
}

fn queues() {
    let queue = JoinableQueue::with_maxsize(4);
    let theirs = queue.clone();
    together(move |number| {
        for round in 0..FEW {
            if number % 2 == 0 {
                theirs.put(Box::new(round)).expect("it is open");
            } else {
                *theirs.get().expect("it is open") += 1;
                theirs.task_done().expect("it was put");
            }
        }
    });
    queue.join();
}
