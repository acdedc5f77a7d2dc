//! Reading: which directions are maybe ready, and that no byte is lost.

use std::io::Write;
use std::net::{Shutdown, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use fiveways_driver::{Driver, Outcome};
use fiveways_sys::net::{DONT_WAIT, OUT_OF_BAND, PEEK};

use crate::support::{AGAIN, connection, on_each, pending, recv, send};

#[test]
fn what_is_there_is_given_at_once_and_what_is_not_is_waited_for() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let mut buf = [0; 8];
        for round in 0..3 {
            let op = pending(recv(source, &mut buf, 0));
            rig.wait(&op);
            assert_eq!(rig.driver.waiting(), 1);
            far.write_all(b"abc").expect("room");
            assert_eq!(rig.finish(&op), 3, "round {round}");
            assert_eq!(rig.driver.waiting(), 0);
        }
    });
}

#[test]
fn a_request_costs_no_change_of_registration_once_it_is_registered() {
    on_each(|rig| {
        if rig.guesses() {
            return;
        }
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let mut buf = [0; 64];
        let mut exchange = |rig: &mut crate::support::Rig| {
            let op = pending(recv(source, &mut buf, 0));
            rig.wait(&op);
            far.write_all(b"request").expect("room");
            assert_eq!(rig.finish(&op), 7);
            assert_eq!(rig.run(send(source, b"reply", 0)), 5);
        };
        exchange(rig);
        let before = rig.driver.counters().registrations;
        for _ in 0..50 {
            exchange(rig);
        }
        assert_eq!(rig.driver.counters().registrations, before);
    });
}

#[test]
fn a_short_read_is_followed_by_what_comes_later_and_by_the_end() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let mut buf = [0; 64];
        for piece in [&b"one"[..], b"two!", b"three"] {
            far.write_all(piece).expect("room");
            assert_eq!(rig.run(recv(source, &mut buf, 0)), piece.len() as i32);
        }
        far.write_all(b"last").expect("room");
        drop(far);
        assert_eq!(rig.run(recv(source, &mut buf, 0)), 4);
        for _ in 0..3 {
            assert_eq!(rig.run(recv(source, &mut buf, 0)), 0);
        }
    });
}

#[test]
fn bytes_and_the_end_that_come_together_are_both_seen() {
    on_each(|rig| {
        for half in [false, true] {
            let (near, mut far) = connection();
            let source = rig.source(&near);
            let mut buf = [0; 64];
            let op = pending(recv(source, &mut buf, 0));
            rig.wait(&op);
            far.write_all(b"bye").expect("room");
            if half {
                far.shutdown(Shutdown::Write).expect("connected");
            } else {
                drop(far);
            }
            assert_eq!(rig.finish(&op), 3);
            assert_eq!(rig.run(recv(source, &mut buf, 0)), 0);
            rig.driver.close(source, near.into());
        }
    });
}

#[test]
fn bytes_behind_urgent_data_are_not_forgotten() {
    on_each(|rig| {
        for waits_first in [false, true] {
            let (near, far) = connection();
            let (source, peer) = (rig.source(&near), rig.source(&far));
            let mut buf = [0; 64];
            let op = pending(recv(source, &mut buf, 0));
            if waits_first {
                rig.wait(&op);
            }
            for (bytes, flags) in [(&b"before"[..], 0), (b"!", OUT_OF_BAND), (b"behind", 0)] {
                assert_eq!(rig.run(send(peer, bytes, flags)), bytes.len() as i32);
            }
            // A read stops short at the place of the urgent byte.
            assert_eq!(rig.finish(&op), 6);
            assert_eq!(rig.run(recv(source, &mut buf, 0)), 6);
            assert_eq!(&buf[..6], b"behind");
            rig.driver.close(source, near.into());
            rig.driver.close(peer, far.into());
        }
    });
}

#[test]
fn a_short_read_of_a_unix_stream_or_a_datagram_proves_nothing() {
    on_each(|rig| {
        let (near, far) = UnixDatagram::pair().expect("a pair");
        let source = rig.source(&near);
        let mut buf = [0; 64];
        let op = pending(recv(source, &mut buf, 0));
        rig.wait(&op);
        for number in 1..=5_usize {
            assert_eq!(far.send(&b"12345"[..number]).ok(), Some(number));
        }
        assert_eq!(rig.finish(&op), 1);
        for number in 2..=5 {
            assert_eq!(rig.run(recv(source, &mut buf, 0)), number);
        }
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a port"));
        let address = sockets[0].local_addr().expect("an address");
        let source = rig.source(&sockets[0]);
        let op = pending(recv(source, &mut buf, 0));
        rig.wait(&op);
        for number in [3_usize, 0, 4] {
            assert_eq!(sockets[1].send_to(&b"12345"[..number], address).ok(), Some(number));
        }
        assert_eq!(rig.finish(&op), 3);
        assert_eq!(rig.run(recv(source, &mut buf, 0)), 0);
        assert_eq!(rig.run(recv(source, &mut buf, 0)), 4);
    });
}

#[test]
fn a_peek_leaves_the_bytes_and_takes_nothing_for_dry() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let mut buf = [0; 64];
        let op = pending(recv(source, &mut buf, PEEK));
        rig.wait(&op);
        far.write_all(b"look").expect("room");
        assert_eq!(rig.finish(&op), 4);
        assert_eq!(rig.run(recv(source, &mut buf, PEEK)), 4);
        assert_eq!(rig.run(recv(source, &mut buf, 0)), 4);
    });
}

#[test]
fn what_must_not_wait_does_not() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let mut buf = [0; 64];
        for _ in 0..3 {
            assert_eq!(rig.submit(&pending(recv(source, &mut buf, DONT_WAIT))), Some(AGAIN));
        }
        far.write_all(b"x").expect("room");
        crate::reports::until_readable(near.as_fd());
        assert_eq!(rig.submit(&pending(recv(source, &mut buf, DONT_WAIT))), Some(1));
        assert_eq!(rig.driver.waiting(), 0);
        // Afterwards waiting works.
        let op = pending(recv(source, &mut buf, 0));
        rig.wait(&op);
        // And one that must not wait goes past the one that waits.
        assert_eq!(rig.submit(&pending(recv(source, &mut [0; 8], DONT_WAIT))), Some(AGAIN));
        far.write_all(b"yz").expect("room");
        assert_eq!(rig.finish(&op), 2);
    });
}

#[test]
fn lent_bytes_stay_while_others_are_received() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        far.write_all(b"first").expect("room");
        let first = rig.fill(source).expect("bytes");
        far.write_all(b"second").expect("room");
        let second = rig.fill(source).expect("bytes");
        assert_eq!((first.bytes(), second.bytes()), (&b"first"[..], &b"second"[..]));
        drop(far);
        assert!(rig.fill(source).is_none());
    });
}

#[test]
fn a_reset_is_an_error_once_and_then_the_end() {
    on_each(|rig| {
        let (near, far) = connection();
        let source = rig.source(&near);
        let mut buf = [0; 8];
        let op = pending(recv(source, &mut buf, 0));
        rig.wait(&op);
        let linger = [1_i32.to_ne_bytes(), 0_i32.to_ne_bytes()].concat();
        let name = fiveways_sys::net::option_name::LINGER;
        fiveways_sys::net::set_option(std::os::fd::AsRawFd::as_raw_fd(&far), name, &linger)
            .expect("set");
        drop(far);
        assert_eq!(rig.finish(&op), -fiveways_sys::errno::ECONNRESET);
        assert_eq!(rig.run(recv(source, &mut buf, 0)), 0);
    });
}

#[test]
fn a_full_socket_is_waited_for_until_there_is_room() {
    on_each(|rig| {
        let (near, far) = UnixStream::pair().expect("a pair");
        let source = rig.source(&near);
        let chunk = [7; 4096];
        let mut sent = 0;
        let op = pending(send(source, &chunk, 0));
        while let Some(answer) = rig.submit(&op) {
            sent += answer as usize;
        }
        assert_eq!(crate::support::drain(&far), sent);
        assert!(rig.finish(&op) > 0);
        assert!(crate::support::drain(&far) > 0);
    });
}

#[test]
fn an_operation_that_is_done_at_once_leaves_its_slot_idle() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let mut buf = [0; 8];
        for (flags, bytes, answer) in
            [(0, &b"abc"[..], 3), (DONT_WAIT, b"abc", 3), (DONT_WAIT, b"", AGAIN)]
        {
            far.write_all(bytes).expect("room");
            if !bytes.is_empty() {
                crate::reports::until_readable(near.as_fd());
            }
            let op = pending(recv(source, &mut buf, flags));
            // As it comes back from a turn.
            op.outcome.set(Outcome::Retry);
            assert_eq!(rig.submit(&op), Some(answer), "flags {flags}");
            assert_eq!(op.outcome.get(), Outcome::Idle, "flags {flags}, {answer}");
        }
    });
}
