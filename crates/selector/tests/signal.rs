//! Properties of the signal selector: overflow, threads, and the signals it takes.
#![expect(unsafe_code, reason = "sets a limit of the process by libc")]

use std::env;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use fiveways_selector::{Events, Interest, Selector, Signal, Token, WrongThread};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `test` in a process of its own: this test binary again, with the test of this name alone.
fn in_a_process_of_its_own(name: &str, test: fn()) {
    const CHILD: &str = "FIVEWAYS_TEST_CHILD";
    if env::var_os(CHILD).is_some() {
        return test();
    }
    let program = env::current_exe().expect("the path of this program");
    let mut child = Command::new(program);
    child.args(["--exact", name, "--nocapture"]).env(CHILD, "1");
    let output = child.output().expect("the child runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}{errors}", output.status);
    assert!(text.contains("1 passed"), "the child ran nothing:\n{text}");
}

/// Lets two signals wait at most, of all that this user has queued.
fn shrink_the_queue() {
    let limit = libc::rlimit { rlim_cur: 2, rlim_max: 2 };
    // SAFETY: required: a valid limit for reads. It is a local.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const limit) }, 0);
}

struct Crowd {
    selector: Signal,
    pairs: Vec<(UnixStream, UnixStream)>,
    events: Events,
}

impl Crowd {
    fn new(len: usize) -> Crowd {
        let mut selector = Signal::new().expect("a selector");
        let pair = |_| UnixStream::pair().expect("a pair");
        let pairs: Vec<(UnixStream, UnixStream)> = (0..len).map(pair).collect();
        for (at, (_, theirs)) in pairs.iter().enumerate() {
            theirs.set_nonblocking(true).expect("non-blocking");
            let token = Token(at as u64);
            selector.register(theirs.as_fd(), Interest::READABLE, token).expect("register");
        }
        let mut crowd = Crowd { selector, pairs, events: Events::with_capacity(16) };
        crowd.settle();
        crowd
    }

    fn settle(&mut self) {
        loop {
            self.selector.wait(&mut self.events, Some(Instant::now())).expect("wait");
            if self.events.is_empty() {
                return;
            }
        }
    }

    fn write_to_all(&self) {
        for (ours, _) in &self.pairs {
            (&*ours).write_all(b"x").expect("write");
        }
    }

    fn all_are_reported(&mut self) {
        let mut missing = vec![true; self.pairs.len()];
        let end = Instant::now() + PATIENCE;
        while missing.contains(&true) {
            self.selector.wait(&mut self.events, Some(end)).expect("wait");
            assert!(Instant::now() < end, "never reported: {missing:?}");
            for event in &self.events {
                missing[event.token().0 as usize] = false;
            }
        }
    }
}

#[test]
fn an_overflowing_queue_is_counted_and_loses_nothing() {
    in_a_process_of_its_own("an_overflowing_queue_is_counted_and_loses_nothing", || {
        let mut crowd = Crowd::new(50);
        assert_eq!(crowd.selector.overflows(), 0);
        shrink_the_queue();
        for round in 1..=3 {
            crowd.write_to_all();
            crowd.all_are_reported();
            crowd.settle();
            assert_eq!(crowd.selector.overflows(), round);
        }
    });
}

#[test]
fn an_overflow_is_swept_by_every_selector_of_the_thread() {
    in_a_process_of_its_own("an_overflow_is_swept_by_every_selector_of_the_thread", || {
        let (mut one, mut other) = (Crowd::new(10), Crowd::new(10));
        shrink_the_queue();
        one.write_to_all();
        other.write_to_all();
        // The first reader takes the one SIGIO; the second must notice the overflow all the same.
        one.all_are_reported();
        other.all_are_reported();
        assert_eq!((one.selector.overflows(), other.selector.overflows()), (1, 1));
    });
}

#[test]
fn a_queue_that_is_large_enough_does_not_overflow() {
    let mut crowd = Crowd::new(50);
    crowd.write_to_all();
    crowd.all_are_reported();
    assert_eq!(crowd.selector.overflows(), 0);
}

#[test]
fn another_thread_is_refused_with_a_typed_error() {
    let mut selector = Signal::new().expect("a selector");
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    selector.register(ours.as_fd(), Interest::READABLE, Token(1)).expect("register");
    let elsewhere = thread::spawn(move || {
        let mut events = Events::with_capacity(1);
        let waited = selector.wait(&mut events, Some(Instant::now()));
        let registered = selector.register(theirs.as_fd(), Interest::READABLE, Token(2));
        [waited, registered].map(|result| result.expect_err("refused"))
    });
    for error in elsewhere.join().expect("no panic") {
        assert!(error.get_ref().is_some_and(|inner| inner.is::<WrongThread>()), "{error}");
    }
}

#[test]
fn selectors_of_one_thread_do_not_take_each_others_signals() {
    let (mut one, mut other) = (Crowd::new(5), Crowd::new(5));
    other.write_to_all();
    one.settle();
    one.write_to_all();
    other.all_are_reported();
    one.all_are_reported();
}

#[test]
fn signals_run_out_in_a_thread_and_come_back_with_drop() {
    thread::spawn(|| {
        for _ in 0..2 {
            let mut selectors = Vec::new();
            let error = loop {
                match Signal::new() {
                    Ok(selector) => selectors.push(selector),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
            assert!(selectors.len() > 16, "only {}", selectors.len());
        }
    })
    .join()
    .expect("no panic");
}

#[test]
fn dropping_a_selector_switches_its_signals_off() {
    let crowd = Crowd::new(3);
    let Crowd { selector, pairs, .. } = crowd;
    drop(selector);
    // A signal that came now would stay queued, and be the first thing this one reads.
    for (ours, _) in &pairs {
        (&*ours).write_all(b"x").expect("write");
    }
    for (_, theirs) in &pairs {
        // SAFETY: required: nothing.
        let flags = unsafe { libc::fcntl(theirs.as_raw_fd(), libc::F_GETFL) };
        assert_eq!(flags & libc::O_ASYNC, 0);
    }
}

#[test]
fn dropping_a_selector_leaves_a_reused_number_alone_d38() {
    let (_peer, stale) = UnixStream::pair().expect("a pair");
    let mut old = Signal::new().expect("a selector");
    old.register(stale.as_fd(), Interest::READABLE, Token(1)).expect("register");

    let mut crowd = Crowd::new(0);
    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    let number = stale.as_raw_fd();
    std::mem::forget(stale);
    // SAFETY: required: `number` is ours to close. It was owned by what was forgotten above.
    assert_eq!(unsafe { libc::dup3(theirs.as_raw_fd(), number, libc::O_CLOEXEC) }, number);
    // SAFETY: required: open and without another owner. Just made, its last owner forgotten.
    let reused = unsafe { OwnedFd::from_raw_fd(number) };
    drop(theirs);
    let selector = &mut crowd.selector;
    selector.register(reused.as_fd(), Interest::READABLE, Token(2)).expect("register");
    crowd.settle();

    drop(old);
    ours.write_all(b"x").expect("write");
    let end = Some(Instant::now() + PATIENCE);
    crowd.selector.wait(&mut crowd.events, end).expect("wait");
    assert!(crowd.events.iter().any(|event| event.token() == Token(2)));
}
