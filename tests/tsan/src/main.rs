//! Storms over the runtime, its locks, channels and queues; ThreadSanitizer watches.
//!
//! `fiveways-tsan` runs them all. `fiveways-tsan race` and `fiveways-tsan race-of-tasks` make a
//! data race on purpose, which must be reported: else a run without a report would say nothing.
//! `fiveways-tsan neighbours` does the same in two tasks of one worker, which is no race.

#[expect(unsafe_code, reason = "stands between the program and compiled functions of std")]
mod wrappers {
    include!(concat!(env!("OUT_DIR"), "/wrappers.rs"));
}
mod shared;
mod tasks;
mod net;
mod crowd;
mod bare;

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, process, thread};

use fiveways::runtime::Runtime;
use fiveways::{Model, inspect, task};

use bare::Bare;
use crowd::{Crowd, WORKERS, on_worker};

/// Steps of a race on purpose.
const STEPS: usize = 20_000;
/// Everything is over much earlier, unless something hangs.
const LIMIT: Duration = Duration::from_secs(150);

fn main() {
    thread::spawn(end_late);
    match env::args().nth(1).as_deref() {
        None => storms(),
        Some("race") => {
            let bare = Bare::default();
            Crowd::Threads.together(move |_| (0..STEPS).for_each(|_| bare.add()));
        }
        Some("race-of-tasks") => two_tasks([0, 1]),
        Some("neighbours") => two_tasks([0, 0]),
        Some(other) => panic!("'{other}' is none of the runs"),
    }
}

/// Ends the process when it hangs, and tells where.
fn end_late() {
    thread::sleep(LIMIT);
    eprintln!("the storms hang\n\n{}", inspect::dump());
    process::exit(1);
}

fn runtime() -> Runtime {
    let built = Runtime::builder().model(Model::Epoll).workers(WORKERS).build();
    built.expect("workers can be started")
}

/// Two tasks on these workers change the same number, without care.
fn two_tasks(workers: [usize; 2]) {
    runtime().block_on(move || {
        let bare = Arc::new(Bare::default());
        let tasks = workers.map(|worker| {
            let bare = Arc::clone(&bare);
            on_worker(worker, move || {
                for _ in 0..STEPS {
                    bare.add();
                    task::yield_now();
                }
            })
        });
        assert!(task::join_all(tasks).iter().all(Result::is_ok));
    });
}

fn storms() {
    timed("threads", || shared::storms(Crowd::Threads));
    let runtime = runtime();
    for crowd in [Crowd::Tasks, Crowd::Both] {
        timed(&format!("{crowd:?}"), || runtime.block_on(move || shared::storms(crowd)));
    }
    timed("runtime", || runtime.block_on(tasks::storms));
    timed("net", || runtime.block_on(net::storms));
    timed("end", || drop(runtime));
    println!("the storms are over");
}

fn timed(name: &str, storms: impl FnOnce()) {
    let started = Instant::now();
    storms();
    println!("{name}: {:.1} s", started.elapsed().as_secs_f64());
}
