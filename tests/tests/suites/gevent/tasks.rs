//! `gevent.Greenlet`, `joinall`, `wait`, `iwait`, `local`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fiveways::local::TaskLocal;
use fiveways::sync::Event;
use fiveways::{task, time};

use crate::support::{LONG, SHORT, among_tasks, everywhere, let_others_wait, other, until};

everywhere!(
    one_that_has_returned_has_a_value,
    one_that_has_panicked_has_a_panic,
    a_panic_is_told_however_late_somebody_asks,
    a_join_may_be_late_and_come_again,
    a_join_of_many_is_for_the_last,
    a_join_of_many_may_be_late,
    of_several_failures_each_is_told_in_its_place,
    a_wait_for_one_is_for_the_first,
    one_may_be_waited_for_twice_at_once,
    a_wait_that_ended_early_leaves_the_others_alone,
    several_may_wait_for_the_end_of_one,
    one_that_was_killed_before_it_began_never_runs,
    one_that_was_killed_while_it_waits_is_unwound,
    a_kill_after_the_end_changes_nothing,
    a_kill_before_the_last_word_leaves_the_value,
    local_values_go_with_their_task_although_its_handle_is_kept,
);

among_tasks!(a_kill_that_is_caught_comes_again, a_kill_can_come_from_within);

/// By an unwinding that no hook tells of.
fn fail(word: &'static str) -> u32 {
    std::panic::resume_unwind(Box::new(word))
}

fn one_that_has_returned_has_a_value() {
    let mut one = task::spawn(|| 7);
    until("it has ended", || one.is_finished());
    assert_eq!(one.value(), Some(&7));
    assert_eq!(one.join().unwrap(), 7);
}

fn one_that_has_panicked_has_a_panic() {
    let mut one = task::spawn(|| fail("expected"));
    until("it has ended", || one.is_finished());
    assert_eq!(one.value(), None);
    let error = one.join().unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled());
    assert_eq!(error.into_panic().downcast_ref::<&str>(), Some(&"expected"));
}

fn a_panic_is_told_however_late_somebody_asks() {
    let ones = [(); 3].map(|()| task::spawn(|| fail("expected")));
    until("all have ended", || ones.iter().all(task::JoinHandle::is_finished));
    assert!(task::join_all(ones).into_iter().all(|end| end.unwrap_err().is_panic()));
}

fn a_join_may_be_late_and_come_again() {
    let go = Arc::new(Event::new());
    let gone = Arc::clone(&go);
    let one = task::spawn(move || {
        gone.wait();
        1
    });
    let begin = Instant::now();
    let one = one.join_timeout(SHORT).unwrap_err();
    assert!(begin.elapsed() >= SHORT);
    let one = one.join_timeout(Duration::ZERO).unwrap_err();
    go.set();
    assert_eq!(one.join_timeout(LONG).unwrap().unwrap(), 1);
}

fn a_join_of_many_is_for_the_last() {
    let go = Arc::new(Event::new());
    let gone = Arc::clone(&go);
    let quick = || task::spawn(|| 1);
    let all = [quick(), task::spawn(move || gone.wait_timeout(LONG).into()), quick()];
    let joining = other(move || task::join_all(all));
    let_others_wait();
    assert!(!joining.is_finished());
    go.set();
    assert!(joining.join().into_iter().map(Result::unwrap).eq([1; 3]));
    assert!(task::join_all(Vec::<task::JoinHandle<()>>::new()).is_empty());
}

fn a_join_of_many_may_be_late() {
    let all = [0, 1].map(|late| task::spawn(move || time::sleep(LONG * late)));
    let begin = Instant::now();
    let ends = task::join_all_timeout(all, SHORT);
    assert!(begin.elapsed() >= SHORT);
    let [Ok(Ok(())), Err(late)] = &ends[..] else { panic!("{ends:?}") };
    late.cancel();
}

/// gevent's `joinall` raises what failed first; ours gives every end.
fn of_several_failures_each_is_told_in_its_place() {
    let first = task::spawn(|| {
        time::sleep(Duration::from_millis(1));
        fail("first")
    });
    let ends = task::join_all([first, task::spawn(|| fail("second")), task::spawn(|| 3)]);
    let words = ends.into_iter().map(|end| match end {
        Ok(value) => value.to_string(),
        Err(error) => (*error.into_panic().downcast::<&str>().unwrap()).to_owned(),
    });
    assert!(words.eq(["first", "second", "3"]));
}

fn a_wait_for_one_is_for_the_first() {
    let go = Arc::new(Event::new());
    let gone = Arc::clone(&go);
    let all = [task::spawn(|| time::sleep(LONG)), task::spawn(move || gone.wait())];
    assert_eq!(task::wait_any_timeout(&all, SHORT), None);
    go.set();
    assert_eq!(task::wait_any(&all), Some(1));
    // A failure is an end as well.
    let failing = task::spawn(|| _ = fail("expected"));
    assert_eq!(task::wait_any([&all[0], &failing]), Some(1));
    all[0].cancel();
    assert_eq!(task::wait_any(&all[..1]), Some(0));
}

fn one_may_be_waited_for_twice_at_once() {
    let (a, b) = (task::spawn(|| ()), task::spawn(|| ()));
    let mut ended = [false; 3];
    let place = task::wait_any([&a, &b, &a]).unwrap();
    ended[place] = true;
    assert_eq!(ended.iter().filter(|ended| **ended).count(), 1);
    assert!(task::join_all([a, b]).into_iter().all(|end| end.is_ok()));
}

fn a_wait_that_ended_early_leaves_the_others_alone() {
    let go = Arc::new(Event::new());
    let gone = Arc::clone(&go);
    let all = [task::spawn(|| true), task::spawn(move || gone.wait_timeout(LONG))];
    for _ in 0..3 {
        assert_eq!(task::wait_any(&all), Some(0));
        assert_eq!(task::wait_any_timeout(&all[1..], Duration::from_millis(1)), None);
    }
    go.set();
    assert!(task::join_all(all).into_iter().all(Result::unwrap));
}

fn several_may_wait_for_the_end_of_one() {
    let go = Arc::new(Event::new());
    let gone = Arc::clone(&go);
    let one = Arc::new([task::spawn(move || gone.wait())]);
    let theirs = Arc::clone(&one);
    let waiting = crate::support::others(4, move |_| task::wait_any(theirs.iter()));
    let_others_wait();
    go.set();
    assert_eq!(crate::support::joined(waiting), [Some(0); 4]);
}

fn one_that_was_killed_before_it_began_never_runs() {
    let ran = Arc::new(AtomicUsize::new(0));
    let mut killed = 0;
    for _ in 0..20 {
        let count = Arc::clone(&ran);
        let one = task::spawn(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        one.cancel();
        one.cancel();
        let end = one.join();
        // On another worker it may have begun, and then it has also ended.
        killed += usize::from(end.is_err_and(|error| error.is_cancelled()));
    }
    assert_eq!(ran.load(Ordering::SeqCst) + killed, 20);
}

fn one_that_was_killed_while_it_waits_is_unwound() {
    struct Tell(Arc<AtomicUsize>);

    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let (dropped, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(Event::new()));
    let (tell, told) = (Tell(Arc::clone(&dropped)), Arc::clone(&begun));
    let one = task::spawn(move || {
        let _tell = tell;
        told.set();
        time::sleep(LONG);
    });
    begun.wait();
    one.cancel();
    assert!(one.join().unwrap_err().is_cancelled());
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

fn a_kill_after_the_end_changes_nothing() {
    let mut one = task::spawn(|| 7);
    until("it has ended", || one.is_finished());
    one.cancel();
    one.cancel();
    assert_eq!(one.value(), Some(&7));
    assert_eq!(one.join().unwrap(), 7);
}

/// gevent's kill comes at the next switch, ours at the next wait: without one it comes too late.
fn a_kill_before_the_last_word_leaves_the_value() {
    let (begun, go) = (Arc::new(Event::new()), Arc::new(AtomicUsize::new(0)));
    let (told, gone) = (Arc::clone(&begun), Arc::clone(&go));
    let one = task::Builder::new().spawn(move || {
        told.set();
        // The worker is held until the kill has come, which is by then only noted.
        while gone.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        7
    });
    let one = one.unwrap();
    let killing = std::thread::spawn(move || {
        begun.wait();
        one.cancel();
        go.store(1, Ordering::SeqCst);
        one.join()
    });
    until("it is over", || killing.is_finished());
    assert_eq!(killing.join().unwrap().unwrap(), 7);
}

fn local_values_go_with_their_task_although_its_handle_is_kept() {
    static HELD: TaskLocal<Arc<()>> = TaskLocal::new();
    let value = Arc::new(());
    let theirs = Arc::clone(&value);
    let one = task::spawn(move || HELD.set(theirs));
    until("it has ended", || one.is_finished());
    assert_eq!(Arc::strong_count(&value), 1);
    one.join().unwrap();
}

/// gevent's exception comes once and may be caught; ours stays until the task has ended.
fn a_kill_that_is_caught_comes_again() {
    let (begun, told) = (Arc::new(Event::new()), Arc::new(AtomicUsize::new(0)));
    let (tell, count) = (Arc::clone(&begun), Arc::clone(&told));
    let undead = task::spawn(move || {
        tell.set();
        for _ in 0..3 {
            let shot = catch_unwind(AssertUnwindSafe(|| time::sleep(LONG)));
            count.fetch_add(usize::from(shot.is_err()), Ordering::SeqCst);
        }
    });
    begun.wait();
    let_others_wait();
    undead.cancel();
    let _ = undead.join();
    assert_eq!(told.load(Ordering::SeqCst), 3);
}

fn a_kill_can_come_from_within() {
    let (sender, receiver) = fiveways::sync::mpsc::channel::<task::JoinHandle<()>>();
    let (done, end) = fiveways::sync::mpsc::channel();
    let one = task::spawn(move || {
        let me = receiver.recv().unwrap();
        me.cancel();
        assert!(task::is_cancelled());
        done.send(me).unwrap();
        time::sleep(LONG);
    });
    sender.send(one).unwrap();
    assert!(end.recv().unwrap().join().unwrap_err().is_cancelled());
}
