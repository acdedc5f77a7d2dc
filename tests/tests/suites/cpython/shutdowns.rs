//! The end of a queue, as CPython has it since 3.13: told once, seen by all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fiveways::queue::{Closed, GetError, JoinableQueue, LifoQueue, PriorityQueue, Queue};
use fiveways::sync::{Barrier, Event};

use crate::support::{
    LONG, everywhere, heavy, joined, let_others_wait, other, others, pause, until,
};

everywhere!(
    an_empty_queue_that_was_shut_down_gives_and_takes_nothing,
    a_queue_that_was_shut_down_still_gives_what_it_has,
    an_immediate_shutdown_gives_nothing_more,
    a_shutdown_may_become_immediate_but_not_be_undone,
    after_a_shutdown_every_method_answers_at_once,
    after_an_immediate_shutdown_every_method_answers_at_once,
    heavy_shutdown_reaches_many_who_put_and_get,
    heavy_immediate_shutdown_reaches_many_who_put_get_and_join,
    of_three_who_get_two_items_after_a_shutdown_one_is_told,
    who_gets_after_an_immediate_shutdown_is_told,
    who_puts_after_a_shutdown_is_told,
    who_joins_is_through_when_what_was_left_is_done,
    who_joins_is_through_at_once_when_nothing_is_left_to_do,
    what_was_got_before_an_immediate_shutdown_is_still_to_be_done,
    who_waits_to_get_is_told_of_the_shutdown,
    who_waits_to_put_is_told_of_the_shutdown_and_has_the_item,
);

/// A queue by each of the four names; the claim is a macro's, as they share no trait.
macro_rules! of_each_queue {
    ($queue:ident, $maxsize:expr, $claim:block) => {{
        {
            let $queue = Queue::with_maxsize($maxsize);
            $claim
        }
        {
            let $queue = LifoQueue::with_maxsize($maxsize);
            $claim
        }
        {
            let $queue = JoinableQueue::with_maxsize($maxsize);
            $claim
        }
        {
            let $queue = PriorityQueue::with_maxsize($maxsize);
            $claim
        }
    }};
}

/// An item that fits all of them.
fn item(name: &'static str) -> (&'static str, ()) {
    (name, ())
}

fn an_empty_queue_that_was_shut_down_gives_and_takes_nothing() {
    of_each_queue!(queue, 0, {
        queue.shutdown(false);
        assert_eq!(queue.put(item("data")), Err(Closed(item("data"))));
        assert_eq!(queue.get(), Err(Closed(())));
    });
}

fn a_queue_that_was_shut_down_still_gives_what_it_has() {
    of_each_queue!(queue, 0, {
        queue.put(item("data")).unwrap();
        queue.shutdown(false);
        assert_eq!(queue.get(), Ok(item("data")));
        assert_eq!(queue.get(), Err(Closed(())));
    });
}

fn an_immediate_shutdown_gives_nothing_more() {
    of_each_queue!(queue, 0, {
        queue.put(item("data")).unwrap();
        queue.shutdown(true);
        assert_eq!(queue.get(), Err(Closed(())));
        assert_eq!(queue.len(), 0);
    });
}

fn a_shutdown_may_become_immediate_but_not_be_undone() {
    of_each_queue!(queue, 0, {
        queue.put(item("data")).unwrap();
        queue.shutdown(false);
        queue.shutdown(false);
        assert_eq!(queue.len(), 1);
        queue.shutdown(true);
        assert_eq!(queue.len(), 0);
        queue.shutdown(false);
        assert_eq!(queue.get_nowait(), Err(GetError::Closed));
    });
}

fn after_a_shutdown_every_method_answers_at_once() {
    of_each_queue!(queue, 2, {
        queue.put(item("L")).unwrap();
        queue.put_nowait(item("O")).unwrap();
        queue.shutdown(false);
        assert!(queue.put(item("E")).is_err());
        assert!(queue.put_nowait(item("W")).unwrap_err().is_shut_down());
        assert!(queue.put_timeout(item("W"), LONG).unwrap_err().is_shut_down());
        let mut left = [queue.get().unwrap().0, queue.get_nowait().unwrap().0];
        left.sort_unstable();
        assert_eq!(left, ["L", "O"]);
        assert!(queue.get().is_err());
        assert_eq!(queue.get_nowait(), Err(GetError::Closed));
        assert_eq!(queue.get_timeout(LONG), Err(GetError::Closed));
    });
}

fn after_an_immediate_shutdown_every_method_answers_at_once() {
    let queue = JoinableQueue::with_maxsize(2);
    queue.put("L").unwrap();
    queue.put_nowait("O").unwrap();
    queue.shutdown(true);
    assert!(queue.put("E").is_err());
    assert!(queue.put_nowait("W").unwrap_err().is_shut_down());
    assert!(queue.get().is_err());
    assert_eq!(queue.get_nowait(), Err(GetError::Closed));
    // What was dropped need not be done, and cannot be.
    assert_eq!(queue.unfinished(), 0);
    assert!(queue.task_done().is_err());
    queue.join();
}

/// Four put, six get, and in the middle of it the queue is shut down.
fn shut_down_among_many(immediate: bool) {
    const WRITERS: usize = 4;
    const READERS: usize = 6;
    let joiners = if immediate { 2 } else { 0 };
    let each = heavy(4_000);
    let queue = JoinableQueue::new();
    let begin = Arc::new(Barrier::new(WRITERS + READERS + joiners));
    let (half, got) = (Arc::new(Event::new()), Arc::new(AtomicUsize::new(0)));
    let (theirs, start, middle) = (queue.clone(), Arc::clone(&begin), Arc::clone(&half));
    let writers = others(WRITERS, move |_| {
        (0..each / 4).for_each(|number| theirs.put(number).unwrap());
        start.wait();
        let put = (each / 4..each).take_while(|number| {
            if *number == each / 2 {
                middle.set();
            }
            theirs.put(*number).is_ok()
        });
        each / 4 + put.count()
    });
    let (theirs, start, count) = (queue.clone(), Arc::clone(&begin), Arc::clone(&got));
    let readers = others(READERS, move |_| {
        theirs.get().unwrap();
        theirs.task_done().unwrap();
        count.fetch_add(1, Ordering::SeqCst);
        start.wait();
        loop {
            match theirs.get_nowait() {
                Ok(_) => {
                    theirs.task_done().unwrap();
                    count.fetch_add(1, Ordering::SeqCst);
                }
                Err(GetError::Closed) => return,
                Err(_) => pause(),
            }
        }
    });
    let (theirs, start) = (queue.clone(), Arc::clone(&begin));
    let joining = others(joiners, move |_| {
        start.wait();
        theirs.join();
    });
    half.wait();
    queue.shutdown(immediate);
    let put: usize = joined(writers).into_iter().sum();
    joined(readers);
    joined(joining);
    let got = got.load(Ordering::SeqCst);
    assert!(queue.is_empty());
    assert!(if immediate { got <= put } else { got == put }, "{put} put, {got} got");
    queue.join();
}

fn heavy_shutdown_reaches_many_who_put_and_get() {
    shut_down_among_many(false);
}

fn heavy_immediate_shutdown_reaches_many_who_put_get_and_join() {
    shut_down_among_many(true);
}

/// Two items, and so many who get one each after the shutdown: how many have one?
fn get_after(immediate: bool, getters: usize) -> usize {
    let (queue, go) = (Queue::with_maxsize(2), Arc::new(Event::new()));
    ["Y", "D"].iter().for_each(|name| queue.put(*name).unwrap());
    let (theirs, gone) = (queue.clone(), Arc::clone(&go));
    let getting = others(getters, move |_| {
        gone.wait();
        theirs.get().is_ok()
    });
    queue.shutdown(immediate);
    go.set();
    joined(getting).into_iter().filter(|had| *had).count()
}

fn of_three_who_get_two_items_after_a_shutdown_one_is_told() {
    assert_eq!(get_after(false, 3), 2);
}

fn who_gets_after_an_immediate_shutdown_is_told() {
    assert_eq!(get_after(true, 2), 0);
}

fn who_puts_after_a_shutdown_is_told() {
    for immediate in [false, true] {
        let (queue, go) = (Queue::with_maxsize(2), Arc::new(Event::new()));
        queue.put("Y").unwrap();
        let (theirs, gone) = (queue.clone(), Arc::clone(&go));
        let putting = others(2, move |_| {
            gone.wait();
            theirs.put("E")
        });
        queue.shutdown(immediate);
        go.set();
        assert_eq!(joined(putting), [Err(Closed("E")); 2]);
    }
}

fn who_joins_is_through_when_what_was_left_is_done() {
    let queue = JoinableQueue::new();
    ["Y", "D"].iter().for_each(|name| queue.put(*name).unwrap());
    let theirs = queue.clone();
    let joining = others(2, move |_| theirs.join());
    let_others_wait();
    queue.shutdown(false);
    let theirs = queue.clone();
    let doing = others(2, move |_| {
        theirs.get().unwrap();
        theirs.task_done()
    });
    assert_eq!(joined(doing), [Ok(()); 2]);
    joined(joining);
}

fn who_joins_is_through_at_once_when_nothing_is_left_to_do() {
    let queue = JoinableQueue::new();
    ["Y", "D"].iter().for_each(|name| queue.put(*name).unwrap());
    let theirs = queue.clone();
    let joining = others(2, move |_| theirs.join());
    let_others_wait();
    assert!(joining.iter().all(|other| !other.is_finished()));
    queue.shutdown(true);
    joined(joining);
}

fn what_was_got_before_an_immediate_shutdown_is_still_to_be_done() {
    let queue = JoinableQueue::new();
    ["Y", "D"].iter().for_each(|name| queue.put(*name).unwrap());
    queue.get().unwrap();
    queue.shutdown(true);
    assert_eq!(queue.unfinished(), 1);
    let theirs = queue.clone();
    let joining = other(move || theirs.join());
    let_others_wait();
    assert!(!joining.is_finished());
    queue.task_done().unwrap();
    joining.join();
}

fn who_waits_to_get_is_told_of_the_shutdown() {
    for immediate in [false, true] {
        let queue = Queue::<()>::new();
        let theirs = queue.clone();
        let getting = others(3, move |_| theirs.get());
        let_others_wait();
        queue.shutdown(immediate);
        assert_eq!(joined(getting), [Err(Closed(())); 3]);
    }
}

fn who_waits_to_put_is_told_of_the_shutdown_and_has_the_item() {
    for immediate in [false, true] {
        let queue = Queue::with_maxsize(1);
        queue.put(usize::MAX).unwrap();
        let theirs = queue.clone();
        let putting = others(3, move |number| theirs.put(number));
        let_others_wait();
        queue.shutdown(immediate);
        assert_eq!(joined(putting), [0, 1, 2].map(|number| Err(Closed(number))));
        let left = if immediate { Err(Closed(())) } else { Ok(usize::MAX) };
        assert_eq!(queue.get(), left);
        until("nobody is left", || queue.is_empty());
    }
}
