//! Which events are reported, and when.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use fiveways_selector::{Interest, Kind, Trigger};

use crate::support::{Bench, PATIENCE, drain, fill, send_urgent, tcp_pair, unix_pair};

pub(crate) fn data_makes_readable(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut ours, mut theirs) = tcp_pair();
    bench.register(&theirs, Interest::READABLE, 7);
    if !bench.guesses() {
        assert_eq!(bench.look(), []);
    }
    ours.write_all(b"hello").expect("write");
    let event = bench.until(7, |event| event.is_readable());
    assert!(!event.is_writable() && !event.is_priority(), "only what was asked: {event:?}");
    assert!(!event.is_error() && !event.is_hangup() && !event.is_read_hangup(), "{event:?}");
    assert_eq!(drain(&mut theirs).expect("read"), 5);
}

pub(crate) fn a_finished_handshake_makes_a_listener_readable_c52(kind: Kind) {
    let mut bench = Bench::new(kind);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    listener.set_nonblocking(true).expect("non-blocking");
    bench.register(&listener, Interest::READABLE, 1);
    if !bench.guesses() {
        assert_eq!(bench.look(), []);
    }
    let addr = listener.local_addr().expect("its address");
    let _client = TcpStream::connect(addr).expect("connect");
    bench.until(1, |event| event.is_readable());
    listener.accept().expect("a connection is there");
}

pub(crate) fn only_what_has_room_is_writable_c51(kind: Kind) {
    let mut bench = Bench::new(kind);
    if bench.guesses() {
        return;
    }
    let ((mut full, _a), (free, _b)) = (tcp_pair(), tcp_pair());
    let ((mut full_unix, _c), (free_unix, _d)) = (unix_pair(), unix_pair());
    fill(&mut full);
    fill(&mut full_unix);
    bench.register(&full, Interest::WRITABLE, 1);
    bench.register(&full_unix, Interest::WRITABLE, 2);
    bench.register(&free, Interest::WRITABLE, 3);
    bench.register(&free_unix, Interest::WRITABLE, 4);
    let mut writable: Vec<u64> = bench.look().iter().map(|event| event.token().0).collect();
    writable.sort_unstable();
    assert_eq!(writable, [3, 4]);
}

pub(crate) fn room_that_comes_later_is_reported(kind: Kind) {
    // Full before it is registered, which is where a signal would never come by itself on Unix.
    let (mut full, mut reader) = unix_pair();
    becomes_writable(kind, &mut full, &mut reader);
    let (mut full, mut reader) = tcp_pair();
    becomes_writable(kind, &mut full, &mut reader);
}

fn becomes_writable<T: Read + Write + AsFd>(kind: Kind, full: &mut T, reader: &mut T) {
    let mut bench = Bench::new(kind);
    fill(full);
    bench.register(full, Interest::WRITABLE, 1);
    // Twice: the first room after the registration, and room after a write that failed since. In
    // between there is no write: it would ask the kernel for a signal.
    for _ in 0..2 {
        if !bench.guesses() {
            assert_eq!(bench.look(), []);
        }
        let end = Instant::now() + PATIENCE;
        loop {
            // More than once: TCP moves bytes on meanwhile.
            drain(reader).expect("read");
            if bench.look().iter().any(|event| event.is_writable()) {
                break;
            }
            assert!(Instant::now() < end, "never reported");
        }
        fill(full);
        if bench.trigger() == Trigger::Edge {
            bench.settle();
        }
    }
}

pub(crate) fn a_finished_connect_is_writable(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (ours, _theirs) = tcp_pair();
    bench.register(&ours, Interest::READABLE | Interest::WRITABLE, 1);
    let event = bench.until(1, |event| event.is_writable());
    assert_eq!(event.is_readable(), bench.guesses(), "{event:?}");
}

pub(crate) fn urgent_data_is_priority_and_not_an_error_d20(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (ours, mut theirs) = tcp_pair();
    bench.register(&theirs, Interest::READABLE | Interest::PRIORITY, 1);
    send_urgent(ours.as_fd());
    let event = bench.until(1, |event| event.is_priority());
    assert!(!event.is_error() && !event.is_hangup() && !event.is_read_hangup(), "{event:?}");
    // The connection lives on.
    (&ours).write_all(b"more").expect("write");
    bench.until(1, |event| event.is_readable());
    let mut buf = [0; 4];
    theirs.set_nonblocking(false).expect("blocking");
    theirs.read_exact(&mut buf).expect("read past the urgent byte");
    assert_eq!(&buf, b"more");
}

pub(crate) fn a_half_closed_peer_is_a_read_hangup(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (ours, theirs) = tcp_pair();
    bench.register(&theirs, Interest::READABLE, 1);
    ours.shutdown(Shutdown::Write).expect("shutdown");
    let event = bench.until(1, |event| event.is_readable());
    assert_eq!(event.is_read_hangup(), bench.selector.capabilities().closing, "{event:?}");
    assert!(!event.is_hangup() && !event.is_error(), "the other half is open: {event:?}");
    assert_eq!((&theirs).read(&mut [0; 8]).expect("end"), 0);
}

pub(crate) fn a_closed_peer_is_a_hangup(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (ours, theirs) = unix_pair();
    bench.register(&theirs, Interest::READABLE, 1);
    drop(ours);
    let event = bench.until(1, |event| event.is_readable());
    assert_eq!(event.is_hangup(), bench.selector.capabilities().closing, "{event:?}");
    assert!(!event.is_error(), "{event:?}");
}

pub(crate) fn a_reset_is_an_error(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (ours, mut theirs) = tcp_pair();
    bench.register(&theirs, Interest::READABLE, 1);
    // Closing with unread bytes resets.
    theirs.write_all(b"never read").expect("write");
    while ours.peek(&mut [0; 16]).is_err() {}
    drop(ours);
    let event = if bench.selector.capabilities().closing {
        bench.until(1, |event| event.is_error())
    } else {
        bench.until(1, |event| event.is_readable())
    };
    assert!(!event.is_priority(), "an error is not urgent data (D20): {event:?}");
    loop {
        match theirs.read(&mut [0; 8]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && bench.guesses() => {}
            result => {
                let error = result.expect_err("reset");
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                break;
            }
        }
    }
}

pub(crate) fn what_is_not_drained_comes_by_level_again_and_by_edge_once(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut ours, mut theirs) = unix_pair();
    bench.register(&theirs, Interest::READABLE, 1);
    ours.write_all(b"first").expect("write");
    bench.until(1, |event| event.is_readable());
    match bench.trigger() {
        Trigger::Level | Trigger::Always => {
            for _ in 0..3 {
                assert!(bench.look().iter().any(|event| event.is_readable()));
            }
        }
        Trigger::Edge => {
            bench.settle();
            assert_eq!(bench.look(), [], "reported once");
        }
    }
    ours.write_all(b"second").expect("write");
    bench.until(1, |event| event.is_readable());
    assert_eq!(drain(&mut theirs).expect("read"), 11);
    if bench.trigger() == Trigger::Level {
        assert_eq!(bench.look(), [], "drained");
    }
}

pub(crate) fn blocking_descriptors_are_watched_too_c57(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
    bench.register(&theirs, Interest::READABLE, 1);
    ours.write_all(b"hello").expect("write");
    bench.until(1, |event| event.is_readable());
    let mut buf = [0; 5];
    theirs.read_exact(&mut buf).expect("read");
}

pub(crate) fn a_pipe_is_watched_like_a_socket(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    assert_ne!(reader.as_raw_fd(), writer.as_raw_fd());
    bench.register(&reader, Interest::READABLE, 1);
    bench.register(&writer, Interest::WRITABLE, 2);
    bench.until(2, |event| event.is_writable());
    writer.write_all(b"x").expect("write");
    bench.until(1, |event| event.is_readable());
    reader.read_exact(&mut [0]).expect("read");
    drop(reader);
    if bench.selector.capabilities().closing {
        bench.until(2, |event| event.is_error());
    }
}
