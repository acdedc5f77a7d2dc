//! Greenlets: explicit switches, values both ways, parents, ends of all kinds.

use std::cell::{OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use fiveways::generator::Generator;
use fiveways::greenlet::{self, Greenlet, SwitchError, switch_to_parent};
use fiveways::runtime::Runtime;
use fiveways::{task, time};

type Log = Rc<RefCell<Vec<String>>>;

fn say(log: &Log, line: impl Into<String>) {
    log.borrow_mut().push(line.into());
}

/// A greenlet that others know before it is made.
type Place<T> = Rc<OnceCell<Greenlet<T>>>;

fn switch<T: 'static>(place: &Place<T>, value: T) -> T {
    place.get().expect("it was made").switch(value)
}

/// Logs its end.
struct Tell(Log, &'static str);

impl Drop for Tell {
    fn drop(&mut self) {
        say(&self.0, self.1);
    }
}

/// What the two eat and play for.
fn eat_and_play(pause: impl Fn() + Clone + 'static) -> Vec<String> {
    let log = Log::default();
    let (eat, play) = (Place::default(), Place::default());
    let body = |what: &'static str, other: &Place<&'static str>| {
        let (log, other, pause) = (Rc::clone(&log), Rc::clone(other), pause.clone());
        Greenlet::new(move |name: &'static str| {
            say(&log, format!("{name} {what} 1"));
            pause();
            let name = switch(&other, name);
            say(&log, format!("{name} {what} 2"));
            if what == "eat" { switch(&other, name) } else { name }
        })
    };
    let (eats, plays) = (body("eat", &play), body("play", &eat));
    eat.set(eats.clone()).expect("unset");
    play.set(plays.clone()).expect("unset");
    let last = eats.switch("egon");
    assert_eq!(last, "egon");
    assert!(plays.is_dead());
    assert!(!eats.is_dead());
    eats.kill().expect("it waits");
    Rc::try_unwrap(log).map_or_else(|log| log.borrow().clone(), RefCell::into_inner)
}

/// S001-19, S001-20, D33: the greenlet program that the course has no code for. The two switch to
/// each other explicitly, from a helper that knows nothing of it, with a value each time.
#[test]
fn two_greenlets_switch_to_each_other() {
    let log = eat_and_play(|| ());
    assert_eq!(log, ["egon eat 1", "egon play 1", "egon eat 2", "egon play 2"]);
}

/// S001-21, C27: a greenlet that blocks blocks in place: two of one nap each take two naps.
#[test]
fn greenlets_save_no_waiting() {
    const NAP: Duration = Duration::from_millis(150);
    let started = Instant::now();
    let log = eat_and_play(|| thread::sleep(NAP));
    assert_eq!(log.len(), 4);
    assert!(started.elapsed() >= 2 * NAP);
}

/// S001-19: values go in and out at every switch.
#[test]
fn a_value_is_passed_at_every_switch() {
    let adder = Greenlet::new(|mut sum: u32| {
        loop {
            sum += switch_to_parent(sum);
        }
    });
    assert_eq!(adder.switch(1), 1);
    assert_eq!(adder.switch(10), 11);
    assert_eq!(adder.switch(100), 111);
}

/// S001-20: any depth of calls will do, and locals survive.
#[test]
fn a_switch_may_come_from_any_depth() {
    fn climb(depth: u32) -> u32 {
        let local = depth;
        let below = if depth == 0 { switch_to_parent(0) } else { climb(depth - 1) };
        assert_eq!(local, depth);
        below + 1
    }
    let climber = Greenlet::new(climb);
    assert_eq!(climber.switch(100), 0);
    assert_eq!(climber.switch(7), 7 + 101);
    assert!(climber.is_dead());
}

#[test]
fn the_value_of_a_finished_greenlet_goes_to_its_parent() {
    let parent = Greenlet::new(|_: &'static str| {
        let me = greenlet::current::<&'static str>().expect("we are in one");
        let child = Greenlet::new(|given| if given == "go" { "from the child" } else { "?" });
        assert_eq!(child.parent(), Some(me));
        let got = child.switch("go");
        assert_eq!(got, "from the child");
        assert!(child.is_dead());
        "from the parent"
    });
    assert_eq!(parent.parent(), None);
    assert_eq!(parent.switch("begin"), "from the parent");
    assert!(greenlet::current::<&str>().is_none());
}

#[test]
fn a_value_climbs_over_dead_parents() {
    let grandparent = Greenlet::new(|_: u32| switch_to_parent(0) + 1000);
    let parent = Greenlet::new(|value: u32| value);
    let child = Greenlet::new(|value: u32| value + 1);
    parent.set_parent(&grandparent);
    child.set_parent(&parent);
    assert_eq!(grandparent.switch(0), 0);
    assert_eq!(parent.switch(5), 5 + 1000);
    assert!(parent.is_dead() && grandparent.is_dead());
    assert_eq!(child.switch(1), 2);
}

#[test]
#[should_panic(expected = "its own ancestor")]
fn nobody_is_its_own_ancestor() {
    let parent = Greenlet::new(|(): ()| ());
    let child = Greenlet::new(|(): ()| ());
    child.set_parent(&parent);
    parent.set_parent(&child);
}

#[test]
fn the_dead_and_the_running_cannot_be_switched_to() {
    let place: Place<u32> = Place::default();
    let me = Rc::clone(&place);
    let greenlet = Greenlet::new(move |value: u32| {
        let me = me.get().expect("it was made");
        assert_eq!(me.try_switch(1), Err(SwitchError::Running));
        assert_eq!(me.kill(), Err(SwitchError::Running));
        value
    });
    place.set(greenlet.clone()).expect("unset");
    assert_eq!(greenlet.switch(3), 3);
    assert_eq!(greenlet.try_switch(4), Err(SwitchError::Dead));
    assert_eq!(greenlet.kill(), Ok(()));
    let panics = catch_unwind(AssertUnwindSafe(|| greenlet.switch(4))).expect_err("it is dead");
    let message = panics.downcast_ref::<String>().expect("a message");
    assert_eq!(message, "the greenlet is dead and cannot be switched to");
}

#[test]
fn killing_runs_destructors_and_comes_back() {
    let log = Log::default();
    let theirs = Rc::clone(&log);
    let victim = Greenlet::new(move |(): ()| {
        let _outer = Tell(Rc::clone(&theirs), "outer");
        let helper = || {
            let _inner = Tell(Rc::clone(&theirs), "inner");
            switch_to_parent(());
        };
        helper();
        say(&theirs, "never");
    });
    victim.switch(());
    let killer = {
        let victim = victim.clone();
        Greenlet::new(move |(): ()| victim.kill().expect("it waits"))
    };
    killer.switch(());
    assert!(victim.is_dead() && killer.is_dead());
    assert_eq!(*log.borrow(), ["inner", "outer"]);

    let unrun = Greenlet::new(|(): ()| unreachable!("it is killed before"));
    unrun.kill().expect("it waits");
    assert!(unrun.is_dead());
}

#[test]
fn dropping_the_last_handle_runs_destructors() {
    let log = Log::default();
    let theirs = Rc::clone(&log);
    let greenlet = Greenlet::new(move |(): ()| {
        let _tell = Tell(theirs, "dropped");
        switch_to_parent(());
    });
    greenlet.switch(());
    let other = greenlet.clone();
    drop(greenlet);
    assert!(log.borrow().is_empty());
    drop(other);
    assert_eq!(*log.borrow(), ["dropped"]);
}

#[test]
fn what_is_thrown_at_a_greenlet_is_raised_there() {
    let catches = Greenlet::new(|_: u32| {
        let thrown = catch_unwind(|| switch_to_parent(1_u32)).expect_err("something is thrown");
        *thrown.downcast::<u32>().expect("a number")
    });
    assert_eq!(catches.switch(0), 1);
    assert_eq!(catches.throw(Box::new(42_u32)), Ok(42));

    let ignores = Greenlet::new(|_: u32| switch_to_parent(1));
    assert_eq!(ignores.switch(0), 1);
    let thrown = catch_unwind(AssertUnwindSafe(|| ignores.throw(Box::new("through"))));
    assert_eq!(thrown.expect_err("nobody catches it").downcast_ref(), Some(&"through"));
    assert!(ignores.is_dead());

    let unrun = Greenlet::new(|_: u32| unreachable!("it dies before"));
    let thrown = catch_unwind(AssertUnwindSafe(|| unrun.throw(Box::new("through"))));
    assert_eq!(thrown.expect_err("nobody catches it").downcast_ref(), Some(&"through"));
    assert!(unrun.is_dead());
    assert_eq!(unrun.throw(Box::new("again")), Err(SwitchError::Dead));
}

#[test]
fn a_panic_goes_to_the_parent() {
    let parent = Greenlet::new(|_: &'static str| {
        let child = Greenlet::new(|_: &'static str| -> &'static str { panic!("as it must") });
        let caught = catch_unwind(AssertUnwindSafe(|| child.switch("go"))).expect_err("a panic");
        assert!(child.is_dead());
        caught.downcast_ref::<&str>().copied().expect("a message")
    });
    assert_eq!(parent.switch(""), "as it must");
    assert!(!thread::panicking());
}

/// Greenlets of several kinds of values may switch through each other, each kind in a loop of its
/// own; and a generator may switch from inside.
#[test]
fn other_kinds_of_values_and_generators_are_no_obstacle() {
    let numbers = Greenlet::new(|start: u32| {
        let words = Greenlet::new(|word: &'static str| {
            let doubler = Greenlet::new(|x: u32| switch_to_parent(x * 2) + 1);
            assert_eq!(doubler.switch(21), 42);
            assert_eq!(doubler.switch(1), 2);
            switch_to_parent(word);
            "done"
        });
        assert_eq!(words.switch("word"), "word");
        assert_eq!(words.switch(""), "done");
        let mut generator = Generator::<(), u32>::new(move |me| {
            let inside = Greenlet::new(|x: u32| switch_to_parent(x + 1));
            me.yield_(inside.switch(start));
            me.yield_(inside.switch(7));
        });
        let first = generator.next().expect("it yields");
        let second = switch_to_parent(first);
        second + generator.next().expect("it yields")
    });
    assert_eq!(numbers.switch(1), 2);
    assert_eq!(numbers.switch(100), 107);
    assert!(numbers.is_dead());
}

#[test]
fn a_generator_inside_a_greenlet_cannot_take_it_away() {
    let greenlet = Greenlet::new(|_: u32| {
        let mut generator = Generator::<(), u32>::new(|me| {
            let tried = catch_unwind(AssertUnwindSafe(|| switch_to_parent(1_u32)));
            me.yield_(u32::from(tried.is_err()));
        });
        generator.next().expect("it yields")
    });
    assert_eq!(greenlet.switch(0), 1);
}

/// Tasks of one worker each have their own current greenlet, and greenlets may wait in them.
#[test]
fn tasks_do_not_confuse_each_others_greenlets() {
    let runtime = Runtime::builder().workers(1).build().expect("a runtime");
    runtime.block_on(|| {
        let work = |number: u32| {
            let greenlet = Greenlet::new(move |mut sum: u32| {
                for _ in 0..10 {
                    time::sleep(Duration::from_millis(1));
                    sum += switch_to_parent(sum);
                    assert!(greenlet::current::<u32>().is_some());
                }
                sum
            });
            let mut last = greenlet.switch(number);
            while !greenlet.is_dead() {
                assert!(greenlet::current::<u32>().is_none());
                task::yield_now();
                last = greenlet.switch(1);
            }
            last
        };
        let tasks: Vec<_> = (0..50).map(|number| task::spawn_local(move || work(number))).collect();
        for (number, outcome) in (0..).zip(task::join_all(tasks)) {
            assert_eq!(outcome.expect("it ends"), number + 10);
        }
    });
}

/// A greenlet that waits for one task is not to be had for another; later it is.
#[test]
fn a_greenlet_runs_in_one_task_at_a_time() {
    let runtime = Runtime::builder().workers(1).build().expect("a runtime");
    runtime.block_on(|| {
        let greenlet = Greenlet::new(|value: u32| {
            task::yield_now();
            let value = switch_to_parent(value + 1);
            value + 1
        });
        let theirs = greenlet.clone();
        let first = task::spawn_local(move || theirs.switch(1));
        let theirs = greenlet.clone();
        let second = task::spawn_local(move || theirs.try_switch(1));
        assert_eq!(first.join().expect("it ends"), 2);
        assert_eq!(second.join().expect("it ends"), Err(SwitchError::Running));
        assert_eq!(greenlet.switch(5), 6);
    });
}

/// A cancel unwinds the greenlet that waits, and the task below it.
#[test]
fn a_task_can_be_cancelled_inside_a_greenlet() {
    let runtime = Runtime::builder().workers(1).build().expect("a runtime");
    runtime.block_on(|| {
        let log = Log::default();
        let theirs = Rc::clone(&log);
        let sleeper = task::spawn_local(move || {
            let _task = Tell(Rc::clone(&theirs), "task");
            let greenlet = Greenlet::new(move |(): ()| {
                let _greenlet = Tell(theirs, "greenlet");
                time::sleep(Duration::from_secs(3600));
            });
            greenlet.switch(());
        });
        task::yield_now();
        sleeper.cancel();
        assert!(sleeper.join().expect_err("it is cancelled").is_cancelled());
        assert_eq!(*log.borrow(), ["greenlet", "task"]);
    });
}

#[test]
fn a_hundred_thousand_switches_of_a_ring() {
    let ring: Rc<RefCell<Vec<Greenlet<u32>>>> = Rc::default();
    for place in 0..10 {
        let theirs = Rc::clone(&ring);
        ring.borrow_mut().push(Greenlet::new(move |mut count: u32| {
            while count < 100_000 {
                let next = theirs.borrow()[(place + 1) % 10].clone();
                count = next.switch(count + 1);
            }
            count
        }));
    }
    let first = ring.borrow()[0].clone();
    assert_eq!(first.switch(0), 100_000);
    let ended = ring.borrow().iter().filter(|it| it.is_dead()).count();
    assert_eq!(ended, 1);
    ring.borrow().iter().for_each(|it| it.kill().expect("it waits"));
}
