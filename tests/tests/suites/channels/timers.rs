//! `after` and `tick`: here an arm of `select!`, [`After`](fiveways::time::After) and
//! [`Interval`](fiveways::time::Interval).

use std::time::{Duration, Instant};

use fiveways::sync::channel::unbounded;
use fiveways::{select, time};

use crate::support::{LONG, everywhere, other};

everywhere!(
    a_timer_fires_once_at_its_time,
    a_timer_that_is_not_asked_for_is_due_all_the_same,
    of_two_timers_the_earlier_comes_first,
    an_arm_of_time_comes_when_nothing_else_does,
    many_selects_with_time_in_a_row_keep_theirs,
    ticks_come_in_their_period,
    ticks_may_be_selected_with_items,
);

const BRIEF: Duration = Duration::from_millis(3);

fn a_timer_fires_once_at_its_time() {
    let begin = Instant::now();
    let mut timer = time::after(BRIEF);
    assert!(!timer.is_due() || begin.elapsed() >= BRIEF);
    let fired = timer.wait();
    assert!(fired - begin >= BRIEF && begin.elapsed() >= BRIEF);
    assert!(timer.is_due());
    assert_eq!(time::after(BRIEF).count(), 1);
}

fn a_timer_that_is_not_asked_for_is_due_all_the_same() {
    let mut timer = time::after(BRIEF);
    time::sleep(BRIEF);
    assert!(timer.is_due());
    // It does not wait again.
    let begin = Instant::now();
    timer.wait();
    assert!(begin.elapsed() < LONG / 2);
}

fn of_two_timers_the_earlier_comes_first() {
    for _ in 0..5 {
        let first = select! { after(LONG) => 1, after(BRIEF) => 2, after(LONG * 2) => 3 };
        assert_eq!(first, 2);
    }
}

fn an_arm_of_time_comes_when_nothing_else_does() {
    let (sender, receiver) = unbounded();
    let sending = other(move || {
        time::sleep(BRIEF);
        sender.send(1).unwrap();
        sender
    });
    let first = select! { recv(receiver) -> item => item.ok(), after(LONG) => None };
    assert_eq!(first, Some(1));
    let begin = Instant::now();
    let second = select! { recv(receiver) -> item => item.ok(), at(begin + BRIEF) => None };
    assert!(second.is_none() && begin.elapsed() >= BRIEF);
    drop(sending.join());
}

fn many_selects_with_time_in_a_row_keep_theirs() {
    let (begin, brief) = (Instant::now(), BRIEF / 10);
    let (_sender, receiver) = unbounded::<u32>();
    for _ in 0..10 {
        select! { recv(receiver) -> _ => unreachable!(), after(brief) => () }
    }
    assert!(begin.elapsed() >= BRIEF);
}

fn ticks_come_in_their_period() {
    let begin = Instant::now();
    let mut ticks = time::interval(BRIEF);
    // The first comes at once, as tokio's; crossbeam's only after a period.
    let times: Vec<_> = (0..4).map(|_| ticks.tick()).collect();
    assert!(begin.elapsed() >= BRIEF * 3);
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]));
}

fn ticks_may_be_selected_with_items() {
    let mut ticks = time::interval(BRIEF);
    ticks.tick();
    let (sender, receiver) = unbounded();
    sender.send(1).unwrap();
    let (mut items, mut times) = (0, 0);
    while times < 3 {
        let due = ticks.deadline().unwrap();
        select! {
            recv(receiver) -> item => items += item.unwrap(),
            at(due) => {
                ticks.tick();
                times += 1;
            }
        }
    }
    assert_eq!(items, 1);
}
