//! Sending and receiving, and ends that go.

everywhere!(
    what_is_sent_is_received,
    full_channels_are_dropped_with_what_is_in_them,
    clones_send_into_the_same_channel,
    sending_fails_when_the_receiver_is_gone,
    sending_fails_when_the_receiver_goes_meanwhile,
    receiving_fails_when_all_senders_are_gone,
    receiving_fails_when_the_last_sender_goes_meanwhile,
    what_was_sent_outlives_its_sender,
    a_stream_comes_in_order,
    many_senders_lose_nothing,
    one_item_goes_over_in_every_order_of_ends,
    closing_either_end_elsewhere_does_no_harm,
    boxes_go_through_recursively_spawned_ends,
);

/// The claims.
mod claims {
    use std::sync::Arc;

    use fiveways::sync::mpsc::{
        Receiver, RecvError, SendError, Sender, SyncSender, TrySendError, channel, sync_channel,
    };

    use crate::support::{LONG, STRESS, let_others_go_first, other};

    pub(super) fn what_is_sent_is_received() {
        let (tx, rx) = channel();
        tx.send(1).expect("the receiver is there");
        assert_eq!(rx.recv(), Ok(1));
        let (tx, rx) = sync_channel(1);
        tx.send(1).expect("the receiver is there");
        assert_eq!(rx.recv(), Ok(1));
        let (tx, rx) = sync_channel(0);
        let sending = other(move || tx.send(1));
        assert_eq!(rx.recv(), Ok(1));
        assert_eq!(sending.join(), Ok(()));
    }

    pub(super) fn full_channels_are_dropped_with_what_is_in_them() {
        let item = Arc::new(());
        let (tx, rx) = channel();
        let shared = tx.clone();
        tx.send(Arc::clone(&item)).expect("the receiver is there");
        shared.send(Arc::clone(&item)).expect("the receiver is there");
        drop((tx, shared, rx));
        let (tx, rx) = sync_channel(1);
        tx.send(Arc::clone(&item)).expect("the receiver is there");
        drop((rx, tx));
        assert_eq!(Arc::strong_count(&item), 1);
    }

    pub(super) fn clones_send_into_the_same_channel() {
        let (tx, rx) = channel();
        tx.send(1).expect("the receiver is there");
        assert_eq!(rx.recv(), Ok(1));
        let clone = tx.clone();
        drop(tx);
        clone.send(2).expect("the receiver is there");
        assert_eq!(rx.recv(), Ok(2));
        let (tx, rx) = sync_channel(2);
        let clone = tx.clone();
        clone.send(1).expect("the receiver is there");
        tx.send(2).expect("the receiver is there");
        assert_eq!((rx.recv(), rx.recv()), (Ok(1), Ok(2)));
    }

    pub(super) fn sending_fails_when_the_receiver_is_gone() {
        let (tx, rx) = channel();
        let clone = tx.clone();
        drop(rx);
        assert_eq!(tx.send(1), Err(SendError(1)));
        assert_eq!(clone.send(2), Err(SendError(2)));
        for bound in [0, 1] {
            let (tx, rx) = sync_channel(bound);
            drop(rx);
            assert_eq!(tx.send(1), Err(SendError(1)));
            assert_eq!(tx.try_send(2), Err(TrySendError::Disconnected(2)));
        }
    }

    pub(super) fn sending_fails_when_the_receiver_goes_meanwhile() {
        let (tx, rx) = channel();
        let receiving = other(move || assert!(rx.recv().is_ok()));
        while tx.send(1).is_ok() {
            let_others_go_first();
        }
        receiving.join();
        let (tx, rx) = sync_channel(0);
        let receiving = other(move || assert!(rx.recv().is_ok()));
        let clone = tx.clone();
        while tx.send(1).is_ok() && clone.send(1).is_ok() {}
        receiving.join();
    }

    pub(super) fn receiving_fails_when_all_senders_are_gone() {
        let (tx, rx) = channel::<()>();
        let clone = tx.clone();
        drop((tx, clone));
        assert_eq!(rx.recv(), Err(RecvError));
        let (tx, rx) = sync_channel::<()>(0);
        drop(tx);
        assert_eq!(rx.recv(), Err(RecvError));
    }

    pub(super) fn receiving_fails_when_the_last_sender_goes_meanwhile() {
        let (tx, rx) = channel();
        let sending = other(move || {
            tx.send(1).expect("the receiver is there");
            tx.send(1).expect("the receiver is there");
        });
        while rx.recv().is_ok() {}
        sending.join();
        let (tx, rx) = sync_channel::<()>(0);
        let receiving = other(move || rx.recv());
        let_others_go_first();
        drop(tx);
        assert_eq!(receiving.join(), Err(RecvError));
    }

    pub(super) fn what_was_sent_outlives_its_sender() {
        let (tx, rx) = channel();
        tx.send(10).expect("the receiver is there");
        drop(tx);
        assert_eq!(rx.recv(), Ok(10));
        assert_eq!(rx.recv(), Err(RecvError));
    }

    pub(super) fn a_stream_comes_in_order() {
        let (tx, rx) = channel();
        let sending = other(move || {
            for number in 0..STRESS {
                tx.send(number).expect("the receiver is there");
            }
        });
        for number in 0..STRESS {
            assert_eq!(rx.recv(), Ok(number));
        }
        sending.join();
        assert_eq!(rx.recv(), Err(RecvError));
    }

    pub(super) fn many_senders_lose_nothing() {
        const SENDERS: usize = 8;
        let (tx, rx) = channel();
        let receiving = other(move || {
            for _ in 0..SENDERS * STRESS {
                assert_eq!(rx.recv(), Ok(1));
            }
            assert_eq!(rx.recv(), Err(RecvError));
        });
        for _ in 0..SENDERS {
            let tx = tx.clone();
            other(move || (0..STRESS).for_each(|_| tx.send(1).expect("the receiver is there")));
        }
        drop(tx);
        receiving.join();
    }

    pub(super) fn one_item_goes_over_in_every_order_of_ends() {
        for _ in 0..20 {
            let (tx, rx) = channel::<Box<i32>>();
            let receiving = other(move || rx.recv());
            tx.send(Box::new(10)).expect("the receiver waits");
            assert_eq!(receiving.join(), Ok(Box::new(10)));
            let (tx, rx) = channel::<Box<i32>>();
            let sending = other(move || tx.send(Box::new(10)));
            assert_eq!(rx.recv(), Ok(Box::new(10)));
            assert!(sending.join().is_ok());
        }
    }

    pub(super) fn closing_either_end_elsewhere_does_no_harm() {
        for _ in 0..50 {
            let (tx, rx) = channel::<i32>();
            let dropping = other(move || drop(rx));
            // It may or may not come through.
            let _ = tx.send(1);
            dropping.join();
            let (tx, rx) = channel::<i32>();
            let dropping = other(move || drop(tx));
            assert_eq!(rx.recv(), Err(RecvError));
            dropping.join();
            let (tx, rx) = sync_channel::<i32>(0);
            let dropping = other(move || drop(rx));
            assert_eq!(tx.send(1), Err(SendError(1)));
            dropping.join();
        }
    }

    pub(super) fn boxes_go_through_recursively_spawned_ends() {
        fn send(tx: Sender<Box<usize>>, number: usize) {
            if number < 10 {
                other(move || {
                    tx.send(Box::new(number)).expect("the receiver is there");
                    send(tx, number + 1);
                });
            }
        }
        fn receive(rx: Receiver<Box<usize>>, number: usize, done: SyncSender<()>) {
            if number < 10 {
                other(move || {
                    assert_eq!(rx.recv(), Ok(Box::new(number)));
                    receive(rx, number + 1, done);
                });
            } else {
                done.send(()).expect("the test waits");
            }
        }
        let (done, all_done) = sync_channel(0);
        for _ in 0..20 {
            let (tx, rx) = channel();
            send(tx, 0);
            receive(rx, 0, done.clone());
        }
        for _ in 0..20 {
            assert_eq!(all_done.recv_timeout(LONG), Ok(()));
        }
    }
}
