//! What an uncontended lock costs, beside std's: medians of interleaved runs, and their spread.

use std::hint::black_box;
use std::time::Instant;

use fiveways::Model;
use fiveways::runtime::Runtime;
use fiveways::sync::{Mutex, RwLock, Semaphore};
use fiveways::task;

const RUNS: usize = 31;
const TIMES: u32 = 200_000;

/// One measured thing: its name and what it does once.
type Case<'a> = (&'static str, Box<dyn Fn() + 'a>);

fn main() -> std::io::Result<()> {
    println!("on a plain thread");
    uncontended();
    let runtime = Runtime::builder().model(Model::Epoll).workers(1).build()?;
    println!("in a task");
    runtime.block_on(uncontended);
    runtime.block_on(hand_over);
    Ok(())
}

/// Runs the cases in turn, so that what disturbs the machine disturbs all.
fn uncontended() {
    let (std_mutex, mutex) = (std::sync::Mutex::new(0_u64), Mutex::new(0_u64));
    let (std_lock, lock) = (std::sync::RwLock::new(0_u64), RwLock::new(0_u64));
    let semaphore = Semaphore::new(1);
    let cases: [Case; 7] = [
        ("std mutex", Box::new(|| *std_mutex.lock().expect("good") += 1)),
        ("mutex", Box::new(|| *mutex.lock().expect("good") += 1)),
        (
            "std rwlock read",
            Box::new(|| {
                black_box(*std_lock.read().expect("good"));
            }),
        ),
        (
            "rwlock read",
            Box::new(|| {
                black_box(*lock.read().expect("good"));
            }),
        ),
        ("std rwlock write", Box::new(|| *std_lock.write().expect("good") += 1)),
        ("rwlock write", Box::new(|| *lock.write().expect("good") += 1)),
        ("semaphore", Box::new(|| drop(semaphore.acquire()))),
    ];
    let mut times = vec![Vec::new(); cases.len()];
    for _ in 0..RUNS {
        for ((_, case), times) in cases.iter().zip(&mut times) {
            let began = Instant::now();
            (0..TIMES).for_each(|_| case());
            times.push(began.elapsed().as_nanos() as f64 / f64::from(TIMES));
        }
    }
    for ((name, _), times) in cases.iter().zip(&mut times) {
        show(name, times);
    }
}

/// Two tasks of one worker that contend for a mutex held over a wait.
fn hand_over() {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let mutex = std::rc::Rc::new(Mutex::new(0_u64));
        let began = Instant::now();
        let tasks: Vec<_> = (0..2)
            .map(|_| {
                let mutex = std::rc::Rc::clone(&mutex);
                task::spawn_local(move || {
                    for _ in 0..TIMES / 20 {
                        let mut guard = mutex.lock().expect("good");
                        *guard += 1;
                        task::yield_now();
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(|one| one.join().expect("it does not panic"));
        times.push(began.elapsed().as_nanos() as f64 / f64::from(TIMES / 10));
    }
    show("mutex held over a yield, two tasks", &mut times);
}

fn show(name: &str, times: &mut [f64]) {
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("  {name:36} {:6.2} ns  ({:.2} … {:.2})", at(50), at(10), at(90));
}
