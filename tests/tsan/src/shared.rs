//! Storms over what tasks and threads share: locks, channels and queues.

use std::time::Duration;

use fiveways::queue::{JoinableQueue, LifoQueue, PriorityQueue};
use fiveways::sync::{
    Barrier, Condvar, Event, LazyLock, Mutex, Once, OnceLock, ReentrantMutex, RwLock, Semaphore,
    WaitGroup, channel, mpsc,
};
use fiveways::{select, task};

use crate::bare::Bare;
use crate::crowd::{Crowd, MEMBERS};

const ROUNDS: usize = 20_000;
const FEW: usize = ROUNDS / 10;
const POISON: &str = "nobody panics";

pub(crate) fn storms(crowd: Crowd) {
    locks(crowd);
    conditions(crowd);
    semaphores(crowd);
    flags(crowd);
    channels(crowd);
    selects(crowd);
    queues(crowd);
    meetings(crowd);
    firsts(crowd);
}

fn locks(crowd: Crowd) {
    let mutex = Mutex::new(Bare::default());
    crowd.together(move |_| {
        for round in 0..ROUNDS {
            let held = mutex.lock().expect(POISON);
            held.add();
            if round % 64 == 0 {
                task::yield_now();
            }
        }
        let _ = mutex.lock_timeout(Duration::from_micros(50)).map(|held| held.add());
    });
    let lock = RwLock::new(0);
    crowd.together(move |number| {
        for _ in 0..FEW {
            if number % 2 == 0 {
                *lock.write().expect(POISON) += 1;
            } else {
                assert!(*lock.read().expect(POISON) <= MEMBERS * FEW);
            }
        }
    });
}

fn conditions(crowd: Crowd) {
    let (things, news) = (Mutex::new(0), Condvar::new());
    crowd.together(move |number| {
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

fn semaphores(crowd: Crowd) {
    let (one, guests) = (Semaphore::new(1), Bare::default());
    crowd.together(move |_| {
        for _ in 0..ROUNDS {
            let _permit = one.acquire();
            guests.add();
        }
        if let Some(_permit) = one.acquire_timeout(Duration::from_micros(50)) {
            guests.add();
        }
    });
}

fn flags(crowd: Crowd) {
    for _ in 0..FEW {
        let (once, event, value) = (Once::new(), Event::new(), RwLock::new(Box::new(0)));
        crowd.together(move |number| {
            once.call_once(|| **value.write().expect(POISON) += 1);
            assert_eq!(**value.read().expect(POISON), 1);
            if number == 0 { event.set() } else { event.wait() }
        });
    }
}

fn channels(crowd: Crowd) {
    for bound in [0, 1, 16] {
        let (sender, receiver) = channel::bounded(bound);
        crowd.together(move |number| {
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
    crowd.together(move |number| {
        let (sender, receiver) = (sender.clone(), receiver.clone());
        for round in 0..FEW {
            sender.send(Box::new(round)).expect("there are receivers");
            let got = receiver.recv_timeout(Duration::from_micros(number as u64));
            let _ = got.map(|mut item| *item += 1);
        }
    });
}

fn queues(crowd: Crowd) {
    let queue = JoinableQueue::with_maxsize(4);
    let theirs = queue.clone();
    crowd.together(move |number| {
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

fn selects(crowd: Crowd) {
    let lines = [channel::bounded(0), channel::bounded(1)];
    crowd.together(move |number| {
        let [(one, some_one), (two, some_two)] = &lines;
        for round in 0..FEW {
            if number % 2 == 0 {
                let (left, right) = (Box::new(round), Box::new(round));
                select! {
                    send(one, left) -> sent => sent.expect("there are receivers"),
                    send(two, right) -> sent => sent.expect("there are receivers"),
                }
            } else {
                let mut got = select! {
                    recv(some_one) -> item => item.expect("there are senders"),
                    recv(some_two) -> item => item.expect("there are senders"),
                };
                *got += 1;
            }
        }
    });
}

/// All wait for each other.
fn meetings(crowd: Crowd) {
    let (barrier, bares) = (Barrier::new(MEMBERS), [(); MEMBERS].map(|()| Bare::default()));
    crowd.together(move |number| {
        for round in 0..FEW {
            bares[(number + round) % MEMBERS].add();
            barrier.wait();
        }
    });
    let (lock, bare) = (ReentrantMutex::new(()), Bare::default());
    crowd.together(move |_| {
        for _ in 0..FEW {
            let _outer = lock.lock();
            bare.add();
            task::yield_now();
            let _inner = lock.lock_timeout(Duration::from_micros(50)).expect("it is ours");
            bare.add();
        }
    });
    for _ in 0..FEW / 10 {
        let (group, bares) = (WaitGroup::new(), [(); MEMBERS].map(|()| Bare::default()));
        let members = Mutex::new(Vec::from([(); MEMBERS - 1].map(|()| group.add())));
        crowd.together(move |number| {
            if number > 0 {
                let member = members.lock().expect(POISON).pop().expect("there is one for each");
                bares[number].add();
                member.done();
            } else {
                group.wait();
                bares.iter().for_each(Bare::add);
            }
        });
    }
}

/// One of them makes what all use.
fn firsts(crowd: Crowd) {
    for _ in 0..FEW / 10 {
        let (one, other) = (OnceLock::new(), LazyLock::new(|| Box::new(7)));
        let (sender, receiver) = mpsc::sync_channel(1);
        let ends = Mutex::new(Some(receiver));
        crowd.together(move |number| {
            let round = one.get_or_init(|| Box::new(number));
            assert!(**round < MEMBERS && **other == 7);
            let receiver = ends.lock().expect(POISON).take();
            match receiver {
                Some(receiver) => assert_eq!(receiver.iter().take(MEMBERS - 1).count(), 3),
                None => sender.send(Box::new(number)).expect("there is a receiver"),
            }
        });
    }
    let (last, least) = (LifoQueue::with_maxsize(2), PriorityQueue::with_maxsize(2));
    crowd.together(move |number| {
        for round in 0..FEW {
            if number % 2 == 0 {
                last.put(Box::new(round)).expect("it is open");
                least.put((round % 3, Box::new(round))).expect("it is open");
            } else {
                *last.get().expect("it is open") += 1;
                *least.get().expect("it is open").1 += 1;
            }
        }
    });
}
