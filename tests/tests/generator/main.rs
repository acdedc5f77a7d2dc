//! Generators: alternation, values both ways, ends of all kinds; and tasks that wait inside them.

mod endings;
mod waiting;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use fiveways::generator::{Generator, ResumeError, State, Yielder};
use fiveways::greenlet::{Greenlet, SwitchError, switch_to_parent};
use fiveways::runtime::Runtime;
use fiveways::task;

pub(crate) type Log = Rc<RefCell<Vec<String>>>;

fn say(log: &Log, line: impl Into<String>) {
    log.borrow_mut().push(line.into());
}

/// S001-08, S001-13: the course's producer and consumer take turns, line by line.
#[test]
fn producer_and_consumer_take_turns() {
    let log = Log::default();
    let theirs = Rc::clone(&log);
    let mut consumer: Generator<u32, ()> = Generator::new(move |me| {
        loop {
            let x = me.yield_(());
            say(&theirs, format!("处理了数据: {x}"));
        }
    });
    assert_eq!(consumer.start(), Ok(State::Yielded(())));
    for i in 0..3 {
        assert_eq!(consumer.send(i), Ok(State::Yielded(())));
        say(&log, format!("发送了数据: {i}"));
    }
    let expected = [
        "处理了数据: 0",
        "发送了数据: 0",
        "处理了数据: 1",
        "发送了数据: 1",
        "处理了数据: 2",
        "发送了数据: 2",
    ];
    assert_eq!(*log.borrow(), expected);
}

/// S001-09: a value that is sent before the first `yield_` is refused, and so is a second start.
#[test]
fn a_value_can_be_sent_only_to_a_generator_that_awaits_one() {
    let mut echo: Generator<u32, u32> = Generator::new(|me| {
        let mut x = 0;
        loop {
            x = me.yield_(x);
        }
    });
    assert_eq!(echo.send(1), Err(ResumeError::NotStarted));
    assert_eq!(echo.start(), Ok(State::Yielded(0)));
    assert_eq!(echo.start(), Err(ResumeError::AlreadyStarted));
    assert_eq!(echo.send(7), Ok(State::Yielded(7)));
}

/// S001-10: what is sent is the value of `yield_`, what is yielded the value of `send`.
#[test]
fn values_go_both_ways() {
    let mut doubler: Generator<u32, u32, &str> = Generator::new(|me| {
        let mut x = me.yield_(0);
        while x < 100 {
            x = me.yield_(x * 2);
        }
        "large"
    });
    assert_eq!(doubler.start(), Ok(State::Yielded(0)));
    assert_eq!(doubler.send(4), Ok(State::Yielded(8)));
    assert_eq!(doubler.send(5), Ok(State::Yielded(10)));
    assert_eq!(doubler.send(100), Ok(State::Complete("large")));
}

/// Logs its end.
pub(crate) struct Tell(pub(crate) Log, pub(crate) &'static str);

impl Drop for Tell {
    fn drop(&mut self) {
        say(&self.0, self.1);
    }
}

/// S001-11: a generator without end is ended by dropping it, and its destructors run, the innermost
/// first; what it captured is dropped too when it never began.
#[test]
fn dropping_an_endless_generator_runs_its_destructors() {
    fn deep(log: &Log, me: &Yielder<(), u32>) {
        let _inner = Tell(Rc::clone(log), "inner");
        loop {
            me.yield_(1);
        }
    }
    let endless = |log: Log| {
        let outer = Tell(Rc::clone(&log), "outer");
        Generator::<(), u32>::new(move |me| {
            let _outer = outer;
            deep(&log, me);
        })
    };
    let log = Log::default();
    let mut begun = endless(Rc::clone(&log));
    assert_eq!(begun.next(), Some(1));
    drop(begun);
    assert_eq!(*log.borrow(), ["inner", "outer"]);

    let log = Log::default();
    drop(endless(Rc::clone(&log)));
    assert_eq!(*log.borrow(), ["outer"]);

    let log = Log::default();
    let mut closed = endless(Rc::clone(&log));
    closed.next();
    closed.close();
    assert_eq!(*log.borrow(), ["inner", "outer"]);
    assert!(closed.is_finished());
    closed.close();
    assert_eq!(closed.send(()), Err(ResumeError::Finished));
}

/// S001-11: one that catches its end and goes on is unwound again when it yields again.
#[test]
fn a_generator_cannot_refuse_to_end() {
    let log = Log::default();
    let theirs = Rc::clone(&log);
    let mut stubborn: Generator<(), u32> = Generator::new(move |me| {
        for _ in 0..3 {
            let _ = catch_unwind(AssertUnwindSafe(|| me.yield_(1)));
            say(&theirs, "still here");
        }
    });
    stubborn.next();
    drop(stubborn);
    assert_eq!(*log.borrow(), ["still here"; 3]);
}

/// S001-12: resuming after the end is an error, each time; an iterator stays at its end.
#[test]
fn resuming_after_the_end_is_an_error() {
    let mut consumer: Generator<u32, (), &str> = Generator::new(|me| {
        for _ in 0..4 {
            me.yield_(());
        }
        "done"
    });
    assert_eq!(consumer.start(), Ok(State::Yielded(())));
    for i in 0..3 {
        assert_eq!(consumer.send(i), Ok(State::Yielded(())));
    }
    assert_eq!(consumer.send(3), Ok(State::Complete("done")));
    assert!(consumer.is_finished());
    assert_eq!(consumer.send(4), Err(ResumeError::Finished));
    assert_eq!(consumer.start(), Err(ResumeError::Finished));
    assert_eq!(ResumeError::Finished.to_string(), "the generator has finished");

    let mut once = Generator::<(), u32>::new(|me| me.yield_(1));
    assert_eq!((once.next(), once.next(), once.next()), (Some(1), None, None));
}

/// S001-14: only one function is called; the other runs through `send`, on the same thread.
#[test]
fn caller_and_generator_run_on_one_thread() {
    let mut where_am_i = Generator::<(), _>::new(|me| {
        loop {
            me.yield_(thread::current().id());
        }
    });
    assert_eq!(where_am_i.next(), Some(thread::current().id()));
    assert_eq!(where_am_i.next(), Some(thread::current().id()));
}

/// S001-04: what is on the stack survives every suspension.
#[test]
fn locals_survive_suspensions() {
    let mut fibonacci = Generator::<(), u64>::new(|me| {
        let (mut a, mut b) = (0, 1);
        let table: Vec<u64> = (0..100).collect();
        loop {
            me.yield_(a);
            (a, b) = (b, a + b);
            assert_eq!(table[99], 99);
        }
    });
    let first: Vec<_> = fibonacci.by_ref().take(10).collect();
    assert_eq!(first, [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]);
}

/// S001-17, C26, S001-18: a generator saves no waiting: three sends to one that blocks take three
/// times as long as one.
#[test]
fn a_generator_saves_no_waiting() {
    const NAP: Duration = Duration::from_millis(100);
    let naps = Rc::new(Cell::new(0));
    let theirs = Rc::clone(&naps);
    let mut consumer: Generator<u32, ()> = Generator::new(move |me| {
        loop {
            me.yield_(());
            theirs.set(theirs.get() + 1);
            thread::sleep(NAP);
        }
    });
    consumer.start().expect("it starts");
    let started = Instant::now();
    for i in 0..3 {
        consumer.send(i).expect("it goes on");
    }
    let took = started.elapsed();
    assert!(took >= 3 * NAP, "{took:?}");
    // Four would be a loop too many, as in the course's figure.
    assert_eq!(naps.get(), 3);
}

#[test]
fn a_panic_reaches_the_caller_and_ends_the_generator() {
    let mut panics = Generator::<(), u32>::new(|me| {
        me.yield_(1);
        panic!("as it must");
    });
    assert_eq!(panics.next(), Some(1));
    let payload = catch_unwind(AssertUnwindSafe(|| panics.next())).expect_err("it panics");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"as it must"));
    assert!(!thread::panicking());
    assert_eq!(panics.send(()), Err(ResumeError::Finished));
    assert_eq!(panics.next(), None);
}

#[test]
fn a_generator_that_is_dropped_by_a_panic_is_unwound() {
    let log = Log::default();
    let theirs = Rc::clone(&log);
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let mut generator = Generator::<(), u32>::new(move |me| {
            let _tell = Tell(theirs, "unwound");
            me.yield_(1);
        });
        generator.next();
        panic!("as it must");
    }));
    assert!(unwound.is_err());
    assert!(!thread::panicking());
    assert_eq!(*log.borrow(), ["unwound"]);
}

#[test]
fn generators_nest() {
    fn count(to: u32) -> Generator<(), u32> {
        Generator::new(move |me| (0..to).for_each(|x| me.yield_(x)))
    }
    let nested = Generator::<(), u32>::new(|me| {
        for outer in count(3) {
            count(outer).for_each(|inner| me.yield_(outer * 10 + inner));
        }
    });
    assert_eq!(nested.collect::<Vec<_>>(), [10, 20, 21]);
}

#[test]
fn a_generator_can_be_suspended_on_its_own_stack_only() {
    let runtime = Runtime::builder().build().expect("a runtime");
    runtime.block_on(|| {
        let mut lends = Generator::<(), bool>::new(|me| {
            let ended = task::scope(|s| {
                let child =
                    s.spawn_local(|| catch_unwind(AssertUnwindSafe(|| me.yield_(true))).is_err());
                child.join()
            });
            me.yield_(ended.expect("the child catches its panic"));
        });
        assert_eq!(lends.next(), Some(true));
        assert_eq!(lends.next(), None);
    });
}

#[test]
fn many_generators_live_at_once_and_return_their_stacks() {
    for _ in 0..3 {
        let count = |number| {
            Generator::<(), usize>::new(move |me| {
                for step in 0_usize.. {
                    me.yield_(number + step);
                }
            })
        };
        let mut all: Vec<_> = (0..2000).map(count).collect();
        for (number, generator) in all.iter_mut().enumerate() {
            assert_eq!(generator.next(), Some(number));
            assert_eq!(generator.next(), Some(number + 1));
        }
    }
}

#[test]
fn a_stack_size_can_be_asked_for() {
    #[inline(never)]
    fn deep(depth: usize) -> usize {
        let frame = std::hint::black_box([depth; 64]);
        if depth == 0 { 0 } else { deep(depth - 1) + frame[0] - depth + 1 }
    }
    let made = Generator::<(), usize, usize>::with_stack_size(16 << 20, |_| deep(10_000));
    assert_eq!(made.expect("there is memory").start(), Ok(State::Complete(10_000)));
}

fiveways_tests::on_cooperative_models! {
    waiting:
        a_task_may_wait_inside_a_generator,
        a_task_can_be_cancelled_inside_a_generator,
        a_time_limit_stays_in_its_generator;
}

/// At a thread's end a generator that is kept in a thread-local may be in the middle of using
/// another one, which is destroyed first: it has been unwound by then.
#[test]
fn a_generator_in_a_thread_local_does_not_outlive_what_it_uses() {
    use std::sync::mpsc::{Sender, channel};

    struct Used(RefCell<Option<Sender<&'static str>>>);
    impl Used {
        fn tell(&self, what: &'static str) {
            let tell = self.0.borrow();
            tell.as_ref().expect("it is set and still there").send(what).expect("it is received");
        }
    }
    impl Drop for Used {
        fn drop(&mut self) {
            self.tell("used: gone");
            *self.0.borrow_mut() = None;
        }
    }
    struct Uses<'a>(&'a Used);
    impl Drop for Uses<'_> {
        fn drop(&mut self) {
            self.0.tell("frame: gone");
        }
    }
    type Kept = (Generator<(), u32>, Greenlet<u32>, Sender<&'static str>);
    struct Keeper(RefCell<Option<Kept>>);
    impl Drop for Keeper {
        fn drop(&mut self) {
            let (mut generator, greenlet, tell) = self.0.take().expect("it is set");
            assert!(generator.is_finished() && greenlet.is_dead());
            assert_eq!(generator.next(), None);
            assert_eq!(generator.send(()), Err(ResumeError::Finished));
            assert_eq!(greenlet.try_switch(1), Err(SwitchError::Dead));
            greenlet.kill().expect("it does not run");
            generator.close();
            drop((generator, greenlet));
            tell.send("keeper: gone").expect("it is received");
        }
    }
    thread_local! {
        static KEEPER: Keeper = const { Keeper(RefCell::new(None)) };
        static USED: Used = const { Used(RefCell::new(None)) };
    }

    let (tell, told) = channel();
    let thread = thread::spawn(move || {
        assert_eq!(Generator::<(), u32>::new(|me| me.yield_(0)).next(), Some(0));
        KEEPER.with(|_| ());
        USED.with(|used| *used.0.borrow_mut() = Some(tell.clone()));
        let mut generator = Generator::new(|me| {
            USED.with(|used| {
                let _uses = Uses(used);
                me.yield_(1);
            });
        });
        assert_eq!(generator.next(), Some(1));
        let greenlet = Greenlet::new(|first: u32| {
            USED.with(|used| {
                let _uses = Uses(used);
                switch_to_parent(first)
            })
        });
        assert_eq!(greenlet.switch(2), 2);
        KEEPER.with(|keeper| *keeper.0.borrow_mut() = Some((generator, greenlet, tell)));
    });
    thread.join().expect("it does not panic");
    let expected = ["frame: gone", "frame: gone", "used: gone", "keeper: gone"];
    assert_eq!(told.iter().collect::<Vec<_>>(), expected);
}
