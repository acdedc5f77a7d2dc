//! A program whose tasks wait for each other at channels: for ever, or only for long. It plays the
//! part that its argument names, writes a byte to stdout when it has begun, and the deadlocks that
//! its dumps suspect to stderr.

use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fiveways::net::TcpListener;
use fiveways::queue::JoinableQueue;
use fiveways::runtime::Runtime;
use fiveways::sync::channel::{Receiver, Sender, bounded, unbounded};
use fiveways::sync::{Barrier, Mutex};
use fiveways::task::JoinHandle;
use fiveways::{Model, inspect, task, time};

/// Much longer than waits must last to be suspected.
const LONG: Duration = Duration::from_millis(2_500);

fn main() -> std::io::Result<()> {
    let part = std::env::args().nth(1).unwrap_or_default();
    thread::spawn(print_suspected);
    let runtime = Runtime::builder().model(Model::Epoll).workers(2).build()?;
    match part.as_str() {
        "thread" => with_a_thread(&runtime),
        _ => runtime.block_on(move || play(&part)),
    }
    Ok(())
}

/// Prints the first dump with a suspected deadlock.
fn print_suspected() {
    let options = inspect::Options::new().backtraces(false);
    loop {
        thread::sleep(Duration::from_millis(100));
        let dump = inspect::dump_with(&options);
        if !dump.suspected.is_empty() {
            eprint!("{dump}");
            return;
        }
    }
}

fn play(part: &str) {
    match part {
        "receive-first" => receive_first(),
        "ring" => ring(),
        "full" => full(),
        "own-sender" => own_sender(),
        "queue-join" => queue_join(),
        "maker-ends" => maker_ends(),
        "beside-others" => beside_others(),
        "accepting" => accepting(),
        "has-sent-and-sleeps" => has_sent_and_sleeps(),
        "ping-pong" => ping_pong(),
        other => panic!("there is no part '{other}'"),
    }
}

fn ready() {
    let mut stdout = std::io::stdout();
    // A reader that has gone needs no answer.
    let _ = stdout.write_all(b".").and_then(|()| stdout.flush());
}

fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    task::Builder::new().name(name).spawn(f).expect("a stack")
}

#[inline(never)]
fn answer(questions: &Receiver<u32>, answers: &Sender<u32>) {
    for question in questions {
        let _ = answers.send(question + 1);
    }
}

/// Each answers what the other asks, and nobody asks first.
fn receive_first() {
    let ((to_left, left), (to_right, right)) = (bounded(1), bounded(1));
    let one = spawn("left", move || answer(&left, &to_right));
    let other = spawn("right", move || answer(&right, &to_left));
    ready();
    let _ = (one.join(), other.join());
}

/// One waits at a channel for the next, that by a join for the third, that for a lock of the first.
fn ring() {
    let (lock, pause) = (Arc::new(Mutex::new(())), Arc::new(Barrier::new(2)));
    let (sender, receiver) = unbounded::<u32>();
    let (theirs, begun) = (Arc::clone(&lock), Arc::clone(&pause));
    let first = spawn("first", move || {
        let _held = theirs.lock();
        begun.wait();
        let _ = receiver.recv();
    });
    let second = spawn("second", move || {
        pause.wait();
        let third = spawn("third", move || drop(lock.lock()));
        let _ = third.join();
        let _ = sender.send(1);
    });
    ready();
    let _ = (first.join(), second.join());
}

/// Each sends more than there is room for before it receives.
fn full() {
    let ((to_left, left), (to_right, right)) = (bounded(1), bounded(1));
    let talk = |sender: Sender<u32>, receiver: Receiver<u32>| {
        move || {
            (0..2).for_each(|number| sender.send(number).expect("somebody listens"));
            let _ = (receiver.recv(), receiver.recv());
        }
    };
    let one = spawn("left", talk(to_right, left));
    let other = spawn("right", talk(to_left, right));
    ready();
    let _ = (one.join(), other.join());
}

/// The classic: a sender is still in scope.
fn own_sender() {
    let (sender, receiver) = unbounded();
    let theirs = sender.clone();
    let other = spawn("other", move || theirs.send(1).expect("it is received"));
    ready();
    let sum: u32 = receiver.iter().sum();
    drop((sender, other, sum));
}

/// What was put is never done.
fn queue_join() {
    let queue = JoinableQueue::new();
    queue.put(1).expect("it is open");
    let worker = queue.clone();
    let worker = spawn("worker", move || assert_eq!(worker.get(), Ok(1)));
    ready();
    queue.join();
    drop(worker);
}

/// As `receive-first`, among tasks that have nothing to do with it: one sleeps, one accepts.
fn beside_others() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let accepting = spawn("accepting", move || drop(listener.accept()));
    let sleeping = spawn("sleeping", || time::sleep(10 * LONG));
    receive_first();
    drop((accepting, sleeping));
}

/// The waiting receiver holds the last sender itself, once the creator of the channel has ended.
fn maker_ends() {
    let maker = spawn("maker", || {
        let (sender, receiver) = unbounded::<u32>();
        drop(spawn("receiver", move || {
            let last = sender.clone();
            let _ = receiver.recv();
            drop((sender, last));
        }));
        time::sleep(Duration::from_millis(50));
    });
    ready();
    maker.join().expect("no panic");
    time::sleep(LONG);
}

/// A task and a plain thread.
fn with_a_thread(runtime: &Runtime) {
    let ((to_left, left), (to_right, right)) = (bounded(1), bounded(1));
    let task = runtime.block_on(move || spawn("task", move || answer(&left, &to_right)));
    ready();
    answer(&right, &to_left);
    drop(task);
}

#[inline(never)]
fn send_later(sender: &Sender<u32>) {
    time::sleep(LONG);
    sender.send(1).expect("somebody listens");
}

fn receive(receiver: Receiver<u32>) {
    let receiver = spawn("receiver", move || assert_eq!(receiver.recv(), Ok(1)));
    ready();
    receiver.join().expect("no panic");
}

/// A server: receivers are idle, and the acceptor has their senders.
fn accepting() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let (sender, receiver) = unbounded();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let receiver = receiver.clone();
            spawn("worker", move || receiver.iter().for_each(drop))
        })
        .collect();
    drop(receiver);
    let acceptor = task::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            sender.send(stream).expect("workers listen");
        }
    });
    ready();
    drop(acceptor.join_timeout(LONG));
    drop(workers);
}

fn has_sent_and_sleeps() {
    let (sender, receiver) = unbounded();
    let sender = spawn("sender", move || {
        sender.send(0).expect("somebody listens");
        send_later(&sender);
    });
    assert_eq!(receiver.recv(), Ok(0));
    receive(receiver);
    sender.join().expect("no panic");
}

/// Each waits for the other again and again, and never for long.
fn ping_pong() {
    let ((to_left, left), (to_right, right)) = (bounded(1), bounded(1));
    let one = spawn("left", move || answer(&left, &to_right));
    let other = spawn("right", move || {
        let end = std::time::Instant::now() + LONG;
        while std::time::Instant::now() < end {
            to_left.send(1).expect("it answers");
            right.recv().expect("it answers");
        }
    });
    ready();
    other.join().expect("no panic");
    one.join().expect("no panic");
}
