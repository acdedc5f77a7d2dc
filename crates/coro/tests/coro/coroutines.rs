//! Coroutines for safe code: which code may suspend which of them, and how they end.

use std::cell::{Cell, RefCell};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, LocalKey};

use fiveways_coro::{Coroutine, DEFAULT_STACK_SIZE, Phase, Stack, StackPool, State, Suspender};

use crate::support::{fiber, in_a_child, stderr};

fn stack() -> Stack {
    Stack::alone(DEFAULT_STACK_SIZE).expect("there is memory")
}

fn coroutine(body: impl FnOnce(&Suspender) + 'static) -> Coroutine {
    Coroutine::new(stack(), body).expect("the C library is glibc")
}

/// Counts its drops.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_coroutine_is_fresh_then_runs_and_suspends_then_has_finished() {
    let phases = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&phases);
    let place: Rc<RefCell<Option<Suspender>>> = Rc::default();
    let mut coroutine = coroutine(move |me| {
        assert!(me.is_here() && !me.is_unwinding());
        me.suspend();
        seen.borrow_mut().push("again");
    });
    *place.borrow_mut() = Some(coroutine.suspender());
    assert_eq!(coroutine.phase(), Phase::Fresh);
    assert_eq!(coroutine.resume(), State::Suspended);
    assert_eq!(coroutine.phase(), Phase::Suspended);
    assert_eq!(coroutine.resume(), State::Finished);
    assert_eq!(coroutine.phase(), Phase::Finished);
    assert_eq!(*phases.borrow(), ["again"]);
    let again = catch_unwind(AssertUnwindSafe(|| coroutine.resume()));
    assert!(again.is_err(), "it has finished");
    let outside = place.borrow().clone().expect("it is there");
    assert!(!outside.is_here());
}

#[test]
fn the_end_of_a_coroutine_drops_what_is_on_its_stack_once() {
    for (resumptions, drops_early) in [(0, 0), (1, 0), (2, 1)] {
        let drops = Rc::new(Cell::new(0));
        let counted = Counted(Rc::clone(&drops));
        let mut coroutine = coroutine(move |me| {
            let _counted = counted;
            me.suspend();
        });
        for _ in 0..resumptions {
            coroutine.resume();
        }
        assert_eq!(drops.get(), drops_early);
        drop(coroutine);
        assert_eq!(drops.get(), 1);
    }
}

#[test]
fn a_large_body_fits() {
    let large = [7_u8; 100_000];
    let mut coroutine = coroutine(move |me| {
        me.suspend();
        assert_eq!(large[99_999], 7);
    });
    assert_eq!(coroutine.resume(), State::Suspended);
    assert_eq!(coroutine.resume(), State::Finished);
}

#[test]
fn a_panic_goes_to_the_resumer_also_from_a_destructor_at_the_end() {
    let mut panics = coroutine(|_| panic!("as it must"));
    let payload = catch_unwind(AssertUnwindSafe(|| panics.resume())).expect_err("it panics");
    assert_eq!(payload.downcast_ref(), Some(&"as it must"));
    assert_eq!(panics.phase(), Phase::Finished);

    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic!("as it must");
            }
        }
    }
    let mut at_the_end = coroutine(|me| {
        let caught = catch_unwind(AssertUnwindSafe(|| me.suspend()));
        drop(Panics);
        drop(caught);
    });
    at_the_end.resume();
    let payload = catch_unwind(AssertUnwindSafe(|| at_the_end.unwind())).expect_err("it panics");
    assert_eq!(payload.downcast_ref(), Some(&"as it must"));
    assert_eq!(at_the_end.phase(), Phase::Finished);
    assert!(!thread::panicking());
}

/// A resumption that would mix up two stacks is a panic.
#[test]
fn a_coroutine_cannot_be_suspended_from_the_stack_of_another() {
    let place: Rc<RefCell<Option<Suspender>>> = Rc::default();
    let outer_of = Rc::clone(&place);
    let mut outer = coroutine(move |me| {
        let mut inner = coroutine(move |_| {
            let outer = outer_of.borrow().clone().expect("it is there");
            assert!(!outer.is_here());
            outer.suspend();
        });
        let tried = catch_unwind(AssertUnwindSafe(|| inner.resume())).expect_err("a panic");
        let message = "a coroutine can be suspended on its own stack only";
        assert_eq!(tried.downcast_ref(), Some(&message));
        me.suspend();
    });
    *place.borrow_mut() = Some(outer.suspender());
    assert_eq!(outer.resume(), State::Suspended);
    assert_eq!(outer.resume(), State::Finished);
    // Neither from outside any such stack, nor later from the next coroutine on its stack.
    let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
    let mut first = Coroutine::new(pool.take().expect("memory"), |_| ()).expect("glibc");
    let stale = first.suspender();
    assert!(catch_unwind(AssertUnwindSafe(|| stale.suspend())).is_err());
    first.resume();
    drop(first);
    let mut second =
        Coroutine::new(pool.take().expect("memory"), move |_| stale.suspend()).expect("glibc");
    assert!(catch_unwind(AssertUnwindSafe(|| second.resume())).is_err());
}

/// A task that waits inside a generator: the fiber below is suspended from the stack of the
/// coroutine above, and both go on where they were.
#[test]
fn a_fiber_may_be_suspended_from_the_stack_of_a_coroutine_on_it() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let mut tasks: Vec<_> = (0..3)
        .map(|number| {
            let log = Rc::clone(&log);
            fiber(stack(), (), move |task| {
                let local = number * 10;
                let me = task.clone();
                let theirs = Rc::clone(&log);
                let mut inner = coroutine(move |inner| {
                    for step in 0..3 {
                        me.suspend();
                        theirs.borrow_mut().push((number, step));
                        inner.suspend();
                    }
                });
                while inner.resume() == State::Suspended {
                    assert_eq!(local, number * 10);
                    task.suspend();
                }
            })
        })
        .collect();
    while tasks.iter_mut().map(|task| task.resume()).filter(|it| *it == State::Finished).count()
        == 0
    {}
    let expected: Vec<_> = (0..3).flat_map(|step| (0..3).map(move |task| (task, step))).collect();
    assert_eq!(*log.borrow(), expected);
}

#[test]
fn suspending_in_a_destructor_that_unwinds_ends_the_process_with_a_reason() {
    let test = "coroutines::suspending_in_a_destructor_that_unwinds_ends_the_process_with_a_reason";
    let Some(output) = in_a_child(test, || {
        struct Suspends(Suspender);
        impl Drop for Suspends {
            fn drop(&mut self) {
                self.0.suspend();
            }
        }
        let mut coroutine = coroutine(|me| {
            let _suspends = Suspends(me.clone());
            panic!("as it must");
        });
        coroutine.resume();
    }) else {
        return;
    };
    let text = stderr(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
    assert!(text.contains("a coroutine cannot be suspended while it unwinds"), "{text}");
}

/// A value that is used until the end of its frame.
struct Uses(&'static LocalKey<Borrowed>, Sender<&'static str>);

impl Drop for Uses {
    fn drop(&mut self) {
        self.1.send("the frame has ended").expect("it is received");
        self.0.with(|_| ());
    }
}

struct Borrowed(Cell<Option<Sender<&'static str>>>);

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.0.take().expect("it is set").send("what it borrows is gone").expect("it is received");
    }
}

/// Holds a coroutine, and tries to resume it at its own end.
struct Holder(RefCell<Option<(Coroutine, Sender<&'static str>)>>);

impl Drop for Holder {
    fn drop(&mut self) {
        let (mut coroutine, tx) = self.0.take().expect("it is set");
        tx.send("its holder goes").expect("it is received");
        if coroutine.phase() == Phase::Suspended {
            coroutine.resume();
        }
        drop(coroutine);
        // Another one begins and ends within this destructor.
        let mut own = self::coroutine(move |me| {
            me.suspend();
            tx.send("another has run").expect("it is received");
        });
        own.resume();
        assert_eq!(own.phase(), Phase::Suspended);
        own.resume();
    }
}

thread_local! {
    static HOLDER: Holder = const { Holder(RefCell::new(None)) };
    static BORROWED: Borrowed = const { Borrowed(Cell::new(None)) };
}

fn suspend_inside_a_thread_local(holder_first: bool, tx: &Sender<&'static str>) {
    // The mark for this one is not enough for a later one.
    assert_eq!(coroutine(|me| me.suspend()).resume(), State::Suspended);
    if holder_first {
        HOLDER.with(|_| ());
    }
    let theirs = tx.clone();
    let mut coroutine = coroutine(move |me| {
        me.suspend();
        BORROWED.with(|borrowed| {
            borrowed.0.set(Some(theirs.clone()));
            let _uses = Uses(&BORROWED, theirs);
            me.suspend();
        });
    });
    coroutine.resume();
    coroutine.resume();
    HOLDER.with(|holder| *holder.0.borrow_mut() = Some((coroutine, tx.clone())));
}

/// The frames of a coroutine may borrow a thread-local that is destroyed before the one in which
/// the coroutine is kept.
#[test]
fn a_coroutine_is_unwound_before_its_thread_destroys_what_it_borrows() {
    let end = |holder_first| {
        let (tx, rx) = channel();
        let thread = thread::spawn(move || suspend_inside_a_thread_local(holder_first, &tx));
        thread.join().expect("it does not panic");
        rx.try_iter().collect::<Vec<_>>()
    };
    let [frame, borrowed, holder] =
        ["the frame has ended", "what it borrows is gone", "its holder goes"];
    assert_eq!(end(true), [frame, borrowed, holder, "another has run"]);
    // Here the holder is destroyed first, while everything else still exists.
    assert_eq!(end(false), [holder, frame, "another has run", borrowed]);
}

#[test]
fn a_coroutine_is_not_unwound_by_the_exit_of_the_process() {
    let test = "coroutines::a_coroutine_is_not_unwound_by_the_exit_of_the_process";
    let Some(output) = in_a_child(test, || {
        let (tx, rx) = channel();
        std::mem::forget(rx);
        suspend_inside_a_thread_local(true, &tx);
        std::process::exit(7);
    }) else {
        return;
    };
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
}

/// std counts the panics of a thread: those of a stack that is abandoned halfway would be counted
/// for ever.
#[test]
fn a_coroutine_that_unwinds_inside_a_destructor_that_unwinds_is_not_left() {
    struct Suspends(Suspender);
    impl Drop for Suspends {
        fn drop(&mut self) {
            self.0.suspend();
        }
    }
    struct Resumes(Coroutine);
    impl Drop for Resumes {
        fn drop(&mut self) {
            self.0.resume();
        }
    }
    let test = "coroutines::a_coroutine_that_unwinds_inside_a_destructor_that_unwinds_is_not_left";
    let Some(output) = in_a_child(test, || {
        let unwound = catch_unwind(|| {
            let _resumes = Resumes(coroutine(|me| {
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    let _suspends = Suspends(me.clone());
                    panic!("inside");
                }));
            }));
            panic!("outside");
        });
        assert!(unwound.is_err());
        assert!(!thread::panicking(), "the thread unwinds for ever");
    }) else {
        return;
    };
    let text = stderr(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
    assert!(text.contains("a coroutine cannot be suspended while it unwinds"), "{text}");
    assert!(!text.contains("for ever"), "{text}");
}
