//! Channels with several receivers.

crate::support::everywhere!(
    each_item_goes_to_one_receiver,
    waiting_receivers_are_served_in_turn,
    waiting_senders_are_served_in_turn,
    the_last_receiver_takes_the_items_with_it,
    a_send_that_is_late_gives_the_item_back,
    snapshots_tell_what_is_so,
    a_history_is_that_of_one_queue,
);

mod claims {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::{RecvTimeoutError, TryRecvError, TrySendError};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use fiveways::sync::channel::{SendTimeoutError, bounded, unbounded};
    use fiveways::task;

    use crate::support::{Other, other, until_waiting};

    pub(super) fn each_item_goes_to_one_receiver() {
        for bound in [Some(0), Some(1), Some(5), None] {
            let (tx, rx) = bound.map_or_else(unbounded, bounded);
            let receiving: Vec<_> = (0..4)
                .map(|_| rx.clone())
                .map(|rx| other(move || rx.iter().collect::<Vec<u32>>()))
                .collect();
            drop(rx);
            let sending: Vec<_> = (0..4)
                .map(|sender| (sender, tx.clone()))
                .map(|(sender, tx)| {
                    other(move || {
                        for number in 0..500 {
                            tx.send(sender * 500 + number).expect("receivers are there");
                        }
                    })
                })
                .collect();
            drop(tx);
            sending.into_iter().for_each(Other::join);
            let received: Vec<_> = receiving.into_iter().flat_map(Other::join).collect();
            assert_eq!(received.len(), 2_000);
            assert_eq!(received.into_iter().collect::<BTreeSet<_>>(), (0..2_000).collect());
        }
    }

    pub(super) fn waiting_receivers_are_served_in_turn() {
        let (tx, rx) = bounded(0);
        let receiving: Vec<_> = (1..=5)
            .map(|count| {
                let rx = rx.clone();
                let receiving = other(move || rx.recv());
                until_waiting("receive from channel", count);
                receiving
            })
            .collect();
        (0..5).for_each(|number| tx.send(number).expect("they wait"));
        let got: Vec<_> = receiving.into_iter().map(Other::join).collect();
        assert_eq!(got, (0..5).map(Ok).collect::<Vec<_>>());
    }

    pub(super) fn waiting_senders_are_served_in_turn() {
        let (tx, rx) = bounded(1);
        tx.send(0).expect("there is room");
        let sending: Vec<_> = (1..5)
            .map(|number| {
                let tx = tx.clone();
                let sending = other(move || tx.send(number));
                until_waiting("send to channel", number);
                sending
            })
            .collect();
        (0..5).for_each(|number| assert_eq!(rx.recv(), Ok(number)));
        sending.into_iter().for_each(|sending| assert_eq!(sending.join(), Ok(())));
    }

    pub(super) fn the_last_receiver_takes_the_items_with_it() {
        let item = Arc::new(());
        let (tx, rx) = bounded(3);
        let second = rx.clone();
        (0..3).for_each(|_| tx.send(Arc::clone(&item)).expect("there is room"));
        drop(rx);
        assert_eq!((tx.len(), Arc::strong_count(&item)), (3, 4));
        drop(second);
        assert_eq!((tx.len(), Arc::strong_count(&item)), (0, 1));
        assert!(matches!(tx.try_send(item), Err(TrySendError::Disconnected(_))));
    }

    pub(super) fn a_send_that_is_late_gives_the_item_back() {
        let (tx, rx) = bounded(1);
        tx.send("first").expect("there is room");
        let late = tx.send_timeout("second", Duration::from_millis(2));
        assert_eq!(late, Err(SendTimeoutError::Timeout("second")));
        assert_eq!(rx.try_recv(), Ok("first"));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        drop(rx);
        let gone = tx.send_timeout("third", Duration::from_secs(40));
        assert_eq!(gone, Err(SendTimeoutError::Disconnected("third")));
    }

    /// D59.
    pub(super) fn snapshots_tell_what_is_so() {
        let (tx, rx) = bounded(2);
        assert_eq!((tx.len(), tx.is_empty(), tx.is_full()), (0, true, false));
        assert_eq!(tx.try_send(1), Ok(()));
        assert_eq!(tx.try_send(2), Ok(()));
        assert_eq!((rx.len(), rx.is_empty(), rx.is_full()), (2, false, true));
        // The decision is made where the item is given.
        assert_eq!(tx.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!((tx.capacity(), rx.capacity()), (Some(2), Some(2)));
        let (tx, rx) = unbounded::<()>();
        assert_eq!((tx.capacity(), tx.is_full(), rx.is_full()), (None, false, false));
        let (tx, _rx) = bounded::<()>(0);
        assert_eq!((tx.capacity(), tx.is_full(), tx.is_empty()), (Some(0), true, true));
    }

    /// What was done, from when to when, by one clock.
    #[derive(Clone, Copy, Debug)]
    enum Done {
        Sent(u64),
        Received(u64),
    }

    /// Random sends and receives by three at once. Of two items, the one whose send had ended
    /// before the other's began must not be received after the other's receive had ended.
    pub(super) fn a_history_is_that_of_one_queue() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        for bound in [0, 1, 3] {
            let clock = Arc::new(AtomicU64::new(0));
            let history = Arc::new(Mutex::new(Vec::new()));
            let next = Arc::new(AtomicU64::new(0));
            let (tx, rx) = bounded(bound);
            let all: Vec<_> = (0..3)
                .map(|who| {
                    let (tx, rx) = (tx.clone(), rx.clone());
                    let (clock, history, next) = (clock.clone(), history.clone(), next.clone());
                    other(move || {
                        let mut random = fastrand::Rng::with_seed(seed + who);
                        for _ in 0..400 {
                            let patience = Duration::from_micros(random.u64(..200));
                            let from = clock.fetch_add(1, Ordering::SeqCst);
                            let done = if random.bool() {
                                let number = next.fetch_add(1, Ordering::SeqCst);
                                tx.send_timeout(number, patience).ok().map(|()| Done::Sent(number))
                            } else {
                                match rx.recv_timeout(patience) {
                                    Ok(number) => Some(Done::Received(number)),
                                    Err(RecvTimeoutError::Timeout) => None,
                                    Err(error) => panic!("senders are there: {error}"),
                                }
                            };
                            let to = clock.fetch_add(1, Ordering::SeqCst);
                            let Some(done) = done else { continue };
                            history.lock().expect("no panic").push((done, from, to));
                            if random.u8(..8) == 0 {
                                task::yield_now();
                            }
                        }
                    })
                })
                .collect();
            all.into_iter().for_each(Other::join);
            let left: Vec<_> = rx.try_iter().collect();
            check(&history.lock().expect("no panic"), &left);
        }
    }

    fn check(history: &[(Done, u64, u64)], left: &[u64]) {
        let mut sent: Vec<(u64, u64, u64)> = Vec::new();
        let mut received = std::collections::BTreeMap::new();
        for (done, from, to) in history {
            match done {
                Done::Sent(number) => sent.push((*number, *from, *to)),
                Done::Received(number) => {
                    let first = received.insert(*number, (*from, *to)).is_none();
                    assert!(first, "{number} was received twice");
                }
            }
        }
        for (place, number) in left.iter().enumerate() {
            let at_the_end = u64::MAX / 2 + 2 * place as u64;
            let first = received.insert(*number, (at_the_end, at_the_end + 1)).is_none();
            assert!(first, "{number} was received and left");
        }
        assert_eq!(received.len(), sent.len(), "what was sent was received or left, and no more");
        for (number, from, sent_at) in &sent {
            let (begun, taken) = received[number];
            assert!(*from < taken, "{number} was received before it was sent");
            for (later, later_from, _) in &sent {
                let ordered = sent_at < later_from;
                let overtaken = received[later].1 < begun;
                assert!(!(ordered && overtaken), "{later} overtook {number}");
            }
        }
    }
}
