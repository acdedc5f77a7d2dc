//! std's suite for `mpsc`, in substance: channels without a bound, with one, and without room.
//!
//! Each claim is tested from plain threads, and from tasks on one worker and on two.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::runtime::Runtime;
use fiveways::sync::mpsc::{
    Receiver, RecvError, RecvTimeoutError, SendError, Sender, SyncSender, TryRecvError,
    TrySendError, channel, sync_channel,
};
use fiveways::{Model, task};

/// Makes three tests of each claim.
macro_rules! everywhere {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn from_threads() {
                super::claims::$name();
            }

            #[test]
            fn from_tasks_of_one_worker() {
                super::in_tasks(1, super::claims::$name);
            }

            #[test]
            fn from_tasks_of_two_workers() {
                super::in_tasks(2, super::claims::$name);
            }
        }
    )+};
}

fn in_tasks(workers: usize, claim: fn()) {
    let runtime = Runtime::builder().model(Model::Epoll).workers(workers).build();
    runtime.expect("a runtime").block_on(claim);
}

/// A thread, or a task where the caller is one.
enum Other<T> {
    Thread(thread::JoinHandle<T>),
    Task(task::JoinHandle<T>),
}

fn other<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Other<T> {
    if task::in_task() { Other::Task(task::spawn(f)) } else { Other::Thread(thread::spawn(f)) }
}

impl<T> Other<T> {
    fn join(self) -> T {
        match self {
            Other::Thread(thread) => thread.join().expect("the thread does not panic"),
            Other::Task(task) => task.join().expect("the task does not panic"),
        }
    }
}

fn let_others_go_first() {
    task::yield_now();
}

const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(40);
const STRESS: usize = if cfg!(debug_assertions) { 2_000 } else { 20_000 };

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
    try_recv_tells_every_state,
    recv_timeout_is_late_and_then_not,
    recv_timeout_of_a_channel_without_senders_tells_so,
    a_timeout_too_long_to_be_told_does_no_harm,
    a_deadline_counts_as_a_timeout_does,
    timeouts_and_sends_race_without_loss,
    shared_timeouts_and_sends_race_without_loss,
    many_items_can_wait_at_once,
    iterators_end_with_the_senders,
    iterators_can_be_left,
    try_iter_takes_what_is_there,
    into_iter_owns_the_receiver,
    a_receiver_can_be_dropped_while_senders_send,
    errors_give_the_item_back,
    a_bound_is_kept,
    a_rendezvous_lasts_until_the_item_is_taken,
    a_full_send_fails_when_the_receiver_goes,
    a_rendezvous_fails_when_the_receiver_goes,
    try_send_needs_a_receiver_that_waits,
    try_send_fails_where_it_must_not_wait,
    send_timeout_is_late_and_then_not,
    bounded_streams_come_in_order_for_every_bound,
    bounded_senders_lose_nothing,
    items_are_dropped_once,
    an_item_may_hold_its_own_channel,
);

/// The claims.
mod claims {
    use super::*;

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
