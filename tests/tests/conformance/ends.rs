//! Limits of time and number, and how a server ends.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::TcpStream as Client;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::net::TcpStream;
use fiveways::server::Overload;
use fiveways::service::Service;
use fiveways_tests::arena::Arena;
use fiveways_tests::client::{ask, expect_end, expect_eof, noise};
use fiveways_tests::patience::{LONG, eventually};

const BRIEF: Duration = Duration::from_millis(60);

fn echo(stream: TcpStream) -> io::Result<()> {
    Service::Echo.serve(stream)
}

/// How a wait ended, and how long it took.
type Ended = (io::Result<usize>, Duration);

/// Serves with a handler that tells how its first wait ended.
fn waiting(
    model: Model,
    wait: fn(&mut TcpStream) -> io::Result<usize>,
) -> (Arena, mpsc::Receiver<Ended>) {
    let (tell, told) = mpsc::channel();
    let arena = Arena::new(model, move |mut stream: TcpStream| {
        stream.set_read_timeout(Some(BRIEF))?;
        stream.set_write_timeout(Some(BRIEF))?;
        let started = Instant::now();
        let ended = wait(&mut stream);
        // The test may have failed and gone.
        let _ = tell.send((ended, started.elapsed()));
        // The stream is as good as before.
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        echo(stream)
    });
    (arena, told)
}

/// A read of a silent peer ends in time, with an error that says so, and the stream goes on.
pub(crate) fn a_read_ends_at_its_time_limit(model: Model) {
    let ways: [fn(&mut TcpStream) -> io::Result<usize>; 3] = [
        |stream| stream.read(&mut [0; 8]),
        |stream| stream.fill_buf().map(<[u8]>::len),
        |stream| stream.peek(&mut [0; 8]),
    ];
    for way in ways {
        let (arena, told) = waiting(model, way);
        let mut client = arena.connect();
        let (ended, took) = told.recv_timeout(LONG).expect("it ends");
        assert_eq!(ended.expect_err("nobody wrote").kind(), ErrorKind::TimedOut);
        assert!(took >= BRIEF, "too early: {took:?}");
        ask(&mut client, b"the stream goes on");
        drop(client);
        arena.stop();
    }
}

/// A write to a peer that does not read ends in time.
pub(crate) fn a_write_ends_at_its_time_limit(model: Model) {
    let (arena, told) = waiting(model, |stream| {
        loop {
            stream.write_all(noise(0, 256 * 1024))?;
        }
    });
    let client = arena.connect();
    let (ended, _) = told.recv_timeout(LONG).expect("it ends");
    assert_eq!(ended.expect_err("nobody read").kind(), ErrorKind::TimedOut);
    drop(client);
    arena.stop();
}

/// A connection on which nothing moves is ended; one that talks is not [D22, D42].
pub(crate) fn idle_connections_are_ended(model: Model) {
    let limit = Some(Duration::from_millis(400));
    let arena = Arena::with(model, |server| server.idle_timeout(limit), echo);
    let mut busy = (!arena.is_serial()).then(|| arena.connect());
    let idle = arena.connect();
    let started = Instant::now();
    if let Some(busy) = &mut busy {
        while started.elapsed() < Duration::from_millis(900) {
            ask(busy, b"moving");
            thread::sleep(Duration::from_millis(20));
        }
    }
    expect_eof(&idle);
    assert!(started.elapsed() > Duration::from_millis(300));
    drop(busy);
    arena.stop();
}

/// Beyond the limit connections wait in the backlog for a place [D43].
pub(crate) fn beyond_the_limit_connections_wait(model: Model) {
    let settings = |server: fiveways::server::Server| server.max_connections(3, Overload::Wait);
    let arena = Arena::with(model, settings, echo);
    let mut clients: Vec<_> = (0..9).map(|_| arena.connect()).collect();
    for client in &mut clients {
        client.write_all(b"me").expect("taken");
    }
    while !clients.is_empty() {
        let mut client = clients.remove(0);
        client.read_exact(&mut [0; 2]).expect("its turn comes");
        assert!(arena.stats().connections <= 3, "more than the limit");
    }
    let report = arena.stop();
    assert_eq!((report.stats.accepted, report.stats.refused), (9, 0));
}

/// Beyond the limit connections are turned away at once, if so wished [D43].
pub(crate) fn beyond_the_limit_connections_are_refused(model: Model) {
    let settings = |server: fiveways::server::Server| server.max_connections(3, Overload::Refuse);
    let arena = Arena::with(model, settings, echo);
    if arena.is_serial() {
        // It never has more than one inside.
        ask(&mut arena.connect(), b"served");
        arena.stop();
        return;
    }
    let mut inside: Vec<Client> = (0..3).map(|_| arena.connect()).collect();
    for client in &mut inside {
        ask(client, b"inside");
    }
    for _ in 0..5 {
        expect_end(arena.connect());
    }
    for client in &mut inside {
        ask(client, b"still inside");
    }
    drop(inside);
    arena.wait_for_connections(0);
    ask(&mut arena.connect(), b"there is room again");
    let report = arena.stop();
    assert_eq!(report.stats.refused, 5);
}

/// After a stop nobody new is let in, and those inside finish [D29].
pub(crate) fn a_graceful_stop_lets_connections_finish(model: Model) {
    let mut arena = Arena::new(model, echo);
    let mut client = arena.connect();
    ask(&mut client, b"inside");
    arena.control().stop();
    for _ in 0..20 {
        ask(&mut client, noise(3, 10_000));
    }
    if !arena.is_serial() {
        eventually("the door is shut", || !is_answered(&arena));
    }
    drop(client);
    let report = arena.join();
    assert_eq!(report.cut_short, 0);
    assert!(Client::connect(arena.addr()).is_err(), "the listener outlived the server");
}

/// Is a new connection served?
fn is_answered(arena: &Arena) -> bool {
    let Ok(mut stream) = Client::connect(arena.addr()) else { return false };
    let limit = Some(Duration::from_millis(100));
    stream.set_read_timeout(limit).expect("takes options");
    stream.write_all(b"?").is_ok() && stream.read_exact(&mut [0]).is_ok()
}

/// When the drain deadline comes, those still inside are ended [D29].
pub(crate) fn a_stop_ends_at_its_deadline(model: Model) {
    let drain = Duration::from_millis(300);
    let mut arena = Arena::with(model, |server| server.drain(drain), echo);
    let mut client = arena.connect();
    ask(&mut client, b"inside");
    let stopped = Instant::now();
    let report = arena.end();
    assert_eq!(report.cut_short, 1, "{report:?}");
    assert!(stopped.elapsed() >= drain);
    assert!(stopped.elapsed() < Duration::from_secs(5), "took {:?}", stopped.elapsed());
    expect_end(&client);
}

/// A second stop does not wait for the deadline [D29].
pub(crate) fn a_second_stop_forces(model: Model) {
    let mut arena = Arena::with(model, |server| server.drain(4 * LONG), echo);
    let mut client = arena.connect();
    ask(&mut client, b"inside");
    arena.control().stop();
    arena.control().stop();
    let report = arena.join();
    assert_eq!(report.cut_short, 1, "{report:?}");
    expect_end(&client);
}

/// A server that nobody has come to ends at once.
pub(crate) fn an_empty_server_stops_at_once(model: Model) {
    let stopped = Instant::now();
    Arena::new(model, echo).stop();
    assert!(stopped.elapsed() < Duration::from_secs(3), "took {:?}", stopped.elapsed());
}
