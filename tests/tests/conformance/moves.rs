//! Streams move: to another worker, to a plain thread, and back, with bytes read ahead [D39].

use std::io::{BufRead, Read, Write};
use std::thread;

use fiveways::Model;
use fiveways::net::TcpStream;
use fiveways::runtime::Runtime;
use fiveways::task::{self, JoinHandle};
use fiveways_tests::arena::{in_task_of, pair};
use fiveways_tests::client::{expect_eof, expect_noise, noise, send_noise};

/// Looks at the next bytes, takes a few of them, and leaves the rest read ahead.
fn read_ahead(stream: &mut TcpStream, at: usize, take: usize) -> usize {
    let bytes = stream.fill_buf().expect("something comes");
    assert!(*bytes == *noise(at, bytes.len()), "wrong bytes at {at}");
    let take = take.min(bytes.len());
    stream.consume(take);
    at + take
}

fn on<T: Send + 'static>(worker: usize, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    task::Builder::new().worker(worker).spawn(f).expect("a stack")
}

/// To a plain thread in the middle of a stream: it reads on where the task stopped.
pub(crate) fn a_stream_moves_to_a_thread_with_bytes_read_ahead(model: Model) {
    in_task_of(model, 2, || {
        let (mut near, mut far) = pair();
        send_noise(&mut far, 0, 3_000).expect("taken");
        let at = read_ahead(&mut near, 0, 10);
        send_noise(&mut far, 3_000, 100_000).expect("taken");
        let theirs = thread::spawn(move || {
            let mut at = at;
            for _ in 0..4 {
                at = read_ahead(&mut near, at, 1_000);
            }
            expect_noise(&near, at, 50_000);
            near
        });
        // A worker is needed to hand over what it has read ahead: do not block this one.
        while !theirs.is_finished() {
            task::yield_now();
        }
        let near = theirs.join().expect("every byte in its place");
        expect_noise(&near, 50_000, 100_000);
        drop(far);
        expect_eof(&near);
    });
}

/// To another worker, back, and forth again, many times.
pub(crate) fn a_stream_moves_between_workers_and_back(model: Model) {
    in_task_of(model, 2, || {
        let (mut near, mut far) = pair();
        let feeding = on(0, move || {
            for at in (0..200_000).step_by(500) {
                send_noise(&mut far, at, at + 500).expect("taken");
                task::yield_now();
            }
            // The reader takes its time; the end must not overtake the bytes.
            far.shutdown(std::net::Shutdown::Write).expect("still there");
            expect_eof(&far);
        });
        let mut at = 0;
        let mut hop = 0;
        while at < 200_000 {
            hop += 1;
            let reader = on(hop % 2, move || {
                let mut at = read_ahead(&mut near, at, 700);
                if hop % 3 == 0 {
                    let more = (200_000 - at).min(900);
                    expect_noise(&near, at, at + more);
                    at += more;
                }
                (near, at)
            });
            (near, at) = reader.join().expect("every byte in its place");
        }
        expect_eof(&near);
        drop(near);
        feeding.join().expect("no panic");
    });
}

/// Waits on one worker, then on another, then on the first again: each wait is woken. (A stream
/// that waits remembers on which worker it was registered; that must not go stale.)
pub(crate) fn a_stream_that_waits_on_two_workers_in_turn_is_woken_on_both(model: Model) {
    in_task_of(model, 2, || {
        let (mut near, mut far) = pair();
        for hop in 0..40_usize {
            let reader = on(hop % 2, move || {
                let mut byte = [0];
                near.read_exact(&mut byte).expect("it comes");
                assert_eq!(byte[0], hop as u8);
                near
            });
            // Mostly late enough that the reader waits; either way it has to get the byte.
            fiveways::time::sleep(std::time::Duration::from_millis(2));
            far.write_all(&[hop as u8]).expect("taken");
            near = reader.join().expect("it was woken");
        }
    });
}

/// A stream dropped where it was never used: its peer sees the end at once.
pub(crate) fn a_stream_dropped_on_a_foreign_thread_ends_for_its_peer(model: Model) {
    in_task_of(model, 2, || {
        for round in 0..20 {
            let (mut near, mut far) = pair();
            send_noise(&mut far, 0, 100).expect("taken");
            read_ahead(&mut near, 0, 100);
            if round % 2 == 0 {
                thread::spawn(move || drop(near)).join().expect("no panic");
            } else {
                on(1, move || drop(near)).join().expect("no panic");
            }
            expect_eof(&far);
        }
    });
}

/// A stream outlives its runtime: what the worker had read ahead goes with it.
pub(crate) fn a_stream_outlives_its_runtime(model: Model) {
    let runtime = Runtime::builder().model(model).build().expect("the model is there");
    let (mut near, far) = runtime.block_on(|| {
        let (mut near, mut far) = pair();
        send_noise(&mut far, 0, 2_000).expect("taken");
        read_ahead(&mut near, 0, 1);
        send_noise(&mut far, 2_000, 6_000).expect("taken");
        (near, far)
    });
    drop(runtime);
    send_noise(&far, 6_000, 9_000).expect("taken");
    let at = read_ahead(&mut near, 1, 5);
    expect_noise(&near, at, 9_000);
    drop(far);
    expect_eof(&near);
}

/// Between two runtimes of the same model.
pub(crate) fn a_stream_moves_between_runtimes(model: Model) {
    let build = || Runtime::builder().model(model).build().expect("the model is there");
    let (first, second) = (build(), build());
    let (mut near, mut far) = first.block_on(pair);
    let mut at = 0;
    for hop in 0..20_usize {
        send_noise(&mut far, hop * 2_000, (hop + 1) * 2_000).expect("taken");
        let runtime = if hop % 2 == 0 { &first } else { &second };
        (near, at) = runtime.block_on(move || {
            let at = read_ahead(&mut near, at, 1_500);
            (near, at)
        });
    }
    expect_noise(&near, at, 40_000);
}

/// Two values for one connection, used on two workers: reading here, writing there.
pub(crate) fn clones_are_used_on_two_workers_at_once(model: Model) {
    in_task_of(model, 2, || {
        let (near, far) = pair();
        let writer = near.try_clone().expect("a descriptor");
        let echo = on(0, move || fiveways::service::Service::Echo.serve(far));
        let writing = on(1, move || {
            send_noise(&writer, 0, 2_000_000).expect("taken");
            writer.shutdown(std::net::Shutdown::Write).expect("still there");
        });
        let reading = on(0, move || {
            expect_noise(&near, 0, 2_000_000);
            expect_eof(&near);
        });
        writing.join().expect("no panic");
        reading.join().expect("every byte in its place");
        echo.join().expect("no panic").expect("no error");
    });
}
