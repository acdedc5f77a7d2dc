//! Work that is handed over: queues, pool, producer-consumer, spawn-styles.

use std::collections::BTreeSet;

use crate::support::{assert_says, assert_says_sorted, said};

/// S004-12 to S004-18, C48, G10.
#[test]
fn queues_keep_their_orders_and_their_limits() {
    assert_says(
        &["queues"],
        "\
queue: 3 of 3 items, full: true
put at once: the queue is full, and 4 comes back
put with a timeout: the queue is full after 1 s
first in, first out: 1, 2, 3
queue: 0 items, empty: true
get at once: the queue is empty
get with a timeout: the queue is empty after 3 s
last in, first out: 3, 2, 1
smaller first, equals in the order they came:
  -5 minus five
  3 three
  3 three again
  10 ten
",
    );
}

/// How a pool begins; the callbacks come sorted as text.
const BEGIN: &str = "\
FiveTimesCpus: 10 workers on 2 processors
CpusPlusFourAtMost32: 6 workers on 2 processors
Cpus: 2 workers on 2 processors
submitted 10, of which 0 are done
call_back: 0
call_back: 1
call_back: 16
call_back: 25
call_back: 36
call_back: 4
call_back: 49
call_back: 64
call_back: 81
call_back: 9
";

/// S004-21 to S004-23, S004-25 to S004-29, G11, C42 to C44. Five threads call back at the same
/// time: their order is free.
#[test]
fn pool_of_threads_calls_back_with_each_result_and_waits_for_all() {
    let end = "\
all done by 5 threads, took 2 s
one more: the pool has been shut down
a task that panics: the work panicked: out of paper
the next task has a thread: true
a callback of what is done already: at once, right here: true
";
    let is_callback = |line: &str| line.starts_with("call_back");
    assert_says_sorted(&["pool"], is_callback, &format!("{BEGIN}{end}"));
}

/// S004-21, S004-24, S004-27, S004-28, G11. Five processes answer at the same time: their order is
/// free. How long it takes to start them is not looked at.
#[test]
fn pool_of_processes_calls_back_with_each_result_and_waits_for_all() {
    let end = "\
all done by 5 processes
in this process: 0
one more: the pool has been shut down
";
    let is_callback = |line: &str| line.starts_with("call_back");
    assert_says_sorted(&["pool", "--processes"], is_callback, &format!("{BEGIN}{end}"));
}

/// S004-73, G15. Which cook or guest is first is the scheduler's affair; that each bun is eaten
/// once, and not before it was made, is not.
#[test]
fn producer_consumer_all_is_eaten_once_and_everybody_goes_home() {
    let said = said(&["producer-consumer"]);
    let (buns, end) = said.trim_end().rsplit_once('\n').expect("there are lines");
    assert_eq!(end, "made 6, eaten 6, left 0");
    let mut made = BTreeSet::new();
    let mut eaten = BTreeSet::new();
    for line in buns.lines() {
        match line.split_once(": ").expect("two parts") {
            ("made", bun) => assert!(made.insert(bun), "made twice: {bun}"),
            ("eaten", bun) => {
                assert!(made.contains(bun), "eaten before it was made: {bun}");
                assert!(eaten.insert(bun), "eaten twice: {bun}");
            }
            (other, _) => panic!("neither made nor eaten: {other}"),
        }
    }
    assert_eq!(made, eaten);
    let bun = |cook: &'static str| (1..=3).map(move |number| format!("bun {number} of {cook}"));
    assert!(eaten.into_iter().eq(bun("egon").chain(bun("tank")).collect::<BTreeSet<_>>()));
}

/// S004-71, S004-74, G16.
#[test]
fn spawn_styles_functions_and_types_run_in_processes_and_threads() {
    assert_says(
        &["spawn-styles"],
        "\
hello from a function in a process of its own: true
hello from a type in a process of its own: true
hello from a function in a thread of its own: true
hello from a type in a thread of its own: true
",
    );
}

/// C67, S004-67, G12.
#[test]
fn sticky_sends_are_no_messages_and_frames_are() {
    assert_says(
        &["sticky"],
        "\
5 sends: one, two, three, four, five
1 read: onetwothreefourfive
with a header: 5 messages: one, two, three, four, five
1 send: 2500 bytes
3 reads: 1000, 1000, 500 bytes
with a header: 1 message: 2500 bytes
8 sends of 1 byte: 1 message: late
",
    );
}
