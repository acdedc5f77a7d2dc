//! `SimpleQueue`: here a [`Queue`] without a bound.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fiveways::queue::{GetError, Queue};

use crate::support::{LONG, everywhere, heavy, joined, other, others, pause};

everywhere!(
    put_and_get_tell_what_they_should,
    one_who_puts_and_one_who_gets_keep_the_order,
    heavy_many_who_wait_get_each_item_once,
    heavy_many_who_do_not_wait_get_each_item_once,
    heavy_many_who_wait_shortly_get_each_item_once,
    an_item_that_was_got_is_no_longer_the_queues,
    a_put_out_of_a_destructor_is_a_put,
);

fn put_and_get_tell_what_they_should() {
    let queue = Queue::new();
    assert!(queue.is_empty());
    (1..=4).for_each(|number| queue.put_nowait(number).unwrap());
    assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (4, false, false));
    assert_eq!(queue.get(), Ok(1));
    assert_eq!(queue.get_nowait(), Ok(2));
    assert_eq!(queue.get_timeout(Duration::ZERO), Ok(3));
    assert_eq!(queue.get_timeout(LONG), Ok(4));
    assert_eq!(queue.get_nowait(), Err(GetError::Empty));
    assert_eq!(queue.get_timeout(Duration::from_millis(1)), Err(GetError::Empty));
    assert!(queue.is_empty());
}

/// So many put numbers, each followed by one end mark, and as many get, each until one end mark.
fn exchange(
    pairs: usize,
    count: usize,
    get: fn(&Queue<Option<usize>>) -> Option<usize>,
) -> Vec<usize> {
    let (queue, source) = (Queue::new(), Arc::new(AtomicUsize::new(0)));
    let theirs = queue.clone();
    let feeding = others(pairs, move |which| {
        let mut random = fastrand::Rng::with_seed(which as u64);
        loop {
            let number = source.fetch_add(1, Ordering::SeqCst);
            theirs.put((number < count).then_some(number)).unwrap();
            if number >= count {
                return;
            }
            if random.u8(..) < 32 {
                pause();
            }
        }
    });
    let (theirs, had) = (queue.clone(), Arc::new(Mutex::new(Vec::new())));
    let all = Arc::clone(&had);
    let eating = others(pairs, move |_| {
        while let Some(number) = get(&theirs) {
            all.lock().unwrap().push(number);
        }
    });
    joined(feeding);
    joined(eating);
    assert!(queue.is_empty());
    Arc::into_inner(had).unwrap().into_inner().unwrap()
}

fn one_who_puts_and_one_who_gets_keep_the_order() {
    let had = exchange(1, 100, |queue| queue.get().unwrap());
    assert!(had.into_iter().eq(0..100));
}

fn each_once(get: fn(&Queue<Option<usize>>) -> Option<usize>) {
    let count = heavy(10_000);
    let mut had = exchange(20, count, get);
    had.sort_unstable();
    assert!(had.into_iter().eq(0..count));
}

fn heavy_many_who_wait_get_each_item_once() {
    each_once(|queue| queue.get().unwrap());
}

fn heavy_many_who_do_not_wait_get_each_item_once() {
    each_once(|queue| {
        loop {
            match queue.get_nowait() {
                Ok(item) => return item,
                Err(_) => pause(),
            }
        }
    });
}

fn heavy_many_who_wait_shortly_get_each_item_once() {
    each_once(|queue| {
        loop {
            if let Ok(item) = queue.get_timeout(Duration::from_micros(10)) {
                return item;
            }
        }
    });
}

fn an_item_that_was_got_is_no_longer_the_queues() {
    let (queue, item) = (Queue::new(), Arc::new(()));
    (0..20).for_each(|_| queue.put(Arc::clone(&item)).unwrap());
    for left in (0..20).rev() {
        drop(queue.get().unwrap());
        assert_eq!(Arc::strong_count(&item), left + 1);
    }
    // Handed over to waiting receivers as well.
    let theirs = queue.clone();
    let getting = other(move || drop(theirs.get()));
    queue.put(Arc::clone(&item)).unwrap();
    getting.join();
    assert_eq!(Arc::strong_count(&item), 1);
}

/// Puts the next number when it is dropped.
struct Echo(Queue<Option<Echo>>, usize);

impl Drop for Echo {
    fn drop(&mut self) {
        if self.1 > 0 {
            let _ = self.0.put(Some(Echo(self.0.clone(), self.1 - 1)));
        }
    }
}

/// CPython's bpo-14976.
fn a_put_out_of_a_destructor_is_a_put() {
    let queue = Queue::new();
    queue.put(Some(Echo(queue.clone(), 100))).unwrap();
    let mut seen = Vec::new();
    while let Ok(item) = queue.get_nowait() {
        seen.extend(item.map(|echo| echo.1));
    }
    assert!(seen.into_iter().eq((0..=100).rev()));
    // The queue drops what is left: destructors that put find it shut down.
    queue.put(Some(Echo(queue.clone(), 100))).unwrap();
    queue.shutdown(true);
    assert!(queue.is_empty() && queue.get().is_err());
}
