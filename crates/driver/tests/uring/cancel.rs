//! Cancelling: the operation always comes back, and nothing is lost to a race.
#![expect(unsafe_code, reason = "accepted descriptors arrive as numbers")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;

use fiveways_driver::{Driver, Op};

use crate::support::{CANCELED, Rig, accept, connected, pending, recv, send, unix};

/// Races to run: each sends while it is cancelled.
const RACES: usize = 10_000;

#[test]
fn each_kind_of_operation_comes_back_when_cancelled() {
    let mut rig = Rig::new();
    let (_ours, source, _peer) = connected(&mut rig);
    let (_second, other, _friend) = connected(&mut rig);
    let (_third, third, _mate) = connected(&mut rig);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    listener.set_nonblocking(true).expect("non-blocking");
    let at = rig.source(listener.as_raw_fd());
    let (mut buf, mut loan) = ([0; 8], None);
    let ops = [
        pending(recv(source, &mut buf, 0)),
        pending(Op::Readable { source: third }),
        pending(Op::Fill { source: other, loan: &raw mut loan }),
        pending(accept(at)),
    ];
    for op in &ops {
        assert_eq!(rig.submit(op), None);
    }
    rig.look();
    assert_eq!(rig.driver.waiting(), ops.len());
    for op in &ops {
        rig.cancel(op);
        assert_eq!(rig.finish(op), CANCELED, "{:?}", op.op);
    }
    assert_eq!(rig.driver.waiting(), 0);
}

#[test]
fn what_was_never_given_to_the_kernel_is_cancelled_as_well() {
    let mut rig = Rig::new();
    let (_ours, source, _peer) = connected(&mut rig);
    let mut buf = [0; 8];
    let op = pending(recv(source, &mut buf, 0));
    assert_eq!(rig.submit(&op), None);
    rig.cancel(&op);
    assert_eq!(rig.finish(&op), CANCELED);
}

#[test]
fn a_send_that_waits_is_cancelled() {
    let mut rig = Rig::new();
    let (ours, mut theirs) = unix();
    let source = rig.source(ours.as_raw_fd());
    let block = vec![1; 1 << 18];
    let mut sent = 0;
    let op = loop {
        let op = pending(send(source, &block));
        match rig.submit(&op) {
            Some(count) => sent += count as usize,
            None if rig.look() == 1 => sent += rig.finish(&op) as usize,
            None => break op,
        }
    };
    rig.cancel(&op);
    let answer = rig.finish(&op);
    sent += usize::try_from(answer).unwrap_or(0);
    drop(ours);
    let mut got = Vec::new();
    theirs.read_to_end(&mut got).expect("what was sent");
    assert_eq!(got.len(), sent);
}

/// Sends one byte for each token, as close to its cancel as threads get.
fn sender(mut peer: std::net::TcpStream) -> (mpsc::SyncSender<u8>, thread::JoinHandle<()>) {
    let (tokens, sends) = mpsc::sync_channel::<u8>(1);
    let thread = thread::spawn(move || {
        for byte in sends {
            peer.write_all(&[byte]).expect("sent");
        }
    });
    (tokens, thread)
}

#[test]
fn bytes_that_race_with_the_cancel_of_a_receive_are_not_lost() {
    let mut rig = Rig::new();
    let (_ours, source, peer) = connected(&mut rig);
    let (tokens, thread) = sender(peer);
    let mut won = 0;
    for race in 0..RACES {
        let mut buf = [0; 1];
        let op = pending(recv(source, &mut buf, 0));
        assert_eq!(rig.submit(&op), None);
        rig.look();
        tokens.send(race as u8).expect("the sender lives");
        rig.cancel(&op);
        match rig.finish(&op) {
            CANCELED => assert_eq!(rig.recv(source, &mut buf), 1),
            answer => {
                assert_eq!(answer, 1);
                won += 1;
            }
        }
        assert_eq!(buf[0], race as u8);
    }
    println!("{won} of {RACES} receives won against their cancel");
    drop(tokens);
    thread.join().expect("no panic");
}

#[test]
fn bytes_that_race_with_the_cancel_of_a_fill_are_not_lost() {
    let mut rig = Rig::new();
    let (_ours, source, peer) = connected(&mut rig);
    let (tokens, thread) = sender(peer);
    for race in 0..RACES {
        let mut loan = None;
        let op = pending(Op::Fill { source, loan: &raw mut loan });
        let mut answer = rig.submit(&op);
        tokens.send(race as u8).expect("the sender lives");
        if answer.is_none() {
            if race % 2 == 0 {
                rig.look();
            }
            if op.outcome.get() == fiveways_driver::Outcome::Waiting {
                rig.cancel(&op);
            }
            answer = Some(rig.finish(&op));
        }
        if answer == Some(CANCELED) {
            assert!(loan.is_none());
            loan = Some(rig.fill(source).expect("the byte"));
        }
        assert_eq!(loan.expect("the byte").bytes(), [race as u8]);
    }
    drop(tokens);
    thread.join().expect("no panic");
}

#[test]
fn connections_that_race_with_the_cancel_of_an_accept_are_not_lost() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    listener.set_nonblocking(true).expect("non-blocking");
    let addr = listener.local_addr().expect("its address");
    let at = rig.source(listener.as_raw_fd());
    let (tokens, starts) = mpsc::sync_channel::<()>(1);
    let client = thread::spawn(move || {
        for () in starts {
            drop(std::net::TcpStream::connect(addr).expect("a connection"));
        }
    });
    for _ in 0..500 {
        let op = pending(accept(at));
        assert_eq!(rig.submit(&op), None);
        rig.look();
        tokens.send(()).expect("the client lives");
        if op.outcome.get() == fiveways_driver::Outcome::Waiting {
            rig.cancel(&op);
        }
        let mut accepted = rig.finish(&op);
        if accepted == CANCELED {
            accepted = rig.run(accept(at));
        }
        assert!(accepted >= 0);
        // SAFETY: required: an open descriptor without another owner. The accept made it.
        drop(unsafe { OwnedFd::from_raw_fd(accepted) });
    }
    drop(tokens);
    client.join().expect("no panic");
}

#[test]
fn one_of_several_readers_is_cancelled_and_the_others_stay() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    let mut loans = [None, None, None];
    let [a, b, c] = loans.each_mut().map(|loan| {
        let op = pending(Op::Fill { source, loan: &raw mut *loan });
        assert_eq!(rig.submit(&op), None);
        op
    });
    rig.cancel(&b);
    assert_eq!(rig.finish(&b), CANCELED);
    peer.write_all(b"x").expect("sent");
    assert_eq!(rig.finish(&a), 1);
    peer.write_all(b"yz").expect("sent");
    assert_eq!(rig.finish(&c), 2);
    assert!(loans[1].is_none());
}
