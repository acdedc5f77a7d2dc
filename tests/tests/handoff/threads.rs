//! Within one process: out of a worker, to a thread, and back.

use std::collections::HashSet;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::executor::unblock;
use fiveways::handoff;
use fiveways::net::TcpStream;
use fiveways::runtime::counters;
use fiveways::{task, time};
use fiveways_tests::arena::{Arena, in_task, in_task_of, pair};
use fiveways_tests::client::{expect_eof, expect_noise, noise, send_noise};
use fiveways_tests::patience::LONG;

fn soon() -> Option<Instant> {
    Some(Instant::now() + LONG)
}

/// Looks at the next bytes, takes a few of them, and leaves the rest read ahead.
fn read_ahead(stream: &mut TcpStream, at: usize, take: usize) -> usize {
    let bytes = stream.fill_buf().expect("something comes");
    assert!(*bytes == *noise(at, bytes.len()), "wrong bytes at {at}");
    let take = take.min(bytes.len());
    stream.consume(take);
    at + take
}

/// S002-39, S002-43, D39: what was in user buffers goes with the connection, to a thread, and to
/// another worker.
pub(crate) fn a_detached_connection_takes_its_unread_bytes_along(model: Model) {
    in_task_of(model, 2, || {
        let (mut near, mut far) = pair();
        near.set_read_timeout(Some(LONG)).expect("takes it");
        send_noise(&mut far, 0, 3_000).expect("taken");
        let at = read_ahead(&mut near, 0, 10);
        send_noise(&mut far, 3_000, 50_000).expect("taken");
        // A driver that reads ahead does so now.
        time::sleep(Duration::from_millis(5));
        let detached = near.detach().expect("still there");
        let unread = detached.unread().len();
        assert!(*detached.unread() == *noise(at, unread), "wrong bytes read ahead");
        // A plain thread reads on, and detaches in the middle, too.
        let theirs = thread::spawn(move || {
            let mut near = detached.into_stream().expect("nothing is unsent");
            let at = read_ahead(&mut near, at, 700);
            expect_noise(&near, at, 10_000);
            let at = read_ahead(&mut near, 10_000, 1);
            (near.detach().expect("a thread reads nothing ahead"), at)
        });
        let (detached, at) = theirs.join().expect("every byte in its place");
        let reading = task::Builder::new().worker(1).spawn(move || {
            let near = detached.into_stream().expect("nothing is unsent");
            assert_eq!(near.read_timeout().expect("it is kept"), Some(LONG));
            expect_noise(&near, at, 50_000);
            near
        });
        let near = reading.expect("a stack").join().expect("every byte in its place");
        drop(far);
        expect_eof(&near);
    });
}

/// D38: the driver is told before the connection leaves; nothing of it is reported from then on.
pub(crate) fn nobody_watches_a_detached_connection(model: Model) {
    in_task(model, move || {
        let (mut near, far) = pair();
        // Waited for, by both ways of reading: every driver watches it now.
        near.set_read_timeout(Some(Duration::from_millis(5))).expect("takes it");
        assert_eq!(near.read(&mut [0]).expect_err("nothing came").kind(), ErrorKind::TimedOut);
        assert_eq!(near.fill_buf().expect_err("nothing came").kind(), ErrorKind::TimedOut);
        let detached = near.detach().expect("still there");
        send_noise(&far, 0, 500).expect("taken");
        far.shutdown(Shutdown::Write).expect("still there");
        let before = counters().expect("in a task");
        time::sleep(Duration::from_millis(60));
        let after = counters().expect("in a task");
        let events = after.events - before.events;
        // The spinning selector reports without being asked; the ring tells how it let go.
        let limit = match model {
            Model::Nonblocking => u64::MAX,
            Model::Uring | Model::Auto => 2,
            _ => 0,
        };
        assert!(events <= limit, "{events} events for nobody");
        assert!(detached.unread().is_empty(), "taken out of the socket by a driver");
        let near = detached.into_stream().expect("nothing is unsent");
        expect_noise(&near, 0, 500);
        expect_eof(&near);
    });
}

/// S002-41, S002-44, S002-37: many rounds on a thread that blocks; the worker serves others, and
/// the connection is a worker's again afterwards.
pub(crate) fn work_on_a_thread_does_not_stop_the_worker(model: Model) {
    const ROUNDS: usize = 50;
    in_task(model, || {
        let (near, far) = pair();
        let peer = task::spawn_local(move || {
            for round in 0..ROUNDS {
                send_noise(&far, round * 100, (round + 1) * 100).expect("taken");
                expect_noise(&far, round * 100, (round + 1) * 100);
            }
            // After the rounds it goes on with the worker.
            expect_noise(&far, 7, 8);
            far
        });
        let before = thread::current().id();
        let detached = near.detach().expect("still there");
        // Without the peer, which runs on this very worker, the work would never end.
        let (detached, rounds) = handoff::run(detached, soon(), move |stream| {
            assert_ne!(thread::current().id(), before, "the work runs on a thread of its own");
            for round in 0..ROUNDS {
                expect_noise(&mut *stream, round * 100, (round + 1) * 100);
                send_noise(&mut *stream, round * 100, (round + 1) * 100).expect("taken");
            }
            ROUNDS
        });
        assert_eq!(rounds.expect("no panic"), ROUNDS);
        let near = detached.into_stream().expect("nothing is unsent");
        send_noise(&near, 7, 8).expect("taken");
        drop(peer.join().expect("no panic"));
        expect_eof(&near);
    });
}

/// S002-42, D39: work that fails leaves the connection as usable as it was.
pub(crate) fn a_panic_of_the_work_gives_the_connection_back(model: Model) {
    in_task(model, || {
        let (near, mut far) = pair();
        send_noise(&far, 0, 1_000).expect("taken");
        let detached = near.detach().expect("still there");
        let (detached, outcome) = handoff::run(detached, soon(), |stream| {
            expect_noise(&mut *stream, 0, 100);
            // Some is read ahead when it happens.
            read_ahead(stream, 100, 1);
            panic::resume_unwind(Box::new("on purpose"));
        });
        let error = outcome.map(|(): ()| ()).expect_err("it panicked");
        assert!(error.is_panic());
        assert_eq!(error.to_string(), "the work panicked: on purpose");
        let mut near = detached.into_stream().expect("nothing is unsent");
        expect_noise(&near, 101, 1_000);
        near.write_all(b"alive").expect("taken");
        let mut answer = [0; 5];
        far.read_exact(&mut answer).expect("it comes");
        assert_eq!(&answer, b"alive");
    });
}

/// D39: hand-offs have a time limit, which the work's own settings do not lift.
pub(crate) fn late_work_gives_the_connection_back(model: Model) {
    in_task(model, || {
        let (near, far) = pair();
        let limit = Duration::from_millis(30);
        let started = Instant::now();
        let detached = near.detach().expect("still there");
        let (detached, kinds) = handoff::run(detached, Some(started + limit), move |stream| {
            stream.set_read_timeout(None).expect("takes it");
            stream.set_write_timeout(Some(LONG)).expect("takes it");
            let read = stream.read(&mut [0]).expect_err("nobody writes").kind();
            assert!(started.elapsed() >= limit, "too early");
            let chunk = vec![0; 1 << 20];
            let write = loop {
                if let Err(error) = stream.write(&chunk) {
                    break error.kind();
                }
            };
            let fill = stream.fill_buf().expect_err("nobody writes").kind();
            [read, write, fill]
        });
        assert_eq!(kinds.expect("no panic"), [ErrorKind::TimedOut; 3]);
        assert!(started.elapsed() < LONG / 2, "too late");
        // The deadline was the work's, not the connection's.
        let near = detached.into_stream().expect("nothing is unsent");
        assert_eq!(near.write_timeout().expect("it is kept"), Some(LONG));
        send_noise(&far, 0, 10).expect("taken");
        expect_noise(&near, 0, 10);
    });
}

/// Work that hands over in its turn can make its time shorter, not longer.
pub(crate) fn a_deadline_holds_for_hand_offs_of_the_work(model: Model) {
    in_task(model, || {
        let (near, far) = pair();
        let started = Instant::now();
        let limit = Duration::from_millis(30);
        let detached = near.detach().expect("still there");
        let (detached, kinds) = handoff::run(detached, Some(started + limit), move |stream| {
            let spare = TcpStream::from(OwnedFd::from(std::net::UdpSocket::bind("[::1]:0")?));
            let outer = std::mem::replace(stream, spare).detach()?;
            let (back, inner) = handoff::run(outer, soon(), |stream| stream.read(&mut [0]));
            *stream = back.into_stream()?;
            let inner = inner.map_err(io::Error::other)?.expect_err("late").kind();
            let outer = stream.read(&mut [0]).expect_err("late").kind();
            Ok::<_, io::Error>([inner, outer])
        });
        assert_eq!(kinds.expect("no panic").expect("hands over"), [ErrorKind::TimedOut; 2]);
        assert!(started.elapsed() >= limit && started.elapsed() < LONG / 2);
        send_noise(&far, 0, 10).expect("taken");
        expect_noise(detached.into_stream().expect("nothing is unsent"), 0, 10);
    });
}

/// S002-43, D39: bytes that arrive while the socket is not watched are found at once by its next
/// owner: no past edge is waited for.
pub(crate) fn what_came_meanwhile_is_reported(model: Model) {
    in_task(model, || {
        let (mut near, far) = pair();
        for round in 0..20 {
            let at = round * 10;
            let detached = near.detach().expect("still there");
            let (detached, outcome) = handoff::run(detached, soon(), |_| ());
            outcome.expect("no panic");
            send_noise(&far, at, at + 10).expect("taken");
            near = detached.into_stream().expect("nothing is unsent");
            near.set_read_timeout(Some(LONG)).expect("takes it");
            if round % 2 == 0 {
                expect_noise(&near, at, at + 10);
            } else {
                assert_eq!(read_ahead(&mut near, at, 10), at + 10);
            }
        }
    });
}

/// D39: a peer that closes, or resets, while the connection is away.
pub(crate) fn a_peer_that_has_gone_meanwhile_is_noticed(model: Model) {
    in_task(model, || {
        let (near, far) = pair();
        let detached = near.detach().expect("still there");
        send_noise(&far, 0, 10).expect("taken");
        drop(far);
        let near = detached.into_stream().expect("nothing is unsent");
        expect_noise(&near, 0, 10);
        expect_eof(&near);

        let (near, far) = pair();
        let detached = near.detach().expect("still there");
        far.set_linger(Some(Duration::ZERO)).expect("takes it");
        drop(far);
        let mut near = detached.into_stream().expect("nothing is unsent");
        let error = near.read(&mut [0]).expect_err("it was reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        // In a thread, too.
        let (near, far) = pair();
        let detached = near.detach().expect("still there");
        far.set_linger(Some(Duration::ZERO)).expect("takes it");
        drop(far);
        let (detached, kind) = handoff::run(detached, soon(), |stream| {
            stream.read(&mut [0]).expect_err("it was reset").kind()
        });
        assert_eq!(kind.expect("no panic"), ErrorKind::ConnectionReset);
        drop(detached);
    });
}

/// D39: a peer that has reset before: the detach tells, with the stream, if a driver has read that
/// ahead; else the first read does.
pub(crate) fn a_reset_before_the_detach_is_told_once(model: Model) {
    in_task(model, || {
        let (mut near, far) = pair();
        near.set_read_timeout(Some(Duration::from_millis(2))).expect("takes it");
        assert!(near.fill_buf().is_err(), "nobody wrote");
        far.set_linger(Some(Duration::ZERO)).expect("takes it");
        drop(far);
        time::sleep(Duration::from_millis(5));
        let kind = match near.detach() {
            Ok(detached) => {
                let mut near = detached.into_stream().expect("nothing is unsent");
                near.read(&mut [0]).expect_err("it was reset").kind()
            }
            Err(failed) => {
                let (near, error) = failed.into_parts();
                expect_eof(&near);
                error.kind()
            }
        };
        assert_eq!(kind, ErrorKind::ConnectionReset);
    });
}

/// D39: pending output is carried, and sent before what is written later.
pub(crate) fn unsent_output_goes_first(model: Model) {
    in_task(model, || {
        let (near, far) = pair();
        let mut detached = near.detach().expect("still there");
        detached.add_unsent(noise(0, 1_000));
        detached.add_unsent(noise(1_000, 1_000));
        assert_eq!(detached.unsent().len(), 2_000);
        let (detached, outcome) =
            handoff::run(detached, soon(), |stream| send_noise(stream, 2_000, 3_000));
        outcome.expect("no panic").expect("taken");
        assert!(detached.unsent().is_empty());
        let near = detached.into_stream().expect("nothing is unsent");
        send_noise(&near, 3_000, 4_000).expect("taken");
        expect_noise(&far, 0, 4_000);
    });
}

/// D39: output that cannot go out within the limit stays with the connection, which is not lost.
pub(crate) fn unsent_output_that_cannot_go_stays(model: Model) {
    const MUCH: usize = 30_000_000;
    in_task(model, || {
        let (near, far) = pair();
        near.set_write_timeout(Some(Duration::from_millis(20))).expect("takes it");
        let mut detached = near.detach().expect("still there");
        while detached.unsent().len() < MUCH {
            let at = detached.unsent().len();
            detached.add_unsent(noise(at, (MUCH - at).min(1 << 19)));
        }
        let failed = detached.into_stream().expect_err("more than there is room for");
        assert_eq!(failed.error().kind(), ErrorKind::TimedOut);
        let detached = failed.into_inner();
        let left = detached.unsent().len();
        assert!(0 < left && left < MUCH, "{left} bytes are left");
        // The rest goes out as the peer takes it.
        let reading = task::spawn_local(move || expect_noise(&far, 0, MUCH));
        let mut attempt = detached.into_stream();
        while let Err(failed) = attempt {
            attempt = failed.into_inner().into_stream();
        }
        reading.join().expect("every byte in its place");
    });
}

/// A task that is cancelled while its work runs: the work ends by itself, then the peer sees the
/// end.
pub(crate) fn a_cancelled_task_leaves_the_work_to_its_end(model: Model) {
    in_task(model, || {
        let (near, mut far) = pair();
        let waiting = task::spawn_local(move || {
            let detached = near.detach().expect("still there");
            let (_, outcome) = handoff::run(detached, soon(), |stream| {
                stream.write_all(b"begun")?;
                stream.read_exact(&mut [0])?;
                stream.write_all(b"ended")
            });
            outcome.expect("no panic").expect("taken");
        });
        let mut word = [0; 5];
        far.read_exact(&mut word).expect("it comes");
        waiting.cancel();
        assert!(waiting.join().expect_err("it was unwound").is_cancelled());
        far.write_all(b"x").expect("the work still reads");
        far.read_exact(&mut word).expect("it comes");
        assert_eq!(&word, b"ended");
        expect_eof(&far);
    });
}

/// S002-44, S002-42: a server whose sessions go to threads and back, some of which panic: every
/// client is served, and none is counted twice or forgotten.
pub(crate) fn a_server_hands_over_and_serves_on(model: Model) {
    let panics = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&panics);
    let arena = Arena::new(model, move |mut stream: TcpStream| -> io::Result<()> {
        let mut line = String::new();
        while stream.read_line(&mut line)? > 0 {
            let order = std::mem::take(&mut line);
            let (detached, outcome) = handoff::run(stream.detach()?, soon(), move |stream| {
                if order.trim() == "panic" {
                    panic::resume_unwind(Box::new("on purpose"));
                }
                write!(stream, "did {order}")
            });
            stream = detached.into_stream()?;
            match outcome {
                Ok(result) => result?,
                Err(_) => {
                    count.fetch_add(1, Ordering::Relaxed);
                    writeln!(stream, "sorry")?;
                }
            }
        }
        Ok(())
    });
    let talk = |client: std::net::TcpStream, number: usize| {
        let mut reader = io::BufReader::new(&client);
        let mut answer = String::new();
        for round in 0..5 {
            let order = if (number + round).is_multiple_of(3) { "panic" } else { "work" };
            writeln!(&client, "{order}").expect("taken");
            answer.clear();
            reader.read_line(&mut answer).expect("it comes");
            assert_eq!(answer, if order == "panic" { "sorry\n" } else { "did work\n" });
        }
    };
    thread::scope(|scope| {
        for number in 0..6 {
            let client = arena.connect();
            scope.spawn(move || talk(client, number));
        }
    });
    assert_eq!(panics.load(Ordering::Relaxed), 10);
    let report = arena.stop();
    assert_eq!((report.stats.accepted, report.stats.panicked), (6, 0));
}

/// S004-21: opening costs, so a thread is used again.
#[test]
fn hand_offs_one_after_the_other_share_a_thread() {
    in_task(Model::Epoll, || {
        let (mut near, _far) = pair();
        let mut threads = HashSet::new();
        for _ in 0..100 {
            let detached = near.detach().expect("still there");
            let (detached, id) = handoff::run(detached, soon(), |_| thread::current().id());
            threads.insert(id.expect("no panic"));
            near = detached.into_stream().expect("nothing is unsent");
        }
        // A thread that has answered may not be idle yet when the next work comes.
        assert!(threads.len() < 50, "{} threads for one hand-off at a time", threads.len());
    });
}

/// D39: work may wait for other work, so none waits for a thread.
#[test]
fn a_hand_off_has_a_thread_when_all_that_are_kept_are_busy() {
    in_task(Model::Epoll, || {
        let (tell, told) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let gone = Arc::new(Mutex::new(gone));
        let block = |_| {
            let (tell, gone) = (tell.clone(), Arc::clone(&gone));
            task::spawn_local(move || {
                unblock(move || {
                    tell.send(()).expect("it is awaited");
                    let _ = gone.lock().map(|gone| gone.recv());
                });
            })
        };
        let calls: Vec<_> = (0..520).map(block).collect();
        task::yield_now();
        (0..512).for_each(|_| told.recv().expect("it begins"));
        let (near, _far) = pair();
        let detached = near.detach().expect("still there");
        // Nothing else lets the others go: without a thread it would wait for ever.
        let (detached, sent) = handoff::run(detached, soon(), move |_| drop(go));
        sent.expect("no panic");
        drop(detached);
        calls.into_iter().for_each(|call| call.join().expect("no panic"));
    });
}
