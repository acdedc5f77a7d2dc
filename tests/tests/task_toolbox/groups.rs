//! Groups: tasks that are joined, cancelled and left alone together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fiveways::runtime::Runtime;
use fiveways::task::{self, Group};
use fiveways::time;
use fiveways_tests::patience::eventually;

use crate::{FOREVER, Log, Tell, on_workers};

#[test]
fn a_group_is_joined_when_all_have_ended() {
    let claim = || {
        let (group, ended) = (Group::new(), Arc::new(AtomicUsize::new(0)));
        for number in 0..100 {
            let ended = Arc::clone(&ended);
            group.spawn(move || {
                time::sleep(Duration::from_millis(number % 7));
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        assert!(!group.is_empty());
        group.join().expect("none panics");
        assert_eq!((ended.load(Ordering::Relaxed), group.len()), (100, 0));
        group.join().expect("an empty group is joined at once");
    };
    on_workers(1, claim);
    on_workers(2, claim);
    claim();
}

#[test]
fn members_may_add_members() {
    fn grow(group: &Group, depth: u32, count: &Arc<AtomicUsize>) {
        count.fetch_add(1, Ordering::Relaxed);
        for _ in 0..if depth > 0 { 2 } else { 0 } {
            let (theirs, count) = (group.clone(), Arc::clone(count));
            group.spawn(move || grow(&theirs, depth - 1, &count));
        }
    }
    on_workers(2, || {
        let (group, count) = (Group::new(), Arc::default());
        grow(&group, 9, &count);
        group.join().expect("none panics");
        assert_eq!(count.load(Ordering::Relaxed), 1023);
    });
}

#[test]
fn a_cancelled_group_ends_even_if_it_has_not_begun() {
    for workers in [1, 2] {
        on_workers(workers, || {
            let (group, log) = (Group::new(), Log::default());
            for number in 0..50 {
                let log = log.clone();
                group.spawn(move || {
                    let _tell = Tell(log.clone(), "unwound");
                    time::sleep(FOREVER);
                    log.say("never");
                });
                if number == 25 {
                    task::yield_now();
                }
            }
            let handle = group.spawn_with_handle(|| time::sleep(FOREVER));
            let local = group.spawn_local(|| time::sleep(FOREVER));
            assert_eq!(group.len(), 52);
            assert!(group.join_timeout(Duration::from_millis(5)).is_none());
            group.cancel();
            let joined = group.join_timeout(FOREVER).expect("it ends");
            joined.expect("to be cancelled is no panic");
            assert!(handle.join().expect_err("it is cancelled").is_cancelled());
            assert!(local.join().expect_err("it is cancelled").is_cancelled());
            assert!(!log.lines().contains(&"never".to_owned()));
            // A member that is added after the cancel is not cancelled.
            let late = group.spawn_with_handle(|| 5);
            assert_eq!(late.join().expect("it ends"), 5);
        });
    }
}

#[test]
fn the_first_panic_of_a_group_is_told_once() {
    on_workers(1, || {
        let group = Group::new();
        group.spawn(|| panic!("one"));
        group.spawn(|| panic!("two"));
        let ours = group.spawn_with_handle(|| panic!("three"));
        let error = group.join().expect_err("one has panicked");
        assert_eq!(error.to_string(), "the task panicked: one");
        group.join().expect("it has been told");
        assert!(ours.join().expect_err("it has panicked").is_panic());
    });
}

#[test]
fn a_dropped_group_lets_its_tasks_go_on() {
    let runtime = Runtime::builder().build().expect("a runtime");
    let ended = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&ended);
    runtime.block_on(move || {
        let group = Group::new();
        group.spawn(move || {
            task::yield_now();
            theirs.fetch_add(1, Ordering::Relaxed);
        });
    });
    eventually("it ends", || ended.load(Ordering::Relaxed) == 1);
}

#[test]
fn a_cancelled_join_of_a_group_leaves_it_alone() {
    on_workers(1, || {
        let group = Group::new();
        group.spawn(|| time::sleep(FOREVER));
        let theirs = group.clone();
        let joins = task::spawn_local(move || theirs.join());
        task::yield_now();
        joins.cancel();
        assert!(joins.join().expect_err("it is cancelled").is_cancelled());
        assert_eq!(group.len(), 1);
        group.cancel();
        group.join().expect("it ends");
    });
}

/// Where waiting would stop the worker for ever, it is refused.
#[test]
fn a_group_cannot_be_joined_by_a_destructor_that_unwinds() {
    struct Joins(Group, Log);
    impl Drop for Joins {
        fn drop(&mut self) {
            let error = self.0.join().expect_err("it would never end");
            assert!(!error.is_panic() && !error.is_cancelled());
            self.1.say("refused");
        }
    }
    on_workers(1, || {
        let (group, log) = (Group::new(), Log::default());
        group.spawn(|| time::sleep(FOREVER));
        let joins = Joins(group.clone(), log.clone());
        let panics = task::spawn(move || {
            let _joins = joins;
            panic!("as it must");
        });
        assert!(panics.join().expect_err("it panics").is_panic());
        assert_eq!(log.lines(), ["refused"]);
        group.cancel();
        group.join().expect("it ends");
    });
}
