//! Waiting for the first of several endings, as a task or as a plain thread.
//!
//! One who waits makes a [`Watch`] and leaves a copy with everything it waits for, each under a
//! number. What ends tells its number. Numbers are kept until they are asked for, so nothing that
//! is told before the wait begins is lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use fiveways_runtime::{Reason, Unparker, Wake, park_for, unparker};
use fiveways_sys::lock::Mutex;

/// Where endings are told, and who waits for them.
#[derive(Default)]
pub(super) struct Watch(Mutex<Told>);

#[derive(Default)]
struct Told {
    numbers: VecDeque<usize>,
    /// Who is parked; taken by the first that tells.
    waiter: Option<Unparker>,
}

impl Watch {
    pub(super) fn new() -> Arc<Watch> {
        Arc::default()
    }

    /// Tells an ending.
    pub(super) fn tell(&self, number: usize) {
        let mut told = self.0.lock();
        told.numbers.push_back(number);
        let waiter = told.waiter.take();
        drop(told);
        if let Some(waiter) = waiter {
            waiter.unpark();
        }
    }

    /// The next ending that has been told, if any.
    pub(super) fn look(&self) -> Option<usize> {
        self.0.lock().numbers.pop_front()
    }

    /// Waits for an ending; `None` when the deadline came first.
    ///
    /// Unparks that were meant for others are kept for the caller's next park.
    pub(super) fn wait(&self, reason: &Reason<'_>, deadline: Option<Instant>) -> Option<usize> {
        let mut parked = Parked { watch: self, kept: None };
        loop {
            let mut told = self.0.lock();
            if let Some(number) = told.numbers.pop_front() {
                return Some(number);
            }
            told.waiter = Some(unparker());
            drop(told);
            if park_for(reason, deadline) == Wake::TimedOut {
                return self.look();
            }
            // Nobody has taken our unparker: the unpark was meant for something else.
            if self.0.lock().waiter.is_some() {
                parked.kept.get_or_insert_with(unparker);
            }
        }
    }
}

/// Takes the waiter away however the wait ends, also by an unwinding cancel.
struct Parked<'a> {
    watch: &'a Watch,
    kept: Option<Unparker>,
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.watch.0.lock().waiter = None;
        if let Some(me) = self.kept.take() {
            me.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use fiveways_runtime::{Runtime, in_task, park_until};

    use super::*;

    /// Waits while somebody else's unpark comes, and then looks whether it is still there.
    fn wait_and_look(as_task: bool) -> (Option<usize>, Wake) {
        assert_eq!(in_task(), as_task);
        let watch = Watch::new();
        let (tell, told) = mpsc::channel();
        let (me, theirs) = (unparker(), Arc::clone(&watch));
        let other = thread::spawn(move || {
            told.recv().expect("it is sent");
            me.unpark();
            // Time to see it: unparks do not add up.
            for _ in 0..1000 {
                thread::yield_now();
            }
            theirs.tell(7);
        });
        tell.send(()).expect("it listens");
        let number = watch.wait(&Reason::new("test", &*watch), None);
        other.join().expect("no panic");
        (number, park_until(Some(Instant::now() + Duration::from_millis(500))))
    }

    #[test]
    fn unparks_that_were_meant_for_others_are_kept() {
        let runtime = Runtime::builder().build().expect("a runtime");
        // Where the waiter was too late to see the first of the two, both were one.
        let is_kept = |found| {
            let (number, wake) = found;
            assert_eq!(number, Some(7));
            wake == Wake::Unparked
        };
        let in_tasks = (0..50).any(|_| is_kept(runtime.block_on(|| wait_and_look(true))));
        let on_threads = (0..50).any(|_| {
            let looking = thread::spawn(|| wait_and_look(false));
            is_kept(looking.join().expect("no panic"))
        });
        assert!(in_tasks && on_threads, "in tasks {in_tasks}, on threads {on_threads}");
    }

    #[test]
    fn what_was_told_before_the_wait_is_there() {
        let watch = Watch::new();
        watch.tell(3);
        watch.tell(4);
        let wait = |until| watch.wait(&Reason::new("test", &*watch), until);
        assert_eq!([wait(None), wait(None)], [Some(3), Some(4)]);
        assert_eq!(wait(Some(Instant::now())), None);
        assert!(watch.0.lock().waiter.is_none(), "nobody waits any more");
    }
}
