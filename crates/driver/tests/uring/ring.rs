//! Turns, the waker, deadlines, and operations that are one request each.
#![expect(unsafe_code, reason = "message headers point at buffers; descriptors arrive as numbers")]

use std::io::{IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use fiveways_driver::{Driver, Op, Outcome};
use fiveways_sys::net::message::Message;
use fiveways_sys::net::{Address, DONT_WAIT};

use crate::support::{CANCELED, Rig, accept, connected, pending, recv, send, unix};

#[test]
fn a_message_goes_out_and_comes_back() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    assert_eq!(rig.send(source, b"ping"), 4);
    let mut buf = [0; 16];
    peer.read_exact(&mut buf[..4]).expect("the message");
    peer.write_all(b"pong!").expect("an answer");
    assert_eq!(rig.recv(source, &mut buf), 5);
    assert_eq!(&buf[..5], b"pong!");
    assert_eq!(rig.driver.waiting(), 0);
}

#[test]
fn a_receive_that_waits_costs_no_turn_until_bytes_come() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    let mut buf = [0; 16];
    let op = pending(recv(source, &mut buf, 0));
    assert_eq!(rig.submit(&op), None);
    assert_eq!(rig.look(), 0);
    assert_eq!(rig.driver.waiting(), 1);
    peer.write_all(b"late").expect("sent");
    assert_eq!(rig.finish(&op), 4);
    assert_eq!(&buf[..4], b"late");
}

#[test]
fn a_send_into_a_full_socket_waits_for_room() {
    let mut rig = Rig::new();
    let (ours, mut theirs) = unix();
    let source = rig.source(ours.as_raw_fd());
    let block = vec![7; 1 << 16];
    let mut sent = 0;
    let op = loop {
        let op = pending(send(source, &block));
        match rig.submit(&op) {
            Some(count) => sent += count as usize,
            None if rig.look() == 1 => sent += rig.finish(&op) as usize,
            None => break op,
        }
    };
    let mut got = vec![0; sent];
    theirs.read_exact(&mut got).expect("what was sent");
    assert!(rig.finish(&op) > 0);
}

#[test]
fn a_send_to_nobody_is_an_error_and_no_signal() {
    let mut rig = Rig::new();
    let (ours, theirs) = unix();
    let source = rig.source(ours.as_raw_fd());
    drop(theirs);
    assert_eq!(rig.send(source, b"x"), -32, "EPIPE (D45)");
}

#[test]
fn the_deadline_ends_a_turn_and_not_before() {
    let mut rig = Rig::new();
    let (_ours, source, _peer) = connected(&mut rig);
    let mut buf = [0; 1];
    let op = pending(recv(source, &mut buf, 0));
    assert_eq!(rig.submit(&op), None);
    let begin = Instant::now();
    let limit = Duration::from_millis(30);
    assert_eq!(rig.turn(Some(begin + limit)), 0);
    assert!(begin.elapsed() >= limit);
    rig.cancel(&op);
    rig.finish(&op);
}

#[test]
fn a_wake_ends_a_turn_each_time_and_is_not_reported() {
    let mut rig = Rig::new();
    for _ in 0..100 {
        let waker = rig.driver.waker();
        let other = std::thread::spawn(move || {
            waker.wake();
            waker.wake();
        });
        assert_eq!(rig.turn(None), 0);
        other.join().expect("no panic");
        // The second wake may have come after the first was noticed.
        rig.look();
    }
}

#[test]
fn a_wake_before_the_turn_is_not_lost() {
    let mut rig = Rig::new();
    rig.driver.waker().wake();
    assert_eq!(rig.turn(None), 0);
}

#[test]
fn accept_and_connect_meet() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    listener.set_nonblocking(true).expect("non-blocking, as listeners are (I5)");
    let at = rig.source(listener.as_raw_fd());
    let first = pending(accept(at));
    assert_eq!(rig.submit(&first), None);

    let addr = listener.local_addr().expect("its address");
    let address = Address::from(addr);
    let socket = std::net::TcpStream::connect(addr).expect("a first connection");
    let accepted = rig.finish(&first);
    assert!(accepted >= 0);
    // SAFETY: required: an open descriptor without another owner. The accept made it.
    drop(unsafe { OwnedFd::from_raw_fd(accepted) });
    drop(socket);

    let fresh = fresh_socket();
    let source = rig.source(fresh.as_raw_fd());
    assert_eq!(rig.run(Op::Connect { source, address: &raw const address }), 0);
    let accepted = rig.run(accept(at));
    // SAFETY: as above.
    drop(unsafe { OwnedFd::from_raw_fd(accepted) });
}

#[test]
fn a_listener_wakes_as_many_of_its_acceptors_as_there_are_connections() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    listener.set_nonblocking(true).expect("non-blocking, as listeners are (I5)");
    let addr = listener.local_addr().expect("its address");
    let at = rig.source(listener.as_raw_fd());
    let ops: Vec<_> = (0..50).map(|_| pending(accept(at))).collect();
    for op in &ops {
        assert_eq!(rig.submit(op), None);
    }
    rig.look();
    // The first has a request in the kernel, the last has none.
    for gone in [0, 49] {
        rig.cancel(&ops[gone]);
        assert_eq!(rig.finish(&ops[gone]), CANCELED);
    }
    let _far = [(); 10].map(|()| std::net::TcpStream::connect(addr).expect("a backlog"));
    rig.until("ten are served", |rig| rig.driver.waiting() == 38);
    for op in &ops[1..11] {
        let accepted = rig.finish(op);
        assert!(accepted >= 0);
        // SAFETY: required: an open descriptor without another owner. The accept made it.
        drop(unsafe { OwnedFd::from_raw_fd(accepted) });
    }
    for op in &ops[11..49] {
        assert_eq!(op.outcome.get(), Outcome::Waiting);
        rig.cancel(op);
        assert_eq!(rig.finish(op), CANCELED);
    }
    assert_eq!(rig.driver.waiting(), 0);
}

fn fresh_socket() -> OwnedFd {
    use fiveways_sys::net::{Control, Family, Kind, Reply, control};
    match control(Control::Open(Family::Inet, Kind::Stream)) {
        Ok(Reply::Opened(fd)) => fd,
        other => panic!("no socket: {other:?}"),
    }
}

#[test]
fn a_connect_to_nobody_is_refused() {
    let mut rig = Rig::new();
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let address = Address::from(gone.local_addr().expect("its address"));
    drop(gone);
    let fresh = fresh_socket();
    let source = rig.source(fresh.as_raw_fd());
    assert_eq!(rig.run(Op::Connect { source, address: &raw const address }), -111);
}

#[test]
fn readiness_is_waited_for() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    assert_eq!(rig.run(Op::Writable { source }), 0);
    let readable = pending(Op::Readable { source });
    assert_eq!(rig.submit(&readable), None);
    assert_eq!(rig.look(), 0);
    peer.write_all(b"x").expect("sent");
    assert_eq!(rig.finish(&readable), 0);
}

#[test]
fn datagrams_carry_addresses_both_ways() {
    let mut rig = Rig::new();
    let ours = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let theirs = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let source = rig.source(ours.as_raw_fd());
    theirs.send_to(b"who", ours.local_addr().expect("ours")).expect("sent");

    let mut buf = [0; 8];
    let mut slices = [IoSliceMut::new(&mut buf)];
    let mut message = Message::new();
    // SAFETY: required: valid buffers that outlive the header. They do.
    unsafe { message.buffers(slices.as_mut_ptr().cast_const().cast(), 1) };
    message.want_name();
    let header = message.prepare();
    assert_eq!(rig.run(Op::RecvMsg { source, header, flags: 0 }), 3);
    let from = message.name().expect("the sender's address");
    assert_eq!(from, Address::from(theirs.local_addr().expect("theirs")));

    let slices = [std::io::IoSlice::new(b"me")];
    let mut message = Message::new();
    // SAFETY: as above.
    unsafe { message.buffers(slices.as_ptr().cast(), 1) };
    message.set_name(&from);
    let header = message.prepare().cast_const();
    assert_eq!(rig.run(Op::SendMsg { source, header, flags: 0 }), 2);
    assert_eq!(theirs.recv(&mut [0; 8]).expect("the answer"), 2);
}

#[test]
fn a_descriptor_in_non_blocking_mode_is_waited_for_as_well() {
    let mut rig = Rig::new();
    let (ours, source, mut peer) = connected(&mut rig);
    ours.set_nonblocking(true).expect("non-blocking");
    let mut buf = [0; 8];
    let op = pending(recv(source, &mut buf, 0));
    assert_eq!(rig.submit(&op), None);
    rig.look();
    peer.write_all(b"abc").expect("sent");
    assert_eq!(rig.finish(&op), 3);
    // The message form is tried at once, is answered would-block, and waits all the same.
    let mut slices = [IoSliceMut::new(&mut buf)];
    let mut message = Message::new();
    // SAFETY: required: valid buffers that outlive the header. They do.
    unsafe { message.buffers(slices.as_mut_ptr().cast_const().cast(), 1) };
    let header = message.prepare();
    let op = pending(Op::RecvMsg { source, header, flags: 0 });
    assert_eq!(rig.submit(&op), None);
    rig.look();
    rig.cancel(&op);
    assert_eq!(rig.finish(&op), CANCELED);
    assert_eq!(rig.submit(&op), None);
    rig.look();
    peer.write_all(b"defg").expect("sent");
    assert_eq!(rig.finish(&op), 4);
    peer.write_all(b"hi").expect("sent");
    assert_eq!(rig.fill(source).expect("bytes").bytes(), b"hi");
}

#[test]
fn more_requests_than_the_ring_holds_are_not_lost() {
    let mut rig = Rig::with(|options| {
        options.uring.entries = 4;
        options.uring.completions = 8;
    });
    let sockets: Vec<_> = (0..100).map(|_| connected(&mut rig)).collect();
    let mut buffers = vec![[0; 4]; sockets.len()];
    let waiting: Vec<_> = sockets
        .iter()
        .zip(&mut buffers)
        .map(|((_, source, _), buf)| pending(recv(*source, buf, 0)))
        .collect();
    for op in &waiting {
        assert_eq!(rig.submit(op), None);
    }
    for (_, _, peer) in &sockets {
        (&*peer).write_all(b"abc").expect("sent");
    }
    for op in &waiting {
        assert_eq!(rig.finish(op), 3);
    }
    assert!(buffers.iter().all(|buf| buf == b"abc\0"));
}

#[test]
fn no_worker_thread_of_the_kernel_serves_a_socket() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    let mut buf = vec![0; 1 << 20];
    let op = pending(recv(source, &mut buf, 0));
    assert_eq!(rig.submit(&op), None);
    rig.look();
    let (_other, second, _peer) = connected(&mut rig);
    let mut loan = None;
    let fill = pending(Op::Fill { source: second, loan: &raw mut loan });
    assert_eq!(rig.submit(&fill), None);
    rig.look();
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads of this process");
    for task in tasks {
        let path = task.expect("a thread").path().join("comm");
        // A thread of another test may end meanwhile.
        let name = std::fs::read_to_string(path).unwrap_or_default();
        assert!(!name.starts_with("iou-wrk"), "a kernel worker: {name}");
    }
    peer.write_all(b"x").expect("sent");
    assert_eq!(rig.finish(&op), 1);
    rig.cancel(&fill);
    rig.finish(&fill);
}

#[test]
fn an_operation_that_is_done_at_once_leaves_its_slot_idle() {
    let mut rig = Rig::new();
    let (_ours, source, _peer) = connected(&mut rig);
    let mut buf = [0; 8];
    let beyond = rig.source(i32::MAX);
    let cases = [
        (send(source, b"abc"), 3),
        (recv(source, &mut buf, DONT_WAIT), -11),
        (recv(beyond, &mut buf, 0), -24),
    ];
    for (op, answer) in cases {
        let op = pending(op);
        // As it comes back from a turn.
        op.outcome.set(Outcome::Retry);
        assert_eq!(rig.submit(&op), Some(answer), "{:?}", op.op);
        assert_eq!(op.outcome.get(), Outcome::Idle, "{:?}", op.op);
    }
}
