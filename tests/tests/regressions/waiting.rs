//! Defects of waiting: signals, wake-ups, and what a wait costs.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use fiveways::runtime::{Runtime, counters};
use fiveways::task;
use fiveways::time;
use fiveways_tests::arena::{in_task, pair};
use fiveways_tests::client::{expect_noise, noise, send_noise};
use fiveways_tests::patience::{LONG, eventually};
use rustix::process::{Signal, getpid, kill_process};

/// Puts the disposition of SIGPIPE back when dropped.
struct DefaultSigpipe(libc::sighandler_t);

impl DefaultSigpipe {
    #[expect(unsafe_code, reason = "sets a signal's disposition")]
    fn new() -> DefaultSigpipe {
        // SAFETY: required: a valid signal and disposition. They are constants.
        DefaultSigpipe(unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) })
    }
}

impl Drop for DefaultSigpipe {
    #[expect(unsafe_code, reason = "sets a signal's disposition")]
    fn drop(&mut self) {
        // SAFETY: required: a valid signal and disposition. It is the one from before.
        unsafe { libc::signal(libc::SIGPIPE, self.0) };
    }
}

/// Writes in every way to a stream whose peer has reset it. With SIGPIPE's default a signal would
/// end the process.
fn write_to_the_gone(mut stream: TcpStream) -> io::Error {
    use std::io::IoSlice;
    for _ in 0..1_000 {
        let one = stream.write(noise(0, 10_000));
        let two = stream.write_vectored(&[IoSlice::new(b"a"), IoSlice::new(b"b")]);
        if let Err(error) = one.and(two) {
            // Once more, for EPIPE follows ECONNRESET.
            let _ = stream.write(b"x");
            let _ = stream.write_vectored(&[IoSlice::new(b"a"), IoSlice::new(b"b")]);
            return error;
        }
    }
    panic!("nobody is there and yet all was taken");
}

/// D45: writing to a closed connection raised SIGPIPE.
pub(crate) fn d45_no_write_raises_sigpipe(model: Model) {
    let _default = DefaultSigpipe::new();
    in_task(model, || {
        for on_thread in [false, true] {
            let (near, far) = pair();
            far.set_linger(Some(Duration::ZERO)).expect("takes options");
            drop(far);
            let error = if on_thread {
                thread::spawn(move || write_to_the_gone(near)).join().expect("no panic")
            } else {
                write_to_the_gone(near)
            };
            assert!(
                matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
                "{error}"
            );
        }
        let (near, far) = UnixStream::pair().expect("a pair");
        drop(far);
        let error = (&near).write(b"x").expect_err("nobody is there");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

/// D46: a signal that interrupts a wait must not end it, shorten it or lengthen it.
pub(crate) fn d46_a_storm_of_signals_changes_no_wait(model: Model) {
    let seen = Arc::new(AtomicBool::new(false));
    let id = signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&seen));
    let id = id.expect("a handler");
    let over = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&over);
    let storm = thread::spawn(move || {
        while !end.load(Ordering::Relaxed) {
            kill_process(getpid(), Signal::USR1).expect("our own process");
            thread::sleep(Duration::from_micros(300));
        }
    });
    let limit = Duration::from_millis(120);
    in_task(model, move || {
        let waits = move || {
            let (mut near, _far) = pair();
            near.set_read_timeout(Some(limit)).expect("takes options");
            let started = Instant::now();
            let error = near.read(&mut [0; 8]).expect_err("nobody wrote");
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            let read = started.elapsed();
            time::sleep(limit);
            let slept = started.elapsed() - read;
            for took in [read, slept] {
                assert!(took >= limit && took < 20 * limit, "{limit:?} took {took:?}");
            }
            // Under `pair` and this there are accept, connect, send and recv of both kinds.
            let (near, far) = pair();
            let writing = thread::spawn(move || send_noise(&far, 0, 3_000_000));
            expect_noise(&near, 0, 3_000_000);
            writing.join().expect("no panic").expect("taken");
        };
        waits();
        thread::spawn(waits).join().expect("the same on a plain thread");
    });
    over.store(true, Ordering::Relaxed);
    storm.join().expect("no panic");
    signal_hook::low_level::unregister(id);
    assert!(seen.load(Ordering::Relaxed), "that was no storm");
}

/// Runs a task on a worker that does not spin: each turn of its driver has a reason then.
fn sleeping_at_once(model: Model, f: impl FnOnce() + Send + 'static) {
    let runtime = Runtime::builder().model(model).spin(Duration::ZERO).build();
    runtime.expect("the model is there").block_on(f);
}

/// D38: closing a descriptor while a clone of it lives leaves the kernel watching: its reports go
/// to a number that is closed, or somebody else's by now, and by level they never end.
pub(crate) fn d38_a_closed_clone_is_not_watched_any_more(model: Model) {
    sleeping_at_once(model, move || {
        let (near, far) = pair();
        let clone = near.try_clone().expect("a descriptor");
        clone.set_read_timeout(Some(Duration::from_millis(5))).expect("takes it");
        let waited = (&clone).read(&mut [0; 8]).expect_err("nobody wrote");
        assert_eq!(waited.kind(), ErrorKind::TimedOut);
        drop(clone);
        send_noise(&far, 0, 500).expect("taken");
        let before = counters().expect("in a task");
        time::sleep(Duration::from_millis(100));
        let turns = counters().expect("in a task").turns - before.turns;
        // One for the sleep, and a few for what has just happened.
        assert!(model == Model::Nonblocking || turns <= 8, "{turns} turns for nothing");
        // The number is used again, and gets nothing of what came for the one before.
        let (next, _peer) = pair();
        next.set_read_timeout(Some(Duration::from_millis(5))).expect("takes it");
        assert!((&next).read(&mut [0; 8]).is_err(), "bytes that nobody sent");
        expect_noise(&near, 0, 500);
    });
}

/// D38: a plain thread closes the clone, of which its worker hears nothing: the reports that go on
/// coming are about nobody, and are got rid of. Not one of them is taken for the number's next
/// owner.
pub(crate) fn d38_a_clone_that_was_closed_elsewhere_is_forgotten(model: Model) {
    sleeping_at_once(model, move || {
        let (near, far) = pair();
        let clone = near.try_clone().expect("a descriptor");
        clone.set_read_timeout(Some(Duration::from_millis(5))).expect("takes it");
        let waited = (&clone).read(&mut [0; 8]).expect_err("nobody wrote");
        assert_eq!(waited.kind(), ErrorKind::TimedOut);
        let number = clone.as_raw_fd();
        thread::spawn(move || drop(clone)).join().expect("no panic");
        send_noise(&far, 0, 500).expect("taken");
        // The lowest number that is free comes first, so one of these has it, unless another thread
        // was quicker.
        let pairs: Vec<_> = (0..32).map(|_| UnixStream::pair().expect("a pair")).collect();
        let all = pairs.iter().flat_map(|(one, other)| [one, other]);
        let Some(mut next) = all.into_iter().find(|end| end.as_raw_fd() == number) else { return };
        next.set_read_timeout(Some(Duration::from_millis(100))).expect("takes it");
        let before = counters().expect("in a task");
        assert!(next.read(&mut [0; 8]).is_err(), "bytes that nobody sent");
        let turns = counters().expect("in a task").turns - before.turns;
        // As many as there may be descriptors until the left-over is worth a new selector.
        let most = (number as u64 + 80).next_power_of_two() + 16;
        assert!(model == Model::Nonblocking || turns <= most, "{turns} turns for nothing");
        expect_noise(&near, 0, 500);
    });
}

/// D48: after each message one more wake-up found the queue empty. And no change of registration
/// for each request.
pub(crate) fn d48_an_exchange_makes_no_superfluous_wake_ups(model: Model) {
    const ROUNDS: usize = 1_000;
    in_task(model, move || {
        let (mut near, mut far) = pair();
        let echo = task::spawn_local(move || {
            for at in 0..ROUNDS {
                expect_noise(&mut far, at, at + 20);
                send_noise(&mut far, at, at + 20).expect("taken");
            }
        });
        let before = counters().expect("in a task");
        for at in 0..ROUNDS {
            send_noise(&mut near, at, at + 20).expect("taken");
            expect_noise(&mut near, at, at + 20);
        }
        let after = counters().expect("in a task");
        echo.join().expect("no panic");
        let registrations = after.registrations - before.registrations;
        assert!(registrations < 40, "{registrations} changes of registration");
        let events = after.events - before.events;
        // Two messages a round, each waited for once. (The nonblocking model claims everything
        // always.)
        let expected = 3 * ROUNDS as u64;
        assert!(model == Model::Nonblocking || events < expected, "{events} events");
    });
}

/// D54: nothing could wake a waiting loop from another thread.
pub(crate) fn d54_a_sleeping_worker_hears_other_threads(model: Model) {
    let runtime = Runtime::builder().model(model).build().expect("the model is there");
    let handle = runtime.handle().clone();
    let started = Instant::now();
    let hits = Arc::new(AtomicUsize::new(0));
    for _ in 0..200 {
        let count = Arc::clone(&hits);
        // The worker has gone to sleep or is just about to: each spawn has to reach it.
        runtime.block_on(move || count.fetch_add(1, Ordering::Relaxed));
    }
    assert_eq!(hits.load(Ordering::Relaxed), 200);
    // A cancellation reaches a task that waits in the driver.
    let waiting = runtime.block_on(|| {
        task::spawn(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.recv(&mut [0; 8]).map_err(|error| error.raw_os_error())
        })
    });
    waiting.cancel();
    let ended = waiting.join();
    assert!(ended.is_err() || ended.is_ok_and(|result| result == Err(Some(libc::ECANCELED))));
    assert!(started.elapsed() < LONG / 2, "took {:?}", started.elapsed());
    eventually("no task is left", || handle.stats().tasks.iter().sum::<usize>() == 0);
    // And so does the end.
    drop(runtime);
}

/// Found by this suite: a time limit that came while its task had been woken for nothing (another
/// one was faster) was forgotten, and the task waited for ever.
pub(crate) fn a_time_limit_survives_a_wake_up_for_nothing(model: Model) {
    in_task(model, || {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").expect("a port"));
        let addr = listener.local_addr().expect("an address");
        let first = Arc::clone(&listener);
        let lucky = task::spawn_local(move || first.accept().map(drop));
        task::yield_now();
        let unlucky = task::spawn_local(move || {
            let wait = || listener.accept().map(drop).map_err(|error| error.kind());
            task::timeout(Duration::from_millis(20), wait)
        });
        task::yield_now();
        // Both wait. The worker is kept busy until one connection is there and the time is over.
        let client = std::net::TcpStream::connect(addr).expect("connects");
        thread::sleep(Duration::from_millis(40));
        lucky.join().expect("no panic").expect("accepts");
        let ended = unlucky.join().expect("no panic");
        assert_eq!(ended, Ok(Err(ErrorKind::TimedOut)));
        drop(client);
    });
}
