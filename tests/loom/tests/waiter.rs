//! Waiting to be chosen: selected, late or cancelled, but only one of them.

use std::pin::pin;
use std::time::Instant;

use fiveways_loom::fate::Fate;
use fiveways_loom::over_loom::lock::Mutex;
use fiveways_loom::over_loom::sync::Arc;
use fiveways_loom::witness::Witness;
use fiveways_loom::{CHOSEN, Reason, Selection, Unparker, WaitQueue, Waiter, model};
use loom::thread;

const OTHER: Selection = CHOSEN.saturating_add(1);
const PANIC: &str = "it does not panic";

/// Something that is given: to the first in line, or it lies here.
struct Gift {
    state: Mutex<(WaitQueue, usize)>,
    wrapped: Witness,
}

impl Gift {
    fn new() -> Arc<Gift> {
        Arc::new(Gift { state: Mutex::new((WaitQueue::new(), 0)), wrapped: Witness::new(0) })
    }

    /// Gives one, wrapped anew.
    fn give(&self) {
        self.wrapped.add(1);
        self.put();
    }

    fn put(&self) {
        let mut state = self.state.lock();
        let chosen = state.0.select_first(CHOSEN);
        state.1 += usize::from(chosen.is_none());
        drop(state);
        if let Some(waiter) = chosen {
            waiter.unpark();
        }
    }

    /// Takes one, waiting for it; false: it was late.
    fn take(&self, deadline: Option<Instant>) -> bool {
        let waiter = pin!(Waiter::new());
        let waiter = waiter.as_ref();
        let mut state = self.state.lock();
        if state.1 > 0 {
            state.1 -= 1;
            return true;
        }
        state.0.enqueue(waiter);
        drop(state);
        let reason = Reason::new("gift", self);
        let leave = || {
            self.state.lock().0.remove(waiter);
        };
        waiter.wait(&reason, deadline, leave, |_| self.put()).is_some()
    }

    fn left(&self) -> usize {
        let state = self.state.lock();
        assert!(state.0.is_empty(), "somebody who has gone is still in line");
        state.1
    }
}

#[test]
fn who_is_selected_is_woken_and_sees_what_was_prepared() {
    model(|| {
        let gift = Gift::new();
        let theirs = Arc::clone(&gift);
        let giver = thread::spawn(move || theirs.give());
        assert!(gift.take(None));
        assert_eq!(gift.wrapped.add(1), 2);
        giver.join().expect(PANIC);
    });
}

#[test]
fn who_is_late_was_not_given_anything() {
    model(|| {
        let (gift, fate) = (Gift::new(), Fate::new());
        let (theirs, own) = (Arc::clone(&gift), fate.clone());
        let taker = thread::spawn(move || {
            let taken = own.rule(|| theirs.take(Some(Instant::now())));
            // Whichever way it was noticed, it was wrapped before it was given.
            taken.inspect(|taken| assert!(!taken || theirs.wrapped.read() == 1))
        });
        let theirs = Arc::clone(&gift);
        let giver = thread::spawn(move || theirs.give());
        fate.expire();
        let taken = taker.join().expect(PANIC).expect("nobody cancels");
        giver.join().expect(PANIC);
        assert_eq!(gift.left(), usize::from(!taken));
    });
}

#[test]
fn who_is_cancelled_passes_on_what_was_given() {
    model(|| {
        let (gift, fate) = (Gift::new(), Fate::new());
        let (theirs, own) = (Arc::clone(&gift), fate.clone());
        let taker = thread::spawn(move || own.rule(|| theirs.take(None)) == Some(true));
        let theirs = Arc::clone(&gift);
        let giver = thread::spawn(move || theirs.give());
        fate.cancel();
        let taken = taker.join().expect(PANIC);
        giver.join().expect(PANIC);
        assert_eq!(gift.left(), usize::from(!taken));
    });
}

#[test]
fn of_two_lines_one_selects() {
    model(|| {
        let lines: [_; 2] = std::array::from_fn(|_| Arc::new(Mutex::new(WaitQueue::new())));
        let waiter = pin!(Waiter::of_many());
        let waiter = waiter.as_ref();
        for queue in &lines {
            queue.lock().enqueue(waiter);
        }
        let select = |(at, what): (usize, Selection)| {
            let queue = Arc::clone(&lines[at]);
            thread::spawn(move || {
                let chosen = queue.lock().select_first(what);
                chosen.inspect(Unparker::unpark).map(|_| what)
            })
        };
        let selectors = [(0, CHOSEN), (1, OTHER)].map(select);
        let chosen = waiter.wait(&Reason::new("two", &lines), None, || waiter.abort(), |_| {});
        // The line that has not selected it still points at it.
        for queue in &lines {
            queue.lock().remove(waiter);
        }
        let winners = selectors.map(|selector| selector.join().expect(PANIC));
        assert_eq!(Vec::from_iter(winners.into_iter().flatten()), Vec::from_iter(chosen));
        assert!(lines.iter().all(|queue| queue.lock().is_empty()));
    });
}

#[test]
fn a_wait_knows_nothing_of_the_last_one() {
    model(|| {
        let gift = Gift::new();
        let theirs = Arc::clone(&gift);
        let giver = thread::spawn(move || {
            theirs.put();
            theirs.give();
        });
        assert!(gift.take(None));
        assert!(gift.take(None));
        assert_eq!(gift.wrapped.add(1), 2);
        giver.join().expect(PANIC);
        assert_eq!(gift.left(), 0);
    });
}
