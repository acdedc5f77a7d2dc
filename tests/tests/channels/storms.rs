//! Many at once, for long: no wake-up is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fiveways::runtime::Runtime;
use fiveways::sync::channel::{Receiver, Sender, bounded};
use fiveways::{Model, select, task};
use fiveways_tests::patience::Watchdog;

use crate::support::{heavy, spawn_in};

fn watch(what: &str) -> Watchdog {
    Watchdog::new(what.to_owned(), Duration::from_secs(600))
}

/// 10,000,000 hand-overs: between tasks of one worker, of two, and between threads and tasks.
#[test]
fn heavy_hand_overs_lose_no_wake_up() {
    let _watchdog = watch("hand-overs");
    let rounds = heavy(10_000_000) / 2;
    // Most where they are fast; every hand-over between workers is a trip through the kernel.
    for (workers, bound, share) in [(1, 0, 40), (1, 1, 40), (2, 0, 5), (2, 1, 5)] {
        let runtime = Runtime::builder().model(Model::Epoll).workers(workers).build();
        let rounds = (rounds * share / 100) as u64;
        runtime.expect("a runtime").block_on(move || ping_pong(workers, bound, rounds));
    }
    let runtime = Runtime::builder().model(Model::Epoll).workers(1).build().expect("a runtime");
    let rounds = (rounds / 10) as u64;
    let (ping, pinged) = bounded(0);
    let (pong, ponged) = bounded(1);
    let echo = spawn_in(&runtime, move || echo(&pinged, &pong));
    ask(&ping, &ponged, rounds);
    drop(ping);
    echo.join().expect("it does not panic");
}

fn ping_pong(workers: usize, bound: usize, rounds: u64) {
    let (ping, pinged) = bounded(bound);
    let (pong, ponged) = bounded(bound);
    let other = task::Builder::new().worker(workers - 1).spawn(move || echo(&pinged, &pong));
    ask(&ping, &ponged, rounds);
    drop(ping);
    other.expect("it was spawned").join().expect("it does not panic");
}

fn echo(pinged: &Receiver<u64>, pong: &Sender<u64>) {
    for number in pinged {
        pong.send(number).expect("the asker is there");
    }
}

fn ask(ping: &Sender<u64>, ponged: &Receiver<u64>, rounds: u64) {
    for round in 0..rounds {
        ping.send(round).expect("the other is there");
        assert_eq!(ponged.recv(), Ok(round));
    }
}

/// 64 threads and 10,000 tasks on the same channels, each doing what its seed says.
#[test]
fn heavy_threads_and_tasks_share_channels() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let _watchdog = watch("threads and tasks");
    let (threads, tasks, turns) = (64, heavy(10_000), 40);
    let runtime = Runtime::builder().model(Model::Epoll).workers(2).build().expect("a runtime");
    let a = bounded(0);
    let b = bounded(16);
    let sums = Arc::new([const { AtomicU64::new(0) }; 2]);
    let actor = |number: usize| {
        let (a, b, sums) = (a.clone(), b.clone(), Arc::clone(&sums));
        move || {
            let mut random = fastrand::Rng::with_seed(seed.wrapping_add(number as u64));
            for _ in 0..turns {
                act(&mut random, &a, &b, &sums);
            }
        }
    };
    let all_tasks: Vec<_> = (0..tasks).map(|number| spawn_in(&runtime, actor(number))).collect();
    let all_threads: Vec<_> =
        (0..threads).map(|number| thread::spawn(actor(tasks + number))).collect();
    for task in all_tasks {
        task.join().expect("it does not panic");
    }
    for thread in all_threads {
        thread.join().expect("it does not panic");
    }
    let left: u64 = a.1.try_iter().chain(b.1.try_iter()).sum();
    let [sent, received] = [0, 1].map(|index| sums[index].load(Ordering::SeqCst));
    assert_eq!(sent, received + left);
}

type Ends = (Sender<u64>, Receiver<u64>);

/// One send or receive, plain or by choice, with a limit so that all come to an end.
fn act(random: &mut fastrand::Rng, a: &Ends, b: &Ends, sums: &[AtomicU64; 2]) {
    let item = random.u64(1..100);
    let patience = Duration::from_micros(random.u64(..500));
    let (sent, received) = match random.u8(..5) {
        0 => (a.0.send_timeout(item, patience).is_ok(), None),
        1 => (b.0.send_timeout(item, patience).is_ok(), None),
        2 => (false, a.1.recv_timeout(patience).ok()),
        3 => (false, b.1.recv_timeout(patience).ok()),
        _ => select! {
            send(a.0, item) -> sent => (sent.is_ok(), None),
            recv(b.1) -> got => (false, got.ok()),
            recv(a.1) -> got => (false, got.ok()),
            after(patience) => (false, None),
        },
    };
    sums[0].fetch_add(if sent { item } else { 0 }, Ordering::SeqCst);
    sums[1].fetch_add(received.unwrap_or(0), Ordering::SeqCst);
}
