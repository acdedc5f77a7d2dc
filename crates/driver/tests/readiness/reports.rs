//! Reports for which no operation waits, hang-ups, and that none of them keeps the driver busy.

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use fiveways_driver::{Driver, Op};

use crate::support::{connection, on_each, pending, recv, send};

/// Waits outside of the driver.
pub(crate) fn until_readable(fd: BorrowedFd<'_>) {
    let end = Instant::now() + Duration::from_secs(30);
    assert!(fiveways_sys::net::wait_ready(fd, false, Some(end)).expect("poll"));
}

/// More turns than this in the time of [`WHILE`] mean a busy loop.
const FEW: u64 = 50;

const WHILE: Duration = Duration::from_millis(30);

#[test]
fn bytes_that_nobody_reads_do_not_keep_the_driver_busy() {
    on_each(|rig| {
        let (near, mut far) = connection();
        let source = rig.source(&near);
        let mut buf = [0; 1];
        let op = pending(recv(source, &mut buf, 0));
        rig.wait(&op);
        far.write_all(b"more than one").expect("room");
        assert_eq!(rig.finish(&op), 1);
        assert!(rig.idle_turns(WHILE) < FEW);
        assert_eq!(rig.run(recv(source, &mut [0; 64], 0)), 12);
        let op = pending(recv(source, &mut buf, 0));
        rig.wait(&op);
        far.write_all(b"x").expect("room");
        assert_eq!(rig.finish(&op), 1);
    });
}

#[test]
fn room_that_nobody_fills_does_not_keep_the_driver_busy() {
    on_each(|rig| {
        let (near, far) = UnixStream::pair().expect("a pair");
        let source = rig.source(&near);
        let chunk = [1; 4096];
        let op = pending(send(source, &chunk, 0));
        while rig.submit(&op).is_some() {}
        crate::support::drain(&far);
        assert!(rig.finish(&op) > 0);
        let reading = pending(Op::Readable { source });
        if !rig.guesses() {
            rig.wait(&reading);
            assert!(rig.idle_turns(WHILE) < FEW);
            rig.cancel(&reading);
        }
        assert!(rig.idle_turns(WHILE) < FEW);
    });
}

#[test]
fn a_hang_up_that_nobody_waits_for_does_not_keep_the_driver_busy() {
    on_each(|rig| {
        let (near, far) = connection();
        let source = rig.source(&near);
        let op = pending(recv(source, &mut [0; 8], 0));
        rig.wait(&op);
        drop(far);
        assert_eq!(rig.finish(&op), 0);
        near.shutdown(Shutdown::Both).ok();
        assert!(rig.idle_turns(WHILE) < FEW);
        assert_eq!(rig.run(recv(source, &mut [0; 8], 0)), 0);
        assert!(rig.idle_turns(WHILE) < FEW);
        rig.driver.close(source, near.into());
    });
}

#[test]
fn a_peer_that_sends_no_more_does_not_keep_a_blocked_writer_busy() {
    on_each(|rig| {
        if rig.guesses() {
            return;
        }
        for reads_before in [false, true] {
            let (near, mut far) = UnixStream::pair().expect("a pair");
            let source = rig.source(&near);
            if reads_before {
                let op = pending(recv(source, &mut [0; 8], 0));
                rig.wait(&op);
                far.write_all(b"x").expect("room");
                assert_eq!(rig.finish(&op), 1);
            }
            let chunk = [1; 4096];
            let op = pending(send(source, &chunk, 0));
            while rig.submit(&op).is_some() {}
            far.shutdown(Shutdown::Write).expect("connected");
            assert!(rig.idle_turns(WHILE) < FEW, "reads before: {reads_before}");
            crate::support::drain(&far);
            assert!(rig.finish(&op) > 0);
            assert_eq!(rig.run(recv(source, &mut [0; 8], 0)), 0);
            rig.driver.close(source, near.into());
        }
    });
}

#[test]
fn a_full_hang_up_ends_both_directions() {
    on_each(|rig| {
        let (near, far) = UnixStream::pair().expect("a pair");
        let source = rig.source(&near);
        let chunk = [1; 4096];
        let writing = pending(send(source, &chunk, 0));
        while rig.submit(&writing).is_some() {}
        let mut buf = [0; 8];
        let reading = pending(recv(source, &mut buf, 0));
        rig.wait(&reading);
        drop(far);
        assert!(matches!(rig.finish(&writing), answer if answer == -fiveways_sys::errno::EPIPE
            || answer == -fiveways_sys::errno::ECONNRESET));
        let end = rig.finish(&reading);
        assert!(end == 0 || end == -fiveways_sys::errno::ECONNRESET, "{end}");
    });
}

#[test]
fn a_waker_ends_a_turn_from_another_thread_and_before_it() {
    on_each(|rig| {
        let waker = rig.driver.waker();
        waker.wake();
        rig.turn(Some(Instant::now() + Duration::from_secs(30)));
        let thread = std::thread::spawn(move || waker.wake());
        let started = Instant::now();
        rig.turn(Some(started + Duration::from_secs(30)));
        assert!(started.elapsed() < Duration::from_secs(20));
        thread.join().expect("no panic");
    });
}

#[test]
fn a_turn_ends_at_its_deadline() {
    on_each(|rig| {
        let (near, _far) = connection();
        let source = rig.source(&near);
        let op = pending(recv(source, &mut [0; 8], 0));
        rig.wait(&op);
        let by = Instant::now() + Duration::from_millis(5);
        while Instant::now() < by {
            rig.turn(Some(by));
            if op.outcome.get() == fiveways_driver::Outcome::Retry {
                assert!(rig.guesses());
                rig.wait(&op);
            }
        }
        if op.outcome.get() == fiveways_driver::Outcome::Waiting {
            rig.cancel(&op);
        }
    });
}
