//! Deadlocks with more than one way out, and those through channels, which are only suspected.

use std::sync::{Arc, Mutex as StdMutex};

use fiveways::executor::{Future, FutureError, Sizing, ThreadPool};
use fiveways::inspect::{Detection, Options, TaskDump, deadlocks_found, dump_with};
use fiveways::sync::{Barrier, Mutex};
use fiveways::task;

use crate::deadlocks::{alone, runtime};
use crate::outside::Inspected;

/// The header of a report about channels, and what it says at its end.
const SUSPECTED: &str = "suspected deadlock: none of these waits can end before another does";
const DOUBT: &str = "unless a handle is kept";

fn suspects(part: &str) -> String {
    let mut program = Inspected::knotted(part);
    let text = program.stderr_until(DOUBT);
    assert!(text.contains(SUSPECTED), "{text}");
    text
}

/// Checks that each of these waits is listed, with its enders.
#[track_caller]
fn assert_tells(text: &str, waits: &[(&str, &str)]) {
    for (name, what) in waits {
        let line = format!("{name} waits for {what}");
        assert!(text.contains(&line), "{line:?} in {text}");
    }
    assert!(text.matches("could be ended by").count() >= waits.len(), "{text}");
}

#[test]
fn two_that_receive_before_they_send_are_suspected() {
    let text = suspects("receive-first");
    let receive = "receive from channel";
    assert_tells(&text, &[("'left'", receive), ("'right'", receive), ("'main'", "join")]);
}

#[test]
fn a_ring_through_a_channel_a_join_and_a_lock_is_suspected() {
    let text = suspects("ring");
    let ring = [("'first'", "receive from channel"), ("'second'", "join"), ("'third'", "mutex")];
    assert_tells(&text, &ring);
}

#[test]
fn two_full_channels_are_suspected() {
    let text = suspects("full");
    assert_tells(&text, &[("'left'", "send to channel"), ("'right'", "send to channel")]);
}

#[test]
fn who_receives_with_a_sender_of_its_own_is_suspected() {
    assert_tells(&suspects("own-sender"), &[("'main'", "receive from channel")]);
}

#[test]
fn a_queue_whose_work_nobody_does_is_suspected() {
    assert_tells(&suspects("queue-join"), &[("'main'", "join queue")]);
}

#[test]
fn a_knot_is_suspected_beside_tasks_that_have_nothing_to_do_with_it() {
    let receive = "receive from channel";
    assert_tells(&suspects("beside-others"), &[("'left'", receive), ("'right'", receive)]);
}

#[test]
fn a_receiver_is_suspected_when_the_last_other_that_could_send_has_ended() {
    assert_tells(&suspects("maker-ends"), &[("'receiver'", "receive from channel")]);
}

#[test]
fn a_task_and_a_thread_that_receive_first_are_suspected() {
    let text = suspects("thread");
    assert_tells(&text, &[("'task'", "receive from channel"), ("'main'", "receive from channel")]);
}

/// These end by themselves, and nothing is said meanwhile.
#[track_caller]
fn assert_says_nothing(part: &str) {
    assert_eq!(Inspected::knotted(part).stderr_to_the_end(), "");
}

#[test]
fn idle_receivers_of_a_server_are_not_suspected() {
    assert_says_nothing("accepting");
}

#[test]
fn who_has_sent_and_sleeps_is_waited_for() {
    assert_says_nothing("has-sent-and-sleeps");
}

#[test]
fn who_waits_again_and_again_is_not_suspected() {
    assert_says_nothing("ping-pong");
}

fn wait_until_somebody_waits_for(what: &str) {
    let options = Options::new().backtraces(false);
    let is_so = || dump_with(&options).to_string().contains(what);
    while !is_so() {
        task::yield_now();
    }
}

/// D50: a ring through a pool, a lock and a task: found by whom it closes, be that the lock's
/// waiter or the future's.
fn ring_through_a_pool(lock_is_last: bool) {
    let _alone = alone(Detection::Panic);
    let before = deadlocks_found();
    let ends = runtime(1).block_on(move || {
        let pool = ThreadPool::new(Sizing::Fixed(1)).expect("a size");
        let lock = Arc::new(Mutex::new(()));
        let pause = Arc::new(Barrier::new(2));
        let place: Arc<StdMutex<Option<Future<()>>>> = Arc::default();
        let (theirs, begun) = (Arc::clone(&lock), Arc::clone(&pause));
        let held = lock.lock();
        let work = pool.submit(move || {
            begun.wait();
            if lock_is_last {
                wait_until_somebody_waits_for("future");
            }
            drop(theirs.lock());
        });
        let work = work.expect("it is open");
        *place.lock().expect("no panic") = Some(work.clone());
        pause.wait();
        if !lock_is_last {
            wait_until_somebody_waits_for("mutex");
        }
        let told = work.result();
        drop(held);
        (told, work.exception())
    });
    match ends {
        // The waiter for the lock panics, and its work ends with that.
        (Err(FutureError::Panicked(panic)), _) if lock_is_last => {
            assert!(panic.message().contains("deadlock"), "{panic:?}");
        }
        // The waiter for the future gets the error, releases the lock, and the work is done.
        (Err(FutureError::WouldDeadlock), None) if !lock_is_last => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(deadlocks_found() - before, 1);
}

#[test]
fn a_ring_through_a_pool_that_a_lock_closes_is_found() {
    ring_through_a_pool(true);
}

#[test]
fn a_ring_through_a_pool_that_a_future_closes_is_told_to_who_waits_for_it() {
    ring_through_a_pool(false);
}

/// The links tell what the text tells.
#[test]
fn a_deadlock_gives_its_waits() {
    let _alone = alone(Detection::Panic);
    let deadlock = runtime(1).block_on(|| {
        let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let pause = Arc::new(Barrier::new(2));
        let cross = |name, one: &Arc<Mutex<()>>, other: &Arc<Mutex<()>>| {
            let (one, other, pause) = (Arc::clone(one), Arc::clone(other), Arc::clone(&pause));
            let both = move || {
                let _one = one.lock();
                pause.wait();
                let _other = other.lock();
            };
            task::Builder::new().name(name).spawn(both).expect("a stack")
        };
        let ends = [cross("one", &a, &b), cross("other", &b, &a)].map(|task| task.join());
        let error = ends.into_iter().find_map(Result::err).expect("one is ended");
        let deadlock = error.into_panic().downcast::<fiveways::inspect::Deadlock>();
        *deadlock.expect("the panic of a deadlock")
    });
    let [last, first] = deadlock.links() else { panic!("{deadlock}") };
    let mut names = [&last.name, &first.name];
    names.sort_unstable();
    assert_eq!(names, ["one", "other"]);
    assert_eq!((last.what, &last.waits_on[..]), ("mutex", &[first.who][..]));
    assert_eq!((first.what, &first.waits_on[..]), ("mutex", &[last.who][..]));
    assert!(first.place.file().ends_with("knots.rs") && deadlock.is_circle());
}

/// A dump lists the participants on the other side of a channel.
#[test]
fn a_dump_tells_who_could_end_a_wait() {
    let _alone = alone(Detection::Report);
    let (channel, pool) = runtime(1).block_on(|| {
        let (sender, receiver) = fiveways::sync::channel::unbounded::<u32>();
        let receiver = task::spawn(move || receiver.recv().is_ok());
        let hold = Arc::new(Barrier::new(2));
        let pool = ThreadPool::new(Sizing::Fixed(1)).expect("a size");
        let theirs = Arc::clone(&hold);
        let work = pool.submit(move || theirs.wait().is_leader()).expect("it is open");
        let waiter = task::spawn(move || work.result().is_ok());
        wait_until_somebody_waits_for("future");
        wait_until_somebody_waits_for("receive from channel");
        let dump = dump_with(&Options::new().backtraces(false));
        let tasks = &dump.runtimes.last().expect("ours").workers[0].tasks;
        let enders = |what: &str| {
            let waits = tasks.iter().filter_map(|task| task.wait.as_ref());
            waits.filter(|wait| wait.what == what).map(|wait| wait.enders.clone()).next()
        };
        let found = (enders("receive from channel"), enders("future"));
        assert_eq!(found.0.as_deref(), Some(&[sender_of(tasks)][..]));
        hold.wait();
        sender.send(1).expect("it listens");
        assert!(receiver.join().expect("no panic") && waiter.join().expect("no panic"));
        found
    });
    let pool = pool.expect("it waits");
    assert!(matches!(&pool[..], [one] if one.starts_with("thread ")), "{pool:?}");
    assert!(channel.is_some_and(|enders| enders.len() == 1));
}

/// The number of the task that runs all this: it has spawned the others.
fn sender_of(tasks: &[TaskDump]) -> String {
    let waiter = tasks.iter().find(|task| task.wait.as_ref().is_some_and(|w| w.what == "future"));
    waiter.and_then(|task| task.spawned_by.clone()).expect("it was spawned by a task")
}
