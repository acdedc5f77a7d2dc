//! What tasks can do besides serving: clients, datagrams, Unix sockets, cancellation, several
//! workers.

use std::cell::Cell;
use std::io::{self, BufRead, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::net::{
    TcpListener, TcpStream, ToSocketAddrs, UdpSocket, UnixDatagram, UnixListener, UnixStream,
};
use fiveways::server::{ListenMode, Server};
use fiveways::task;
use fiveways::time;
use fiveways_tests::arena::{in_task, in_task_of, pair};
use fiveways_tests::client::{expect_noise, noise, send_noise};
use fiveways_tests::patience::LONG;

const ECANCELED: i32 = 125;

/// Cancels a task that waits in `wait`, expects the refusal, and gives what it waited with.
fn cancel_in<W: 'static>(mut with: W, wait: impl FnOnce(&mut W) -> io::Result<()> + 'static) -> W {
    let waiter = task::spawn_local(move || {
        let ended = wait(&mut with);
        (with, ended)
    });
    // It runs to its wait and no further.
    task::yield_now();
    assert!(!waiter.is_finished(), "it did not wait");
    waiter.cancel();
    let (with, ended) = waiter.join().expect("it returns");
    let error = ended.expect_err("it was cancelled");
    assert_eq!(error.raw_os_error(), Some(ECANCELED), "{error}");
    with
}

/// A cancelled read takes nothing: the next reader finds every byte.
pub(crate) fn a_cancelled_read_loses_nothing(model: Model) {
    in_task(model, || {
        let (near, mut far) = pair();
        let mut buf = [0; 8];
        let near = cancel_in(near, |near| near.read(&mut [0; 64]).map(drop));
        far.write_all(b"one").expect("taken");
        let mut near = near;
        near.read_exact(&mut buf[..3]).expect("it comes");
        assert_eq!(&buf[..3], b"one");
        let near = cancel_in(near, |near| near.fill_buf().map(drop));
        let near = cancel_in(near, |near| near.peek(&mut [0; 64]).map(drop));
        let near = cancel_in(near, |near| {
            let (mut a, mut b) = ([0; 8], [0; 8]);
            near.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]).map(drop)
        });
        far.write_all(b"two").expect("taken");
        let mut near = near;
        near.read_exact(&mut buf[..3]).expect("it comes");
        assert_eq!(&buf[..3], b"two");
        drop(far);
        assert_eq!(near.read(&mut buf).expect("it ends in order"), 0);
    });
}

/// A cancelled write has written what it says and no more.
pub(crate) fn a_cancelled_write_tells_the_truth(model: Model) {
    in_task(model, || {
        let (near, far) = pair();
        let sent = Rc::new(Cell::new(0));
        let count = Rc::clone(&sent);
        let mut near = cancel_in(near, move |near| {
            loop {
                let at = count.get();
                let piece = noise(at, 200_000);
                let (front, back) = piece.split_at(70_000);
                let vectored = at.is_multiple_of(2);
                count.set(
                    at + if vectored {
                        near.write_vectored(&[IoSlice::new(front), IoSlice::new(back)])?
                    } else {
                        near.write(piece)?
                    },
                );
            }
        });
        let total = sent.get();
        assert!(total > 0);
        let reader = task::spawn_local(move || {
            expect_noise(&far, 0, total + 1_000);
            far
        });
        send_noise(&mut near, total, total + 1_000).expect("taken");
        drop(reader.join().expect("every byte in its place"));
    });
}

pub(crate) fn a_cancelled_accept_loses_no_connection(model: Model) {
    in_task(model, || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let listener = cancel_in(listener, |listener| listener.accept().map(drop));
        let mut client = TcpStream::connect(addr).expect("connects");
        let (mut stream, _) = listener.accept().expect("accepts");
        client.write_all(b"hello").expect("taken");
        stream.read_exact(&mut [0; 5]).expect("it comes");
    });
}

/// A listener that takes no more connections: attempts to connect wait.
fn full_listener() -> Server {
    let server = Server::bind_with("127.0.0.1:0", 0, ListenMode::Shared).expect("a port");
    let addr = server.local_addr().expect("an address");
    for _ in 0..4 {
        // Kept in the backlog after we have left.
        let _ = TcpStream::connect_timeout(&addr, Duration::from_millis(50));
    }
    server
}

pub(crate) fn a_connect_can_be_cancelled_and_limited(model: Model) {
    in_task(model, || {
        let full = full_listener();
        let addr = full.local_addr().expect("an address");
        cancel_in((), move |()| TcpStream::connect(addr).map(drop));
        let started = Instant::now();
        let limited = TcpStream::connect_timeout(&addr, Duration::from_millis(80));
        assert_eq!(limited.expect_err("nobody accepts").kind(), ErrorKind::TimedOut);
        assert!(started.elapsed() >= Duration::from_millis(80));
        drop(full);
        let refused = TcpStream::connect(addr).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

/// Waits that have no error to give unwind the task; its destructors run.
pub(crate) fn cancelled_sleeps_and_joins_unwind(model: Model) {
    struct Told(Rc<Cell<u32>>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    thread_local! {
        static OVER: Cell<bool> = const { Cell::new(false) };
    }
    in_task(model, || {
        let count = Rc::new(Cell::new(0));
        let waits: [fn(); 3] = [
            || time::sleep(4 * LONG),
            || {
                let joined = task::spawn_local(|| {
                    while !OVER.get() {
                        time::sleep(Duration::from_millis(1));
                    }
                });
                let _ = joined.join();
            },
            || drop(UdpSocket::bind("localhost:0").map(|_| time::sleep(4 * LONG))),
        ];
        for wait in waits {
            let told = Told(Rc::clone(&count));
            let waiter = task::spawn_local(move || {
                let _told = told;
                wait();
            });
            task::yield_now();
            task::yield_now();
            waiter.cancel();
            let error = waiter.join().expect_err("it was unwound");
            assert!(error.is_cancelled(), "{error}");
        }
        assert_eq!(count.get(), 3);
        OVER.set(true);
    });
}

/// Before it has begun, a cancelled task never does.
pub(crate) fn a_task_cancelled_before_it_begins_never_does(model: Model) {
    in_task(model, || {
        let begun = Rc::new(Cell::new(false));
        let mark = Rc::clone(&begun);
        let waiter = task::spawn_local(move || mark.set(true));
        waiter.cancel();
        assert!(waiter.join().expect_err("it never began").is_cancelled());
        assert!(!begun.get());
    });
}

/// `timeout` ends every kind of wait, and the task goes on.
pub(crate) fn a_scope_with_a_time_limit_ends_every_wait(model: Model) {
    in_task(model, || {
        let brief = Duration::from_millis(30);
        let (mut near, mut far) = pair();
        let late =
            |ended: io::Result<usize>| ended.expect_err("late").kind() == ErrorKind::TimedOut;
        assert!(task::timeout(brief, || late(near.read(&mut [0; 8]))).expect("an error"));
        assert!(task::timeout(brief, || late(near.fill_buf().map(<[u8]>::len))).expect("an error"));
        assert!(task::timeout(brief, || time::sleep(LONG)).is_err());
        let over = Rc::new(Cell::new(false));
        let end = Rc::clone(&over);
        let joined = task::spawn_local(move || {
            while !end.get() {
                time::sleep(Duration::from_millis(1));
            }
        });
        assert!(task::timeout(brief, || joined.join()).is_err());
        over.set(true);
        far.write_all(b"on").expect("taken");
        near.read_exact(&mut [0; 2]).expect("the stream goes on");
    });
}

pub(crate) fn datagrams_are_echoed(model: Model) {
    in_task(model, || {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let addr = server.local_addr().expect("an address");
        let echo = task::spawn_local(move || -> io::Result<()> {
            let mut buf = [0; 2_000];
            loop {
                let (count, from) = server.recv_from(&mut buf)?;
                if count == 0 {
                    return Ok(());
                }
                server.send_to(&buf[..count], from)?;
            }
        });
        let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
        client.connect(addr).expect("connects");
        let mut buf = [0; 2_000];
        for round in 0..200 {
            let message = noise(round * 31, 1 + round * 7);
            assert_eq!(client.send(message).expect("sent"), message.len());
            assert_eq!(client.peek(&mut buf).expect("comes"), message.len());
            let count = client.recv(&mut buf).expect("comes");
            assert!(buf[..count] == *message, "another datagram came back");
        }
        client.set_read_timeout(Some(Duration::from_millis(30))).expect("takes it");
        assert_eq!(client.recv(&mut buf).expect_err("silence").kind(), ErrorKind::TimedOut);
        client.send(&[]).expect("sent");
        echo.join().expect("no panic").expect("no error");
        let client = cancel_in(client, |client| {
            client.set_read_timeout(None)?;
            client.recv(&mut [0; 8]).map(drop)
        });
        drop(client);
    });
}

/// A path for a Unix socket of this process's own.
fn socket_path(name: &str) -> std::path::PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("fiveways-{}-{number}-{name}", std::process::id()))
}

pub(crate) fn unix_streams_are_echoed(model: Model) {
    in_task(model, || {
        let path = socket_path("stream");
        let listener = UnixListener::bind(&path).expect("a path");
        let listener = cancel_in(listener, |listener| listener.accept().map(drop));
        let echo = task::spawn_local(move || -> io::Result<()> {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept()?;
                loop {
                    let bytes = stream.fill_buf()?.to_vec();
                    if bytes.is_empty() {
                        break;
                    }
                    stream.consume(bytes.len());
                    stream.write_all(&bytes)?;
                }
            }
            Ok(())
        });
        for _ in 0..3 {
            let client = UnixStream::connect(&path).expect("connects");
            let writer = client.try_clone().expect("a descriptor");
            let writing = task::spawn_local(move || {
                send_noise(&writer, 0, 700_000).expect("taken");
                writer.shutdown(std::net::Shutdown::Write).expect("still there");
            });
            expect_noise(&client, 0, 700_000);
            assert_eq!((&client).read(&mut [0; 8]).expect("it ends in order"), 0);
            writing.join().expect("no panic");
        }
        echo.join().expect("no panic").expect("no error");
        std::fs::remove_file(&path).expect("it is there");
    });
}

pub(crate) fn unix_datagrams_are_echoed(model: Model) {
    in_task(model, || {
        let (near, far) = UnixDatagram::pair().expect("a pair");
        let echo = task::spawn_local(move || -> io::Result<()> {
            let mut buf = [0; 500];
            loop {
                let count = far.recv(&mut buf)?;
                if count == 0 {
                    return Ok(());
                }
                far.send(&buf[..count])?;
            }
        });
        let mut buf = [0; 500];
        for round in 1..200 {
            let message = noise(round, round);
            near.send(message).expect("sent");
            let count = near.recv(&mut buf).expect("comes");
            assert!(buf[..count] == *message, "another datagram came back");
        }
        near.send(&[]).expect("sent");
        echo.join().expect("no panic").expect("no error");
    });
}

/// Looking up a name suspends the task that asks, not its worker.
pub(crate) fn a_name_is_looked_up_without_stalling_the_worker(model: Model) {
    in_task(model, || {
        let ticks = Rc::new(Cell::new(0_u32));
        let over = Rc::new(Cell::new(false));
        let (count, end) = (Rc::clone(&ticks), Rc::clone(&over));
        let ticker = task::spawn_local(move || {
            while !end.get() {
                count.set(count.get() + 1);
                task::yield_now();
            }
        });
        // An answer that is there before the task has looked for it makes no wait: ask again.
        let mut asked = 0;
        while ticks.get() == 0 {
            asked += 1;
            assert!(asked < 300, "the worker stood still");
            let addresses = "localhost:80".to_socket_addrs().expect("everybody knows localhost");
            assert!(addresses.into_iter().all(|address| address.port() == 80));
        }
        over.set(true);
        ticker.join().expect("no panic");
        assert!("no such name.invalid:1".to_socket_addrs().is_err());
    });
}

/// Two workers: tasks run on both at once, and streams join them.
pub(crate) fn two_workers_serve_each_other(model: Model) {
    in_task_of(model, 2, || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let on = |worker: usize| task::Builder::new().worker(worker);
        let serving = on(0).spawn(move || {
            let echoes: Vec<_> = (0..20)
                .map(|number| {
                    let (stream, _) = listener.accept().expect("accepts");
                    let echo = move || fiveways::service::Service::Echo.serve(stream);
                    on(number % 2).spawn(echo).expect("a stack")
                })
                .collect();
            for echo in echoes {
                echo.join().expect("no panic").expect("no error");
            }
        });
        let asking = on(1).spawn(move || {
            let clients: Vec<_> = (0..20)
                .map(|number| {
                    let client = move || {
                        let mut stream = TcpStream::connect(addr).expect("connects");
                        for round in 0..50 {
                            let at = number * 1_000 + round;
                            stream.write_all(noise(at, 300)).expect("taken");
                            expect_noise(&stream, at, at + 300);
                        }
                    };
                    on(number % 2).spawn(client).expect("a stack")
                })
                .collect();
            for client in clients {
                client.join().expect("every byte in its place");
            }
        });
        asking.expect("a stack").join().expect("no panic");
        serving.expect("a stack").join().expect("no panic");
    });
}

/// A worker that computes does not keep the other one from serving.
pub(crate) fn a_busy_worker_does_not_stop_the_other(model: Model) {
    in_task_of(model, 2, || {
        let over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&over);
        let busy = task::Builder::new().worker(1).spawn(move || {
            while !end.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        });
        let (mut near, mut far) = pair();
        for round in 0..100 {
            near.write_all(noise(round, 100)).expect("taken");
            expect_noise(&mut far, round, round + 100);
            time::sleep(Duration::from_micros(100));
        }
        over.store(true, Ordering::Relaxed);
        busy.expect("a stack").join().expect("no panic");
    });
}
