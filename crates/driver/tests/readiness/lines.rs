//! Several operations in one list, cancels of some, and connects and accepts.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ptr::NonNull;

use fiveways_driver::{Driver, Op, Outcome, Pending};
use fiveways_sys::net::{self, Address, Control, Family, Kind, Reply};

use crate::support::{CANCELED, Rig, accept, connection, on_each, pending, recv, send};

#[test]
fn several_in_a_line_are_served_in_the_order_in_which_they_came() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let mut bufs = [[0; 2]; 4];
        let ops = bufs.each_mut().map(|buf| pending(recv(source, buf, 0)));
        for op in &ops {
            rig.wait(op);
        }
        assert_eq!(rig.driver.waiting(), 4);
        far.write_all(b"aabbcc").expect("room");
        crate::reports::until_readable(std::os::fd::AsFd::as_fd(&near));
        let woken = rig.turn(None);
        // As many as possible: the last is not woken for what the others get.
        let order: Vec<_> = ops[..3].iter().map(NonNull::from).collect();
        assert_eq!(woken, order);
        for op in &ops[..3] {
            assert_eq!(op.outcome.get(), Outcome::Done(2));
        }
        assert_eq!(bufs[..3], [*b"aa", *b"bb", *b"cc"]);
        assert_eq!(rig.driver.waiting(), 1);
        far.write_all(b"dd").expect("room");
        assert_eq!(rig.finish(&ops[3]), 2);
    });
}

#[test]
fn a_cancel_takes_out_the_first_the_middle_or_the_last_and_nobody_else() {
    on_each(|rig| {
        for gone in 0..3 {
            let (near, mut far) = connection();
            let source = rig.source(&near);
            let mut bufs = [[0; 1]; 3];
            let ops = bufs.each_mut().map(|buf| pending(recv(source, buf, 0)));
            ops.iter().for_each(|op| rig.wait(op));
            assert_eq!(rig.cancel(&ops[gone]), [NonNull::from(&ops[gone])]);
            assert_eq!(ops[gone].outcome.get(), Outcome::Done(CANCELED));
            assert_eq!(rig.driver.waiting(), 2);
            far.write_all(b"xy").expect("room");
            for (at, op) in ops.iter().enumerate() {
                if at != gone {
                    assert_eq!(rig.finish(op), 1);
                }
            }
            assert_eq!(rig.driver.waiting(), 0);
            rig.driver.close(source, near.into());
        }
    });
}

#[test]
fn a_line_emptied_by_cancels_can_be_stood_in_again() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let mut buf = [0; 8];
        for _ in 0..5 {
            let op = pending(recv(source, &mut buf, 0));
            rig.wait(&op);
            rig.cancel(&op);
        }
        far.write_all(b"late").expect("room");
        assert_eq!(rig.run(recv(source, &mut buf, 0)), 4);
    });
}

#[test]
fn bytes_that_come_for_a_cancelled_read_are_there_for_the_next() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let mut buf = [0; 8];
        let op = pending(recv(source, &mut buf, 0));
        rig.wait(&op);
        rig.cancel(&op);
        far.write_all(b"data").expect("room");
        crate::reports::until_readable(std::os::fd::AsFd::as_fd(&near));
        // Reported, and no operation waits.
        assert_eq!(rig.look(), 0);
        assert_eq!(rig.run(recv(source, &mut buf, 0)), 4);
    });
}

#[test]
fn an_operation_woken_and_never_tried_again_does_not_stop_the_others() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let (mut a, mut b) = ([0; 1], [0; 1]);
        let first = pending(recv(source, &mut a, 0));
        rig.wait(&first);
        far.write_all(b"xyz").expect("room");
        crate::reports::until_readable(std::os::fd::AsFd::as_fd(&near));
        while first.outcome.get() == Outcome::Waiting {
            rig.turn(None);
        }
        // Its task went elsewhere with the wake; others come.
        for _ in 0..3 {
            assert_eq!(rig.run(recv(source, &mut b, 0)), 1);
        }
    });
}

fn open() -> std::os::fd::OwnedFd {
    match net::control(Control::Open(Family::Inet, Kind::Stream)) {
        Ok(Reply::Opened(fd)) => fd,
        other => panic!("no socket: {other:?}"),
    }
}

/// Any port.
fn loopback() -> Address {
    Address::from(std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

fn connect(rig: &mut Rig, address: std::net::SocketAddr) -> (i32, std::os::fd::OwnedFd) {
    let fd = open();
    let source = rig.source(&fd);
    let address = Address::from(address);
    (rig.run(Op::Connect { source, address: &address }), fd)
}

#[test]
fn a_connect_connects_is_refused_or_can_be_cancelled_and_leaves_the_socket_blocking() {
    on_each(|rig| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (answer, fd) = connect(rig, address);
        assert_eq!(answer, 0);
        let (mut peer, _) = listener.accept().expect("it is there");
        let near = TcpStream::from(fd);
        // In blocking mode, or this would fail.
        let writing = std::thread::spawn(move || peer.write_all(b"hello"));
        let mut buf = [0; 5];
        std::io::Read::read_exact(&mut &near, &mut buf).expect("it waits");
        writing.join().expect("no panic").expect("room");
        // Bound, and not listening; a free port might be taken by another process a moment later.
        let held = open();
        let held = std::os::fd::AsFd::as_fd(&held);
        net::control(Control::Bind(held, &loopback())).expect("a port");
        let address = net::control(Control::LocalName(held)).map(|reply| match reply {
            Reply::Name(Some(address)) => std::net::SocketAddr::try_from(address),
            other => panic!("no name: {other:?}"),
        });
        let address = address.expect("a name").expect("an address");
        let refused = connect(rig, address).0;
        assert_eq!(refused, -111, "connection refused");
    });
}

#[test]
fn a_connect_that_nobody_answers_can_be_cancelled() {
    on_each(|rig| {
        // A full backlog leaves further connects unanswered.
        let listener = open();
        let fd = std::os::fd::AsFd::as_fd(&listener);
        net::control(Control::Bind(fd, &loopback())).expect("a port");
        net::control(Control::Listen(fd, 0)).expect("a listener");
        let Ok(Reply::Name(Some(address))) = net::control(Control::LocalName(fd)) else {
            panic!("no name")
        };
        let mut waiting = Vec::new();
        for _ in 0..8 {
            let fd = open();
            let source = rig.source(&fd);
            let op = Box::new(pending(Op::Connect { source, address: &address }));
            if rig.submit(&op).is_none() {
                for _ in 0..20 {
                    if op.outcome.get() == Outcome::Retry && rig.submit(&op).is_some() {
                        break;
                    }
                    rig.look();
                }
            }
            waiting.push((op, fd));
        }
        let last: &Pending = &waiting.last().expect("eight of them").0;
        if last.outcome.get() == Outcome::Retry {
            rig.wait(last);
        }
        assert_eq!(last.outcome.get(), Outcome::Waiting, "the backlog is full");
        rig.cancel(last);
        assert_eq!(last.outcome.get(), Outcome::Done(CANCELED));
        for (op, _fd) in &waiting {
            if op.outcome.get() == Outcome::Waiting {
                rig.cancel(op);
            }
        }
        assert_eq!(rig.driver.waiting(), 0);
    });
}

#[test]
fn an_accept_waits_for_a_connection() {
    on_each(|rig| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        let source = rig.source(&listener);
        let op = pending(accept(source));
        rig.wait(&op);
        let address = listener.local_addr().expect("an address");
        let _far = [(); 3].map(|()| TcpStream::connect(address).expect("a backlog"));
        let first = rig.finish(&op);
        assert!(first > 0);
        let mut accepted = vec![first];
        for _ in 0..2 {
            accepted.push(rig.run(accept(source)));
        }
        let again = pending(accept(source));
        rig.wait(&again);
        rig.cancel(&again);
        for fd in accepted {
            drop(own(fd));
        }
    });
}

#[test]
fn a_listener_wakes_as_many_of_its_acceptors_as_there_are_connections() {
    on_each(|rig| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let source = rig.source(&listener);
        let ops: Vec<_> = (0..50).map(|_| Box::new(pending(accept(source)))).collect();
        for op in &ops {
            rig.wait(op);
        }
        rig.cancel(&ops[7]);
        let _far = [(); 10].map(|()| TcpStream::connect(address).expect("a backlog"));
        while rig.driver.waiting() > 39 {
            for woken in rig.turn(None) {
                let first = ops.iter().map(|op| NonNull::from(&**op)).find(|op| *op == woken);
                assert!(first.is_some(), "not one of ours");
            }
        }
        for (at, op) in ops.iter().enumerate() {
            match op.outcome.get() {
                Outcome::Done(CANCELED) => assert_eq!(at, 7),
                Outcome::Done(fd) => {
                    assert!(at <= 10, "the {at}th came before its turn");
                    drop(own(fd));
                }
                outcome => {
                    assert_eq!((outcome, at > 10), (Outcome::Waiting, true));
                    rig.cancel(op);
                }
            }
        }
        assert_eq!(rig.driver.waiting(), 0);
    });
}

#[expect(unsafe_code, reason = "an accept answers with a number")]
fn own(fd: i32) -> std::os::fd::OwnedFd {
    // SAFETY: required: an open descriptor without another owner. It is the answer of an accept.
    unsafe { net::own(fd) }
}

#[test]
fn readable_and_writable_tell_without_moving_bytes() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        assert_eq!(rig.run(Op::Writable { source }), 0);
        let op = pending(Op::Readable { source });
        rig.wait(&op);
        far.write_all(b"x").expect("room");
        assert_eq!(rig.finish(&op), 0);
        assert_eq!(rig.run(Op::Readable { source }), 0);
        assert_eq!(rig.run(recv(source, &mut [0; 8], 0)), 1);
        let op = pending(Op::Readable { source });
        rig.wait(&op);
        drop(far);
        assert_eq!(rig.finish(&op), 0);
    });
}

#[test]
fn both_directions_wait_independently() {
    on_each(|rig| {
        let (near, mut far) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let source = rig.source(&near);
        let chunk = [1; 4096];
        let writing = pending(send(source, &chunk, 0));
        while rig.submit(&writing).is_some() {}
        let mut buf = [0; 8];
        let reading = pending(recv(source, &mut buf, 0));
        rig.wait(&reading);
        far.write_all(b"now").expect("room");
        assert_eq!(rig.finish(&reading), 3);
        let again = pending(recv(source, &mut buf, 0));
        rig.wait(&again);
        crate::support::drain(&far);
        assert!(rig.finish(&writing) > 0);
        rig.cancel(&again);
    });
}
