//! What one channel does, in each flavour.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fiveways::select;
use fiveways::sync::channel::{SendTimeoutError, bounded, unbounded};
use fiveways::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

use super::{ENDLESS, FLAVOURS, ends};
use crate::support::{LONG, SHORT, everywhere, joined, let_others_wait, other, others};

everywhere!(
    one_item_goes_in_and_comes_out,
    both_ends_tell_how_full_it_is,
    a_receive_that_may_not_wait_tells_why_it_has_nothing,
    a_receive_waits_for_a_send_and_then_for_the_last_sender,
    a_receive_may_be_late_and_is_told_of_the_end,
    a_send_that_may_not_wait_gives_the_item_back,
    a_send_waits_for_room_and_is_told_of_the_end,
    a_send_may_be_late_and_gives_the_item_back,
    a_limit_that_is_over_does_not_matter_where_nobody_waits,
    what_was_sent_before_the_end_is_received_after_it,
    the_end_wakes_all_who_send,
    the_end_wakes_all_who_receive,
    iterators_end_with_the_channel_or_what_is_there,
    an_iterator_may_be_left_and_taken_up_again,
    ends_know_whose_ends_they_are,
    items_without_size_are_counted,
    destructors_that_panic_lose_no_item_twice,
    an_item_may_own_its_own_channel,
);

fn one_item_goes_in_and_comes_out() {
    for capacity in FLAVOURS {
        let (sender, receiver) = ends(capacity);
        let sending = other(move || sender.send(7));
        assert_eq!(receiver.recv(), Ok(7));
        assert_eq!(sending.join(), Ok(()));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    }
}

fn both_ends_tell_how_full_it_is() {
    for capacity in FLAVOURS {
        let (sender, receiver) = ends(capacity);
        let told = (capacity != ENDLESS).then_some(capacity);
        assert_eq!((sender.capacity(), receiver.capacity()), (told, told));
        for len in 0..capacity.min(200) {
            let seen = [(sender.len(), sender.is_empty(), sender.is_full())];
            assert_eq!(seen, [(len, len == 0, false)]);
            assert_eq!(seen, [(receiver.len(), receiver.is_empty(), receiver.is_full())]);
            sender.send(len).unwrap();
        }
        let is_full = capacity != ENDLESS;
        assert_eq!((sender.is_full(), receiver.is_full()), (is_full, is_full));
        if capacity > 0 {
            receiver.recv().unwrap();
            assert!(!sender.is_full() && !receiver.is_full());
        }
    }
}

fn a_receive_that_may_not_wait_tells_why_it_has_nothing() {
    for capacity in FLAVOURS {
        let (sender, receiver) = ends(capacity);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        if capacity > 0 {
            sender.send(7).unwrap();
            assert_eq!(receiver.try_recv(), Ok(7));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
        drop(sender);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    }
}

fn a_receive_waits_for_a_send_and_then_for_the_last_sender() {
    for capacity in FLAVOURS {
        let (sender, receiver) = ends(capacity);
        let receiving = other(move || [(); 4].map(|()| receiver.recv()));
        let_others_wait();
        for number in [7, 8, 9] {
            sender.send(number).unwrap();
        }
        let_others_wait();
        drop(sender);
        assert_eq!(receiving.join(), [Ok(7), Ok(8), Ok(9), Err(RecvError)]);
    }
}

fn a_receive_may_be_late_and_is_told_of_the_end() {
    for capacity in FLAVOURS {
        let (sender, receiver) = ends(capacity);
        let begin = Instant::now();
        assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        assert!(begin.elapsed() >= SHORT);
        let receiving = other(move || [(); 2].map(|()| receiver.recv_timeout(LONG)));
        sender.send(7).unwrap();
        drop(sender);
        assert_eq!(receiving.join(), [Ok(7), Err(RecvTimeoutError::Disconnected)]);
    }
}

fn a_send_that_may_not_wait_gives_the_item_back() {
    for capacity in [0, 1, 2, 100] {
        let (sender, receiver) = ends(capacity);
        assert!((0..capacity).all(|number| sender.try_send(number).is_ok()));
        assert_eq!(sender.try_send(999), Err(TrySendError::Full(999)));
        if capacity > 0 {
            assert_eq!(receiver.try_recv(), Ok(0));
            assert_eq!(sender.try_send(777), Ok(()));
        }
        drop(receiver);
        assert_eq!(sender.try_send(999), Err(TrySendError::Disconnected(999)));
    }
}

fn a_send_waits_for_room_and_is_told_of_the_end() {
    for capacity in FLAVOURS {
        let (sender, receiver) = ends(capacity);
        let count = capacity.min(5) + 1;
        let sending = other(move || {
            let sent: Vec<_> = (0..count).map(|number| sender.send(number)).collect();
            (sent, sender)
        });
        let_others_wait();
        assert!(receiver.iter().take(count).eq(0..count));
        let (sent, sender) = sending.join();
        assert!(sent.into_iter().all(|sent| sent.is_ok()));
        drop(receiver);
        assert_eq!(sender.send(777), Err(SendError(777)));
    }
}

fn a_send_may_be_late_and_gives_the_item_back() {
    for capacity in [0, 1, 2] {
        let (sender, receiver) = ends(capacity);
        (0..capacity).for_each(|number| sender.send(number).unwrap());
        let begin = Instant::now();
        assert_eq!(sender.send_timeout(9, SHORT), Err(SendTimeoutError::Timeout(9)));
        assert!(begin.elapsed() >= SHORT);
        let theirs = sender.clone();
        let sending = other(move || theirs.send_timeout(10, LONG));
        let_others_wait();
        assert_eq!(receiver.recv(), Ok(if capacity == 0 { 10 } else { 0 }));
        sending.join().unwrap();
        drop(receiver);
        assert_eq!(sender.send_timeout(9, LONG), Err(SendTimeoutError::Disconnected(9)));
    }
}

fn a_limit_that_is_over_does_not_matter_where_nobody_waits() {
    let past = Instant::now();
    let (sender, receiver) = bounded(3);
    assert_eq!(sender.send_timeout(1, Duration::ZERO), Ok(()));
    assert_eq!(sender.send_deadline(2, past), Ok(()));
    assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(1));
    assert_eq!(receiver.recv_deadline(past), Ok(2));
    assert_eq!(receiver.recv_deadline(past), Err(RecvTimeoutError::Timeout));
}

fn what_was_sent_before_the_end_is_received_after_it() {
    for capacity in [3, 100, ENDLESS] {
        let (sender, receiver) = ends(capacity);
        (1..=3).for_each(|number| sender.send(number).unwrap());
        drop(sender);
        assert_eq!([(); 3].map(|()| receiver.recv()), [Ok(1), Ok(2), Ok(3)]);
        assert_eq!(receiver.recv(), Err(RecvError));
    }
}

fn the_end_wakes_all_who_send() {
    for capacity in [0, 1] {
        let (sender, receiver) = ends(capacity);
        (0..capacity).for_each(|_| sender.send(0).unwrap());
        let sending = others(3, move |_| sender.send(7));
        let_others_wait();
        drop(receiver);
        assert_eq!(joined(sending), [Err(SendError(7)); 3]);
    }
}

fn the_end_wakes_all_who_receive() {
    for capacity in FLAVOURS {
        let (sender, receiver) = ends::<u32>(capacity);
        let receiving = others(3, move |_| receiver.recv());
        let_others_wait();
        drop(sender);
        assert_eq!(joined(receiving), [Err(RecvError); 3]);
    }
}

fn iterators_end_with_the_channel_or_what_is_there() {
    let (sender, receiver) = unbounded();
    (1..=3).for_each(|number| sender.send(number).unwrap());
    assert_eq!(receiver.try_iter().sum::<i32>(), 6);
    assert_eq!(receiver.try_iter().next(), None);
    let theirs = sender.clone();
    let sending = other(move || (1..=3).for_each(|number| theirs.send(number).unwrap()));
    drop(sender);
    assert_eq!((&receiver).into_iter().sum::<i32>(), 6);
    sending.join();
    assert_eq!(receiver.into_iter().next(), None);
}

fn an_iterator_may_be_left_and_taken_up_again() {
    let (sender, receiver) = unbounded();
    let (tell, told) = unbounded();
    let counting = other(move || {
        let mut count = 0;
        for number in &receiver {
            if count >= 3 {
                break;
            }
            count += number;
        }
        tell.send(count).unwrap();
        receiver.iter().count()
    });
    (0..3).for_each(|_| sender.send(2).unwrap());
    assert_eq!(told.recv(), Ok(4));
    drop(sender);
    assert_eq!(counting.join(), 0);
}

fn ends_know_whose_ends_they_are() {
    for capacity in FLAVOURS {
        let ((sender, receiver), (strange, stranger)) =
            (ends::<()>(capacity), ends::<()>(capacity));
        assert!(sender.same_channel(&sender.clone()) && receiver.same_channel(&receiver.clone()));
        assert!(!sender.same_channel(&strange) && !receiver.same_channel(&stranger));
    }
}

fn items_without_size_are_counted() {
    let (sender, receiver) = unbounded::<[u64; 0]>();
    (0..5).for_each(|_| sender.send([]).unwrap());
    drop(sender);
    assert_eq!((receiver.len(), receiver.iter().count()), (5, 5));
}

/// Counts its drops, and panics in the first.
struct Touchy {
    drops: Arc<AtomicUsize>,
    panics: bool,
}

impl Drop for Touchy {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        if self.panics {
            std::panic::resume_unwind(Box::new("touchy"));
        }
    }
}

fn destructors_that_panic_lose_no_item_twice() {
    for capacity in [3, ENDLESS] {
        let (sender, receiver) = ends(capacity);
        let drops = Arc::new(AtomicUsize::new(0));
        for number in 0..3 {
            let touchy = Touchy { drops: Arc::clone(&drops), panics: number == 0 };
            assert!(sender.send(touchy).is_ok());
        }
        assert!(catch_unwind(AssertUnwindSafe(|| drop(receiver))).is_err());
        // The others are dropped with the first, and the channel is at its end.
        assert_eq!(drops.load(Ordering::SeqCst), 3);
        let last = Touchy { drops: Arc::clone(&drops), panics: false };
        assert!(sender.send(last).is_err());
        drop(sender);
        assert_eq!(drops.load(Ordering::SeqCst), 4);
    }
}

/// Nobody can receive it any more: it goes with the channel's last end.
fn an_item_may_own_its_own_channel() {
    let held = Arc::new(());
    let (sender, receiver) = unbounded::<(Box<dyn Send>, Arc<()>)>();
    sender.send((Box::new(sender.clone()), Arc::clone(&held))).unwrap();
    drop(sender);
    drop(receiver);
    assert_eq!(Arc::strong_count(&held), 1);
}

/// At a thread's end, when its thread-locals are going or gone.
#[test]
fn channels_work_in_destructors_of_thread_locals() {
    struct Late;

    impl Drop for Late {
        fn drop(&mut self) {
            let (sender, receiver) = unbounded::<()>();
            let late = select! { recv(receiver) -> _ => false, after(SHORT) => true };
            assert!(late);
            assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
            let theirs = receiver.clone();
            let receiving = std::thread::spawn(move || theirs.recv());
            sender.send(()).unwrap();
            receiving.join().unwrap().unwrap();
        }
    }

    std::thread_local!(static LATE: Late = const { Late });

    let (sender, receiver) = unbounded();
    let early = std::thread::spawn(move || {
        // Before the thread-locals of channels, and so destroyed after them.
        LATE.with(|_| ());
        receiver.recv()
    });
    sender.send(1).unwrap();
    assert_eq!(early.join().unwrap(), Ok(1));
}
