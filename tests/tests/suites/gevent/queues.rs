//! `gevent.queue`. Its `Channel` is a channel of bound 0.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fiveways::queue::{GetError, JoinableQueue, Queue};
use fiveways::sync::channel::{self, Receiver};
use fiveways::sync::mpsc::{TryRecvError, TrySendError};
use fiveways::task;

use crate::support::{
    LONG, SHORT, among_tasks, everywhere, joined, let_others_wait, other, others, until,
};

everywhere!(
    an_item_sent_before_anybody_waits_is_there,
    an_item_sent_when_somebody_waits_is_theirs,
    a_full_queue_refuses_and_takes_again_when_somebody_has_got,
    a_put_that_waited_is_done_when_somebody_gets,
    a_bound_lets_so_many_through_and_no_more,
    each_of_several_who_wait_gets_an_item_as_it_comes,
    one_who_was_late_leaves_the_item_to_others,
    one_who_was_late_does_not_take_from_one_who_waits,
    an_item_is_there_after_all_who_waited_were_late,
    an_item_outlives_who_has_sent_it,
    what_was_got_is_unfinished_until_it_is_done,
    a_channel_is_empty_and_full_at_once,
    a_send_to_a_channel_lasts_until_somebody_has_the_item,
    a_channel_gives_at_once_only_what_somebody_sends,
    items_through_a_channel_come_in_their_order,
    iterating_ends_with_the_last_sender,
);

among_tasks!(
    a_timeout_of_nothing_leaves_a_queue_alone,
    a_timeout_of_nothing_still_gets_what_is_there,
    who_is_killed_while_waiting_leaves_the_item_to_others,
);

fn an_item_sent_before_anybody_waits_is_there() {
    let queue = Queue::new();
    queue.put("hi").unwrap();
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.get(), Ok("hi"));
}

fn an_item_sent_when_somebody_waits_is_theirs() {
    let queue = Queue::new();
    let theirs = queue.clone();
    let waiting = other(move || theirs.get_timeout(LONG));
    let_others_wait();
    assert!(queue.is_empty() && !queue.is_full() && !waiting.is_finished());
    queue.put_nowait("hi2").unwrap();
    assert_eq!(waiting.join(), Ok("hi2"));
    assert!(queue.is_empty());
}

fn a_full_queue_refuses_and_takes_again_when_somebody_has_got() {
    let queue = Queue::with_maxsize(1);
    assert!(queue.put_nowait(2).is_ok() && queue.put_nowait(3).is_err());
    assert_eq!((queue.get_nowait(), queue.get_nowait()), (Ok(2), Err(GetError::Empty)));
    assert!(queue.put_nowait(4).is_ok());
}

fn a_put_that_waited_is_done_when_somebody_gets() {
    let queue = Queue::with_maxsize(1);
    queue.put(4).unwrap();
    let theirs = queue.clone();
    let putting = other(move || theirs.put(5));
    let_others_wait();
    assert!(queue.is_full() && !putting.is_finished());
    assert_eq!(queue.get_nowait(), Ok(4));
    putting.join().unwrap();
    assert_eq!(queue.get_nowait(), Ok(5));
}

fn a_bound_lets_so_many_through_and_no_more() {
    let (queue, through) = (Queue::with_maxsize(2), Arc::new(Mutex::new(Vec::new())));
    let (theirs, log) = (queue.clone(), Arc::clone(&through));
    let putting = other(move || {
        for item in ['a', 'b', 'c'] {
            theirs.put(item).unwrap();
            log.lock().unwrap().push(item);
        }
    });
    until("two are through", || through.lock().unwrap().len() == 2);
    let_others_wait();
    assert_eq!(*through.lock().unwrap(), ['a', 'b']);
    assert_eq!(queue.get(), Ok('a'));
    until("the third is through", || through.lock().unwrap().len() == 3);
    assert_eq!([queue.get(), queue.get()], [Ok('b'), Ok('c')]);
    putting.join();
}

fn each_of_several_who_wait_gets_an_item_as_it_comes() {
    let queue = Queue::new();
    let (theirs, had) = (queue.clone(), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&had);
    let waiting = others(4, move |_| {
        let item = theirs.get().unwrap();
        log.lock().unwrap().push(item);
    });
    let_others_wait();
    for number in 1..=4 {
        queue.put(number).unwrap();
        until("it was got", || had.lock().unwrap().len() == number);
    }
    joined(waiting);
    assert_eq!(*had.lock().unwrap(), [1, 2, 3, 4]);
}

fn one_who_was_late_leaves_the_item_to_others() {
    let queue = Queue::new();
    let theirs = queue.clone();
    assert_eq!(other(move || theirs.get_timeout(SHORT)).join(), Err(GetError::Empty));
    queue.put("hi").unwrap();
    assert_eq!(queue.get(), Ok("hi"));
}

fn one_who_was_late_does_not_take_from_one_who_waits() {
    let queue = Queue::new();
    let (first, second) = (queue.clone(), queue.clone());
    let dying = other(move || first.get_timeout(SHORT));
    let_others_wait();
    let waiting = other(move || second.get());
    assert_eq!(dying.join(), Err(GetError::Empty));
    queue.put("hi").unwrap();
    assert_eq!(waiting.join(), Ok("hi"));
}

fn an_item_is_there_after_all_who_waited_were_late() {
    let queue = Queue::new();
    let theirs = queue.clone();
    let late = others(2, move |_| theirs.get_timeout(SHORT));
    assert_eq!(joined(late), [Err(GetError::Empty); 2]);
    queue.put("sent").unwrap();
    assert_eq!(queue.get(), Ok("sent"));
}

fn an_item_outlives_who_has_sent_it() {
    let queue = Queue::new();
    let theirs = queue.clone();
    other(move || theirs.put("sent")).join().unwrap();
    assert_eq!(queue.get(), Ok("sent"));
}

fn what_was_got_is_unfinished_until_it_is_done() {
    let queue = JoinableQueue::new();
    let theirs = queue.clone();
    let putting = other(move || theirs.put("X"));
    assert_eq!(queue.get(), Ok("X"));
    putting.join().unwrap();
    assert_eq!(queue.unfinished(), 1);
    queue.task_done().unwrap();
    assert_eq!(queue.unfinished(), 0);
}

fn a_channel_is_empty_and_full_at_once() {
    let (sender, receiver) = channel::bounded(0);
    assert!(receiver.is_empty() && receiver.is_full() && sender.is_empty() && sender.is_full());
    assert_eq!(sender.capacity(), Some(0));
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
}

fn a_send_to_a_channel_lasts_until_somebody_has_the_item() {
    let (sender, receiver) = channel::bounded(0);
    let sending = other(move || sender.send("hi"));
    let_others_wait();
    assert!(!sending.is_finished());
    let receiving = other(move || receiver.recv());
    assert_eq!(receiving.join(), Ok("hi"));
    assert_eq!(sending.join(), Ok(()));
}

fn a_channel_gives_at_once_only_what_somebody_sends() {
    let (sender, receiver) = channel::bounded(0);
    let theirs = sender.clone();
    let sending = other(move || theirs.send(5));
    until("it was received", || receiver.try_recv() == Ok(5));
    sending.join().unwrap();
    let receiving = other(move || receiver.recv());
    until("it was sent", || sender.try_send(6).is_ok());
    assert_eq!(receiving.join(), Ok(6));
}

fn items_through_a_channel_come_in_their_order() {
    let (sender, receiver) = channel::bounded(0);
    let log = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&log);
    let receiving = other(move || {
        for item in receiver {
            theirs.lock().unwrap().push(item);
        }
    });
    for word in ["hello", "world"] {
        sender.send(word).unwrap();
    }
    drop(sender);
    receiving.join();
    assert_eq!(*log.lock().unwrap(), ["hello", "world"]);
}

fn iterating_ends_with_the_last_sender() {
    let (sender, receiver): (_, Receiver<u32>) = channel::bounded(0);
    let theirs = sender.clone();
    let sending = [other(move || drop(theirs)), other(move || sender.send(1).unwrap())];
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [1]);
    joined(sending);
}

fn a_timeout_of_nothing_leaves_a_queue_alone() {
    let queue = Queue::new();
    for _ in 0..2 {
        assert!(task::timeout(Duration::ZERO, || queue.get()).is_err());
    }
    queue.put("hi").unwrap();
    assert_eq!(queue.get(), Ok("hi"));
}

/// What need not wait is not late.
fn a_timeout_of_nothing_still_gets_what_is_there() {
    let queue = Queue::new();
    queue.put("hi").unwrap();
    assert_eq!(task::timeout(Duration::ZERO, || queue.get()).ok(), Some(Ok("hi")));
}

fn who_is_killed_while_waiting_leaves_the_item_to_others() {
    let queue = Queue::new();
    let (first, second) = (queue.clone(), queue.clone());
    let killed = task::spawn(move || first.get());
    let waiting = task::spawn(move || second.get());
    let_others_wait();
    killed.cancel();
    assert!(killed.join().unwrap_err().is_cancelled());
    queue.put("hi").unwrap();
    assert_eq!(waiting.join().unwrap(), Ok("hi"));
}
