//! Provided buffers: running out of them, and that nothing is received without a request.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use fiveways_driver::{Driver, Op};

use crate::support::{Rig, connected, pending, unix};

/// Little enough for a test to use up.
fn few_buffers() -> Rig {
    Rig::with(|options| {
        options.uring.buffers = 2;
        options.uring.buffers_limit = 4;
    })
}

#[test]
fn loans_that_are_kept_do_not_stop_anybody() {
    let mut rig = few_buffers();
    let (_ours, source, mut peer) = connected(&mut rig);
    let mut kept = Vec::new();
    for round in 0..40_u8 {
        peer.write_all(&[round; 3]).expect("sent");
        let loan = rig.fill(source).expect("bytes");
        assert_eq!(loan.bytes(), [round; 3]);
        kept.push(loan);
    }
    assert!(rig.driver.counters().buffers_exhausted > 0);
    for (round, loan) in kept.iter().enumerate() {
        assert_eq!(loan.bytes(), [round as u8; 3]);
    }
    // With the buffers back the socket goes back to them, and nothing is lost on the way.
    drop(kept);
    for round in 0..100_u8 {
        peer.write_all(&[round; 5]).expect("sent");
        assert_eq!(rig.fill_exactly(source, 5), [round; 5]);
    }
}

#[test]
fn many_sockets_share_few_buffers() {
    let mut rig = few_buffers();
    let sockets: Vec<_> = (0..50).map(|_| unix()).collect();
    let sources: Vec<_> = sockets.iter().map(|(ours, _)| rig.source(ours.as_raw_fd())).collect();
    for round in 0..50_u8 {
        for (_, theirs) in &sockets {
            (&*theirs).write_all(&[round; 7]).expect("sent");
        }
        for source in &sources {
            assert_eq!(rig.fill_exactly(*source, 7), [round; 7]);
        }
    }
}

#[test]
fn the_number_of_buffers_grows_with_the_need() {
    let mut rig = Rig::with(|options| {
        options.uring.buffers = 2;
        options.uring.buffers_limit = 256;
    });
    let sockets: Vec<_> = (0..200).map(|_| unix()).collect();
    let sources: Vec<_> = sockets.iter().map(|(ours, _)| rig.source(ours.as_raw_fd())).collect();
    let mut settled = 0;
    for round in 0..20_u8 {
        if round == 10 {
            settled = rig.driver.counters().buffers_exhausted;
        }
        let mut loans: Vec<_> = (0..sockets.len()).map(|_| None).collect();
        let fills: Vec<_> = sources
            .iter()
            .zip(&mut loans)
            .map(|(source, loan)| pending(Op::Fill { source: *source, loan: &raw mut *loan }))
            .collect();
        for fill in &fills {
            assert_eq!(rig.submit(fill), None);
        }
        for (_, theirs) in &sockets {
            (&*theirs).write_all(&[round]).expect("sent");
        }
        for fill in &fills {
            assert_eq!(rig.finish(fill), 1);
        }
    }
    assert!(settled > 0, "two buffers were never enough");
    assert_eq!(rig.driver.counters().buffers_exhausted, settled);
}

#[test]
fn what_nobody_asks_for_stays_in_the_socket() {
    let mut rig = Rig::new();
    let (mut ours, source, mut peer) = connected(&mut rig);
    peer.write_all(b"header").expect("sent");
    assert_eq!(rig.fill(source).expect("bytes").bytes(), b"header");
    for _ in 0..10 {
        peer.write_all(b"body").expect("sent");
        rig.look();
    }
    let mut buf = [0; 40];
    ours.read_exact(&mut buf).expect("the kernel has all of it");
    assert_eq!(buf, *b"body".repeat(10));
}

#[test]
fn a_flooder_that_nobody_reads_is_held_back_by_its_own_socket() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    peer.write_all(b"x").expect("sent");
    assert_eq!(rig.fill(source).expect("bytes").len(), 1);
    peer.set_nonblocking(true).expect("non-blocking");
    let (mut sent, mut held_back) = (0_usize, 0);
    while held_back < 1000 {
        match peer.write(&[b'f'; 1000]) {
            Ok(count) => (sent, held_back) = (sent + count, 0),
            Err(_) => held_back += 1,
        }
        rig.look();
        assert!(sent < 64 << 20, "nothing holds the flooder back");
    }
    // Another socket is served as before.
    let (_other, second, mut friend) = connected(&mut rig);
    friend.write_all(b"hello").expect("sent");
    assert_eq!(rig.fill(second).expect("bytes").bytes(), b"hello");
    drop(peer);
    let mut got = 0;
    while let Ok(loan) = rig.fill(source) {
        assert!(loan.bytes().iter().all(|byte| *byte == b'f'));
        got += loan.len();
    }
    assert_eq!(got, sent);
}
