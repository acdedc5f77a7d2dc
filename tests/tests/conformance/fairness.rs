//! Fairness is a time: beside greedy tasks, which never have to wait, a ticker of 1 ms ticks.
//!
//! A late tick is measured in processor time of the worker from the beginning of the sleep to its
//! end: what other programs do on a busy machine meanwhile does not count, and what greedy tasks do
//! cannot hide.

use std::cell::Cell;
use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, channel as std_channel};
use std::thread;
use std::time::Duration;

use fiveways::Model;
use fiveways::net::TcpStream;
use fiveways::process::{Command, Stdio};
use fiveways::sync::{Event, Mutex, RwLock, Semaphore, channel, mpsc};
use fiveways::task;
use fiveways::time;
use fiveways_tests::arena::in_task;
use rustix::time::{ClockId, clock_gettime};

/// Ticks measured beside each crowd of greedy tasks.
const TICKS: usize = 25;

/// The median of a tick, its 1 ms included.
const MEDIAN: Duration = Duration::from_millis(4);

/// The longest tick. Interrupts, and a processor that the host takes away, count as used: beside
/// builds, a thread that only reads clocks and maps pages was charged up to 8 ms at once.
const LONGEST: Duration = Duration::from_millis(25);

/// How long all ticks of a test take at most. A ticker that starves does not end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Set when the greedy tasks are to end.
type Stop = Rc<Cell<bool>>;

/// Processor time this thread has used so far.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Measures a ticker beside 1, 2 and 8 greedy tasks, or pairs of them.
#[track_caller]
fn tick_beside(model: Model, greedy: fn(&Stop) -> Vec<task::JoinHandle<()>>) {
    let (ended, end) = std_channel::<()>();
    let ticking = thread::spawn(move || {
        let _ended = ended;
        measure(model, greedy);
    });
    // Nothing is ever sent: the other end goes, with a panic too.
    if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
        panic!("the ticks have not ended in {PATIENCE:?}: something keeps the worker");
    }
    ticking.join().unwrap_or_else(|panic| resume_unwind(panic));
}

fn measure(model: Model, greedy: fn(&Stop) -> Vec<task::JoinHandle<()>>) {
    in_task(model, move || {
        for crowd in [1, 2, 8] {
            let stop = Stop::default();
            let tasks: Vec<_> = (0..crowd).flat_map(|_| greedy(&stop)).collect();
            // They begin, and use up what may be special about a beginning.
            (0..5).for_each(|_| task::yield_now());
            let mut ticks: Vec<Duration> = (0..TICKS).map(|_| tick()).collect();
            stop.set(true);
            for task in tasks {
                task.join().expect("greedy tasks end well");
            }
            ticks.sort_unstable();
            let (median, longest) = (ticks[TICKS / 2], ticks[TICKS - 1]);
            eprintln!("{model} beside {crowd}: median {median:?}, longest {longest:?}");
            assert!(median <= MEDIAN, "beside {crowd} a tick of 1 ms takes {median:?}");
            assert!(longest <= LONGEST, "beside {crowd} a tick of 1 ms took {longest:?}");
        }
    });
}

fn tick() -> Duration {
    let before = used();
    time::sleep(Duration::from_millis(1));
    used() - before
}

/// Spawns a task that does something again and again until it is to stop.
fn again(stop: &Stop, mut f: impl FnMut() + 'static) -> task::JoinHandle<()> {
    let stop = Rc::clone(stop);
    task::spawn_local(move || {
        while !stop.get() {
            f();
        }
    })
}

/// Computes for so long.
fn compute(time: Duration) {
    let end = used() + time;
    while used() < end {}
}

/// A connection whose far end does something with it on a thread of its own, until it fails.
fn beside_thread(far_end: impl FnOnce(StdStream) -> io::Result<()> + Send + 'static) -> TcpStream {
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    let far = StdStream::connect(listener.local_addr().expect("an address")).expect("connects");
    let (near, _) = listener.accept().expect("it waits");
    // It ends by an error, when the near end goes.
    thread::spawn(move || far_end(far));
    TcpStream::from(near)
}

/// A connection that brings the same bytes again and again, as fast as they are taken.
fn flooded(block: &'static [u8]) -> TcpStream {
    let block = block.repeat(64 * 1024 / block.len());
    beside_thread(move |mut far| {
        loop {
            far.write_all(&block)?;
        }
    })
}

pub(crate) fn beside_yields(model: Model) {
    tick_beside(model, |stop| vec![again(stop, task::yield_now)]);
}

pub(crate) fn beside_yields_after_long_computations(model: Model) {
    tick_beside(model, |stop| {
        vec![again(stop, || {
            compute(Duration::from_micros(200));
            task::yield_now();
        })]
    });
}

/// Locks, permits and events that are to be had at once.
pub(crate) fn beside_locks_that_are_free(model: Model) {
    tick_beside(model, |stop| {
        let mutex = Mutex::new(0_u64);
        let lock = again(stop, move || *mutex.lock().expect("not poisoned") += 1);
        let shared = RwLock::new(0_u64);
        let read = again(stop, move || assert_eq!(*shared.read().expect("not poisoned"), 0));
        let permits = Semaphore::new(1);
        let permit = again(stop, move || drop(permits.acquire()));
        let event = Event::new();
        event.set();
        vec![lock, read, permit, again(stop, move || event.wait())]
    });
}

/// Two tasks that give each other one item, and compute a little with it.
pub(crate) fn beside_channels(model: Model) {
    tick_beside(model, |stop| {
        let (to, from) = mpsc::channel::<u64>();
        let (back_to, back_from) = mpsc::channel::<u64>();
        let echo = task::spawn_local(move || {
            while let Ok(item) = from.recv() {
                compute(Duration::from_micros(20));
                if back_to.send(item).is_err() {
                    break;
                }
            }
        });
        let ask = again(stop, move || {
            to.send(1).expect("the other is there");
            back_from.recv().expect("the other is there");
        });
        // One that never has to wait at all.
        let (tx, rx) = channel::unbounded();
        let own = again(stop, move || {
            tx.send(1).expect("we are there");
            rx.recv().expect("we are there");
        });
        vec![echo, ask, own]
    });
}

/// A collector of short lines, thousands in each piece that is received.
pub(crate) fn beside_lines(model: Model) {
    tick_beside(model, |stop| {
        let mut stream = flooded(b"cpu.load:17|g\n");
        let mut line = String::new();
        vec![again(stop, move || {
            line.clear();
            assert!(stream.read_line(&mut line).expect("lines come") > 0);
        })]
    });
}

pub(crate) fn beside_bulk_reads(model: Model) {
    tick_beside(model, |stop| {
        let mut stream = flooded(&[7; 1024]);
        let mut buf = vec![0; 256 * 1024];
        vec![again(stop, move || assert!(stream.read(&mut buf).expect("bytes come") > 0))]
    });
}

pub(crate) fn beside_bulk_writes(model: Model) {
    tick_beside(model, |stop| {
        let mut stream = beside_thread(|mut far| {
            let mut buf = vec![0; 256 * 1024];
            while far.read(&mut buf)? > 0 {}
            Ok(())
        });
        let bytes = vec![7; 64 * 1024];
        vec![again(stop, move || stream.write_all(&bytes).expect("they are taken"))]
    });
}

/// Small requests, sent without waiting for the answers.
pub(crate) fn beside_pipelined_requests(model: Model) {
    tick_beside(model, |stop| {
        let mut stream = beside_thread(|mut far| {
            let mut answers = far.try_clone()?;
            thread::spawn(move || {
                let mut buf = vec![0; 64 * 1024];
                while answers.read(&mut buf).is_ok_and(|count| count > 0) {}
                // Else the other would wait for room for ever.
                let _ = answers.shutdown(Shutdown::Both);
            });
            let requests = [7; 16 * 1024];
            loop {
                far.write_all(&requests)?;
            }
        });
        let mut request = [0; 64];
        vec![again(stop, move || {
            stream.read_exact(&mut request).expect("requests come");
            stream.write_all(&request).expect("answers are taken");
        })]
    });
}

pub(crate) fn beside_the_output_of_a_child(model: Model) {
    tick_beside(model, |stop| {
        let mut child = Command::new("yes").stdout(Stdio::piped()).spawn().expect("coreutils");
        let mut output = child.stdout.take().expect("it is piped");
        let stop = Rc::clone(stop);
        vec![task::spawn_local(move || {
            let mut buf = [0; 4096];
            while !stop.get() {
                assert!(output.read(&mut buf).expect("it writes") > 0);
            }
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        })]
    });
}
