//! What is said about blocking and non-blocking sockets, held against bare sockets and selectors:
//! C57, C58, C59, D37, S002-38, S002-45.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as Pair;
use std::thread;
use std::time::{Duration, Instant};

use fiveways::handoff;
use fiveways::net::UnixStream;
use fiveways::selector::{Events, Interest, Kind, Selector, Token};
use fiveways_tests::patience::{LONG, eventually};

const KINDS: [Kind; 4] = [Kind::Select, Kind::Poll, Kind::Epoll, Kind::EpollEt];

/// What a selector reports now.
fn reports(selector: &mut dyn Selector) -> usize {
    let mut events = Events::with_capacity(8);
    selector.wait(&mut events, Some(Instant::now())).expect("it works");
    events.iter().count()
}

/// C57: "selectors need non-blocking sockets, else activity cannot be watched": it can be. What a
/// blocking socket does is stop the loop that believes in an old report, or sends much.
#[test]
fn c57_blocking_sockets_are_watched_and_stop_a_loop_that_asks_too_much() {
    for kind in KINDS {
        let mut selector = kind.open().expect("it is there");
        let (mut far, mut near) = Pair::pair().expect("a pair");
        selector.register(near.as_fd(), Interest::READABLE, Token(1)).expect("registered");
        assert_eq!(reports(&mut *selector), 0, "{kind:?}");
        far.write_all(b"x").expect("room");
        assert_eq!(reports(&mut *selector), 1, "{kind:?}: a blocking socket is reported");
        near.read_exact(&mut [0]).expect("it is there");
        // The report is old by now: a loop that believed in it would stop here.
        let stopped = thread::spawn(move || near.read(&mut [0]).expect("in the end"));
        thread::sleep(Duration::from_millis(5));
        assert!(!stopped.is_finished(), "{kind:?}: it blocks");
        far.write_all(b"y").expect("room");
        assert_eq!(stopped.join().expect("no panic"), 1);

        // So does one that is told "writable" and writes more than there is room for.
        let (mut far, mut near) = Pair::pair().expect("a pair");
        let mut selector = kind.open().expect("it is there");
        selector.register(near.as_fd(), Interest::WRITABLE, Token(1)).expect("registered");
        assert_eq!(reports(&mut *selector), 1, "{kind:?}: there is room");
        let much = vec![0; 1 << 20];
        let stopped = thread::spawn(move || near.write_all(&much).map(|()| near));
        thread::sleep(Duration::from_millis(5));
        assert!(!stopped.is_finished(), "{kind:?}: it blocks");
        far.read_exact(&mut vec![0; 1 << 20]).expect("it comes");
        drop(stopped.join().expect("no panic").expect("taken"));
    }
}

/// C58, D37, S002-38, S002-40, S002-42: "processes need blocking sockets": work that loops over
/// `recv` does, wherever it runs. And the mode is everybody's who has the socket. A handed-over
/// connection is in blocking mode whatever it was before.
#[test]
fn c58_the_mode_belongs_to_the_socket_and_work_sees_no_would_block() {
    let (mut far, near) = Pair::pair().expect("a pair");
    let copy = near.try_clone().expect("a descriptor");
    let is_nonblocking = |pair: &Pair| {
        let flags = rustix::fs::fcntl_getfl(pair).expect("it is open");
        flags.contains(rustix::fs::OFlags::NONBLOCK)
    };
    near.set_nonblocking(true).expect("takes it");
    assert!(is_nonblocking(&copy), "one copy's mode is the other's");
    let error = (&copy).read(&mut [0]).expect_err("nothing is there");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "plain work over it would fail");

    let detached = UnixStream::from(OwnedFd::from(near)).detach().expect("no worker has it");
    assert!(!is_nonblocking(&copy));
    let working = thread::spawn(move || {
        handoff::run(detached, Some(Instant::now() + LONG), |stream| {
            let mut total = 0;
            while total < 100_000 {
                total += stream.read(&mut [0; 1_000])?;
            }
            Ok::<_, std::io::Error>(total)
        })
    });
    for _ in 0..100 {
        far.write_all(&[0; 1_000]).expect("it reads");
        thread::yield_now();
    }
    let (_, total) = working.join().expect("no panic");
    assert_eq!(total.expect("no panic").expect("no would-block"), 100_000);
}

/// One message of a session arrives while a thread is to do the session. Gives whether the loop,
/// which still watches the connection, took it away.
fn is_stolen(selector: &mut dyn Selector, far: &mut Pair, near: &Pair) -> bool {
    far.write_all(b"for the thread").expect("room");
    let mut buf = [0; 64];
    // The loop serves what is reported, as it does for every connection.
    let took = reports(selector) > 0 && (&mut &*near).read(&mut buf).is_ok();
    let left = (&mut &*near).read(&mut buf);
    assert_eq!(took, left.is_err(), "either the loop or the thread has it");
    took
}

/// C59, S002-45: a session that a thread does on a connection that is still registered is broken
/// under every selector, in each of its rounds; epoll shows it no more than select. With the five
/// steps of a hand-off none is.
#[test]
fn c59_sessions_on_registered_connections_are_broken_and_handed_over_ones_are_not() {
    const SESSIONS: usize = 100;
    for kind in KINDS {
        let mut stolen = [0, 0];
        for session in 0..SESSIONS {
            let mut selector = kind.open().expect("it is there");
            let (mut far, near) = Pair::pair().expect("a pair");
            near.set_nonblocking(true).expect("takes it");
            let token = Token(session as u64);
            selector.register(near.as_fd(), Interest::READABLE, token).expect("registered");
            stolen[0] += usize::from(is_stolen(&mut *selector, &mut far, &near));

            selector.deregister(near.as_fd()).expect("it was registered");
            stolen[1] += usize::from(is_stolen(&mut *selector, &mut far, &near));
            // Registered again: what comes from now on is the loop's, and what came before too.
            far.write_all(b"for the loop").expect("room");
            selector.register(near.as_fd(), Interest::READABLE, token).expect("registered");
            assert_eq!(reports(&mut *selector), 1, "{kind:?}: what came meanwhile is reported");
        }
        assert_eq!(stolen, [SESSIONS, 0], "{kind:?}: [registered, handed over]");
    }
}

/// D37: by hand, the copy that stays behind delays the end; only when it is closed too does the
/// peer see it. A hand-off leaves none: the end is there as soon as the receiver has closed.
#[test]
fn d37_a_copy_that_stays_behind_delays_the_end_and_a_hand_off_leaves_none() {
    let (far, near) = Pair::pair().expect("a pair");
    far.set_nonblocking(true).expect("takes it");
    let copy = near.try_clone().expect("a descriptor");
    drop(near);
    let error = (&far).read(&mut [0]).expect_err("no end yet");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drop(copy);
    eventually("the end is seen", || matches!((&far).read(&mut [0]), Ok(0)));

    let (mut far, near) = Pair::pair().expect("a pair");
    far.set_nonblocking(true).expect("takes it");
    let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
    let soon = || Some(Instant::now() + LONG);
    let near = UnixStream::from(OwnedFd::from(near));
    handoff::send(&mut ours, near.detach().expect("no worker has it"), soon()).expect("room");
    let received = handoff::receive::<UnixStream>(&mut theirs, soon()).expect("it comes");
    drop(received.expect("a connection"));
    let count = far.read(&mut [0]).expect("the receiver's copy was the last");
    assert_eq!(count, 0);
}
