//! Models of channels and queues: small programs, in every order of their steps.

use std::time::Duration;

use fiveways_loom::fate::Fate;
use fiveways_loom::model;
use fiveways_loom::queue::JoinableQueue;
use fiveways_loom::select;
use fiveways_loom::sync::channel::{bounded, unbounded};
use fiveways_loom::witness::Witness;
use loom::thread;

const LONG: Duration = Duration::from_secs(1);

/// An item goes over whole, by the slot of a receiver that waits or through the store.
#[test]
fn items_go_over_whole_and_in_order() {
    for bound in [0, 1, 2] {
        model(move || {
            let (tx, rx) = bounded(bound);
            let sending = thread::spawn(move || {
                for number in [1, 2] {
                    assert!(tx.send(Witness::new(number)).is_ok());
                }
            });
            for number in [1, 2] {
                assert_eq!(rx.recv().map(|item| item.add(10)), Ok(number + 10));
            }
            assert!(rx.recv().is_err());
            sending.join().expect("it does not panic");
        });
    }
}

/// Room that becomes free is given to a waiting sender, though no other item is taken.
#[test]
fn who_waits_for_room_gets_it() {
    model(|| {
        let (tx, rx) = bounded(1);
        let sending = thread::spawn(move || {
            for number in [1, 2] {
                assert!(tx.send(Witness::new(number)).is_ok());
            }
        });
        assert!(rx.recv().is_ok_and(|item| item.read() == 1));
        sending.join().expect("it does not panic");
        assert!(rx.try_recv().is_ok_and(|item| item.read() == 2));
    });
}

#[test]
fn two_receivers_share_what_is_sent() {
    model(|| {
        let (tx, rx) = bounded(0);
        let receiving = [rx.clone(), rx].map(|rx| {
            thread::spawn(move || rx.recv().map(|item: Witness| item.read()).unwrap_or(0))
        });
        assert!(tx.send(Witness::new(1)).is_ok());
        assert!(tx.send(Witness::new(2)).is_ok());
        drop(tx);
        let sum: usize = receiving.map(|one| one.join().expect("it does not panic")).iter().sum();
        assert_eq!(sum, 3);
    });
}

/// The deadline and the item race: it was taken, or it is still the sender's.
#[test]
fn a_late_receiver_takes_all_or_nothing() {
    model(|| {
        let (tx, rx) = bounded(0);
        let fate = Fate::new();
        let theirs = fate.clone();
        let receiving = thread::spawn(move || {
            let got = theirs.rule(|| rx.recv_timeout(LONG).map(|item: Witness| item.read()));
            (rx, got)
        });
        let clock = thread::spawn(move || fate.expire());
        let sent = tx.try_send(Witness::new(1)).is_ok();
        clock.join().expect("it does not panic");
        let (_rx, got) = receiving.join().expect("it does not panic");
        assert_eq!(got.is_some_and(|got| got == Ok(1)), sent);
    });
}

/// A cancelled receiver has the item that it was given, or it is there for the next.
#[test]
fn a_cancelled_receiver_loses_nothing() {
    model(|| {
        let (tx, rx) = bounded(1);
        let fate = Fate::new();
        let (theirs, mine) = (fate.clone(), rx.clone());
        let receiving = thread::spawn(move || {
            theirs.rule(|| mine.recv().map(|item: Witness| item.read())).is_some()
        });
        let sending = thread::spawn(move || assert!(tx.send(Witness::new(1)).is_ok()));
        fate.cancel();
        sending.join().expect("it does not panic");
        let taken = receiving.join().expect("it does not panic");
        assert_eq!(rx.try_recv().is_ok(), !taken);
    });
}

/// The same with one who waits: it has the item, or hears of the end when the other has it. What
/// was given is never passed on: then the end, which comes at once, could overtake it.
#[test]
fn a_cancelled_receiver_and_the_next_share_one_item() {
    model(|| {
        let (tx, rx) = bounded(0);
        let fate = Fate::new();
        let (theirs, mine) = (fate.clone(), rx.clone());
        let cancelled = thread::spawn(move || {
            theirs.rule(|| mine.recv().map(|item: Witness| item.read()).is_ok()) == Some(true)
        });
        let sending = thread::spawn(move || {
            fate.cancel();
            assert!(tx.send(Witness::new(1)).is_ok());
            drop(tx);
        });
        let next = rx.recv().is_ok();
        sending.join().expect("it does not panic");
        assert_ne!(cancelled.join().expect("it does not panic"), next);
    });
}

/// A cancelled sender has sent or not, and what it has not sent is not received.
#[test]
fn a_cancelled_sender_has_sent_all_or_nothing() {
    model(|| {
        let (tx, rx) = bounded(0);
        let fate = Fate::new();
        let theirs = fate.clone();
        let sending = thread::spawn(move || {
            let sent = theirs.rule(|| tx.send(Witness::new(1)).is_ok());
            drop(tx);
            sent
        });
        fate.cancel();
        let got = rx.recv().map(|item| item.read()).is_ok();
        let sent = sending.join().expect("it does not panic");
        assert_eq!(got, sent.is_some());
    });
}

#[test]
fn the_end_of_either_side_wakes_the_other() {
    model(|| {
        let (tx, rx) = bounded::<Witness>(0);
        let receiving = thread::spawn(move || rx.recv().is_err());
        drop(tx);
        assert!(receiving.join().expect("it does not panic"));
        let (tx, rx) = bounded(0);
        let sending = thread::spawn(move || tx.send(Witness::new(1)).is_err());
        drop(rx);
        assert!(sending.join().expect("it does not panic"));
    });
}

/// A join is woken by the end of the last work, in whatever thread.
#[test]
fn a_join_ends_with_the_last_work() {
    model(|| {
        let queue = JoinableQueue::with_maxsize(1);
        let theirs = queue.clone();
        let working = thread::spawn(move || {
            for _ in 0..2 {
                assert!(theirs.get().is_ok_and(|item: Witness| item.read() > 0));
                assert!(theirs.task_done().is_ok());
            }
        });
        assert!(queue.put(Witness::new(1)).is_ok());
        assert!(queue.put(Witness::new(2)).is_ok());
        queue.join();
        assert_eq!(queue.unfinished(), 0);
        working.join().expect("it does not panic");
    });
}

#[test]
fn a_shutdown_wakes_both_sides() {
    model(|| {
        let queue = JoinableQueue::with_maxsize(1);
        assert!(queue.put(Witness::new(1)).is_ok());
        let theirs = queue.clone();
        let putting = thread::spawn(move || theirs.put(Witness::new(2)).is_ok());
        queue.shutdown(false);
        let mut left = 0;
        while queue.get().is_ok() {
            left += 1;
        }
        assert_eq!(left, 1 + usize::from(putting.join().expect("it does not panic")));
    });
}

/// Without a bound nobody waits to send, and all that was sent is received.
#[test]
fn what_is_sent_without_a_bound_is_received_in_order() {
    model(|| {
        let (tx, rx) = unbounded();
        let sending = thread::spawn(move || {
            for number in [1, 2] {
                assert!(tx.send(Witness::new(number)).is_ok());
            }
        });
        for number in [1, 2] {
            assert_eq!(rx.recv().map(|item| item.add(10)), Ok(number + 10));
        }
        assert!(rx.recv().is_err());
        sending.join().expect("it does not panic");
    });
}

/// A receiver that waits at two channels gets one item; the other stays.
#[test]
fn of_two_channels_one_is_chosen() {
    for bound in [0, 1] {
        model(move || {
            let (ends, receivers): (Vec<_>, Vec<_>) =
                [bounded(bound), bounded(bound)].into_iter().unzip();
            let sending = Vec::from_iter(ends.into_iter().zip([1, 2]).map(|(tx, number)| {
                thread::spawn(move || assert!(tx.send(Witness::new(number)).is_ok()))
            }));
            let first = select! {
                recv(receivers[0]) -> item => item.map(|item| item.read()),
                recv(receivers[1]) -> item => item.map(|item| item.read()),
            };
            let first = first.expect("somebody sends");
            // The other is still there, or comes.
            let second = receivers[2 - first].recv().map(|item| item.read());
            assert_eq!(second, Ok(3 - first));
            for one in sending {
                one.join().expect("it does not panic");
            }
        });
    }
}

/// Two that wait at both ends of two channels serve each other, once.
#[test]
fn two_that_choose_meet() {
    model(|| {
        let ((tx, rx), (other_tx, other_rx)) = (bounded(0), bounded(0));
        let choosing = thread::spawn(move || {
            select! {
                send(tx, Witness::new(1)) -> sent => sent.is_ok(),
                recv(other_rx) -> item => item.is_ok_and(|item: Witness| item.read() == 2),
            }
        });
        let met = select! {
            send(other_tx, Witness::new(2)) -> sent => sent.is_ok(),
            recv(rx) -> item => item.is_ok_and(|item: Witness| item.read() == 1),
        };
        assert!(met);
        assert!(choosing.join().expect("it does not panic"));
    });
}

/// A receiver that is cancelled while it chooses has one item, or none: the others are still there.
#[test]
fn who_is_cancelled_while_it_chooses_loses_nothing() {
    model(|| {
        let ((tx, rx), (_other_tx, other_rx)) = (bounded(1), bounded::<Witness>(1));
        let fate = Fate::new();
        let (theirs, mine) = (fate.clone(), rx.clone());
        let choosing = thread::spawn(move || {
            let choose = || {
                select! {
                    recv(mine) -> item => item.map(|item: Witness| item.read()),
                    recv(other_rx) -> item => item.map(|item| item.read()),
                }
            };
            theirs.rule(choose) == Some(Ok(1))
        });
        let sending = thread::spawn(move || assert!(tx.send(Witness::new(1)).is_ok()));
        fate.cancel();
        sending.join().expect("it does not panic");
        let taken = choosing.join().expect("it does not panic");
        assert_eq!(rx.try_recv().is_ok(), !taken);
    });
}
