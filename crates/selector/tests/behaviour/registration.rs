//! Registering, changing and removing.
#![expect(unsafe_code, reason = "puts a socket at the number of another")]

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use fiveways_selector::{Event, Interest, Kind, Token, Trigger};

use crate::support::{Bench, unix_pair};

pub(crate) fn a_second_registration_is_refused(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut ours, theirs) = unix_pair();
    bench.register(&theirs, Interest::READABLE, 1);
    let again = bench.selector.register(theirs.as_fd(), Interest::WRITABLE, Token(2));
    assert_eq!(again.expect_err("refused").kind(), ErrorKind::AlreadyExists);
    assert_eq!(bench.selector.len(), 1);
    ours.write_all(b"x").expect("write");
    let event = bench.until(1, |event| event.is_readable());
    assert!(!event.is_writable(), "the first registration stands: {event:?}");
}

pub(crate) fn an_unknown_descriptor_is_not_found(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (ours, theirs) = unix_pair();
    bench.register(&ours, Interest::READABLE, 1);
    let modified = bench.selector.modify(theirs.as_fd(), Interest::READABLE, Token(1));
    assert_eq!(modified.expect_err("unknown").kind(), ErrorKind::NotFound);
    let removed = bench.selector.deregister(theirs.as_fd());
    assert_eq!(removed.expect_err("unknown").kind(), ErrorKind::NotFound);
    bench.selector.deregister(ours.as_fd()).expect("known");
    let removed = bench.selector.deregister(ours.as_fd());
    assert_eq!(removed.expect_err("no more").kind(), ErrorKind::NotFound);
}

pub(crate) fn the_reserved_token_is_refused(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (ours, _theirs) = unix_pair();
    let result = bench.selector.register(ours.as_fd(), Interest::READABLE, Token::RESERVED);
    assert_eq!(result.expect_err("refused").kind(), ErrorKind::InvalidInput);
    bench.register(&ours, Interest::READABLE, u64::MAX - 1);
    let result = bench.selector.modify(ours.as_fd(), Interest::READABLE, Token::RESERVED);
    assert_eq!(result.expect_err("refused").kind(), ErrorKind::InvalidInput);
}

pub(crate) fn modify_changes_interest_and_token(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut ours, theirs) = unix_pair();
    ours.write_all(b"x").expect("write");
    bench.register(&theirs, Interest::WRITABLE, 1);
    let event = bench.until(1, |event| event.is_writable());
    assert!(!event.is_readable(), "{event:?}");
    bench.selector.modify(theirs.as_fd(), Interest::READABLE, Token(2)).expect("modify");
    let events = bench.look();
    assert!(events.iter().all(|event| event.token() == Token(2) && !event.is_writable()));
    assert!(events.iter().any(Event::is_readable));
}

pub(crate) fn modify_reports_what_is_ready_already(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut ours, theirs) = unix_pair();
    bench.register(&theirs, Interest::READABLE, 1);
    ours.write_all(b"x").expect("write");
    bench.until(1, |event| event.is_readable());
    if bench.trigger() == Trigger::Edge {
        bench.settle();
    }
    bench.selector.modify(theirs.as_fd(), Interest::READABLE, Token(1)).expect("modify");
    assert!(bench.look().iter().any(Event::is_readable), "also by edge");
}

pub(crate) fn no_interest_reports_no_readiness(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut ours, theirs) = unix_pair();
    ours.write_all(b"x").expect("write");
    bench.register(&theirs, Interest::NONE, 1);
    assert_eq!(bench.look(), []);
    bench.selector.modify(theirs.as_fd(), Interest::READABLE, Token(1)).expect("modify");
    bench.until(1, |event| event.is_readable());
}

pub(crate) fn a_deregistered_descriptor_is_not_reported(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut ours, theirs) = unix_pair();
    let (mut others, watched) = unix_pair();
    bench.register(&theirs, Interest::READABLE, 1);
    bench.register(&watched, Interest::READABLE, 2);
    // The change comes first, so that a report of it may be under way.
    ours.write_all(b"x").expect("write");
    bench.selector.deregister(theirs.as_fd()).expect("deregister");
    ours.write_all(b"y").expect("write");
    others.write_all(b"z").expect("write");
    bench.until(2, |event| event.is_readable());
    assert!(bench.events.iter().all(|event| event.token() == Token(2)));
}

pub(crate) fn a_reused_number_gets_no_stale_event_d38(kind: Kind) {
    let mut bench = Bench::new(kind);
    let (mut ours, theirs) = unix_pair();
    let number = theirs.as_raw_fd();
    bench.register(&theirs, Interest::READABLE, 1);
    ours.write_all(b"an event is queued").expect("write");
    bench.selector.deregister(theirs.as_fd()).expect("deregister");
    let (_quiet_peer, quiet) = unix_pair();
    let quiet = move_to(quiet, theirs, number);
    bench.register(&quiet, Interest::READABLE, 2);
    let events = bench.look();
    let stale = |event: &Event| event.token() != Token(2) || !bench.guesses();
    assert!(!events.iter().any(stale), "{events:?}");
}

/// Puts a socket at a number, closing what is there.
fn move_to(from: UnixStream, over: UnixStream, number: i32) -> OwnedFd {
    std::mem::forget(over);
    // SAFETY: required: `number` is ours to close. It was owned by what was forgotten above.
    let moved = unsafe { libc::dup3(from.as_raw_fd(), number, libc::O_CLOEXEC) };
    assert_eq!(moved, number);
    // SAFETY: required: open and without another owner. Just made, its last owner forgotten.
    unsafe { OwnedFd::from_raw_fd(number) }
}

pub(crate) fn a_number_closed_behind_our_back_harms_nobody_d05(kind: Kind) {
    let mut bench = Bench::alone(kind);
    let (ours, theirs) = unix_pair();
    let (mut others, watched) = unix_pair();
    bench.register(&theirs, Interest::READABLE, 1);
    bench.register(&watched, Interest::READABLE, 2);
    drop((ours, theirs));
    others.write_all(b"x").expect("write");
    bench.until(2, |event| event.is_readable());
    if !bench.guesses() {
        assert!(bench.look().iter().all(|event| event.token() == Token(2)));
    }
}

pub(crate) fn regular_files_are_ready_or_refused_as_stated(kind: Kind) {
    let mut bench = Bench::new(kind);
    let file = File::open(std::env::current_exe().expect("a path")).expect("a file");
    let result = bench.selector.register(file.as_fd(), Interest::READABLE, Token(1));
    if bench.selector.capabilities().regular_files {
        result.expect("taken");
        bench.until(1, |event| event.is_readable());
        return;
    }
    let expected = if kind == Kind::Signal { libc::ENOTTY } else { libc::EPERM };
    assert_eq!(result.expect_err("refused").raw_os_error(), Some(expected));
    assert_eq!(bench.selector.len(), 0, "nothing is left of it");
    let removed = bench.selector.deregister(file.as_fd());
    assert_eq!(removed.expect_err("unknown").kind(), ErrorKind::NotFound);
}

pub(crate) fn the_length_counts_registrations_d27(kind: Kind) {
    let mut bench = Bench::new(kind);
    assert!(bench.selector.is_empty());
    let pairs: Vec<_> = (0..10).map(|_| unix_pair()).collect();
    for (at, (ours, _)) in pairs.iter().enumerate() {
        bench.register(ours, Interest::READABLE, at as u64);
    }
    assert_eq!(bench.selector.len(), 10);
    for (ours, _) in &pairs {
        bench.selector.deregister(ours.as_fd()).expect("deregister");
    }
    assert!(bench.selector.is_empty());
}
