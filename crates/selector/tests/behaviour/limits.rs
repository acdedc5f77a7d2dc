//! Many descriptors, small buffers, large numbers.
#![expect(unsafe_code, reason = "duplicates descriptors to large numbers")]

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use fiveways_selector::{Events, FdTooLarge, Interest, Kind, Token};

use crate::support::{Bench, unix_pair};

pub(crate) fn two_thousand_descriptors_are_all_reported(kind: Kind) {
    let mut bench = Bench::alone(kind);
    bench.events = Events::with_capacity(4096);
    // Two descriptors each.
    let count = if kind == Kind::Select { 450 } else { 2_000 };
    let pairs: Vec<(UnixStream, UnixStream)> = (0..count).map(|_| unix_pair()).collect();
    let mut missing = vec![true; pairs.len()];
    for (at, (ours, theirs)) in pairs.iter().enumerate() {
        bench.register(theirs, Interest::READABLE, at as u64);
        (&*ours).write_all(b"x").expect("write");
    }
    while missing.contains(&true) {
        bench.until_any();
        for event in &bench.events {
            missing[event.token().0 as usize] = false;
        }
    }
}

pub(crate) fn a_small_buffer_starves_nobody(kind: Kind) {
    let mut bench = Bench::new(kind);
    bench.events = Events::with_capacity(4);
    let pairs: Vec<(UnixStream, UnixStream)> = (0..40).map(|_| unix_pair()).collect();
    for (at, (ours, theirs)) in pairs.iter().enumerate() {
        (&*ours).write_all(b"x").expect("write");
        bench.register(theirs, Interest::READABLE, at as u64);
    }
    let mut seen = [false; 40];
    // Nothing is drained, so that the first would be reported again and again.
    let rounds = 40 / bench.events.capacity() + 2;
    for _ in 0..rounds {
        let events = bench.look();
        assert!(events.len() <= bench.events.capacity());
        for event in events {
            seen[event.token().0 as usize] = true;
        }
    }
    assert!(!seen.contains(&false), "within {rounds} waits: {seen:?}");
}

pub(crate) fn a_descriptor_over_1023_is_refused_by_select_and_taken_by_others_d21(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut ours, theirs) = unix_pair();
    // SAFETY: required: nothing; duplicates to the lowest free number from 5,000.
    let number = unsafe { libc::fcntl(theirs.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 5_000) };
    assert!(number >= 5_000, "a large descriptor");
    // SAFETY: required: open and without another owner. It was just made.
    let large = unsafe { OwnedFd::from_raw_fd(number) };
    let result = bench.selector.register(large.as_fd(), Interest::READABLE, Token(1));
    if kind != Kind::Select {
        assert_eq!(bench.selector.capabilities().max_fd, None);
        result.expect("taken");
        ours.write_all(b"x").expect("write");
        bench.until(1, |event| event.is_readable());
        return;
    }
    assert_eq!(bench.selector.capabilities().max_fd, Some(1023));
    let error = result.expect_err("refused");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<FdTooLarge>());
    assert_eq!(inner.expect("typed").fd, number);
    assert_eq!(bench.selector.len(), 0);
}
