//! `Fill` and the readers that share a socket with it.
#![expect(unsafe_code, reason = "message headers point at buffers")]

use std::io::{IoSliceMut, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;

use fiveways_driver::{Driver, Op, Outcome};
use fiveways_sys::net::message::Message;
use fiveways_sys::net::{DONT_WAIT, PEEK};

use crate::support::{Rig, connected, pending, recv, reset, unix};

#[test]
fn a_fill_lends_what_arrived() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    for round in 0..1000_u32 {
        let message = round.to_be_bytes();
        peer.write_all(&message).expect("sent");
        assert_eq!(rig.fill_exactly(source, 4), message);
    }
}

#[test]
fn loans_stay_valid_while_others_come_and_go() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    let mut kept = Vec::new();
    for round in 0..100_u8 {
        peer.write_all(&[round; 10]).expect("sent");
        kept.push(rig.fill(source).expect("bytes"));
    }
    for (round, loan) in kept.iter().enumerate() {
        assert!(loan.bytes().iter().all(|byte| usize::from(*byte) == round));
    }
}

#[test]
fn a_thousand_sockets_are_served_at_once() {
    serve_at_once(Rig::new(), 1000);
}

#[test]
fn a_ring_whose_completions_overflow_loses_none() {
    let tiny = Rig::with(|options| {
        options.uring.entries = 8;
        options.uring.completions = 16;
    });
    serve_at_once(tiny, 300);
}

/// Each socket waits, then all peers send: each gets the bytes of its own peer.
fn serve_at_once(mut rig: Rig, count: usize) {
    let sockets: Vec<_> = (0..count).map(|_| unix()).collect();
    let sources: Vec<_> = sockets.iter().map(|(ours, _)| rig.source(ours.as_raw_fd())).collect();
    for round in 0..5_u8 {
        let mut loans: Vec<_> = (0..sockets.len()).map(|_| None).collect();
        let fills: Vec<_> = sources
            .iter()
            .zip(&mut loans)
            .map(|(source, loan)| pending(Op::Fill { source: *source, loan: &raw mut *loan }))
            .collect();
        for fill in &fills {
            assert_eq!(rig.submit(fill), None);
        }
        for (index, (_, theirs)) in sockets.iter().enumerate() {
            (&*theirs).write_all(&[round, index as u8]).expect("sent");
        }
        for fill in &fills {
            assert_eq!(rig.finish(fill), 2);
        }
        for (index, loan) in loans.iter().enumerate() {
            let loan = loan.as_ref().expect("a loan");
            assert_eq!(loan.bytes(), [round, index as u8]);
        }
    }
}

#[test]
fn the_end_of_the_stream_is_told_after_its_bytes_and_ever_after() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    peer.write_all(b"last words").expect("sent");
    drop(peer);
    assert_eq!(rig.fill(source).expect("bytes").bytes(), b"last words");
    for _ in 0..3 {
        assert_eq!(rig.fill(source).expect_err("no bytes"), 0);
    }
    assert_eq!(rig.recv(source, &mut [0; 4]), 0);
    assert_eq!(rig.run(Op::Readable { source }), 0);
}

#[test]
fn a_half_closed_peer_still_gets_its_answer() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    peer.write_all(b"question").expect("sent");
    peer.shutdown(Shutdown::Write).expect("half-closed");
    assert_eq!(rig.fill(source).expect("bytes").bytes(), b"question");
    assert_eq!(rig.fill(source).expect_err("the end"), 0);
    assert_eq!(rig.send(source, b"answer"), 6);
    let mut buf = [0; 6];
    std::io::Read::read_exact(&mut peer, &mut buf).expect("the answer");
    assert_eq!(&buf, b"answer");
}

#[test]
fn a_reset_is_told_once_and_then_the_end() {
    let mut rig = Rig::new();
    let (_ours, source, peer) = connected(&mut rig);
    let mut loan = None;
    let fill = pending(Op::Fill { source, loan: &raw mut loan });
    assert_eq!(rig.submit(&fill), None);
    rig.look();
    assert_eq!(rig.send(source, b"unread"), 6);
    reset(peer).expect("reset");
    assert_eq!(rig.finish(&fill), -104, "ECONNRESET");
    assert_eq!(rig.fill(source).expect_err("the end"), 0);
}

#[test]
fn a_plain_receive_after_a_fill_keeps_the_order() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    peer.write_all(b"one ").expect("sent");
    assert_eq!(rig.fill(source).expect("bytes").bytes(), b"one ");
    peer.write_all(b"two three").expect("sent");
    let mut buf = [0; 4];
    assert_eq!(rig.recv(source, &mut buf), 4);
    assert_eq!(&buf, b"two ");
    let loan = rig.fill(source).expect("the rest of the same piece");
    assert_eq!(loan.bytes(), b"three");
    // And once more with a receive that waits.
    let op = pending(recv(source, &mut buf, 0));
    assert_eq!(rig.submit(&op), None);
    peer.write_all(b"four").expect("sent");
    assert_eq!(rig.finish(&op), 4);
    assert_eq!(&buf, b"four");
}

#[test]
fn a_peek_leaves_the_bytes_of_what_was_received_ahead() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    peer.write_all(b"a").expect("sent");
    assert_eq!(rig.fill(source).expect("bytes").len(), 1);
    let mut buf = [0; 8];
    let peek = pending(recv(source, &mut buf, PEEK));
    assert_eq!(rig.submit(&peek), None);
    peer.write_all(b"bcd").expect("sent");
    assert_eq!(rig.finish(&peek), 3);
    assert_eq!(rig.run(recv(source, &mut buf[..2], PEEK)), 2);
    assert_eq!(rig.fill(source).expect("bytes").bytes(), b"bcd");
}

#[test]
fn a_receive_that_may_not_wait_sees_what_the_kernel_held_back() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    peer.write_all(b"a").expect("sent");
    assert_eq!(rig.fill(source).expect("bytes").len(), 1);
    let mut buf = [0; 8];
    assert_eq!(rig.run(recv(source, &mut buf, DONT_WAIT)), -11, "EAGAIN");
    peer.write_all(b"bc").expect("sent");
    // Loopback delivers before the write returns.
    assert_eq!(rig.run(recv(source, &mut buf, DONT_WAIT)), 2);
    assert_eq!(&buf[..2], b"bc");
}

#[test]
fn a_vectored_receive_takes_what_was_received_ahead() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    peer.write_all(b"x").expect("sent");
    assert_eq!(rig.fill(source).expect("bytes").len(), 1);
    let (mut first, mut second) = ([0; 3], [0; 4]);
    let mut slices = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    let mut message = Message::new();
    // SAFETY: required: valid buffers that outlive the header. They do.
    unsafe { message.buffers(slices.as_mut_ptr().cast_const().cast(), 2) };
    let header = message.prepare();
    let op = pending(Op::RecvMsg { source, header, flags: 0 });
    assert_eq!(rig.submit(&op), None);
    peer.write_all(b"abcdefgh").expect("sent");
    assert_eq!(rig.finish(&op), 7);
    assert_eq!((&first, &second), (b"abc", b"defg"));
    assert_eq!(rig.fill(source).expect("the rest").bytes(), b"h");
}

#[test]
fn readers_of_one_socket_are_served_first_come_first_served() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    let (mut loan, mut buf) = (None, [0; 1]);
    let first = pending(Op::Fill { source, loan: &raw mut loan });
    let second = pending(recv(source, &mut buf, 0));
    let third = pending(Op::Readable { source });
    for op in [&first, &second, &third] {
        assert_eq!(rig.submit(op), None);
    }
    assert_eq!(rig.driver.waiting(), 3);
    peer.write_all(b"a").expect("sent");
    assert_eq!(rig.finish(&first), 1);
    assert_eq!(second.outcome.get(), Outcome::Waiting);
    peer.write_all(b"bc").expect("sent");
    assert_eq!(rig.finish(&second), 1);
    assert_eq!(rig.finish(&third), 0);
    assert_eq!(&buf, b"b");
    assert_eq!(rig.fill(source).expect("bytes").bytes(), b"c");
}
