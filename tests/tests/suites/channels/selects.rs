//! `select!`, as crossbeam tests it: also by `Select`, whose lists of arms are written out here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fiveways::select;
use fiveways::sync::channel::{Receiver, Sender, bounded, unbounded};
use fiveways::sync::mpsc::RecvError;

use super::{FLAVOURS, ends};
use crate::support::{LONG, SHORT, everywhere, joined, let_others_wait, other, others};

everywhere!(
    of_several_the_one_that_can_is_done,
    a_channel_at_its_end_can_be_done,
    default_is_chosen_when_nothing_can_be_done_and_not_otherwise,
    a_limit_is_kept_and_is_no_matter_where_something_can_be_done,
    only_a_default_is_at_once_and_only_a_limit_is_a_sleep,
    a_select_is_woken_by_whichever_comes,
    a_select_with_both_ready_does_one,
    selects_that_do_not_wait_meet_one_that_does,
    ends_may_be_cloned_and_dropped_around_a_select,
    one_channel_may_be_in_many_arms,
    selects_nest,
    one_channel_may_be_sent_to_and_received_from,
    each_of_many_meets_another_and_not_itself,
    one_who_is_left_over_meets_a_plain_send,
    each_flavour_has_its_turn,
    an_item_that_is_not_sent_is_dropped_once,
    what_is_to_be_sent_may_use_the_channel,
    bodies_may_return_continue_and_break,
    ends_in_arms_may_be_any_expressions,
    sixteen_arms_are_served,
);

fn of_several_the_one_that_can_is_done() {
    for capacity in [1, 5, usize::MAX] {
        let ((s1, r1), (s2, r2)) = (ends(capacity), ends::<u32>(capacity));
        s1.send(1).unwrap();
        let first = select! { recv(r1) -> item => item, recv(r2) -> item => item };
        assert_eq!(first, Ok(1));
        s2.send(2).unwrap();
        let second = select! { recv(r1) -> item => item, recv(r2) -> item => item };
        assert_eq!(second, Ok(2));
        let sent = select! { recv(r1) -> _ => false, send(s1, 3) -> sent => sent.is_ok() };
        assert!(sent);
    }
}

fn a_channel_at_its_end_can_be_done() {
    for capacity in FLAVOURS {
        let ((s1, r1), (_s2, r2)) = (ends::<u32>(capacity), ends::<u32>(capacity));
        let ending = other(move || {
            let_others_wait();
            drop(s1);
        });
        for _ in 0..2 {
            let end = select! {
                recv(r1) -> item => item,
                recv(r2) -> _ => unreachable!(),
                after(LONG) => unreachable!(),
            };
            assert_eq!(end, Err(RecvError));
        }
        ending.join();
        let (sender, receiver) = ends(capacity);
        drop(receiver);
        let refused = select! { send(sender, 7) -> sent => sent.unwrap_err().0, default => 0 };
        assert_eq!(refused, 7);
    }
}

fn default_is_chosen_when_nothing_can_be_done_and_not_otherwise() {
    for capacity in [1, 5, usize::MAX] {
        let ((s1, r1), (s2, r2)) = (ends::<u32>(capacity), ends::<u32>(capacity));
        let look = || {
            select! {
                recv(r1) -> item => Some(item),
                recv(r2) -> item => Some(item),
                default => None,
            }
        };
        assert_eq!(look(), None);
        s1.send(1).unwrap();
        assert_eq!((look(), look()), (Some(Ok(1)), None));
        drop(s2);
        assert_eq!(look(), Some(Err(RecvError)));
    }
    // Between two who do not wait nothing can be handed over.
    let (sender, receiver) = bounded(0);
    let none = select! {
        send(sender, 1) -> _ => false, recv(receiver) -> _ => false, default => true
    };
    assert!(none);
}

fn a_limit_is_kept_and_is_no_matter_where_something_can_be_done() {
    let ((s1, r1), (s2, r2)) = (unbounded::<u32>(), bounded::<u32>(0));
    let begin = Instant::now();
    let late = select! {
        recv(r1) -> _ => false,
        recv(r2) -> _ => false,
        default(SHORT) => true,
    };
    assert!(late && begin.elapsed() >= SHORT);
    let sending = other(move || s2.send(2));
    let came = select! { recv(r1) -> item => item, recv(r2) -> item => item, after(LONG) => Ok(0) };
    assert_eq!(came, Ok(2));
    sending.join().unwrap();
    s1.send(1).unwrap();
    let past = Instant::now();
    let at_once = (0..100).filter(|_| {
        let came = select! { recv(r1) -> item => item.is_ok(), at(past) => false };
        if came {
            s1.send(1).unwrap();
        }
        came
    });
    // A time that has come is an arm as any other.
    let at_once = at_once.count();
    assert!((10..=90).contains(&at_once), "{at_once} of 100");
}

fn only_a_default_is_at_once_and_only_a_limit_is_a_sleep() {
    let begin = Instant::now();
    select! { default => () }
    select! { default(SHORT) => () }
    select! { after(SHORT) => () }
    assert!((SHORT * 2..LONG).contains(&begin.elapsed()));
}

fn a_select_is_woken_by_whichever_comes() {
    for sends in [true, false] {
        let ((s1, r1), (s2, r2)) = (bounded::<u32>(0), bounded::<u32>(0));
        let coming = other(move || {
            let_others_wait();
            if sends { s2.send(2).map_err(drop) } else { r1.recv().map(drop).map_err(drop) }
        });
        let done = select! {
            send(s1, 1) -> sent => sent.map(|()| 1).map_err(drop),
            recv(r2) -> item => item.map_err(drop),
            after(LONG) => Err(()),
        };
        assert_eq!(done, if sends { Ok(2) } else { Ok(1) });
        coming.join().unwrap();
    }
}

fn a_select_with_both_ready_does_one() {
    let ((s1, r1), (s2, r2)) = (bounded(0), bounded(0));
    let other_side = other(move || {
        s1.send(1).unwrap();
        r2.recv()
    });
    let mut sent = 0;
    for _ in 0..2 {
        select! {
            recv(r1) -> item => assert_eq!(item, Ok(1)),
            send(s2, 2) -> done => sent += usize::from(done.is_ok()),
        }
        // The second is only there when the first is done.
    }
    assert_eq!((other_side.join(), sent), (Ok(2), 1));
}

fn selects_that_do_not_wait_meet_one_that_does() {
    for _ in 0..10 {
        let ((s1, r1), (s2, r2)) = (bounded(0), bounded(0));
        let (end, ended) = bounded::<()>(0);
        let theirs = ended.clone();
        let sending = other(move || {
            loop {
                if select! { send(s1, 1) -> sent => sent.is_ok(), default => false } {
                    break true;
                }
                if select! { recv(theirs) -> _ => true, default => not_yet() } {
                    break false;
                }
            }
        });
        let receiving = other(move || {
            loop {
                if let Ok(item) = r2.try_recv() {
                    break item == 2;
                }
                if select! { recv(ended) -> _ => true, default => not_yet() } {
                    break false;
                }
            }
        });
        let met = select! {
            recv(r1) -> item => item == Ok(1),
            send(s2, 2) -> sent => sent.is_ok(),
            after(LONG) => false,
        };
        drop(end);
        assert!(met && (sending.join() ^ receiving.join()));
    }
}

/// Lets others go on; it is not the end.
fn not_yet() -> bool {
    let_others_wait();
    false
}

fn ends_may_be_cloned_and_dropped_around_a_select() {
    let ((s1, r1), (s2, r2)) = (unbounded::<u32>(), unbounded::<u32>());
    let theirs = s1.clone();
    let selecting = other(move || {
        let first = select! { recv(r1) -> item => item, recv(r2) -> item => item };
        let second = select! { recv(r1) -> item => item, recv(r2.clone()) -> item => item };
        (first, second)
    });
    let_others_wait();
    drop(theirs.clone());
    drop(s2.clone());
    let_others_wait();
    theirs.send(1).unwrap();
    drop((theirs, s1));
    let ends = selecting.join();
    assert_eq!(ends, (Ok(1), Err(RecvError)));
    drop(s2);
}

fn one_channel_may_be_in_many_arms() {
    let (sender, receiver) = unbounded();
    let mut hits = [0; 4];
    for number in 0..1_000 {
        let which = select! {
            recv(receiver) -> _ => 0,
            recv(&receiver) -> _ => 1,
            send(sender, number) -> _ => 2,
            send(sender, number) -> _ => 3,
        };
        hits[which] += 1;
    }
    assert!(hits.iter().all(|hits| *hits > 50), "{hits:?}");
    assert_eq!(receiver.len(), hits[2] + hits[3] - hits[0] - hits[1]);
    // Also by a receiver that waits in all of them.
    let (sender, receiver) = bounded::<u32>(0);
    let waiting = other(move || {
        select! { recv(receiver) -> item => item, recv(receiver) -> item => item }
    });
    let_others_wait();
    sender.send(7).unwrap();
    assert_eq!(waiting.join(), Ok(7));
}

fn selects_nest() {
    let (sender, receiver) = unbounded();
    let item = select! {
        send(sender, 1) -> _ => select! {
            recv(receiver) -> one => select! {
                send(sender, one.unwrap() + 1) -> _ => {
                    select! { recv(receiver) -> two => two, default => Ok(0) }
                }
            }
        }
    };
    assert_eq!(item, Ok(2));
}

fn one_channel_may_be_sent_to_and_received_from() {
    // Nobody hands anything to themselves.
    let (sender, receiver) = bounded::<u32>(0);
    let late = select! {
        send(sender, 1) -> _ => false, recv(receiver) -> _ => false, after(SHORT) => true
    };
    assert!(late);
    let (sender, receiver) = unbounded::<u32>();
    let sent = select! {
        send(sender, 1) -> sent => sent.is_ok(), recv(receiver) -> _ => false, after(LONG) => false
    };
    assert!(sent);
}

/// So many, each of whom sends or receives once; the number is even, with `more`.
fn meet(count: usize, more: bool) {
    let (sender, receiver) = bounded(0);
    let (theirs, end) = (sender.clone(), receiver.clone());
    let meeting = others(count, move |me| {
        select! {
            recv(end) -> item => item.unwrap() != me,
            send(theirs, me) -> sent => sent.is_ok(),
        }
    });
    if more {
        sender.send(usize::MAX).unwrap();
    }
    assert!(joined(meeting).into_iter().all(|met| met));
    assert!(receiver.try_recv().is_err());
}

fn each_of_many_meets_another_and_not_itself() {
    meet(44, false);
}

fn one_who_is_left_over_meets_a_plain_send() {
    meet(55, true);
}

fn each_flavour_has_its_turn() {
    const ROUNDS: usize = 2_000;
    let ((s1, r1), (s2, r2)) = (bounded(ROUNDS), unbounded());
    for _ in 0..ROUNDS {
        s1.send(()).unwrap();
        s2.send(()).unwrap();
    }
    let (past, mut hits) = (Instant::now(), [0; 4]);
    for _ in 0..ROUNDS {
        let which = select! {
            recv(r1) -> _ => 0,
            recv(r2) -> _ => 1,
            at(past) => 2,
            after(Duration::ZERO) => 3,
        };
        hits[which] += 1;
    }
    assert!(hits.iter().all(|hits| *hits >= ROUNDS / 8), "{hits:?}");
}

fn an_item_that_is_not_sent_is_dropped_once() {
    let (item, count) = (Arc::new(()), Arc::new(AtomicUsize::new(0)));
    let (sender, receiver) = bounded(0);
    for _ in 0..10 {
        let copy = Arc::clone(&item);
        select! { send(sender, copy) -> _ => unreachable!(), default => () }
        let copy = Arc::clone(&item);
        select! { send(sender, copy) -> _ => unreachable!(), after(SHORT / 50) => () }
    }
    assert_eq!(Arc::strong_count(&item), 1);
    let theirs = Arc::clone(&count);
    let receiving = other(move || {
        for _item in receiver {
            theirs.fetch_add(1, Ordering::SeqCst);
        }
    });
    let copy = Arc::clone(&item);
    select! { send(sender, copy) -> sent => sent.unwrap() }
    drop(sender);
    receiving.join();
    assert_eq!((Arc::strong_count(&item), count.load(Ordering::SeqCst)), (1, 1));
}

/// In crossbeam it is evaluated only when the arm is chosen; here before, as in Go.
fn what_is_to_be_sent_may_use_the_channel() {
    let (sender, receiver) = bounded(1);
    sender.send(1).unwrap();
    let sent = select! {
        send(sender, receiver.recv().unwrap() + 1) -> sent => sent.is_ok(),
        default => false,
    };
    assert!(sent);
    assert_eq!(receiver.recv(), Ok(2));
    let mut evaluated = 0;
    let (full, _receiver) = bounded(0);
    select! { send(full, evaluated += 1) -> _ => (), default => () }
    assert_eq!(evaluated, 1);
}

fn bodies_may_return_continue_and_break() {
    fn first(receiver: &Receiver<u32>) -> Option<u32> {
        loop {
            select! {
                recv(receiver) -> item => match item {
                    Ok(0) => continue,
                    Ok(9) => break,
                    other => return other.ok(),
                },
            }
        }
        None
    }
    let (sender, receiver) = unbounded();
    [0, 5, 0, 9].iter().for_each(|item| sender.send(*item).unwrap());
    drop(sender);
    assert_eq!([(); 3].map(|()| first(&receiver)), [Some(5), None, None]);
}

fn ends_in_arms_may_be_any_expressions() {
    struct Both(Vec<Sender<u32>>, Option<Receiver<u32>>);

    let (sender, receiver) = unbounded();
    let both = Both(vec![sender], Some(receiver));
    let which = |text: &str| text.len();
    select! { send(both.0[which("")], { 3 + 4 }) -> sent => sent.unwrap() }
    let item = select! { recv(both.1.as_ref().unwrap()) -> item => item };
    assert_eq!(item, Ok(7));
}

fn sixteen_arms_are_served() {
    let (sender, receiver) = unbounded();
    let (_quiet, quiet) = unbounded::<u32>();
    sender.send(7).unwrap();
    let item = select! {
        recv(quiet) -> item => item, recv(quiet) -> item => item, recv(quiet) -> item => item,
        recv(quiet) -> item => item, recv(quiet) -> item => item, recv(quiet) -> item => item,
        recv(quiet) -> item => item, recv(quiet) -> item => item, recv(quiet) -> item => item,
        recv(quiet) -> item => item, recv(quiet) -> item => item, recv(quiet) -> item => item,
        recv(quiet) -> item => item, recv(quiet) -> item => item, after(LONG) => Ok(0),
        recv(receiver) -> item => item,
    };
    assert_eq!(item, Ok(7));
}
