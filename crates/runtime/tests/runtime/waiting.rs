//! Waiters and wait queues: which waiter is selected, which is skipped, and that no entry outlives
//! its waiter.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::thread;
use std::time::{Duration, Instant};

use fiveways_runtime::{
    CHOSEN, Reason, Selection, Spawn, Unparker, WaitQueue, Waiter, Wake, park_until, unparker,
};

use crate::support::{in_a_child, is_child, runtime};

const OTHER: Selection = CHOSEN.saturating_add(1);

#[test]
fn who_was_selected_elsewhere_is_passed_over_and_leaves() {
    let (mut here, mut there) = (WaitQueue::new(), WaitQueue::new());
    let (many, single) = (pin!(Waiter::of_many()), pin!(Waiter::new()));
    let (many, single) = (many.as_ref(), single.as_ref());
    here.enqueue(many);
    there.enqueue(many);
    there.enqueue(single);
    assert!(here.select_first(OTHER).is_some());
    assert_eq!(many.selection(), Some(OTHER));
    assert!(there.select_first(CHOSEN).is_some());
    assert_eq!((many.selection(), single.selection()), (Some(OTHER), Some(CHOSEN)));
    assert_eq!(there.len(), 1);
    assert!(!there.has_other_than(single));
    assert!(there.remove(many) && !there.remove(many) && !here.remove(many));
}

#[test]
fn who_has_given_up_is_not_selected() {
    let mut queue = WaitQueue::new();
    let waiter = pin!(Waiter::of_many());
    let waiter = waiter.as_ref();
    queue.enqueue(waiter);
    waiter.abort();
    assert!(queue.select_all(CHOSEN).is_empty());
    assert_eq!(waiter.selection(), None);
    assert!(queue.remove(waiter));
}

#[test]
fn a_waiter_of_one_queue_joins_no_second_one_and_waits_once() {
    let (mut queue, mut second) = (WaitQueue::new(), WaitQueue::new());
    let waiter = pin!(Waiter::new());
    let waiter = waiter.as_ref();
    queue.enqueue(waiter);
    assert!(catch_unwind(AssertUnwindSafe(|| second.enqueue(waiter))).is_err());
    assert!(second.is_empty());
    assert!(queue.remove(waiter));
    second.enqueue(waiter);
    assert!(second.select_first(CHOSEN).is_some());
    assert!(catch_unwind(AssertUnwindSafe(|| queue.enqueue(waiter))).is_err());
}

/// The waiter before the panic is selected and gone; the waiter after it stays in the queue.
#[test]
fn a_panic_while_all_are_selected_leaves_the_others_in_the_queue() {
    let mut queue = WaitQueue::new();
    let (first, second) = (pin!(Waiter::new()), pin!(Waiter::new()));
    let (first, second) = (first.as_ref(), second.as_ref());
    queue.enqueue_with(first, true);
    queue.enqueue_with(second, false);
    let select = |good: &bool| if *good { CHOSEN } else { panic!("a word that panics") };
    assert!(catch_unwind(AssertUnwindSafe(|| queue.select_all_by(select))).is_err());
    assert_eq!((first.selection(), second.selection()), (Some(CHOSEN), None));
    assert_eq!(queue.len(), 1);
    assert!(queue.remove(second));
}

#[test]
fn late_is_who_was_not_selected_before_it_left() {
    for is_selected in [false, true] {
        let mut queue = WaitQueue::new();
        let waiter = pin!(Waiter::new());
        let waiter = waiter.as_ref();
        queue.enqueue(waiter);
        let leave = || {
            if is_selected {
                assert!(queue.select_first(CHOSEN).is_some());
            }
            queue.remove(waiter);
        };
        let now = Some(Instant::now());
        let chosen = waiter.wait(&Reason::new("test", &()), now, leave, |_| {});
        assert_eq!(chosen, is_selected.then_some(CHOSEN));
    }
}

#[test]
fn a_waiter_dropped_while_it_is_queued_ends_the_process() {
    let name = "waiting::a_waiter_dropped_while_it_is_queued_ends_the_process";
    let mut queue = WaitQueue::new();
    if is_child() {
        let waiter = pin!(Waiter::new());
        queue.enqueue(waiter.as_ref());
        return;
    }
    let child = in_a_child(name, "");
    let text = String::from_utf8_lossy(&child.stderr);
    assert!(!child.status.success() && text.contains("in a wait queue"), "{text}");
}

#[test]
fn an_unparker_reaches_a_task_of_another_runtime_and_nobody_after_its_end() {
    let soon = || Some(Instant::now() + Duration::from_secs(60));
    let (one, other) = (runtime(1), runtime(1));
    let (tx, rx) = std::sync::mpsc::channel();
    let park = move || {
        tx.send(unparker()).expect("it is awaited");
        park_until(soon())
    };
    let parked = Spawn::new().spawn(one.handle(), park).expect("a stack");
    let theirs: Unparker = rx.recv().expect("it is sent");
    other.block_on(move || theirs.unpark());
    assert_eq!(parked.join().expect("it does not panic"), Wake::Unparked);
    drop(one);
    theirs.unpark();
    let next = runtime(1);
    next.block_on(move || {
        theirs.unpark();
        assert_eq!(park_until(Some(Instant::now())), Wake::TimedOut);
    });
    let of_thread = thread::spawn(unparker).join().expect("it does not panic");
    of_thread.unpark();
    let after = thread::spawn(|| park_until(Some(Instant::now())));
    of_thread.unpark();
    assert_eq!(after.join().expect("it does not panic"), Wake::TimedOut);
}
