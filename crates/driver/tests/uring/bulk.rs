//! Large pieces leave the provided buffers, and no byte is lost or reordered by that.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::thread;

use fiveways_driver::Op;

use crate::support::{Rig, connected, unix};

/// Byte `index` of a stream that repeats late.
fn byte(index: usize) -> u8 {
    (index ^ (index >> 8) ^ (index >> 16)) as u8
}

fn stream(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(byte).collect()
}

fn check(bytes: &[u8], from: usize) {
    for (index, got) in bytes.iter().enumerate() {
        assert_eq!(*got, byte(from + index), "byte {}", from + index);
    }
}

#[test]
fn a_stream_of_pieces_of_every_size_arrives_in_order() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    let sizes = [1, 64, 100_000, 3, 200_000, 65_536, 65_536, 65_536, 1000, 1, 1, 70_000, 5];
    let total: usize = sizes.iter().sum::<usize>() * 40;
    let writer = thread::spawn(move || {
        let mut at = 0;
        for size in sizes.iter().cycle().take(sizes.len() * 40) {
            peer.write_all(&stream(at, *size)).expect("sent");
            at += size;
        }
    });
    let mut at = 0;
    while let Ok(loan) = rig.fill(source) {
        check(loan.bytes(), at);
        at += loan.len();
    }
    assert_eq!(at, total);
    writer.join().expect("no panic");
}

#[test]
fn small_messages_after_large_ones_arrive_as_well() {
    let mut rig = Rig::new();
    let (ours, mut theirs) = unix();
    let source = rig.source(ours.as_raw_fd());
    let large = stream(0, 60_000);
    let writer = thread::spawn(move || {
        for _ in 0..5 {
            theirs.write_all(&large).expect("sent");
        }
        theirs
    });
    rig.fill_exactly(source, 300_000);
    let mut theirs = writer.join().expect("no panic");
    for _ in 0..200 {
        theirs.write_all(b"small").expect("sent");
        assert_eq!(rig.fill_exactly(source, 5), b"small");
    }
}

#[test]
fn plain_receives_between_large_pieces_keep_the_order() {
    let mut rig = Rig::new();
    let (_ours, source, mut peer) = connected(&mut rig);
    const TOTAL: usize = 8 << 20;
    let writer = thread::spawn(move || peer.write_all(&stream(0, TOTAL)).expect("sent"));
    let (mut at, mut buf) = (0, vec![0; 5000]);
    for turn in 0.. {
        if turn % 3 == 0 {
            let count = rig.recv(source, &mut buf);
            assert!(count >= 0, "{count}");
            check(&buf[..count as usize], at);
            at += count as usize;
        } else if let Ok(loan) = rig.fill(source) {
            check(loan.bytes(), at);
            at += loan.len();
        } else {
            break;
        }
    }
    assert_eq!(at, TOTAL);
    writer.join().expect("no panic");
}

#[test]
fn a_bulk_socket_whose_fill_was_cancelled_is_its_owners_alone() {
    let mut rig = Rig::new();
    for _ in 0..20 {
        let (ours, source, mut peer) = connected(&mut rig);
        let message = stream(0, 64 * 1024);
        for _ in 0..4 {
            peer.write_all(&message).expect("sent");
            rig.fill_exactly(source, message.len());
        }
        let mut loan = None;
        let fill = crate::support::pending(Op::Fill { source, loan: &raw mut loan });
        assert_eq!(rig.submit(&fill), None);
        rig.look();
        rig.cancel(&fill);
        assert_eq!(rig.finish(&fill), crate::support::CANCELED);
        peer.write_all(b"more").expect("sent");
        rig.look();
        let mut rest = [0; 4];
        std::io::Read::read_exact(&mut &ours, &mut rest).expect("all of it");
        assert_eq!(&rest, b"more");
        rig.close(source, ours);
        crate::closing::sees_the_end(&mut rig, peer);
    }
}
