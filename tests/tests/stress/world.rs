//! What the storm is about, and what must hold when it is over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fiveways::queue::JoinableQueue;
use fiveways::sync::channel::{Receiver, Sender, bounded};
use fiveways::sync::{Condvar, Mutex, PoisonError, Semaphore};
use fiveways::task;

const ROOMS: usize = 5;
const SOON: Duration = Duration::from_micros(200);

/// How much went in and how much came out.
#[derive(Default)]
struct Account {
    given: AtomicU64,
    taken: AtomicU64,
}

impl Account {
    fn give(&self, item: u64) {
        self.given.fetch_add(item, Ordering::Relaxed);
    }

    fn take(&self, item: u64) {
        self.taken.fetch_add(item, Ordering::Relaxed);
    }

    fn is_even(&self) -> bool {
        self.given.load(Ordering::Relaxed) == self.taken.load(Ordering::Relaxed)
    }
}

/// What all share.
pub(crate) struct World {
    /// Things on a table, and the news that there are some.
    table: Mutex<u64>,
    news: Condvar,
    things: Account,
    rooms: Semaphore,
    guests: AtomicU64,
    /// The first sender ends with the storm.
    sender: Mutex<Option<Sender<u64>>>,
    receiver: Receiver<u64>,
    sent: Account,
    queue: JoinableQueue<u64>,
    put: Account,
}

impl World {
    pub(crate) fn new() -> World {
        let (sender, receiver) = bounded(2);
        World {
            table: Mutex::new(0),
            news: Condvar::new(),
            things: Account::default(),
            rooms: Semaphore::new(ROOMS),
            guests: AtomicU64::new(0),
            sender: Mutex::new(Some(sender)),
            receiver,
            sent: Account::default(),
            queue: JoinableQueue::with_maxsize(2),
            put: Account::default(),
        }
    }

    /// Does what the dice say, so many times.
    pub(crate) fn act(&self, mut random: fastrand::Rng, times: u64) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sender = sender.expect("the storm is not over");
        for _ in 0..times {
            let item = random.u64(1..100);
            match random.u8(..8) {
                0 => self.lay(),
                1 => self.pick(),
                2 => self.visit(),
                3 => self.send(&sender, item),
                4 => self.receive(),
                5 => self.put(item),
                6 => self.get(),
                _ => join_another(item),
            }
        }
    }

    fn lay(&self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        *table += 1;
        self.things.give(1);
        // A cancel unwinds here, with the lock.
        task::yield_now();
        drop(table);
        self.news.notify_one();
    }

    fn pick(&self) {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.news.wait_timeout_while(table, SOON, |things| *things == 0);
        let (mut table, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *table > 0 {
            *table -= 1;
            self.things.take(1);
        }
    }

    fn visit(&self) {
        let _permit = self.rooms.acquire();
        let others = self.guests.fetch_add(1, Ordering::Relaxed);
        let _leaves = Leaves(&self.guests);
        assert!(others < ROOMS as u64, "{others} are in {ROOMS} rooms");
        task::yield_now();
    }

    fn send(&self, sender: &Sender<u64>, item: u64) {
        sender.send(item).expect("there is a receiver");
        self.sent.give(item);
    }

    fn receive(&self) {
        if let Ok(item) = self.receiver.recv_timeout(SOON) {
            self.sent.take(item);
        }
    }

    fn put(&self, item: u64) {
        self.queue.put(item).expect("it is open");
        self.put.give(item);
    }

    fn get(&self) {
        if let Ok(item) = self.queue.get_timeout(SOON) {
            self.put.take(item);
            self.queue.task_done().expect("it was put");
        }
    }

    /// Receives what nobody else does, until the storm is over.
    pub(crate) fn drain_channel(&self) {
        while let Ok(item) = self.receiver.recv() {
            self.sent.take(item);
        }
    }

    /// Gets what nobody else does, until the storm is over.
    pub(crate) fn drain_queue(&self) {
        while let Ok(item) = self.queue.get() {
            self.put.take(item);
            self.queue.task_done().expect("it was put");
        }
    }

    /// The storm is over: nothing goes in any more.
    pub(crate) fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.queue.shutdown(false);
        self.queue.join();
    }

    pub(crate) fn check(&self) {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        self.things.take(*table);
        assert!(self.things.is_even(), "things were lost, or picked twice");
        assert_eq!(self.rooms.available(), ROOMS);
        assert_eq!(self.guests.load(Ordering::Relaxed), 0);
        assert!(self.sent.is_even(), "items of the channel were lost, or came twice");
        assert!(self.put.is_even(), "items of the queue were lost, or came twice");
        assert_eq!(self.queue.unfinished(), 0);
    }
}

/// A guest that leaves, also when it is unwound.
struct Leaves<'a>(&'a AtomicU64);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A task starts another one and waits for it.
fn join_another(item: u64) {
    if task::in_task() {
        let other = task::spawn(move || {
            task::yield_now();
            item
        });
        assert_eq!(other.join().ok(), Some(item));
    }
}
