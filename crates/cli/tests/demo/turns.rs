//! The order of tasks, and whose data is whose: local, order, generator, greenlet, eat-play,
//! asyncio-hello, coro.

use crate::support::{assert_says, assert_says_sorted, output, said, stdout};

const EACH_ITS_OWN: &str = "\
lijing 42
liming 22
main never wrote, and reads nothing
";

/// S000-01, S000-03. The threads sleep for random times: the order of reads is free.
#[test]
fn local_each_thread_reads_what_it_wrote_and_who_wrote_nothing_reads_nothing() {
    assert_says_sorted(&["local"], |line| !line.starts_with("main"), EACH_ITS_OWN);
}

/// S000-04. The tasks sleep for random times: the order of reads is free.
#[test]
fn local_each_task_of_one_thread_reads_what_it_wrote() {
    assert_says_sorted(&["local", "--tasks"], |line| !line.starts_with("main"), EACH_ITS_OWN);
}

/// S000-02. The order of writes is free.
#[test]
fn local_in_one_cell_for_all_the_last_one_overwrites_the_other() {
    let said = said(&["local", "--shared"]);
    let of = |who| format!("{who}\n{who}\nmain never wrote, and reads {who}\n");
    assert!(said == of("liming 22") || said == of("lijing 42"), "{said}");
}

/// S001-07, S001-06.
#[test]
fn order_serial_takes_the_sum() {
    assert_says(&["order", "--serial"], "func1\nfunc2\ntook 3 s\n");
    assert_says(&["order"], "func1\nfunc2\ntook 3 s\n");
}

/// S001-03, S001-07.
#[test]
fn order_in_coroutines_takes_the_longest() {
    assert_says(&["order", "--coro"], "func1\nfunc2\ntook 2 s\n");
}

/// S000-05.
#[test]
fn order_synchronously_takes_the_sum() {
    assert_says(&["order", "--sync"], "func1\nfunc2\ntook 3 s\n");
}

/// S000-06.
#[test]
fn order_asynchronously_takes_the_longest() {
    assert_says(&["order", "--async"], "func1\nfunc2\ntook 2 s\n");
}

#[test]
fn order_has_one_way_at_a_time() {
    let output = output(&["order", "--coro", "--sync"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output), "");
}

const IN_TURNS: &str = "\
处理了数据: 0
发送了数据: 0
处理了数据: 1
发送了数据: 1
处理了数据: 2
发送了数据: 2
";

/// S001-08, S001-13.
#[test]
fn generator_producer_and_consumer_print_in_turns() {
    assert_says(&["generator"], IN_TURNS);
}

/// S001-17.
#[test]
fn generator_that_sleeps_saves_no_time() {
    assert_says(&["generator", "--sleep", "1"], &format!("{IN_TURNS}took 3 s\n"));
}

const SWITCHED: &str = "\
egon eat 1
egon play 1
egon eat 2
egon play 2
done: play is dead, eat is suspended
";

/// G02, D33, S001-19, S001-20.
#[test]
fn greenlets_switch_to_each_other_and_pass_a_value() {
    assert_says(&["greenlet"], SWITCHED);
}

/// S001-21.
#[test]
fn greenlets_that_sleep_block_in_place() {
    assert_says(&["greenlet", "--sleep"], &format!("{SWITCHED}took 2 s\n"));
}

/// S001-31, C28.
#[test]
fn eat_and_play_take_two_seconds_together() {
    let expected = "egon eat 1\negon play 1\negon eat 2\negon play 2\n\ntook 2 s\n";
    assert_says(&["eat-play"], expected);
}

/// C28, the control.
#[test]
fn eat_and_play_one_after_the_other_take_four_seconds() {
    let expected = "egon eat 1\negon eat 2\negon play 1\negon play 2\n\ntook 4 s\n";
    assert_says(&["eat-play", "--serial"], expected);
}

/// S004-57, C66, D36.
#[test]
fn asyncio_hello_both_sleep_at_the_same_time_on_one_thread() {
    assert_says(
        &["asyncio-hello"],
        "\
Hello world! (fiveways-0)
Hello world! (fiveways-0)
Hello again! (fiveways-0)
Hello again! (fiveways-0)
took 1 s, on one thread
",
    );
}

/// S001-01, S004-30. Of the two threads one waits in `main` for the other, which runs the tasks.
#[test]
fn coro_a_thousand_waiting_tasks_are_one_thread() {
    assert_says(
        &["coro", "--show-threads"],
        "\
1000 tasks slept 1 s each; all of it took 1 s
threads that ran a task: 1
threads of the process before: 2, one of which waits for the other
threads of the process with 1000 waiting tasks: 2
",
    );
}
