//! Deadlines, interruptions and wakes.
#![expect(unsafe_code, reason = "signals are set up and sent by libc")]

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fiveways_selector::{Interest, Kind};

use crate::support::{Bench, PATIENCE, thread_id, unix_pair};

/// Waits that find nothing must take at least this long.
const SHORT: Duration = Duration::from_millis(60);

pub(crate) fn a_deadline_is_kept_when_nothing_happens_c50(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (_ours, theirs) = unix_pair();
    if bench.guesses() {
        return;
    }
    bench.register(&theirs, Interest::READABLE, 1);
    for timeout in [Duration::from_micros(300), Duration::from_millis(2), SHORT] {
        keeps(&mut bench, timeout);
    }
}

pub(crate) fn an_empty_selector_sleeps_until_the_deadline(kind: Kind) {
    keeps(&mut Bench::new(kind), SHORT);
}

fn keeps(bench: &mut Bench, timeout: Duration) {
    let before = Instant::now();
    bench.selector.wait(&mut bench.events, Some(before + timeout)).expect("wait");
    let took = before.elapsed();
    assert!(bench.events.is_empty());
    assert!(took >= timeout, "{took:?} is before {timeout:?}");
    assert!(took < timeout + PATIENCE, "{took:?}");
}

pub(crate) fn a_passed_deadline_looks_once(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut ours, theirs) = unix_pair();
    bench.register(&theirs, Interest::READABLE, 1);
    ours.write_all(b"x").expect("write");
    let past = Instant::now().checked_sub(SHORT).expect("the machine is up that long");
    bench.selector.wait(&mut bench.events, Some(past)).expect("wait");
    assert!(bench.events.iter().any(|event| event.is_readable()));
}

/// Signals that the handler has seen.
static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Ends the storm when dropped.
struct Calm<'a>(&'a AtomicBool);

impl Drop for Calm<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn signals_do_not_shorten_or_lengthen_a_wait_d46(kind: Kind) {
    /// The count is one for all tests of the process.
    static ONE_STORM: Mutex<()> = Mutex::new(());
    let _alone = ONE_STORM.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bench = Bench::new(kind);
    let (_ours, theirs) = unix_pair();
    if !bench.guesses() {
        bench.register(&theirs, Interest::READABLE, 1);
    }
    let handler = count as extern "C" fn(libc::c_int);
    // SAFETY: required: a handler that is safe at any moment. It adds to an atomic.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    let before = HANDLED.load(Ordering::Relaxed);
    let over = AtomicBool::new(false);
    // SAFETY: required: nothing.
    let (process, target) = (unsafe { libc::getpid() }, thread_id());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // SAFETY: required: nothing; the thread lives until this scope ends.
                unsafe { libc::syscall(libc::SYS_tgkill, process, target, libc::SIGUSR1) };
                thread::yield_now();
            }
        });
        // Not before the storm is felt.
        while HANDLED.load(Ordering::Relaxed) == before {
            thread::yield_now();
        }
        // Also when the wait fails its test.
        let _calm = Calm(&over);
        keeps(&mut bench, SHORT);
    });
    assert!(HANDLED.load(Ordering::Relaxed) > before + 1, "interrupted more than once");
}

pub(crate) fn a_wake_from_another_thread_ends_a_wait_d54(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (_ours, theirs) = unix_pair();
    if !bench.guesses() {
        bench.register(&theirs, Interest::READABLE, 1);
    }
    let waker = bench.selector.waker();
    let before = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || waker.wake());
        bench.selector.wait(&mut bench.events, Some(before + PATIENCE)).expect("wait");
    });
    assert!(before.elapsed() < PATIENCE, "ended by the wake");
    assert!(bench.events.is_empty(), "not an event: {:?}", bench.events);
}

pub(crate) fn a_wake_before_the_wait_is_not_lost_d54(kind: Kind) {
    let mut bench = Bench::new(kind);
    let before = Instant::now();
    for _ in 0..3 {
        bench.selector.waker().wake();
        bench.selector.wait(&mut bench.events, Some(before + PATIENCE)).expect("wait");
        assert!(before.elapsed() < PATIENCE, "ended by the wake");
        assert!(bench.events.is_empty());
    }
}

pub(crate) fn many_wakes_end_one_wait_d54(kind: Kind) {
    let mut bench = Bench::new(kind);
    for _ in 0..100 {
        bench.selector.waker().wake();
    }
    bench.selector.wait(&mut bench.events, Some(Instant::now() + PATIENCE)).expect("wait");
    keeps(&mut bench, SHORT);
}

pub(crate) fn wakes_and_events_come_together(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut ours, theirs) = unix_pair();
    bench.register(&theirs, Interest::READABLE, 1);
    bench.selector.waker().wake();
    ours.write_all(b"x").expect("write");
    let event = bench.until(1, |event| event.is_readable());
    assert_eq!(event.token().0, 1);
    assert!(bench.events.iter().all(|event| event.token().0 == 1));
}

pub(crate) fn every_wake_of_a_ping_pong_arrives(kind: Kind) {
    const ROUNDS: u64 = 2_000;
    let mut bench = Bench::new(kind);
    let waker = bench.selector.waker();
    let posted = Arc::new(AtomicU64::new(0));
    let (seen_tx, seen_rx) = mpsc::channel::<u64>();
    let poster = {
        let posted = Arc::clone(&posted);
        thread::spawn(move || {
            for round in 1..=ROUNDS {
                // ORDERING: relaxed on purpose: the wake has to make it visible.
                posted.store(round, Ordering::Relaxed);
                waker.wake();
                while seen_rx.recv().expect("the other side lives") < round {}
            }
        })
    };
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = posted.load(Ordering::Relaxed);
        seen_tx.send(seen).ok();
        if seen == ROUNDS {
            break;
        }
        bench.selector.wait(&mut bench.events, Some(end)).expect("wait");
        assert!(Instant::now() < end, "a wake was lost after {seen}");
    }
    poster.join().expect("the poster ends");
}
