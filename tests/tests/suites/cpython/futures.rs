//! `Future`, by its states: queued, running, cancelled, failed, and with a value.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fiveways::executor::{Future, FutureError, Sizing, ThreadPool};
use fiveways::sync::Event;

use crate::support::{LONG, SHORT, everywhere, joined, let_others_wait, other, others, until};

everywhere!(
    a_callback_sees_the_value,
    a_callback_sees_the_panic,
    a_callback_sees_the_cancel,
    a_callback_that_panics_hinders_no_other,
    a_callback_that_comes_late_is_called_at_once,
    a_late_callback_that_panics_hurts_nobody,
    a_cancel_reaches_only_what_has_not_begun,
    each_state_answers_the_questions_for_it,
    a_result_with_a_limit_is_that_of_its_state,
    an_exception_with_a_limit_is_that_of_its_state,
    who_waits_for_a_result_has_it_when_it_comes,
    who_waits_for_a_result_is_told_of_the_cancel,
    who_waits_for_an_exception_has_it_when_it_comes,
);

/// A pool of one thread, and a future in each state.
pub(super) struct States {
    pub(super) pool: ThreadPool,
    go: Arc<Event>,
    pub(super) queued: Future<u32>,
    pub(super) running: Future<u32>,
    pub(super) cancelled: Future<u32>,
    pub(super) failed: Future<u32>,
    pub(super) valued: Future<u32>,
}

impl States {
    pub(super) fn new() -> States {
        let pool = ThreadPool::new(Sizing::Fixed(1)).unwrap();
        let valued = pool.submit(|| 42).unwrap();
        let failed = pool.submit(fail).unwrap();
        assert!(failed.exception().is_some());
        let go = Arc::new(Event::new());
        let gone = Arc::clone(&go);
        let held = move || {
            gone.wait();
            43
        };
        let running = pool.submit(held).unwrap();
        until("it runs", || running.is_running());
        let (cancelled, queued) = (pool.submit(|| 0).unwrap(), pool.submit(|| 44).unwrap());
        assert!(cancelled.cancel());
        States { pool, go, queued, running, cancelled, failed, valued }
    }

    /// Lets what runs come to its end.
    pub(super) fn go(&self) {
        self.go.set();
    }

    fn all(&self) -> [&Future<u32>; 5] {
        [&self.queued, &self.running, &self.cancelled, &self.failed, &self.valued]
    }
}

impl Drop for States {
    fn drop(&mut self) {
        self.go.set();
    }
}

/// By an unwinding that no hook tells of.
fn fail() -> u32 {
    std::panic::resume_unwind(Box::new("doh"))
}

type Seen = Arc<Mutex<Vec<String>>>;

fn watch(future: &Future<u32>, seen: &Seen) {
    let seen = Arc::clone(seen);
    future.add_done_callback(move |future| {
        let word = match future.result_timeout(Duration::ZERO) {
            Ok(value) => format!("value {value}"),
            Err(error) if error.is_cancelled() => "cancelled".to_owned(),
            Err(error) => error.to_string(),
        };
        seen.lock().unwrap().push(word);
    });
}

fn words(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().clone()
}

fn a_callback_sees_the_value() {
    let (states, seen) = (States::new(), Seen::default());
    watch(&states.running, &seen);
    assert!(words(&seen).is_empty());
    states.go();
    until("it is called", || !words(&seen).is_empty());
    assert_eq!(words(&seen), ["value 43"]);
}

fn a_callback_sees_the_panic() {
    let (states, seen) = (States::new(), Seen::default());
    let failing = states.pool.submit(fail).unwrap();
    watch(&failing, &seen);
    states.go();
    until("it is called", || !words(&seen).is_empty());
    assert_eq!(words(&seen), ["the work panicked: doh"]);
}

fn a_callback_sees_the_cancel() {
    let (states, seen) = (States::new(), Seen::default());
    watch(&states.queued, &seen);
    assert!(states.queued.cancel());
    // By the canceller, and once.
    assert_eq!(words(&seen), ["cancelled"]);
    assert!(states.queued.cancel());
    assert_eq!(words(&seen), ["cancelled"]);
}

fn a_callback_that_panics_hinders_no_other() {
    let (states, seen) = (States::new(), Seen::default());
    states.running.add_done_callback(|_| _ = fail());
    watch(&states.running, &seen);
    states.go();
    until("it is called", || !words(&seen).is_empty());
    assert_eq!(words(&seen), ["value 43"]);
    // Nor the thread.
    assert_eq!(states.queued.result().unwrap(), 44);
}

fn a_callback_that_comes_late_is_called_at_once() {
    let (states, seen) = (States::new(), Seen::default());
    for future in [&states.valued, &states.failed, &states.cancelled] {
        watch(future, &seen);
    }
    assert_eq!(words(&seen), ["value 42", "the work panicked: doh", "cancelled"]);
}

fn a_late_callback_that_panics_hurts_nobody() {
    let states = States::new();
    states.valued.add_done_callback(|_| _ = fail());
    assert_eq!(states.valued.result().unwrap(), 42);
}

fn a_cancel_reaches_only_what_has_not_begun() {
    let states = States::new();
    assert_eq!(states.all().map(Future::cancel), [true, false, true, false, false]);
    states.go();
    assert_eq!(states.running.result().unwrap(), 43);
    assert!(states.queued.result().unwrap_err().is_cancelled());
    assert_eq!(states.valued.result().unwrap(), 42);
}

fn each_state_answers_the_questions_for_it() {
    let states = States::new();
    let all = states.all();
    assert_eq!(all.map(Future::is_cancelled), [false, false, true, false, false]);
    assert_eq!(all.map(Future::is_running), [false, true, false, false, false]);
    assert_eq!(all.map(Future::is_done), [false, false, true, true, true]);
}

fn a_result_with_a_limit_is_that_of_its_state() {
    let states = States::new();
    let of = |future: &Future<u32>| future.result_timeout(Duration::ZERO);
    assert!(of(&states.queued).unwrap_err().is_timed_out());
    assert!(of(&states.running).unwrap_err().is_timed_out());
    assert!(of(&states.cancelled).unwrap_err().is_cancelled());
    assert!(of(&states.failed).unwrap_err().is_panic());
    assert_eq!(of(&states.valued).unwrap(), 42);
    // The late ones come all the same.
    states.go();
    assert_eq!(states.queued.result_timeout(LONG).unwrap(), 44);
}

fn an_exception_with_a_limit_is_that_of_its_state() {
    let states = States::new();
    let of = |future: &Future<u32>| future.exception_timeout(Duration::ZERO);
    assert!(of(&states.queued).unwrap().is_timed_out());
    assert!(of(&states.running).unwrap().is_timed_out());
    assert!(of(&states.cancelled).unwrap().is_cancelled());
    assert!(of(&states.failed).unwrap().is_panic());
    assert!(of(&states.valued).is_none());
}

fn who_waits_for_a_result_has_it_when_it_comes() {
    let states = States::new();
    let theirs = states.running.clone();
    let waiting = others(3, move |_| theirs.result_timeout(LONG).unwrap());
    let_others_wait();
    states.go();
    assert_eq!(joined(waiting), [43; 3]);
}

fn who_waits_for_a_result_is_told_of_the_cancel() {
    let states = States::new();
    let theirs = states.queued.clone();
    let waiting = others(3, move |_| theirs.result_timeout(LONG).unwrap_err());
    let_others_wait();
    assert!(states.queued.cancel());
    assert!(joined(waiting).iter().all(FutureError::is_cancelled));
}

fn who_waits_for_an_exception_has_it_when_it_comes() {
    let states = States::new();
    let failing = states.pool.submit(fail).unwrap();
    let theirs = failing.clone();
    let waiting = other(move || theirs.exception_timeout(LONG));
    let_others_wait();
    assert!(failing.exception_timeout(SHORT).unwrap().is_timed_out());
    states.go();
    assert!(waiting.join().unwrap().is_panic());
    states.pool.shutdown();
}
