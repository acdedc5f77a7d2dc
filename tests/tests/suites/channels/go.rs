//! The tests of Go's own channels and `select`, from its `test/chan` and `runtime`.
//!
//! Closing is dropping the last sender. A channel that is `nil` can never be done: such arms are
//! left out by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fiveways::select;
use fiveways::sync::channel::{Receiver, Sender, bounded, unbounded};
use fiveways::sync::mpsc::RecvError;
use fiveways::sync::{Mutex, WaitGroup};

use super::ends;
use crate::support::{everywhere, heavy, joined, let_others_wait, other, others, pause};

everywhere!(
    heavy_selects_of_sends_send_each_item_once,
    a_chain_of_channels_keeps_the_order,
    heavy_a_long_line_of_tasks_hands_one_item_through,
    what_does_not_wait_finds_whoever_waits,
    the_sieve_finds_the_primes,
    an_item_goes_to_the_select_or_the_receive_that_waits,
    heavy_two_who_select_on_one_channel_do_not_lock_up,
    heavy_chaotic_sends_receives_and_selects_come_to_their_end,
    heavy_selects_are_fair_while_another_waits,
    heavy_sends_are_chosen_at_random_at_every_capacity,
    heavy_many_consumers_share_the_work,
    a_select_may_wait_on_a_channel_twice,
    a_closed_channel_gives_the_rest_and_then_nothing,
    heavy_a_receive_that_does_not_wait_sees_what_was_sent,
);

/// Go's `doubleselect`: one sends each number by any of four, and none comes twice.
fn heavy_selects_of_sends_send_each_item_once() {
    let count = heavy(20_000);
    let made: [(Sender<usize>, Receiver<usize>); 4] = std::array::from_fn(|_| bounded(0));
    let (out, merged) = bounded(0);
    let [s1, s2, s3, s4] = made.each_ref().map(|(sender, _)| sender.clone());
    let sending = other(move || {
        for number in 0..count {
            let sent = select! {
                send(s1, number) -> sent => sent,
                send(s2, number) -> sent => sent,
                send(s3, number) -> sent => sent,
                send(s4, number) -> sent => sent,
            };
            sent.unwrap();
        }
    });
    let receivers = made.map(|(_, receiver)| receiver);
    let muxing = receivers.map(|receiver| {
        let out = out.clone();
        other(move || receiver.iter().for_each(|number| out.send(number).unwrap()))
    });
    drop(out);
    let mut seen = vec![0; count];
    for number in merged {
        seen[number] += 1;
    }
    assert!(seen.into_iter().all(|times| times == 1));
    sending.join();
    joined(muxing);
}

/// Go's `fifo`.
fn a_chain_of_channels_keeps_the_order() {
    let (sender, receiver) = bounded(10);
    (0..10).for_each(|number| sender.send(number).unwrap());
    assert!((0..10).all(|number| receiver.recv() == Ok(number)));
    // Each may only receive after the one before it.
    let (values, taken) = bounded(0);
    let (first, mut before) = bounded::<()>(0);
    let mut chain = Vec::new();
    for number in 0..10 {
        let (done, next) = bounded(0);
        let (taken, ahead) = (taken.clone(), std::mem::replace(&mut before, next));
        chain.push(other(move || {
            ahead.recv().unwrap();
            assert_eq!(taken.recv(), Ok(number));
            done.send(()).unwrap();
        }));
    }
    let starting = other(move || first.send(()));
    (0..10).for_each(|number| values.send(number).unwrap());
    before.recv().unwrap();
    starting.join().unwrap();
    joined(chain);
}

/// Go's `goroutines`.
fn heavy_a_long_line_of_tasks_hands_one_item_through() {
    let length = if fiveways::task::in_task() { heavy(10_000) } else { 50 };
    let (leftmost, mut right) = bounded::<usize>(0);
    let mut line = Vec::new();
    for _ in 0..length {
        let (sender, receiver) = bounded(0);
        let before = std::mem::replace(&mut right, receiver);
        line.push(other(move || sender.send(before.recv().unwrap() + 1).unwrap()));
    }
    leftmost.send(0).unwrap();
    assert_eq!(right.recv(), Ok(length));
    joined(line);
}

/// Go's `nonblock`.
fn what_does_not_wait_finds_whoever_waits() {
    for capacity in [0, 1] {
        let (sender, receiver) = ends(capacity);
        assert!(receiver.try_recv().is_err());
        let theirs = receiver.clone();
        let receiving = other(move || theirs.recv());
        // Until the other one waits.
        while select! { send(sender, 7) -> sent => sent.is_err(), default => true } {
            let_others_wait();
        }
        assert_eq!(receiving.join(), Ok(7));
        let sending = other(move || sender.send(8));
        let item = loop {
            let item = select! { recv(receiver) -> item => item.ok(), default => None };
            if item.is_some() {
                break item;
            }
            let_others_wait();
        };
        assert_eq!(item, Some(8));
        sending.join().unwrap();
    }
}

/// Go's `sieve1`.
fn the_sieve_finds_the_primes() {
    let (sender, mut numbers) = bounded(0);
    // It ends when nobody wants more.
    let mut stages = vec![other(move || (2..).take_while(|n| sender.send(*n).is_ok()).count())];
    let mut primes = Vec::new();
    for _ in 0..12 {
        let prime: u32 = numbers.recv().unwrap();
        primes.push(prime);
        let (sender, next) = bounded(0);
        let before = std::mem::replace(&mut numbers, next);
        let filter = move || {
            let mut kept = before.iter().filter(|number| number % prime != 0);
            kept.by_ref().take_while(|number| sender.send(*number).is_ok()).count()
        };
        stages.push(other(filter));
    }
    assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]);
    drop(numbers);
    joined(stages);
}

/// Go's `select7`.
fn an_item_goes_to_the_select_or_the_receive_that_waits() {
    for by_select in [false, true] {
        for receives in 0..3 {
            let (sender, receiver) = bounded(0);
            let (_never, quiet) = bounded::<u32>(0);
            let receiving = other(move || match receives {
                0 => receiver.recv(),
                1 => select! { recv(receiver) -> item => item },
                _ => select! { recv(receiver) -> item => item, recv(quiet) -> item => item },
            });
            if by_select {
                select! { send(sender, 1) -> sent => sent.unwrap() }
            } else {
                sender.send(1).unwrap();
            }
            assert_eq!(receiving.join(), Ok(1));
        }
    }
}

/// Go's `TestSelfSelect`.
fn heavy_two_who_select_on_one_channel_do_not_lock_up() {
    let count = heavy(1_000);
    for capacity in [0, 10] {
        let (sender, receiver) = ends(capacity);
        let both = others(2, move |me| {
            for round in 0..count {
                let item = if me == 0 || round % 2 == 0 {
                    select! { send(sender, me) -> _ => None, recv(receiver) -> item => item.ok() }
                } else {
                    select! { recv(receiver) -> item => item.ok(), send(sender, me) -> _ => None }
                };
                assert!(capacity > 0 || item != Some(me), "it has received from itself");
            }
        });
        // With a bound of 0 one's last may wait for the other who has gone: so the count is even.
        joined(both);
    }
}

/// Go's `TestSelectStress`: four who send and four who receive, and one select of each kind.
fn heavy_chaotic_sends_receives_and_selects_come_to_their_end() {
    let count = heavy(5_000);
    let made = [0, 0, 2, 3].map(ends::<usize>);
    let senders = made.each_ref().map(|(sender, _)| sender.clone());
    let receivers = made.map(|(_, receiver)| receiver);
    let group = WaitGroup::new();
    let mut all = Vec::new();
    for (sender, receiver) in senders.clone().into_iter().zip(receivers.clone()) {
        let (one, two) = (group.add(), group.add());
        all.push(other(move || {
            (0..count).for_each(|_| sender.send(0).unwrap());
            one.done();
        }));
        all.push(other(move || {
            assert!((0..count).all(|_| receiver.recv().is_ok()));
            two.done();
        }));
    }
    let (one, two) = (group.add(), group.add());
    all.push(other(move || {
        let mut left = [count; 4];
        // What has been received often enough is replaced by what never comes.
        let (_never, quiet) = bounded(0);
        while left.iter().sum::<usize>() > 0 {
            let end = |n: usize| if left[n] > 0 { &receivers[n] } else { &quiet };
            let which = select! {
                recv(end(3)) -> _ => 3,
                recv(end(2)) -> _ => 2,
                recv(end(0)) -> _ => 0,
                recv(end(1)) -> _ => 1,
            };
            left[which] -= 1;
        }
        one.done();
    }));
    all.push(other(move || {
        let mut left = [count; 4];
        let (full, _never) = bounded(0);
        while left.iter().sum::<usize>() > 0 {
            let end = |n: usize| if left[n] > 0 { &senders[n] } else { &full };
            let which = select! {
                send(end(0), 0) -> _ => 0,
                send(end(1), 0) -> _ => 1,
                send(end(2), 0) -> _ => 2,
                send(end(3), 0) -> _ => 3,
            };
            left[which] -= 1;
        }
        two.done();
    }));
    group.wait();
    joined(all);
}

/// Go's `TestSelectFairness`.
fn heavy_selects_are_fair_while_another_waits() {
    let trials = heavy(10_000).max(1_000);
    let ((s1, r1), (s2, r2)) = (bounded(trials + 1), bounded(trials + 1));
    for _ in 0..=trials {
        s1.send(1).unwrap();
        s2.send(2).unwrap();
    }
    let ((_s3, r3), (_s4, r4)) = (bounded(0), bounded(0));
    let ((out, came), (done, end)) = (bounded(0), bounded::<()>(0));
    let choosing = other(move || {
        loop {
            let item = select! {
                recv(r3) -> item => item,
                recv(r4) -> item => item,
                recv(r1) -> item => item,
                recv(r2) -> item => item,
            };
            select! {
                send(out, item.unwrap()) -> _ => (),
                recv(end) -> _ => break,
            }
        }
    });
    let ones = came.iter().take(trials).filter(|item| *item == 1).count();
    // Seven standard deviations.
    let off = (ones as f64 - trials as f64 / 2.0).abs();
    assert!(off < 3.5 * (trials as f64).sqrt(), "{ones} of {trials}");
    drop(done);
    choosing.join();
}

/// Go's `TestPseudoRandomSend`.
fn heavy_sends_are_chosen_at_random_at_every_capacity() {
    const COUNT: usize = 100;
    for capacity in (0..COUNT).step_by(if cfg!(debug_assertions) { 25 } else { 1 }) {
        let (sender, receiver) = bounded::<usize>(capacity);
        let receiving = other(move || {
            let slowly = |number| {
                let_others_wait();
                number
            };
            receiver.iter().take(COUNT).map(slowly).sum::<usize>()
        });
        for _ in 0..COUNT {
            select! { send(sender, 1) -> _ => (), send(sender, 0) -> _ => () }
        }
        let ones = receiving.join();
        assert!((10..=90).contains(&ones), "{ones} ones at capacity {capacity}");
    }
}

/// Go's `TestMultiConsumer`.
fn heavy_many_consumers_share_the_work() {
    const WORKERS: usize = 23;
    const PRIMES: [usize; 10] = [2, 3, 7, 11, 13, 17, 19, 23, 27, 31];
    let count = heavy(50_000);
    let ((work, worked), (result, results)) = (bounded(WORKERS * 3), bounded(WORKERS * 3));
    let working = others(WORKERS, move |me| {
        for number in worked.iter() {
            if PRIMES[me % PRIMES.len()] == number {
                pause();
            }
            result.send(number).unwrap();
        }
        result.clone()
    });
    let feeding = other(move || {
        let numbers = (0..count).map(|n| PRIMES[n % PRIMES.len()]);
        numbers.inspect(|number| work.send(*number).unwrap()).sum::<usize>()
    });
    let sum: usize = results.iter().take(count).sum();
    assert_eq!(sum, feeding.join());
    drop(joined(working));
    assert_eq!(results.recv(), Err(RecvError));
}

/// Go's `TestSelectDuplicateChannel`.
fn a_select_may_wait_on_a_channel_twice() {
    let ((c, c_end), (d, d_end), (e, e_end)) = (bounded::<u32>(0), bounded(0), bounded(0));
    let theirs = (c_end.clone(), e_end.clone());
    let selecting = other(move || {
        select! {
            recv(theirs.0) -> _ => (),
            recv(d_end) -> _ => (),
            recv(theirs.1) -> _ => (),
        }
        e.send(9)
    });
    let_others_wait();
    let receiving = other(move || c_end.recv());
    let_others_wait();
    d.send(7).unwrap();
    assert_eq!(e_end.recv(), Ok(9));
    // It is no longer in the line of the first.
    c.send(8).unwrap();
    assert_eq!(receiving.join(), Ok(8));
    selecting.join().unwrap();
}

/// Go's `closedchan`.
fn a_closed_channel_gives_the_rest_and_then_nothing() {
    for capacity in [2, usize::MAX] {
        let (sender, receiver) = ends(capacity);
        (1..=2).for_each(|number| sender.send(number).unwrap());
        drop(sender);
        let log = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..4 {
            let item = select! { recv(receiver) -> item => item.ok() };
            log.lock().unwrap().push(item);
        }
        assert_eq!(*log.lock().unwrap(), [Some(1), Some(2), None, None]);
        assert_eq!((receiver.recv(), receiver.iter().next()), (Err(RecvError), None));
    }
}

/// Go's `TestNonblockRecvRace`: of item and end, the item comes first.
fn heavy_a_receive_that_does_not_wait_sees_what_was_sent() {
    let seen = Arc::new(AtomicUsize::new(0));
    let rounds = heavy(2_000);
    for _ in 0..rounds {
        let (sender, receiver) = unbounded();
        sender.send(1).unwrap();
        let count = Arc::clone(&seen);
        let looking = other(move || {
            let item = select! { recv(receiver) -> item => item.ok(), default => None };
            count.fetch_add(usize::from(item == Some(1)), Ordering::SeqCst);
        });
        drop(sender);
        looking.join();
    }
    assert_eq!(seen.load(Ordering::SeqCst), rounds);
}
