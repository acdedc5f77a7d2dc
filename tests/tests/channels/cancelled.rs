//! Cancelling who waits: what it was given is passed on, what it gave is taken back.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fiveways::runtime::Runtime;
use fiveways::sync::channel::{Receiver, Sender, bounded};
use fiveways::{Model, select, task};

use crate::support::in_tasks;

fn let_others_wait() {
    for _ in 0..10 {
        task::yield_now();
    }
}

/// It returns with the item, and is unwound where it waits next.
#[test]
fn a_receiver_that_was_given_an_item_has_it() {
    in_tasks(1, || {
        let (tx, rx) = bounded(0);
        let (got, has_got) = bounded(1);
        let cancelled = task::spawn_local(move || {
            got.try_send(rx.recv()).expect("there is room");
            rx.recv()
        });
        let_others_wait();
        // It has the item, and has not run since.
        tx.try_send(1).expect("it waits");
        cancelled.cancel();
        assert!(cancelled.join().is_err_and(|error| error.is_cancelled()));
        assert_eq!(has_got.try_recv(), Ok(Ok(1)));
    });
}

/// What loom found: an item that is passed on would come after the news that nothing more comes.
#[test]
fn nobody_is_told_of_the_end_before_the_last_item() {
    in_tasks(1, || {
        let (tx, rx) = bounded(0);
        let (first, second) = (rx.clone(), rx);
        let cancelled = task::spawn_local(move || first.recv());
        let_others_wait();
        let waiting = task::spawn_local(move || second.recv());
        let_others_wait();
        tx.try_send(1).expect("they wait");
        drop(tx);
        cancelled.cancel();
        let got = [cancelled, waiting].map(|one| one.join().expect("each has its answer").ok());
        assert_eq!(got, [Some(1), None]);
    });
}

#[test]
fn an_item_that_nobody_is_to_have_is_dropped() {
    in_tasks(1, || {
        let item = Arc::new(());
        let (tx, rx) = bounded(0);
        let cancelled = task::spawn_local(move || rx.recv());
        let_others_wait();
        tx.try_send(Arc::clone(&item)).expect("it waits");
        cancelled.cancel();
        drop(cancelled.join());
        assert_eq!(Arc::strong_count(&item), 1);
        assert!(tx.try_send(item).is_err());
    });
}

#[test]
fn a_cancelled_sender_has_not_sent() {
    in_tasks(1, || {
        let item = Arc::new(());
        let (tx, rx) = bounded(0);
        let theirs = Arc::clone(&item);
        let cancelled = task::spawn_local(move || tx.send(theirs));
        let_others_wait();
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        assert!(rx.try_recv().is_err());
        assert_eq!(Arc::strong_count(&item), 1);
    });
}

#[test]
fn a_timeout_scope_ends_a_wait_without_loss() {
    in_tasks(1, || {
        let (tx, rx) = bounded(1);
        let late = task::timeout(Duration::from_millis(2), || rx.recv());
        assert_eq!(late, Err(task::Elapsed));
        tx.send(1).expect("there is room");
        assert_eq!(task::timeout(Duration::from_millis(2), || tx.send(2)), Err(task::Elapsed));
        assert_eq!((rx.try_recv().is_ok(), rx.try_recv().is_err()), (true, true));
    });
}

#[test]
fn a_cancelled_select_has_done_nothing_or_one_thing() {
    for served in [false, true] {
        in_tasks(1, if served { || select_cancelled(true) } else { || select_cancelled(false) });
    }
}

fn select_cancelled(served: bool) {
    let (tx, rx) = bounded(0);
    let (to_b, b) = bounded(0);
    let (mine, theirs) = (rx.clone(), to_b.clone());
    let cancelled = task::spawn_local(move || {
        select! { recv(mine) -> item => item.ok(), send(theirs, 1) -> _ => None }
    });
    let_others_wait();
    if served {
        tx.try_send(5).expect("it waits");
    }
    cancelled.cancel();
    assert_eq!(cancelled.join().ok().flatten(), served.then_some(5));
    assert!(rx.try_recv().is_err());
    assert!(b.try_recv().is_err());
    drop(to_b);
}

/// Random cancellations of receivers and senders, while others go on: what is received, once, is
/// what was sent by those whose send came to its end.
#[test]
fn random_cancellations_lose_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    for (bound, workers) in [(0, 1), (0, 2), (1, 2), (4, 2)] {
        let runtime = Runtime::builder().model(Model::Epoll).workers(workers).build();
        runtime.expect("a runtime").block_on(move || cancel_at_random(seed, bound));
    }
}

type Items = Arc<Mutex<BTreeSet<usize>>>;

fn note(items: &Items, item: usize) {
    assert!(items.lock().expect("no panic").insert(item), "{item} came twice");
}

fn cancel_at_random(seed: u64, bound: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (tx, rx) = bounded(bound);
    let (sent, received) = (Items::default(), Items::default());
    for round in 0..300 {
        let receivers: Vec<_> = (0..random.usize(1..4))
            .map(|_| task::spawn(receiver(&rx, &received, random.bool())))
            .collect();
        let senders: Vec<_> = (0..random.usize(1..4))
            .map(|who| task::spawn(sender(&tx, &sent, (round * 4 + who) * 8, random.usize(1..6))))
            .collect();
        for _ in 0..random.usize(..20) {
            task::yield_now();
        }
        if random.bool() {
            senders.iter().for_each(|sender| sender.cancel());
        }
        receivers.iter().for_each(|receiver| receiver.cancel());
        for receiver in receivers {
            assert!(receiver.join().is_err_and(|error| error.is_cancelled()));
        }
        senders.iter().for_each(|sender| sender.cancel());
        for sender in senders {
            // Its end, or its cancellation.
            let _ = sender.join();
        }
    }
    rx.try_iter().for_each(|item| note(&received, item));
    let (sent, received) = (sent.lock().expect("no panic"), received.lock().expect("no panic"));
    assert!(!sent.is_empty());
    assert_eq!(*received, *sent);
}

/// Receives for ever.
fn receiver(rx: &Receiver<usize>, received: &Items, selects: bool) -> impl FnOnce() + use<> {
    let (rx, received) = (rx.clone(), Arc::clone(received));
    move || {
        loop {
            let item = match selects {
                true => select! { recv(rx) -> item => item },
                false => rx.recv(),
            };
            note(&received, item.expect("the sender is there"));
        }
    }
}

/// Sends so many, and notes those that it knows to be sent.
fn sender(tx: &Sender<usize>, sent: &Items, first: usize, count: usize) -> impl FnOnce() + use<> {
    let (tx, sent) = (tx.clone(), Arc::clone(sent));
    move || {
        for item in first..first + count {
            tx.send(item).expect("a receiver is there");
            note(&sent, item);
        }
    }
}
