//! `select!` over sockets and channels.

use std::io::{BufRead, Read, Write};
use std::net::TcpListener as StdListener;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use fiveways::net::{TcpListener, TcpStream, UdpSocket};
use fiveways::runtime::Runtime;
use fiveways::sync::channel::bounded;
use fiveways::{Model, select, task};
use fiveways_tests::on_cooperative_models;
use fiveways_tests::patience::LONG;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const SHORT: Duration = Duration::from_millis(5);

on_cooperative_models! {
    bodies: a_socket_or_a_channel_whatever_comes_first,
            what_was_read_ahead_counts_as_readable,
            listeners_and_datagrams_are_watched,
            a_cancelled_select_leaves_the_socket_alone,
            a_select_without_descriptors_says_so;
}

/// Nobody can watch the socket: its arm is chosen with the error, and the next `select!` is as good
/// as any.
fn select_without_descriptors() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (_tx, rx) = bounded::<()>(1);
    let choose = || {
        select! {
            readable(socket) -> ready => ready,
            recv(rx) -> item => panic!("nobody sends: {item:?}"),
        }
    };
    let before = getrlimit(Resource::Nofile);
    let limit = |current| Rlimit { current, ..before };
    setrlimit(Resource::Nofile, limit(Some(3))).expect("it may be lowered");
    let chosen = choose();
    setrlimit(Resource::Nofile, limit(before.current)).expect("it was so before");
    let error = chosen.expect_err("no descriptor is left");
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
    let address = socket.local_addr().expect("its address");
    socket.send_to(b"!", address).expect("room");
    choose().expect("it can be watched now");
}

#[test]
fn a_select_of_a_thread_without_descriptors_says_so() {
    select_without_descriptors();
}

/// One body per behaviour.
mod bodies {
    use super::*;

    fn run(model: Model, body: fn()) {
        let runtime = Runtime::builder().model(model).build().expect("a runtime");
        runtime.block_on(body);
    }

    fn pair() -> (TcpStream, std::net::TcpStream) {
        let listener = StdListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        let ours = TcpStream::connect(address).expect("a connection");
        let (theirs, _) = listener.accept().expect("its other end");
        (ours, theirs)
    }

    pub(super) fn a_select_without_descriptors_says_so(model: Model) {
        run(model, select_without_descriptors);
    }

    pub(super) fn a_socket_or_a_channel_whatever_comes_first(model: Model) {
        run(model, || {
            let (mut ours, mut theirs) = pair();
            let (tx, rx) = bounded(1);
            for round in 0..20_u8 {
                if round % 2 == 0 {
                    let tx = tx.clone();
                    drop(task::spawn_local(move || tx.send(round)));
                } else {
                    theirs.write_all(&[round]).expect("it is connected");
                }
                select! {
                    readable(ours) -> ready => {
                        ready.expect("it can be watched");
                        let mut byte = [0];
                        ours.read_exact(&mut byte).expect("it is readable");
                        assert_eq!((byte[0], round % 2), (round, 1));
                    }
                    recv(rx) -> item => assert_eq!((item, round % 2), (Ok(round), 0)),
                    after(LONG) => panic!("neither came"),
                }
            }
            select! {
                readable(ours) -> _ => panic!("nothing was sent"),
                after(SHORT) => {}
            }
            select! {
                writable(ours) -> ready => ready.expect("there is room"),
                after(LONG) => panic!("there is room"),
            }
            select! { readable(ours) -> _ => panic!("nothing was sent"), default => {} }
        });
    }

    pub(super) fn what_was_read_ahead_counts_as_readable(model: Model) {
        run(model, || {
            let (mut ours, mut theirs) = pair();
            theirs.write_all(b"ab").expect("it is connected");
            assert!(ours.fill_buf().expect("something comes").starts_with(b"a"));
            ours.consume(1);
            let readable = |ours: &TcpStream| {
                select! { readable(ours) -> ready => ready.is_ok(), after(LONG) => false }
            };
            assert!(readable(&ours));
            assert_eq!(ours.fill_buf().expect("it is there"), b"b");
            ours.consume(1);
            // Now perhaps in the driver, ahead of us.
            theirs.write_all(b"c").expect("it is connected");
            assert!(readable(&ours));
            task::yield_now();
            assert!(select! { readable(ours) -> ready => ready.is_ok(), default => false });
            assert_eq!(ours.fill_buf().expect("it is there"), b"c");
        });
    }

    pub(super) fn listeners_and_datagrams_are_watched(model: Model) {
        run(model, || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
            let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            let address = listener.local_addr().expect("its address");
            let to = datagrams.local_addr().expect("its address");
            let client = thread::spawn(move || {
                let stream = std::net::TcpStream::connect(address).expect("it listens");
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
                socket.send_to(b"x", to).expect("it is sent");
                stream
            });
            let mut seen = [false; 2];
            while seen != [true; 2] {
                select! {
                    readable(listener) -> ready => {
                        ready.expect("it can be watched");
                        listener.accept().expect("a client");
                        seen[0] = true;
                    }
                    readable(datagrams.as_fd()) -> ready => {
                        ready.expect("it can be watched");
                        assert_eq!(datagrams.recv(&mut [0; 8]).ok(), Some(1));
                        seen[1] = true;
                    }
                    after(LONG) => panic!("nobody came"),
                }
            }
            client.join().expect("the client does not panic");
        });
    }

    pub(super) fn a_cancelled_select_leaves_the_socket_alone(model: Model) {
        run(model, || {
            let (ours, mut theirs) = pair();
            let (_tx, rx) = bounded::<()>(0);
            let waiting = task::spawn_local(move || {
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    select! { readable(ours) -> _ => false, recv(rx) -> _ => false }
                }));
                (ours, outcome.is_err())
            });
            for _ in 0..5 {
                task::yield_now();
            }
            waiting.cancel();
            let (mut ours, unwound) = waiting.join().expect("it caught the cancellation");
            assert!(unwound);
            theirs.write_all(b"x").expect("it is connected");
            let mut byte = [0];
            ours.read_exact(&mut byte).expect("nobody took it");
            assert_eq!(&byte, b"x");
        });
    }
}

#[test]
fn a_plain_thread_waits_for_sockets_and_channels() {
    let listener = StdListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let ours = TcpStream::connect(address).expect("a connection");
    let (mut theirs, _) = listener.accept().expect("its other end");
    let (tx, rx) = bounded(0);
    let sending = thread::spawn(move || tx.send(1));
    select! {
        readable(ours) -> _ => panic!("nothing was sent"),
        recv(rx) -> item => assert_eq!(item, Ok(1)),
    }
    sending.join().expect("it does not panic").expect("it was received");
    let writing = thread::spawn(move || theirs.write_all(b"x").map(|()| theirs));
    select! {
        readable(ours) -> ready => ready.expect("it can be watched"),
        after(LONG) => panic!("nothing came"),
    }
    writing.join().expect("it does not panic").expect("it is connected");
    select! { readable(listener.as_fd()) -> _ => panic!("nobody connects"), after(SHORT) => {} }
}

/// S004-21: opening costs, so nothing is opened for what the thread can do itself.
#[test]
fn a_plain_thread_that_waits_for_descriptors_only_starts_no_thread() {
    let (first, mut theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let (second, _its_other_end) = std::os::unix::net::UnixStream::pair().expect("a pair");
    for round in 0..3 {
        select! {
            readable(first) -> _ => panic!("nothing was sent"),
            readable(second) -> _ => panic!("nothing was sent"),
            after(SHORT) => {}
        }
        let writing = thread::spawn(move || theirs.write_all(b"x").map(|()| theirs));
        select! {
            readable(first) -> ready => ready.expect("it can be watched"),
            readable(second) -> _ => panic!("nothing was sent"),
            after(LONG) => panic!("nothing came"),
        }
        theirs = writing.join().expect("it does not panic").expect("it is connected");
        (&first).read_exact(&mut [0]).expect("it is readable");
        select! { writable(first) -> ready => ready.expect("there is room") }
        assert_eq!(scouts(), 0, "round {round}");
    }
    drop(theirs);
    select! { readable(first) -> ready => ready.expect("its end is readable") }
    // With a channel beside it another thread watches, and is kept for the next.
    let (_tx, rx) = bounded::<()>(0);
    for _ in 0..20 {
        select! {
            readable(second) -> _ => panic!("nothing was sent"),
            recv(rx) -> _ => panic!("nothing was sent"),
            after(Duration::from_millis(1)) => {}
        }
    }
    assert!((1..10).contains(&scouts()), "{}", scouts());
}

/// The threads that watch for others.
fn scouts() -> usize {
    let entries = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let names = entries
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok());
    names.filter(|name| ["unblock", "select"].contains(&name.trim())).count()
}
