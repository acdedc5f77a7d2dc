//! Storms over what only tasks have: being started, parked, cancelled, joined, and the rest.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fiveways::executor::{Sizing, ThreadPool, unblock};
use fiveways::generator::Generator;
use fiveways::sync::{Event, Mutex};
use fiveways::task::{Group, Pool};
use fiveways::{inspect, task, time};
use fiveways_runtime::{park, unparker};

use crate::bare::Bare;
use crate::crowd::{Crowd, WORKERS, on_worker};

const ROUNDS: usize = 2_000;
const FEW: usize = ROUNDS / 10;

pub(crate) fn storms() {
    joins();
    scopes();
    parking();
    timers();
    cancelling();
    unwinding();
    blocking();
    asides();
    dumps();
    strangers();
    crews();
    runtimes();
}

/// What a task leaves, and what it was given, is its joiner's.
fn joins() {
    let bare = Arc::new(Bare::default());
    for round in 0..ROUNDS {
        let theirs = Arc::clone(&bare);
        bare.add();
        let task = on_worker(round % WORKERS, move || {
            theirs.add();
            Box::new(round)
        });
        *task.join().expect("it does not panic") += 1;
        bare.add();
    }
    let many = (0..ROUNDS).map(|round| on_worker(round % WORKERS, move || Box::new(round)));
    let sum: usize = task::join_all(many).into_iter().flatten().map(|boxed| *boxed).sum();
    assert_eq!(sum, ROUNDS * (ROUNDS - 1) / 2);
    let mut tasks: Vec<_> = (0..WORKERS).map(|worker| on_worker(worker, || Box::new(0))).collect();
    while let Some(first) = task::wait_any(&tasks) {
        *tasks.swap_remove(first).join().expect("it does not panic") += 1;
    }
}

fn scopes() {
    for _ in 0..FEW {
        let mut bares = [(); 4].map(|()| Bare::default());
        task::scope(|scope| {
            for bare in &bares {
                scope.spawn(|| {
                    bare.add();
                    task::yield_now();
                    bare.add();
                });
            }
        });
        bares.iter_mut().for_each(|bare| bare.add());
    }
}

/// Two tell each other that it is their turn.
fn parking() {
    for crowd in [Crowd::Tasks, Crowd::Both, Crowd::Threads] {
        let (turn, bare) = (AtomicUsize::new(0), Bare::default());
        let places = [const { std::sync::Mutex::new(None) }; 2];
        let ready = [const { Event::new() }; 2];
        crowd.together(move |number| {
            if number % 3 != 0 {
                return;
            }
            let (mine, other) = (number / 3, 1 - number / 3);
            *places[mine].lock().expect("nobody panics") = Some(unparker());
            ready[mine].set();
            ready[other].wait();
            let other = places[other].lock().expect("nobody panics").clone().expect("it is there");
            for _ in 0..ROUNDS {
                while turn.load(Ordering::Acquire) % 2 != mine {
                    park();
                }
                bare.add();
                turn.fetch_add(1, Ordering::Release);
                other.unpark();
            }
        });
    }
}

fn timers() {
    Crowd::Tasks.together(|number| {
        for round in 0..FEW {
            time::sleep(Duration::from_micros((number * round % 50) as u64));
            let forever = || time::sleep(Duration::from_secs(3600));
            assert!(task::timeout(Duration::from_micros(20), forever).is_err());
        }
    });
}

/// A cancelled task is unwound, and its joiner sees what it has changed meanwhile.
fn cancelling() {
    struct Leaves(Arc<Bare>);
    impl Drop for Leaves {
        fn drop(&mut self) {
            self.0.add();
        }
    }
    for round in 0..ROUNDS {
        let bare = Arc::new(Bare::default());
        let theirs = Leaves(Arc::clone(&bare));
        let task = on_worker(round % WORKERS, move || {
            let _theirs = theirs;
            time::sleep(Duration::from_secs(3600));
        });
        if round % 3 == 0 {
            task::yield_now();
        }
        task.cancel();
        assert!(task.join().expect_err("it was cancelled").is_cancelled());
        bare.add();
    }
}

/// Panics go through the frames of a task, and to its joiner.
fn unwinding() {
    std::panic::set_hook(Box::new(|_| ()));
    for round in 0..FEW {
        let task = on_worker(round % WORKERS, move || {
            let caught = catch_unwind(AssertUnwindSafe(|| panic!("{round}")));
            task::yield_now();
            std::panic::resume_unwind(caught.expect_err("it panics"));
        });
        let payload = task.join().expect_err("it panics").into_panic();
        assert_eq!(*payload.downcast::<String>().expect("a message"), round.to_string());
    }
    drop(std::panic::take_hook());
}

/// Threads for code that blocks.
fn blocking() {
    Crowd::Tasks.together(|_| {
        for round in 0..FEW {
            let bare = Bare::default();
            let (bare, boxed) = unblock(move || {
                bare.add();
                (bare, Box::new(round))
            });
            bare.add();
            assert_eq!(*boxed, round);
        }
    });
}

/// Stacks of a task's own, which are suspended with it and without it.
fn asides() {
    Crowd::Tasks.together(|_| {
        for _ in 0..FEW {
            let bare = Arc::new(Bare::default());
            let theirs = Arc::clone(&bare);
            let mut generator = Generator::new(move |yielder| {
                for round in 0..4 {
                    theirs.add();
                    task::yield_now();
                    yielder.yield_(round);
                }
            });
            for round in 0..2 {
                bare.add();
                assert_eq!(generator.next(), Some(round));
                task::yield_now();
            }
            // It is unwound where it stands.
            drop(generator);
            bare.add();
        }
    });
}

/// Tasks are looked at from outside while they run.
fn dumps() {
    let stop = Arc::new(Event::new());
    let busy = [0, 1].map(|worker| {
        let stop = Arc::clone(&stop);
        on_worker(worker, move || {
            while !stop.wait_timeout(Duration::from_micros(100)) {
                task::yield_now();
            }
        })
    });
    for _ in 0..10 {
        assert!(inspect::dump().to_string().contains("'main'"));
    }
    stop.set();
    assert!(task::join_all(busy).iter().all(Result::is_ok));
}

/// Plain threads send tasks, join them and cancel them.
fn strangers() {
    let handle = fiveways::runtime::current();
    let strangers: Vec<_> = (0..2)
        .map(|number| {
            let handle = handle.clone();
            thread::spawn(move || {
                for round in 0..ROUNDS {
                    let bare = Arc::new(Bare::default());
                    let theirs = Arc::clone(&bare);
                    let spawn = fiveways_runtime::Spawn::new();
                    let body = move || {
                        theirs.add();
                        time::sleep(Duration::from_micros(10));
                        theirs.add();
                    };
                    let task = spawn.spawn_at(&handle, (round + number) % WORKERS, body);
                    let task = task.expect("there is a stack");
                    if round % 5 == 0 {
                        task.cancel();
                    } else if round % 7 == 0 {
                        continue;
                    }
                    let _ = task.join();
                    bare.add();
                }
            })
        })
        .collect();
    unblock(move || strangers.into_iter().for_each(|thread| thread.join().expect("no panic")));
}

/// Groups, pools, and threads that work for tasks.
fn crews() {
    let group = Group::new();
    let sum = Arc::new(Mutex::new(Bare::default()));
    for _ in 0..FEW {
        let sum = Arc::clone(&sum);
        group.spawn(move || sum.lock().expect("nobody panics").add());
    }
    group.join().expect("nobody panics");
    let doubled = Pool::new(3).map(0..FEW, |number| Box::new(2 * number));
    assert_eq!(doubled.iter().map(|boxed| **boxed).sum::<usize>(), FEW * (FEW - 1));
    let threads = ThreadPool::new(Sizing::Fixed(2)).expect("there are threads");
    Crowd::Both.together(move |_| {
        for round in 0..FEW {
            let future = threads.submit(move || Box::new(round)).expect("it is open");
            assert_eq!(*future.take().expect("it does not panic"), round);
        }
    });
}

/// Runtimes begin and end, with tasks in them, while others send them more.
fn runtimes() {
    for _ in 0..FEW / 10 {
        let runtime = crate::runtime();
        let handle = runtime.handle().clone();
        let bare = Arc::new(Bare::default());
        let theirs = Arc::clone(&bare);
        runtime.block_on(move || theirs.add());
        bare.add();
        let sender = on_worker(1, move || {
            let forever = || time::sleep(Duration::from_secs(3600));
            let sent =
                |place: usize| fiveways_runtime::Spawn::new().spawn_at(&handle, place % 2, forever);
            let sent: Vec<_> = (0..10_usize).filter_map(|place| sent(place).ok()).collect();
            sent.into_iter().for_each(|task| assert!(task.join().is_err()));
        });
        task::yield_now();
        drop(runtime);
        sender.join().expect("it does not panic");
    }
}
