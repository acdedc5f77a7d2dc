//! Many on one channel: nothing lost, nothing twice.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fiveways::sync::channel::{Receiver, bounded};

use super::{FLAVOURS, ends};
use crate::support::{everywhere, heavy, joined, other, others};

everywhere!(
    heavy_one_sender_and_one_receiver_keep_the_order,
    heavy_each_item_of_many_senders_is_received_once,
    heavy_channels_for_one_item_are_made_and_used,
    heavy_requests_are_answered,
    heavy_two_that_are_often_late_come_to_the_end,
    heavy_each_item_is_dropped_once,
    heavy_what_was_sent_can_be_received_at_once,
    heavy_channels_go_through_channels,
);

fn heavy_one_sender_and_one_receiver_keep_the_order() {
    let count = heavy(20_000);
    for capacity in FLAVOURS {
        let (sender, receiver) = ends(capacity);
        let receiving = other(move || receiver.iter().eq(0..count));
        (0..count).for_each(|number| sender.send(number).unwrap());
        drop(sender);
        assert!(receiving.join());
    }
}

fn heavy_each_item_of_many_senders_is_received_once() {
    const EACH: usize = 4;
    let count = heavy(10_000);
    for capacity in [0, 3, usize::MAX] {
        let (sender, receiver) = ends::<usize>(capacity);
        let times: Arc<Vec<_>> = Arc::new((0..count).map(|_| AtomicUsize::new(0)).collect());
        let theirs = Arc::clone(&times);
        let receiving = others(EACH, move |_| {
            for _ in 0..count {
                theirs[receiver.recv().unwrap()].fetch_add(1, Ordering::SeqCst);
            }
            receiver.clone()
        });
        let sending = others(EACH, move |_| (0..count).for_each(|n| sender.send(n).unwrap()));
        joined(sending);
        let left = joined(receiving);
        assert!(times.iter().all(|times| times.load(Ordering::SeqCst) == EACH));
        assert!(left[0].is_empty());
    }
}

fn heavy_channels_for_one_item_are_made_and_used() {
    for number in 0..heavy(2_000) {
        let (sender, receiver) = bounded(number % 2);
        let receiving = other(move || receiver.recv());
        sender.send(number).unwrap();
        assert_eq!(receiving.join(), Ok(number));
    }
}

fn heavy_requests_are_answered() {
    let count = heavy(20_000);
    let ((ask, asked), (answer, answered)) = (bounded(1), bounded::<usize>(1));
    let asking = other(move || {
        let mut had = 0;
        while had < count {
            had += answered.try_iter().sum::<usize>();
            if had < count && ask.send(()).is_err() {
                break;
            }
        }
        had
    });
    for () in asked.iter() {
        if answer.send(1).is_err() {
            break;
        }
    }
    // Some more may have been on their way.
    assert!((count..count + 3).contains(&asking.join()));
}

fn heavy_two_that_are_often_late_come_to_the_end() {
    let count = heavy(400);
    let brief = Duration::from_micros(50);
    for capacity in [0, 2] {
        let (sender, receiver) = ends(capacity);
        let sending = other(move || {
            for number in 0..count {
                rest(number);
                while sender.send_timeout(number, brief).is_err() {}
            }
        });
        for number in 0..count {
            rest(number + 1);
            let item = loop {
                if let Ok(item) = receiver.recv_timeout(brief) {
                    break item;
                }
            };
            assert_eq!(item, number);
        }
        sending.join();
    }
}

/// Every other time longer than the others wait.
fn rest(number: usize) {
    if number.is_multiple_of(2) {
        fiveways::time::sleep(Duration::from_micros(120));
    }
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn heavy_each_item_is_dropped_once() {
    let mut random = fastrand::Rng::with_seed(7);
    for run in 0..heavy(100) {
        let (sender, receiver) = ends(FLAVOURS[2 + run % 3].max(50));
        let drops = Arc::new(AtomicUsize::new(0));
        let (steps, more) = (random.usize(0..500), random.usize(0..50));
        let receiving = other(move || {
            receiver.iter().take(steps).for_each(drop);
            receiver
        });
        for _ in 0..steps {
            assert!(sender.send(Counted(Arc::clone(&drops))).is_ok());
        }
        let receiver = receiving.join();
        for _ in 0..more {
            assert!(sender.send(Counted(Arc::clone(&drops))).is_ok());
        }
        assert_eq!(drops.load(Ordering::SeqCst), steps);
        if run % 2 == 0 {
            drop((sender, receiver))
        } else {
            drop((receiver, sender))
        }
        assert_eq!(drops.load(Ordering::SeqCst), steps + more);
    }
}

/// Each has sent before it receives: there is an item for each.
fn heavy_what_was_sent_can_be_received_at_once() {
    let count = heavy(10_000);
    for capacity in [4, usize::MAX] {
        let (sender, receiver) = ends(capacity);
        let all = others(4, move |_| {
            (0..count).all(|_| sender.send(0).is_ok() && receiver.try_recv().is_ok())
        });
        assert_eq!(joined(all), [true; 4]);
    }
}

fn heavy_channels_go_through_channels() {
    type Item = Box<dyn Any + Send>;
    let count = heavy(2_000);
    for capacity in FLAVOURS {
        let (first, mut receiver) = ends::<Item>(capacity);
        let sending = other(move || {
            let mut sender = first;
            for _ in 0..count {
                let (next, ahead) = ends::<Item>(capacity);
                sender.send(Box::new(ahead)).unwrap();
                sender = next;
            }
        });
        for _ in 0..count {
            receiver = *receiver.recv().unwrap().downcast::<Receiver<Item>>().unwrap();
        }
        assert!(receiver.recv().is_err());
        sending.join();
    }
}
