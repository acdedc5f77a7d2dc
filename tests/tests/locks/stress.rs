//! Many threads, many tasks, many hand-overs: no wake-up is lost and no count is wrong.

use std::env;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fiveways::sync::{Condvar, Mutex, Semaphore, WaitGroup};
use fiveways::task;
use fiveways_tests::patience::Watchdog;

use crate::support::in_tasks;

/// A share of the full size: debug builds are slow. `FIVEWAYS_STRESS` gives it in per cent.
fn scaled(full: u64) -> u64 {
    let set = env::var("FIVEWAYS_STRESS").ok().and_then(|percent| percent.parse::<u64>().ok());
    let percent = set.unwrap_or(if cfg!(debug_assertions) { 2 } else { 100 });
    (full * percent / 100).max(1)
}

/// A box with room for some items, made of a mutex and two conditions.
struct Shelf {
    items: Mutex<u32>,
    room: Condvar,
    news: Condvar,
}

const ROOM: u32 = 8;

impl Shelf {
    fn new() -> Shelf {
        Shelf { items: Mutex::new(0), room: Condvar::new(), news: Condvar::new() }
    }

    fn put(&self) {
        let items = self.items.lock().unwrap();
        *self.room.wait_while(items, |items| *items == ROOM).unwrap() += 1;
        self.news.notify_one();
    }

    fn take(&self) {
        let items = self.items.lock().unwrap();
        *self.news.wait_while(items, |items| *items == 0).unwrap() -= 1;
        self.room.notify_one();
    }
}

/// 64 threads and 10,000 tasks share a mutex with two conditions and a semaphore.
#[test]
fn heavy_threads_and_tasks_lose_nothing() {
    const THREADS: usize = 64;
    let tasks = scaled(10_000) as usize & !1;
    let seed = fastrand::u64(..);
    println!("seed {seed}, {THREADS} threads, {tasks} tasks");
    let _watchdog = Watchdog::new(format!("stress of seed {seed}"), Duration::from_secs(150));
    let shared = Arc::new((Shelf::new(), Semaphore::new(5), Mutex::new(0_u64)));
    let work = |one: usize| {
        let shared = Arc::clone(&shared);
        move || {
            let mut random = fastrand::Rng::with_seed(seed ^ one as u64);
            let (shelf, rooms, count) = &*shared;
            for _ in 0..20 {
                // As many put as take, so that nobody waits for ever.
                if one.is_multiple_of(2) {
                    shelf.put()
                } else {
                    shelf.take()
                }
                if random.u8(..) < 64 {
                    let _permit = rooms.acquire();
                    task::yield_now();
                }
                let mut count = count.lock().unwrap();
                if random.u8(..) < 16 {
                    task::yield_now();
                }
                *count += 1;
            }
        }
    };
    let threads: Vec<_> = (0..THREADS).map(|one| thread::spawn(work(one))).collect();
    let works: Vec<_> = (0..tasks).map(work).collect();
    in_tasks(2, move || {
        let tasks: Vec<_> = works.into_iter().map(task::spawn).collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let (shelf, rooms, count) = &*shared;
    assert_eq!(*shelf.items.lock().unwrap(), 0);
    assert_eq!(rooms.available(), 5);
    assert_eq!(*count.lock().unwrap(), 20 * (THREADS + tasks) as u64);
}

/// Two hand a turn to each other: a lost wake-up would be the end of it.
struct Turn {
    next: Mutex<u64>,
    news: Condvar,
}

impl Turn {
    /// Takes every second turn until `end`.
    fn play(&self, mine: u64, end: u64) {
        let mut next = self.next.lock().unwrap();
        while *next < end {
            if *next % 2 == mine {
                *next += 1;
                self.news.notify_one();
            } else {
                next = self.news.wait(next).unwrap();
            }
        }
        self.news.notify_one();
    }
}

/// 10⁷ hand-overs in all: between tasks of one worker, of two, and between a task and a thread.
#[test]
fn heavy_ten_million_hand_overs_lose_no_wake_up() {
    let _watchdog = Watchdog::new("the hand-overs".to_owned(), Duration::from_secs(170));
    for (what, workers, full) in
        [("one worker", 1, 9_000_000), ("two workers", 2, 500_000), ("a thread", 0, 500_000)]
    {
        let count = scaled(full);
        let began = Instant::now();
        let turn = Arc::new(Turn { next: Mutex::new(0), news: Condvar::new() });
        let play = |mine| {
            let turn = Arc::clone(&turn);
            move || turn.play(mine, count)
        };
        let (first, second) = (play(0), play(1));
        let thread = (workers == 0).then(|| thread::spawn(play(1)));
        in_tasks(workers.max(1), move || {
            let group = WaitGroup::new();
            for (worker, player) in
                [Some(first), thread.is_none().then_some(second)].into_iter().flatten().enumerate()
            {
                let member = group.add();
                let builder = task::Builder::new().worker(worker % workers.max(1));
                let plays = builder.spawn(move || {
                    player();
                    member.done();
                });
                drop(plays.expect("there is memory"));
            }
            group.wait();
            if let Some(thread) = thread {
                thread.join().unwrap();
            }
        });
        assert_eq!(*turn.next.lock().unwrap(), count);
        println!("{count} hand-overs, {what}: {:?}", began.elapsed());
    }
}
