//! `select!` where much comes at once: nothing lost, nothing missed.

use std::any::Any;
use std::time::Duration;

use fiveways::select;
use fiveways::sync::channel::{Receiver, Sender, bounded, unbounded};

use super::ends;
use crate::support::{everywhere, heavy, joined, other};

everywhere!(
    heavy_many_receives_of_one_select_lose_nothing,
    heavy_many_sends_of_one_select_lose_nothing,
    heavy_mixed_selects_lose_nothing,
    heavy_channels_go_through_channels_by_select,
    heavy_what_can_be_had_is_had_by_a_select_that_does_not_wait,
);

/// Three channels of different flavours.
fn three() -> ([Sender<usize>; 3], [Receiver<usize>; 3]) {
    let ((s1, r1), (s2, r2), (s3, r3)) = (unbounded(), bounded(5), bounded(0));
    ([s1, s2, s3], [r1, r2, r3])
}

fn heavy_many_receives_of_one_select_lose_nothing() {
    let count = heavy(10_000);
    let (senders, [r1, r2, r3]) = three();
    let sending = other(move || {
        for number in 0..count {
            senders.iter().for_each(|sender| sender.send(number).unwrap());
        }
        // An end of a channel could be chosen as well.
        senders
    });
    let mut next = [0; 3];
    for _ in 0..3 * count {
        let (which, item) = select! {
            recv(r1) -> item => (0, item),
            recv(r2) -> item => (1, item),
            recv(r3) -> item => (2, item),
        };
        assert_eq!(item, Ok(next[which]));
        next[which] += 1;
    }
    assert_eq!(next, [count; 3]);
    drop(sending.join());
}

fn heavy_many_sends_of_one_select_lose_nothing() {
    let count = heavy(10_000);
    let ([s1, s2, s3], receivers) = three();
    let receiving = receivers.map(|receiver| other(move || receiver.iter().count()));
    let mut sent = [0; 3];
    for number in 0..3 * count {
        let (which, done) = select! {
            send(s1, number) -> done => (0, done),
            send(s2, number) -> done => (1, done),
            send(s3, number) -> done => (2, done),
        };
        done.unwrap();
        sent[which] += 1;
    }
    drop((s1, s2, s3));
    assert_eq!(joined(receiving), sent);
    assert_eq!(sent.iter().sum::<usize>(), 3 * count);
}

fn heavy_mixed_selects_lose_nothing() {
    let count = heavy(10_000);
    let ((s1, r1), (s2, r2)) = (bounded(0), bounded(0));
    let other_side = other(move || {
        for number in 0..count {
            s1.send(number).unwrap();
            assert_eq!(r2.recv(), Ok(number));
        }
    });
    for number in 0..count {
        let mut left = 2;
        while left > 0 {
            select! {
                recv(r1) -> item => assert_eq!(item, Ok(number)),
                send(s2, number) -> sent => sent.unwrap(),
            }
            left -= 1;
        }
    }
    other_side.join();
}

fn heavy_channels_go_through_channels_by_select() {
    type Item = Box<dyn Any + Send>;
    let count = heavy(2_000);
    for capacity in [0, 1, 2, usize::MAX] {
        let (mut sender, first) = ends::<Item>(capacity);
        let receiving = other(move || {
            let mut receiver = first;
            for _ in 0..count {
                let item = select! { recv(receiver) -> item => item.unwrap() };
                receiver = *item.downcast::<Receiver<Item>>().unwrap();
            }
        });
        for _ in 0..count {
            let (next, ahead) = ends::<Item>(capacity);
            let item: Item = Box::new(ahead);
            select! { send(sender, item) -> sent => assert!(sent.is_ok()) }
            sender = next;
        }
        receiving.join();
    }
}

/// At each moment between start and end one of the two has an item.
fn heavy_what_can_be_had_is_had_by_a_select_that_does_not_wait() {
    let count = heavy(10_000);
    for capacity in [1, usize::MAX] {
        let ((s1, r1), (s2, r2)) = (ends(capacity), ends(capacity));
        let ((start, started), (end, ended)) = (bounded(0), bounded(0));
        let (mine, theirs) = (r1.clone(), r2.clone());
        let having = other(move || {
            for round in 0..count {
                start.send(()).unwrap();
                s1.send(1).unwrap();
                let had = if round % 2 == 0 {
                    select! { recv(r1) -> _ => true, recv(r2) -> _ => true, default => false }
                } else {
                    let now = Duration::ZERO;
                    // The time that has come may be chosen: then the rest must be there.
                    select! {
                        recv(r1) -> _ => true,
                        recv(r2) -> _ => true,
                        default(now) => r1.try_recv().is_ok() || r2.try_recv().is_ok(),
                    }
                };
                assert!(had);
                end.send(()).unwrap();
                let _ = theirs.try_recv();
            }
        });
        for _ in 0..count {
            started.recv().unwrap();
            s2.send(1).unwrap();
            let _ = mine.try_recv();
            ended.recv().unwrap();
        }
        having.join();
    }
}
