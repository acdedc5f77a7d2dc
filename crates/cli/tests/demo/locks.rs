//! Waiting for each other: deadlock, rlock, semaphore, event, mutex.

use crate::support::{assert_says, assert_says_sorted, output, stderr, stdout};

/// S004-01, C46, G09.
#[test]
fn deadlock_is_found_and_told_with_its_holders() {
    let output = output(&["deadlock", "--scale", "0.1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let place = second_lock();
    assert_eq!(
        stdout(&output),
        format!(
            "\
first has A
second has B
first has B
first is done
second was ended by a deadlock:
  second waits for a mutex of first at {place}
  first waits for a mutex of second at {place}
"
        )
    );
    let report = "fiveways: deadlock: each of these waits for the next\n";
    assert!(stderr(&output).contains(report), "{}", stderr(&output));
}

/// Where the demo waits for the second lock.
fn second_lock() -> String {
    let source = include_str!("../../src/demo/deadlock.rs");
    let call = "other.take(who)";
    let place = source.lines().enumerate().find_map(|(number, line)| {
        let column = line.find(call)? + "other.".len();
        Some(format!("crates/cli/src/demo/deadlock.rs:{}:{}", number + 1, column + 1))
    });
    place.expect("it is there")
}

/// S004-01, C46.
#[test]
fn deadlock_does_not_come_when_locks_are_taken_in_one_order() {
    assert_says(
        &["deadlock", "--ordered"],
        "\
first has A
first has B
second has A
second has B
first is done
second is done
",
    );
}

/// S004-01.
#[test]
fn deadlock_is_escaped_by_who_waits_only_so_long() {
    assert_says(
        &["deadlock", "--timeout"],
        "\
first has A
second has B
second has waited 1 s for A, and gives B back
first has B
second has B
second has A
first is done
second is done
",
    );
}

/// S004-04, S004-05, C45.
#[test]
fn rlock_nobody_else_gets_it_before_the_last_release() {
    assert_says(
        &["rlock"],
        "\
acquire: count 1, another does not get it
acquire: count 2, another does not get it
acquire: count 3, another does not get it
release: count 2, another does not get it
release: count 1, another does not get it
release: count 0, another gets it
",
    );
}

/// S004-06.
#[test]
fn semaphore_admits_five_at_a_time() {
    assert_says(
        &["semaphore"],
        "\
5 places, 20 visitors
inside at a time: 5 at most
have been inside: 20, are inside: 0
took 4 s
one release too many: 1 permit released to a semaphore that has 5 of 5 free
",
    );
}

/// C47: a hundred threads, five places. How long that takes is not looked at: 20 rounds of a
/// shrunk second add up their delays.
#[test]
fn semaphore_admits_five_at_a_time_of_a_hundred_threads_and_all_in_the_end() {
    let output = output(&["semaphore", "--visitors", "100", "--scale", "0.02"]);
    let said = stdout(&output);
    let lines: Vec<_> = said.lines().take(3).collect();
    let expected = [
        "5 places, 100 visitors",
        "inside at a time: 5 at most",
        "have been inside: 100, are inside: 0",
    ];
    assert_eq!(lines, expected);
}

/// S004-08, C77. The cars are threads: the order in which they come and go is free.
#[test]
fn event_threads_start_only_after_it_was_set() {
    assert_says_sorted(
        &["event"],
        |line| line.starts_with("car"),
        "\
the light is red
car 1 waits
car 2 waits
car 3 waits
the light is green
car 1 drives at green
car 2 drives at green
car 3 drives at green
a late car drives on: the light is green
the light is red
took 3 s
",
    );
}

/// S004-09, C77.
#[test]
fn event_processes_start_only_after_it_was_set() {
    assert_says(
        &["event", "--processes"],
        "\
the light is red
car 1 waits
car 2 waits
car 3 waits
the light is green
car 1 drives at green
car 2 drives at green
car 3 drives at green
",
    );
}

/// S004-72, G15.
#[test]
fn mutex_sells_one_ticket_once() {
    for (args, users) in [(vec!["mutex"], "threads"), (vec!["mutex", "--processes"], "processes")] {
        let expected = format!("1 ticket, 10 users ({users}), with a mutex\nsold 1, left 0\n");
        assert_says(&args, &expected);
    }
}

/// S004-72, G15. How often it is sold is free; users think for a second, and so all of them, or
/// nearly all, see the same ticket.
#[test]
fn mutex_without_it_one_ticket_is_sold_many_times() {
    for (args, users) in [(&["mutex"][..], "threads"), (&["mutex", "--processes"], "processes")] {
        let args = [args, &["--unlocked", "--scale", "5"]].concat();
        let said = stdout(&output(&args));
        let title = format!("1 ticket, 10 users ({users}), without a mutex\nsold ");
        let sold = said.strip_prefix(&title).and_then(|rest| rest.strip_suffix(", left 0\n"));
        let sold = sold.and_then(|number| number.parse::<u32>().ok());
        assert!(sold.is_some_and(|number| (2..=10).contains(&number)), "{said}");
    }
}
