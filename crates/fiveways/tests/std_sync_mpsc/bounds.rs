//! Channels with a bound, and without room.

everywhere!(
    a_bound_is_kept,
    a_rendezvous_lasts_until_the_item_is_taken,
    a_full_send_fails_when_the_receiver_goes,
    a_rendezvous_fails_when_the_receiver_goes,
    try_send_needs_a_receiver_that_waits,
    try_send_fails_where_it_must_not_wait,
    bounded_streams_come_in_order_for_every_bound,
    bounded_senders_lose_nothing,
);

/// The claims.
mod claims {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use fiveways::sync::mpsc::{RecvError, SendError, TrySendError, sync_channel};

    use crate::support::{LONG, STRESS, let_others_go_first, other};

    pub(super) fn a_bound_is_kept() {
        for bound in [1, 2, 7] {
            let (tx, rx) = sync_channel(bound);
            (0..bound).for_each(|_| assert_eq!(tx.try_send(1), Ok(())));
            assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
            let sending = other(move || tx.send(1));
            let_others_go_first();
            assert_eq!(rx.len(), bound);
            (0..=bound).for_each(|_| assert_eq!(rx.recv(), Ok(1)));
            assert_eq!(sending.join(), Ok(()));
            assert_eq!(rx.recv(), Err(RecvError));
        }
    }

    pub(super) fn a_rendezvous_lasts_until_the_item_is_taken() {
        let (tx, rx) = sync_channel(0);
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let sending = other(move || {
            for _ in 0..10 {
                tx.send(()).expect("the receiver is there");
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        for taken in 0..10 {
            for _ in 0..20 {
                let_others_go_first();
            }
            assert!(sent.load(Ordering::SeqCst) <= taken);
            assert_eq!(rx.recv(), Ok(()));
        }
        sending.join();
    }

    pub(super) fn a_full_send_fails_when_the_receiver_goes() {
        let (tx, rx) = sync_channel(1);
        tx.send(1).expect("the receiver is there");
        let sending = other(move || tx.send(2));
        let_others_go_first();
        drop(rx);
        assert_eq!(sending.join(), Err(SendError(2)));
    }

    pub(super) fn a_rendezvous_fails_when_the_receiver_goes() {
        let (tx, rx) = sync_channel(0);
        let clone = tx.clone();
        let sending = [other(move || tx.send(1)), other(move || clone.send(1))];
        let_others_go_first();
        drop(rx);
        for sending in sending {
            assert_eq!(sending.join(), Err(SendError(1)));
        }
    }

    pub(super) fn try_send_needs_a_receiver_that_waits() {
        let (tx, rx) = sync_channel(0);
        assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
        let receiving = other(move || rx.recv());
        let end = Instant::now() + LONG;
        while tx.try_send(2).is_err() {
            assert!(Instant::now() < end, "nobody ever waits");
            let_others_go_first();
        }
        assert_eq!(receiving.join(), Ok(2));
    }

    pub(super) fn try_send_fails_where_it_must_not_wait() {
        let (tx, rx) = sync_channel(1);
        assert_eq!(tx.try_send(1), Ok(()));
        assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
        assert_eq!(rx.recv(), Ok(1));
        drop(rx);
        assert_eq!(tx.try_send(3), Err(TrySendError::Disconnected(3)));
    }

    pub(super) fn bounded_streams_come_in_order_for_every_bound() {
        for bound in [0, 1, 2, 64] {
            let (tx, rx) = sync_channel(bound);
            let sending = other(move || {
                for number in 0..STRESS {
                    tx.send(number).expect("the receiver is there");
                }
            });
            for number in 0..STRESS {
                assert_eq!(rx.recv(), Ok(number));
            }
            sending.join();
        }
    }

    pub(super) fn bounded_senders_lose_nothing() {
        const SENDERS: usize = 8;
        for bound in [0, 3] {
            let (tx, rx) = sync_channel(bound);
            for sender in 0..SENDERS {
                let tx = tx.clone();
                other(move || {
                    for number in 0..STRESS / 4 {
                        tx.send((sender, number)).expect("the receiver is there");
                    }
                });
            }
            drop(tx);
            let mut next = [0; SENDERS];
            for (sender, number) in rx {
                assert_eq!(number, next[sender], "each sender's items come in its order");
                next[sender] += 1;
            }
            assert_eq!(next, [STRESS / 4; SENDERS]);
        }
    }
}
