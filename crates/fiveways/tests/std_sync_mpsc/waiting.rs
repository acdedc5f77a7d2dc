//! Trying, time limits and deadlines.

everywhere!(
    try_recv_tells_every_state,
    recv_timeout_is_late_and_then_not,
    recv_timeout_of_a_channel_without_senders_tells_so,
    a_timeout_too_long_to_be_told_does_no_harm,
    a_deadline_counts_as_a_timeout_does,
    timeouts_and_sends_race_without_loss,
    shared_timeouts_and_sends_race_without_loss,
    send_timeout_is_late_and_then_not,
);

/// The claims.
mod claims {
    use std::time::{Duration, Instant};

    use fiveways::sync::mpsc::{
        RecvTimeoutError, TryRecvError, TrySendError, channel, sync_channel,
    };

    use crate::support::{LONG, SHORT, let_others_go_first, other};

    pub(super) fn try_recv_tells_every_state() {
        let (tx, rx) = channel();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        tx.send(1).expect("the receiver is there");
        assert_eq!(rx.try_recv(), Ok(1));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        tx.send(2).expect("the receiver is there");
        drop(tx);
        assert_eq!(rx.try_recv(), Ok(2));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    }

    pub(super) fn recv_timeout_is_late_and_then_not() {
        let (tx, rx) = channel();
        let before = Instant::now();
        assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        assert!(before.elapsed() >= SHORT);
        tx.send(1).expect("the receiver is there");
        assert_eq!(rx.recv_timeout(SHORT), Ok(1));
        let sending = other(move || tx.send(2));
        assert_eq!(rx.recv_timeout(LONG), Ok(2));
        assert_eq!(sending.join(), Ok(()));
        // A receiver that was late is in nobody's way.
        let (tx, rx) = sync_channel(0);
        assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        assert_eq!(tx.try_send(3), Err(TrySendError::Full(3)));
    }

    pub(super) fn recv_timeout_of_a_channel_without_senders_tells_so() {
        let (tx, rx) = channel();
        tx.send(1).expect("the receiver is there");
        drop(tx);
        assert_eq!(rx.recv_timeout(LONG), Ok(1));
        assert_eq!(rx.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
        let (tx, rx) = channel::<()>();
        let receiving = other(move || rx.recv_timeout(LONG));
        let_others_go_first();
        drop(tx);
        assert_eq!(receiving.join(), Err(RecvTimeoutError::Disconnected));
    }

    pub(super) fn a_timeout_too_long_to_be_told_does_no_harm() {
        let (tx, rx) = channel();
        let receiving = other(move || rx.recv_timeout(Duration::MAX));
        let_others_go_first();
        tx.send(1).expect("the receiver waits");
        assert_eq!(receiving.join(), Ok(1));
    }

    pub(super) fn a_deadline_counts_as_a_timeout_does() {
        let (tx, rx) = channel();
        let deadline = Instant::now() + SHORT;
        assert_eq!(rx.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
        assert!(Instant::now() >= deadline);
        tx.send(1).expect("the receiver is there");
        assert_eq!(rx.recv_deadline(deadline), Ok(1));
    }

    pub(super) fn timeouts_and_sends_race_without_loss() {
        let (tx, rx) = channel();
        let sending = other(move || {
            for number in 0..200 {
                if number % 20 == 0 {
                    fiveways::time::sleep(SHORT);
                }
                tx.send(number).expect("the receiver is there");
            }
        });
        let mut next = 0;
        loop {
            match rx.recv_timeout(Duration::from_micros(100)) {
                Ok(number) => assert_eq!(number, next),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            next += 1;
        }
        assert_eq!(next, 200);
        sending.join();
    }

    pub(super) fn shared_timeouts_and_sends_race_without_loss() {
        let (tx, rx) = sync_channel(0);
        for _ in 0..10 {
            let tx = tx.clone();
            other(move || {
                for _ in 0..20 {
                    tx.send(1).expect("the receiver is there");
                    let_others_go_first();
                }
            });
        }
        drop(tx);
        let mut count = 0;
        loop {
            match rx.recv_timeout(Duration::from_micros(50)) {
                Ok(one) => count += one,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        assert_eq!(count, 200);
    }

    pub(super) fn send_timeout_is_late_and_then_not() {
        let (tx, rx) = sync_channel(0);
        let before = Instant::now();
        assert!(tx.send_timeout(1, SHORT).is_err_and(|error| error.is_timeout()));
        assert!(before.elapsed() >= SHORT);
        // A sender that was late is in nobody's way.
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        let receiving = other(move || rx.recv());
        assert!(tx.send_timeout(2, LONG).is_ok());
        assert_eq!(receiving.join(), Ok(2));
        assert!(tx.send_timeout(3, LONG).is_err_and(|error| !error.is_timeout()));
    }
}
