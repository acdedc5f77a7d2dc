//! Iterators, and what becomes of items.

everywhere!(
    many_items_can_wait_at_once,
    iterators_end_with_the_senders,
    iterators_can_be_left,
    try_iter_takes_what_is_there,
    into_iter_owns_the_receiver,
    a_receiver_can_be_dropped_while_senders_send,
    errors_give_the_item_back,
    items_are_dropped_once,
    an_item_may_hold_its_own_channel,
);

/// The claims.
mod claims {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use fiveways::sync::mpsc::{Sender, channel, sync_channel};

    use crate::support::{Other, SHORT, STRESS, let_others_go_first, other};

    pub(super) fn many_items_can_wait_at_once() {
        let (tx, rx) = channel();
        (0..STRESS).for_each(|_| tx.send(()).expect("the receiver is there"));
        assert_eq!(rx.len(), STRESS);
        (0..STRESS).for_each(|_| assert_eq!(rx.recv(), Ok(())));
        assert!(rx.is_empty());
    }

    pub(super) fn iterators_end_with_the_senders() {
        let (tx, rx) = channel::<i32>();
        let (total, summed) = channel();
        other(move || total.send(rx.iter().sum::<i32>()));
        for number in [3, 1, 2] {
            tx.send(number).expect("the receiver is there");
        }
        drop(tx);
        assert_eq!(summed.recv(), Ok(6));
    }

    pub(super) fn iterators_can_be_left() {
        let (tx, rx) = channel();
        let counting = other(move || rx.iter().take_while(|number| *number < 3).count());
        for number in [2, 2, 2] {
            tx.send(number).expect("the receiver is there");
        }
        // It may have gone with the first of these.
        let _ = tx.send(3);
        let _ = tx.send(2);
        assert_eq!(counting.join(), 3);
    }

    pub(super) fn try_iter_takes_what_is_there() {
        let (tx, rx) = channel();
        assert_eq!(rx.try_iter().next(), None);
        (0..3).for_each(|number| tx.send(number).expect("the receiver is there"));
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
        tx.send(3).expect("the receiver is there");
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [3]);
    }

    pub(super) fn into_iter_owns_the_receiver() {
        let mut numbers = {
            let (tx, rx) = channel();
            (1..=2).for_each(|number| tx.send(number).expect("the receiver is there"));
            rx.into_iter()
        };
        assert_eq!((numbers.next(), numbers.next(), numbers.next()), (Some(1), Some(2), None));
        let (tx, rx) = channel();
        (1..=2).for_each(|number| tx.send(number).expect("the receiver is there"));
        drop(tx);
        let mut numbers = (&rx).into_iter();
        assert_eq!((numbers.next(), numbers.next(), numbers.next()), (Some(1), Some(2), None));
    }

    pub(super) fn a_receiver_can_be_dropped_while_senders_send() {
        let (tx, rx) = channel();
        let clone = tx.clone();
        drop(clone);
        let sending = other(move || {
            while tx.send(()).is_ok() {
                let_others_go_first()
            }
        });
        assert_eq!(rx.recv(), Ok(()));
        drop(rx);
        sending.join();
    }

    pub(super) fn errors_give_the_item_back() {
        let (tx, rx) = channel();
        drop(rx);
        assert_eq!(tx.send(1).map_err(|error| error.0), Err(1));
        let (tx, _rx) = sync_channel(0);
        assert_eq!(tx.send_timeout(2, SHORT).map_err(|error| error.into_inner()), Err(2));
    }

    pub(super) fn items_are_dropped_once() {
        struct Counted(Arc<AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let drops = Arc::new(AtomicUsize::new(0));
        let new = || Counted(Arc::clone(&drops));
        for bound in [0, 1, 4] {
            drops.store(0, Ordering::SeqCst);
            let (tx, rx) = sync_channel(bound);
            // Two wait with a bound of 0, one with 1, none with 4.
            let items = [new(), new()];
            let sending = items.map(|item| {
                let tx = tx.clone();
                other(move || tx.send(item).is_ok())
            });
            assert!(rx.recv().is_ok());
            drop(rx);
            let _ = sending.map(Other::join);
            assert!(tx.send(new()).is_err());
            assert_eq!(drops.load(Ordering::SeqCst), 3);
        }
    }

    pub(super) fn an_item_may_hold_its_own_channel() {
        struct Loop(#[expect(dead_code, reason = "it is held, not used")] Sender<Loop>);
        let (tx, rx) = channel();
        let held = tx.clone();
        tx.send(Loop(held)).unwrap_or_else(|_| panic!("the receiver is there"));
        drop(rx);
        assert!(tx.send(Loop(tx.clone())).is_err());
    }
}
