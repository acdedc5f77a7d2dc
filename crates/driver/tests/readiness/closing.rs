//! Closed and detached descriptors, whose numbers are used again (D38).

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use fiveways_driver::{Driver, Source};

use crate::support::{connection, on_each, pending, recv};

#[test]
fn a_number_used_again_is_another_socket() {
    on_each(|rig| {
        let mut last = None;
        for round in 0..20 {
            let (near, mut far) = connection();
            let source = rig.source(&near);
            let reused = last == Some(source.fd);
            last = Some(source.fd);
            let mut buf = [0; 8];
            let op = pending(recv(source, &mut buf, 0));
            rig.wait(&op);
            far.write_all(b"abc").expect("room");
            assert_eq!(rig.finish(&op), 3, "round {round}, reused: {reused}");
            // Half of them are closed without the driver's knowledge, as they would be by another
            // thread.
            if round % 2 == 0 {
                rig.driver.close(source, near.into());
            }
        }
    });
}

#[test]
fn a_report_about_an_earlier_socket_wakes_nobody() {
    on_each(|rig| {
        let (old, mut old_far) = UnixStream::pair().expect("a pair");
        let before = rig.source(&old);
        let op = pending(recv(before, &mut [0; 8], 0));
        rig.wait(&op);
        rig.cancel(&op);
        // Closed without the driver's knowledge, and kept open by a duplicate: epoll goes on
        // reporting.
        let copy = old.try_clone().expect("a descriptor");
        let number = old.as_raw_fd();
        drop(old);
        let (near, far) = UnixStream::pair().expect("a pair");
        let (near, _far) = if near.as_raw_fd() == number { (near, far) } else { (far, near) };
        let after = rig.source(&near);
        assert_eq!(after.fd, number, "the lowest number is given out again");
        let mut buf = [0; 8];
        let op = pending(recv(after, &mut buf, 0));
        rig.wait(&op);
        old_far.write_all(b"for the old one").expect("room");
        crate::reports::until_readable(std::os::fd::AsFd::as_fd(&copy));
        if !rig.guesses() {
            assert_eq!(rig.look(), 0);
            rig.cancel(&op);
        }
    });
}

#[test]
fn a_socket_closed_elsewhere_but_for_a_duplicate_does_not_keep_the_driver_busy() {
    on_each(|rig| {
        let (old, mut old_far) = UnixStream::pair().expect("a pair");
        let before = rig.source(&old);
        let op = pending(recv(before, &mut [0; 8], 0));
        rig.wait(&op);
        rig.cancel(&op);
        let copy = old.try_clone().expect("a descriptor");
        drop(old);
        old_far.write_all(b"for the duplicate").expect("room");
        crate::reports::until_readable(std::os::fd::AsFd::as_fd(&copy));
        assert!(rig.idle_turns(Duration::from_millis(30)) < 100);
        // Others are still served.
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let op = pending(recv(source, &mut [0; 8], 0));
        rig.wait(&op);
        far.write_all(b"abc").expect("room");
        assert_eq!(rig.finish(&op), 3);
    });
}

#[test]
fn a_forgotten_socket_reports_nothing_and_can_come_back() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let op = pending(recv(source, &mut [0; 8], 0));
        rig.wait(&op);
        rig.cancel(&op);
        rig.driver.forget(source);
        rig.driver.forget(source);
        far.write_all(b"abc").expect("room");
        assert_eq!(rig.look(), 0);
        let again = rig.source(&near);
        assert_eq!(rig.run(recv(again, &mut [0; 8], 0)), 3);
    });
}

#[test]
fn forgetting_an_earlier_socket_of_a_number_leaves_the_present_one_alone() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let before = rig.source(&near);
        let now = rig.source(&near);
        let mut buf = [0; 8];
        let op = pending(recv(now, &mut buf, 0));
        rig.wait(&op);
        rig.driver.forget(before);
        far.write_all(b"abc").expect("room");
        assert_eq!(rig.finish(&op), 3);
    });
}

#[test]
fn a_socket_is_a_new_one_though_four_thousand_million_came_in_between() {
    on_each(|rig| {
        let (old, _old_far) = UnixStream::pair().expect("a pair");
        let before = rig.source(&old);
        let op = pending(recv(before, &mut [0; 8], 0));
        rig.wait(&op);
        rig.cancel(&op);
        // Closed without the knowledge of the driver, which still has it registered.
        let number = old.as_raw_fd();
        drop(old);
        rig.skip((1 << 32) - 1);
        let (near, far) = UnixStream::pair().expect("a pair");
        let (near, mut far) = if near.as_raw_fd() == number { (near, far) } else { (far, near) };
        let now = rig.source(&near);
        assert_eq!((now.fd, now.generation as u32), (before.fd, before.generation as u32));
        let mut buf = [0; 8];
        let op = pending(recv(now, &mut buf, 0));
        rig.wait(&op);
        far.write_all(b"abc").expect("room");
        assert_eq!(rig.finish(&op), 3);
    });
}

#[test]
fn closing_what_the_driver_never_saw_closes_it() {
    on_each(|rig| {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let source = Source { fd: near.as_raw_fd(), generation: 77 };
        rig.driver.close(source, OwnedFd::from(near));
        assert_eq!(std::io::Read::read(&mut far, &mut [0; 8]).ok(), Some(0));
    });
}
