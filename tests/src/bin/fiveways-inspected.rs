//! A program to be looked at: it plays the part that its argument names, and writes a byte to
//! stdout when it has begun.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fiveways::executor::unblock;
use fiveways::net::{TcpListener, TcpStream};
use fiveways::runtime::Runtime;
use fiveways::sync::{Barrier, Event, Mutex};
use fiveways::{Model, inspect, task, time};

fn main() -> std::io::Result<()> {
    let part = std::env::args().nth(1).unwrap_or_default();
    let lost = part == "lost";
    let runtime =
        Runtime::builder().model(Model::Epoll).workers(2).report_lost_tasks(lost).build()?;
    match part.as_str() {
        "idle" => idle(&runtime),
        "many" => many(&runtime),
        "cross" => cross(&runtime),
        "stuck" => runtime.block_on(|| {
            ready();
            wait_for_nobody();
        }),
        "helped" => helped(&runtime),
        "held" => held(&runtime),
        "busy" => busy(&runtime),
        "lost" => runtime.block_on(|| {
            let forgotten = task::Builder::new().name("forgotten");
            drop(forgotten.spawn(|| time::sleep(Duration::from_secs(600))).expect("a stack"));
            time::sleep(Duration::from_millis(1));
            ready();
        }),
        other => panic!("there is no part '{other}'"),
    }
    Ok(())
}

fn ready() {
    let mut stdout = std::io::stdout();
    // A reader that has gone needs no answer.
    let _ = stdout.write_all(b".").and_then(|()| stdout.flush());
}

/// All tasks of this runtime are asleep until one of another runtime has slept, and wakes them;
/// then until a plain thread has waited in vain for long enough, and does so.
fn helped(runtime: &Runtime) {
    const LONG: Duration = Duration::from_millis(2500);
    let another = Runtime::builder().workers(1).build().expect("a runtime");
    let events = Arc::new([Event::new(), Event::new(), Event::new()]);
    let helper = Arc::clone(&events);
    another.block_on(move || {
        drop(task::spawn(move || {
            time::sleep(LONG);
            helper[0].set();
        }));
    });
    runtime.block_on(move || {
        ready();
        events[0].wait();
        let helper = Arc::clone(&events);
        std::thread::spawn(move || {
            helper[2].wait_timeout(LONG);
            helper[1].set();
        });
        events[1].wait();
    });
}

/// After a time in which nothing happens a task keeps its worker, for longer than anybody watches.
fn held(runtime: &Runtime) {
    runtime.block_on(|| {
        ready();
        time::sleep(Duration::from_millis(1500));
        let hog = task::Builder::new().name("hog").spawn(hold_the_worker).expect("a stack");
        drop(hog.join());
    });
}

#[inline(never)]
fn hold_the_worker() {
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// What programs do: many short computations, waits of all kinds, code that blocks a thread meant
/// for it, and times in which nothing happens.
fn busy(runtime: &Runtime) {
    let runs = || {
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            let next = Instant::now() + Duration::from_millis(20);
            while Instant::now() < next {
                std::hint::spin_loop();
            }
            task::yield_now();
        }
    };
    runtime.block_on(move || {
        ready();
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("bound");
        let server = task::spawn(move || listener.accept().map(drop));
        let sleeper = task::spawn(|| time::sleep(Duration::from_millis(1800)));
        let blocking = task::spawn(|| unblock(|| std::thread::sleep(Duration::from_secs(2))));
        let runners = [task::spawn(runs), task::spawn(runs), task::spawn(runs)];
        runners.into_iter().for_each(|runner| runner.join().expect("no panic"));
        time::sleep(Duration::from_millis(1500));
        let client = TcpStream::connect(address).expect("it listens");
        server.join().expect("no panic").expect("a client");
        drop(client);
        blocking.join().expect("no panic");
        sleeper.join().expect("no panic");
    });
}

/// So many tasks that a dump of them fits into no socket.
fn many(runtime: &Runtime) {
    inspect::listen().expect("a socket");
    runtime.block_on(|| {
        for _ in 0..3000 {
            drop(task::spawn(wait_for_nobody));
        }
        time::sleep(Duration::from_millis(10));
        ready();
        wait_for_nobody();
    });
}

/// A server without clients, for a while.
fn idle(runtime: &Runtime) {
    inspect::listen().expect("a socket");
    inspect::on_sigquit().expect("a handler");
    runtime.block_on(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let waiter = task::Builder::new().name("waiter");
        drop(waiter.spawn(wait_for_nobody).expect("a stack"));
        let server = task::spawn(move || listener.accept().map(drop));
        time::sleep(Duration::from_millis(10));
        ready();
        drop(server.join_timeout(Duration::from_secs(4)));
    });
}

#[inline(never)]
fn wait_for_nobody() {
    let event = Arc::new(Mutex::new(()));
    let condition = fiveways::sync::Condvar::new();
    let held = event.lock().expect("no panic");
    drop(condition.wait(held));
}

/// Two tasks, two locks, opposite orders.
fn cross(runtime: &Runtime) {
    runtime.block_on(|| {
        let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let pause = Arc::new(Barrier::new(2));
        let (a2, b2, pause2) = (Arc::clone(&a), Arc::clone(&b), Arc::clone(&pause));
        let first = task::Builder::new().name("first");
        let first = first.spawn(move || cross_first(&a, &b, &pause)).expect("a stack");
        let second = task::Builder::new().name("second");
        drop(second.spawn(move || cross_second(&b2, &a2, &pause2)).expect("a stack"));
        ready();
        drop(first.join());
    });
}

#[inline(never)]
fn cross_first(a: &Mutex<()>, b: &Mutex<()>, pause: &Barrier) {
    let _a = a.lock();
    pause.wait();
    let _b = b.lock();
}

#[inline(never)]
fn cross_second(b: &Mutex<()>, a: &Mutex<()>, pause: &Barrier) {
    let _b = b.lock();
    pause.wait();
    let _a = a.lock();
}
