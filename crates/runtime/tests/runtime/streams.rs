//! Bytes received ahead by one worker for a stream that goes elsewhere.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fiveways_driver::Model;
use fiveways_runtime::{
    Spawn, detach, park, reads_ahead, release, sleep_until, unparker, with_deadline,
};

use crate::rig::{CANCELED, Socket, in_time, runtime_of};

fn connection() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let far = TcpStream::connect(listener.local_addr().expect("an address")).expect("a backlog");
    (Socket::new(listener.accept().expect("it is there").0), far)
}

/// Reads until so many bytes are there.
fn read_rest(near: &Socket, mut got: Vec<u8>, count: usize) -> Vec<u8> {
    while got.len() < count {
        let mut buf = [0; 64];
        let more = near.recv(&mut buf).expect("bytes");
        assert!(more > 0, "the end after {got:?}");
        got.extend_from_slice(&buf[..more]);
    }
    got
}

/// Lets a task of worker 0 receive the first byte, so that its worker reads on ahead.
fn receive_ahead(runtime: &fiveways_runtime::Runtime) -> (Socket, TcpStream, u32) {
    let (near, mut far) = connection();
    far.write_all(b"1").expect("room");
    let task = Spawn::new().spawn_at(runtime.handle(), 0, move || {
        let home = reads_ahead().expect("the ring reads ahead");
        let loan = near.fill().expect("bytes").expect("not the end");
        assert_eq!(loan.bytes(), b"1");
        (near, home)
    });
    let (near, home) = task.expect("a stack").join().expect("no panic");
    far.write_all(b"23").expect("room");
    // The worker takes it in.
    runtime.block_on(|| sleep_until(Instant::now() + Duration::from_millis(5)));
    far.write_all(b"45").expect("room");
    (near, far, home)
}

#[test]
fn bytes_received_ahead_follow_their_stream() {
    in_time(|| {
        let runtime = runtime_of(Model::Uring, 2);
        for elsewhere in [false, true] {
            let (near, _far, home) = receive_ahead(&runtime);
            let follow = move || {
                let kept = detach(home, near.source()).expect("no error");
                read_rest(&near, kept, 4)
            };
            let got = if elsewhere {
                let task = Spawn::new().spawn_at(runtime.handle(), 1, follow);
                task.expect("a stack").join().expect("no panic")
            } else {
                follow()
            };
            assert_eq!(got, b"2345");
        }
    });
}

#[test]
fn bytes_received_ahead_survive_the_end_of_their_worker_whenever_it_comes() {
    in_time(|| {
        for round in 0..40 {
            let runtime = runtime_of(Model::Uring, 1);
            let (near, _far, home) = receive_ahead(&runtime);
            // A task that does not end at once keeps the worker ending for a while.
            let (tell, told) = mpsc::channel();
            let slow = Spawn::new().spawn(runtime.handle(), move || {
                tell.send(unparker()).expect("it is awaited");
                for _ in 0..90 {
                    let _ = near_refusal();
                }
                park();
            });
            drop(slow.expect("a stack"));
            let _ = told.recv();
            let ending = std::thread::spawn(move || drop(runtime));
            if round % 2 == 0 {
                std::thread::yield_now();
            }
            let kept = detach(home, near.source()).expect("no error");
            assert_eq!(read_rest(&near, kept, 4), b"2345");
            ending.join().expect("no panic");
        }
    });
}

/// Something that a cancelled task is refused.
fn near_refusal() -> std::io::Result<usize> {
    let (near, _far) = crate::rig::pair();
    near.recv_by(&mut [0], Some(Instant::now()))
}

#[test]
fn bytes_asked_for_when_the_time_is_over_are_not_lost() {
    in_time(|| {
        let runtime = runtime_of(Model::Uring, 2);
        for _ in 0..50 {
            let (near, _far, home) = receive_ahead(&runtime);
            let task = Spawn::new().spawn_at(runtime.handle(), 1, move || {
                let mut kept = Vec::new();
                let source = near.source();
                let at = Instant::now() + Duration::from_micros(20);
                if let Ok(fetched) = with_deadline(at, || detach(home, source)) {
                    kept.extend(fetched.expect("no error"));
                }
                kept.extend(detach(home, source).expect("no error"));
                read_rest(&near, kept, 4)
            });
            assert_eq!(task.expect("a stack").join().expect("no panic"), b"2345");
        }
    });
}

#[test]
fn a_cancelled_task_still_gets_the_bytes_of_its_stream() {
    in_time(|| {
        let runtime = runtime_of(Model::Uring, 2);
        let (near, _far, home) = receive_ahead(&runtime);
        let (tell, told) = mpsc::channel();
        let task = Spawn::new().spawn_at(runtime.handle(), 1, move || {
            tell.send(()).expect("it is awaited");
            // Unwound from here when it is cancelled; refused from then on.
            assert!(std::panic::catch_unwind(park).is_err());
            let kept = detach(home, near.source()).expect("no error");
            assert_eq!(near.recv(&mut [0]).map_err(|e| e.raw_os_error()), Err(Some(CANCELED)));
            (near, kept)
        });
        let task = task.expect("a stack");
        told.recv().expect("it begins");
        task.cancel();
        let (near, kept) = task.join().expect("it went on to its end");
        assert_eq!(read_rest(&near, kept, 4), b"2345");
    });
}

#[test]
fn a_stream_closed_elsewhere_does_not_harm_the_next_of_its_number() {
    in_time(|| {
        let runtime = runtime_of(Model::Uring, 1);
        for _ in 0..50 {
            let (near, far, home) = receive_ahead(&runtime);
            drop(far);
            let (source, fd) = near.into_parts();
            release(home, source, fd);
            // Its number is taken by others now, of whom one waits on the same worker.
            let mut open = Vec::new();
            for number in 0..6 {
                let (a, b) = UnixStream::pair().expect("a pair");
                let (near, far) = if number % 2 == 1 { (a, b) } else { (b, a) };
                let near = Socket::new(near);
                let (tell, told) = mpsc::channel();
                let task = Spawn::new().spawn(runtime.handle(), move || {
                    tell.send(()).expect("it is awaited");
                    let loan = near.fill().expect("bytes").expect("not the end");
                    loan.bytes().to_vec()
                });
                told.recv().expect("it begins");
                open.push((task.expect("a stack"), far));
            }
            runtime.block_on(fiveways_runtime::yield_now);
            for (task, mut far) in open {
                far.write_all(b"still served").expect("room");
                assert_eq!(task.join().expect("no panic"), b"still served");
            }
        }
    });
}
