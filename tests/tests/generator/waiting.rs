//! Tasks that wait inside a generator: for time, for each other, for sockets.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use fiveways::generator::Generator;
use fiveways::{Model, task, time};
use fiveways_tests::arena::{in_task, pair};

use crate::{Log, Tell};

/// A task may wait inside a generator: for time, for other tasks, for sockets. Its neighbours run
/// meanwhile, and a generator of theirs is not confused.
pub(crate) fn a_task_may_wait_inside_a_generator(model: Model) {
    in_task(model, || {
        let (mut near, mut far) = pair();
        let ticks = Rc::new(RefCell::new(0));
        let neighbour = {
            let ticks = Rc::clone(&ticks);
            task::spawn_local(move || {
                let mut counts = Generator::<(), ()>::new(move |me| {
                    loop {
                        time::sleep(Duration::from_millis(1));
                        *ticks.borrow_mut() += 1;
                        me.yield_(());
                    }
                });
                for _ in 0..20 {
                    counts.next();
                }
            })
        };
        let writer = task::spawn_local(move || {
            for line in [b"one\n", b"two\n"] {
                time::sleep(Duration::from_millis(5));
                far.write_all(line).expect("it is taken");
            }
        });
        let mut words = Generator::<(), String>::new(move |me| {
            let mut word = [0; 4];
            while near.read_exact(&mut word).is_ok() {
                me.yield_(String::from_utf8_lossy(&word[..3]).into_owned());
            }
        });
        assert_eq!(words.next().as_deref(), Some("one"));
        task::yield_now();
        assert_eq!(words.next().as_deref(), Some("two"));
        writer.join().expect("it ends");
        assert_eq!(words.next(), None);
        neighbour.join().expect("it ends");
        assert_eq!(*ticks.borrow(), 20);
    });
}

/// A cancel reaches a task that waits inside a generator, and unwinds both stacks.
pub(crate) fn a_task_can_be_cancelled_inside_a_generator(model: Model) {
    in_task(model, || {
        let log = Log::default();
        let theirs = Rc::clone(&log);
        let sleeper = task::spawn_local(move || {
            let _task = Tell(Rc::clone(&theirs), "task");
            let mut sleeps = Generator::<(), u32>::new(move |me| {
                let _generator = Tell(theirs, "generator");
                me.yield_(1);
                time::sleep(Duration::from_secs(3600));
                me.yield_(2);
            });
            sleeps.next();
            sleeps.next();
        });
        task::yield_now();
        sleeper.cancel();
        assert!(sleeper.join().expect_err("it is cancelled").is_cancelled());
        assert_eq!(*log.borrow(), ["generator", "task"]);

        // One that is suspended when its task is cancelled, with a socket on its stack.
        let (near, mut far) = pair();
        let holder = task::spawn_local(move || {
            let mut holds = Generator::<(), u32>::new(move |me| {
                let _near = near;
                me.yield_(1);
            });
            holds.next();
            time::sleep(Duration::from_secs(3600));
        });
        task::yield_now();
        holder.cancel();
        assert!(holder.join().expect_err("it is cancelled").is_cancelled());
        assert_eq!(far.read(&mut [0; 8]).expect("the other end is closed"), 0);
    });
}

/// A time limit inside a generator counts for what it waits for, and not for its caller.
pub(crate) fn a_time_limit_stays_in_its_generator(model: Model) {
    const LIMIT: Duration = Duration::from_millis(10);
    in_task(model, || {
        let mut limited = Generator::<(), bool>::new(|me| {
            let late = task::timeout(LIMIT, || {
                me.yield_(false);
                time::sleep(Duration::from_secs(3600));
            });
            me.yield_(late.is_err());
        });
        assert_eq!(limited.next(), Some(false));
        time::sleep(2 * LIMIT);
        assert_eq!(limited.next(), Some(true));
        assert_eq!(limited.next(), None);

        let mut dropped = Generator::<(), ()>::new(|me| {
            let _ = task::timeout(LIMIT, || me.yield_(()));
        });
        dropped.next();
        drop(dropped);
        time::sleep(2 * LIMIT);

        // The caller's limit counts inside.
        let mut sleeps = Generator::<(), ()>::new(|_| time::sleep(Duration::from_secs(3600)));
        assert!(task::timeout(LIMIT, || sleeps.next()).is_err());
        assert!(sleeps.is_finished());
    });
}
