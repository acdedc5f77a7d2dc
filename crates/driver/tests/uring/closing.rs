//! Closing: the peer sees the end at once, and late reports reach no other operation.
#![expect(unsafe_code, reason = "gives a thread its own table of descriptors")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use fiveways_driver::{Driver, Op};

use crate::support::{Rig, connected, pending, tcp, unix};

/// Turns until the peer sees the end of the stream.
pub(crate) fn sees_the_end(rig: &mut Rig, mut peer: TcpStream) {
    peer.set_nonblocking(true).expect("non-blocking");
    let mut buf = [0; 64];
    rig.until("the peer sees the end", |_| match peer.read(&mut buf) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    });
}

#[test]
fn a_socket_closed_after_a_fill_is_closed_for_its_peer() {
    let mut rig = Rig::new();
    for with_bytes in [false, true] {
        let (ours, source, mut peer) = connected(&mut rig);
        peer.write_all(b"hello").expect("sent");
        assert_eq!(rig.fill(source).expect("bytes").bytes(), b"hello");
        if with_bytes {
            peer.write_all(b"never read").expect("sent");
            rig.look();
        }
        rig.close(source, ours);
        sees_the_end(&mut rig, peer);
    }
}

#[test]
fn a_socket_that_nothing_is_held_of_is_closed_at_once() {
    let mut rig = Rig::new();
    let (ours, source, mut peer) = connected(&mut rig);
    rig.send(source, b"x");
    rig.close(source, ours);
    let mut got = Vec::new();
    peer.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    peer.read_to_end(&mut got).expect("the end, without a turn");
    assert_eq!(got, b"x");
}

#[test]
fn a_number_used_again_belongs_to_the_new_socket_alone() {
    let mut rig = Rig::new();
    let mut numbers = std::collections::HashSet::new();
    for round in 0..500_u32 {
        let (ours, theirs) = unix();
        numbers.insert(ours.as_raw_fd());
        let source = rig.source(ours.as_raw_fd());
        let message = round.to_be_bytes();
        (&theirs).write_all(&message).expect("sent");
        assert_eq!(rig.fill(source).expect("bytes").bytes(), message);
        // Bytes that the old socket still receives must not reach the new one.
        (&theirs).write_all(b"stale").expect("sent");
        rig.close(source, ours);
        rig.look();
    }
    assert!(numbers.len() < 500, "no number was used again");
}

#[test]
fn a_descriptor_closed_behind_the_drivers_back_disturbs_nobody() {
    let mut rig = Rig::new();
    let (ours, theirs) = unix();
    let number = ours.as_raw_fd();
    let source = rig.source(number);
    (&theirs).write_all(b"old").expect("sent");
    assert_eq!(rig.fill(source).expect("bytes").bytes(), b"old");
    (&theirs).write_all(b"stale").expect("sent");
    drop(ours);
    // The ring still holds the old socket; the number is free for another one.
    let (mine, friend) = unix();
    let (mine, friend) = if mine.as_raw_fd() == number { (mine, friend) } else { (friend, mine) };
    assert_eq!(mine.as_raw_fd(), number, "the lowest number is given out again");
    let again = rig.source(number);
    (&friend).write_all(b"new").expect("sent");
    assert_eq!(rig.fill(again).expect("bytes").bytes(), b"new");
    (&theirs).write_all(b"staler").ok();
    rig.look();
    (&friend).write_all(b"newer").expect("sent");
    assert_eq!(rig.fill(again).expect("bytes").bytes(), b"newer");
}

#[test]
fn a_driver_that_ends_lets_go_of_every_socket_and_no_loan() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    peer.write_all(b"kept").expect("sent");
    let loan = rig.fill(source).expect("bytes");
    let (second, other, friend) = connected(&mut rig);
    let mut empty = None;
    let fill = pending(Op::Fill { source: other, loan: &raw mut empty });
    assert_eq!(rig.submit(&fill), None);
    rig.look();
    rig.cancel(&fill);
    rig.finish(&fill);
    rig.close(other, second);
    assert_eq!(rig.driver.waiting(), 0);
    drop(rig);
    assert_eq!(loan.bytes(), b"kept");
    let mut friend = friend;
    friend.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    assert_eq!(friend.read(&mut [0; 8]).expect("the end"), 0);
    std::thread::spawn(move || drop(loan)).join().expect("no panic");
}

unsafe extern "C" {
    fn unshare(flags: std::ffi::c_int) -> std::ffi::c_int;
}

#[test]
fn drivers_come_and_go_without_leaking_descriptors() {
    const CLONE_FILES: std::ffi::c_int = 0x400;
    let counted = std::thread::spawn(|| {
        // A table of its own, so that other tests are not counted.
        // SAFETY: required: none. It makes a copy of this thread's table of descriptors.
        assert_eq!(unsafe { unshare(CLONE_FILES) }, 0);
        let count = || std::fs::read_dir("/proc/thread-self/fd").expect("descriptors").count();
        let before = count();
        for _ in 0..10 {
            let mut rig = Rig::new();
            let (ours, source, mut peer) = connected(&mut rig);
            peer.write_all(b"x").expect("sent");
            rig.fill(source).expect("bytes");
            rig.close(source, ours);
        }
        (before, count())
    });
    let (before, after) = counted.join().expect("no panic");
    assert_eq!(before, after);
}

#[test]
fn forgetting_an_earlier_socket_of_a_number_leaves_the_present_one_alone() {
    let mut rig = Rig::new();
    let (near, mut far) = tcp();
    let before = rig.source(near.as_raw_fd());
    let source = rig.source(near.as_raw_fd());
    let mut loan = None;
    let fill = pending(Op::Fill { source, loan: &raw mut loan });
    assert_eq!(rig.submit(&fill), None);
    rig.driver.forget(before);
    far.write_all(b"abc").expect("room");
    assert_eq!(rig.finish(&fill), 3);
}
