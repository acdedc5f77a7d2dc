//! Where a connection begins and ends: reset before it is accepted, taken over in another mode,
//! connected to one address of several, closed with a wish to linger.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use fiveways::task;
use fiveways_tests::arena::{in_task, pair};
use fiveways_tests::client::{self, reset};
use fiveways_tests::patience::LONG;

/// Runs `f` as the model does: in a task, or on a plain thread.
fn on<T: Send + 'static>(model: Model, f: impl FnOnce() -> T + Send + 'static) -> T {
    if model.is_cooperative() { in_task(model, f) } else { f() }
}

/// How much processor time the calling thread has used.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A client that sends and resets before anybody accepts has said something all the same.
pub(crate) fn connections_reset_while_queued_bring_their_last_words(model: Model) {
    const CLIENTS: usize = 100;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut names = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = client::connect(address);
        names.push(client.local_addr().expect("a name"));
        client.write_all(b"last words").expect("taken");
        reset(client);
    }
    let listener = TcpListener::from(listener);
    let heard = on(model, move || {
        let mut heard = 0;
        for name in names {
            let (mut stream, peer) = listener.accept().expect("a connection");
            assert_eq!(peer, name);
            assert_eq!(stream.peer_addr().expect("it is remembered"), name);
            let mut words = Vec::new();
            let _reset = stream.read_to_end(&mut words);
            heard += usize::from(words == b"last words");
        }
        heard
    });
    assert_eq!(heard, CLIENTS);
}

pub(crate) fn unix_connections_closed_while_queued_bring_their_last_words(model: Model) {
    let path = std::env::temp_dir().join(format!("fiveways-queued-{}-{model}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("a path");
    for _ in 0..50 {
        let mut client = std::os::unix::net::UnixStream::connect(&path).expect("a backlog");
        client.write_all(b"last words").expect("taken");
    }
    on(model, move || {
        for _ in 0..50 {
            let (mut stream, peer) = listener.accept().expect("a connection");
            assert!(peer.is_unnamed(), "{peer:?}");
            let mut words = String::new();
            stream.read_to_string(&mut words).expect("all of it");
            assert_eq!(words, "last words");
        }
    });
    std::fs::remove_file(&path).expect("it was there");
}

/// A socket of somebody who set it non-blocking waits here, as every other does: the mode in which
/// it is used is set, so that it costs no futile call each time (I5).
pub(crate) fn a_socket_taken_over_in_non_blocking_mode_waits(model: Model) {
    on(model, || {
        let (near, far) = std::os::unix::net::UnixStream::pair().expect("a pair");
        near.set_nonblocking(true).expect("a mode");
        let near = UnixStream::from(OwnedFd::from(near));
        assert!(!is_nonblocking(&near), "a stream");
        waits(near, far);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let near = std::net::TcpStream::connect(address).expect("a backlog");
        near.set_nonblocking(true).expect("a mode");
        let near = TcpStream::from(near);
        assert!(!is_nonblocking(&near), "a stream");
        waits(near, listener.accept().expect("it is there").0);
        assert!(is_nonblocking(&TcpListener::from(listener)), "a listener");
        let near = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        near.set_nonblocking(true).expect("a mode");
        let to = near.local_addr().expect("an address");
        let near = UdpSocket::from(OwnedFd::from(near));
        let sending = std::thread::spawn(move || {
            let from = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
            from.send_to(b"x", to).expect("sent");
        });
        assert_eq!(near.recv(&mut [0; 8]).expect("it waits"), 1);
        sending.join().expect("no panic");
    });
}

fn is_nonblocking(socket: &impl AsFd) -> bool {
    let flags = rustix::fs::fcntl_getfl(socket).expect("it is open");
    flags.contains(rustix::fs::OFlags::NONBLOCK)
}

/// Reads and writes more than fits at once.
fn waits(near: impl Read + Write, mut far: impl Read + Write + Send + 'static) {
    const MUCH: usize = 8 << 20;
    let mut near = near;
    let peer = std::thread::spawn(move || {
        // Long enough for the reader to find nothing.
        std::thread::sleep(Duration::from_millis(20));
        far.write_all(b"late").expect("taken");
        let mut all = vec![0; MUCH];
        far.read_exact(&mut all).expect("all of it");
    });
    near.read_exact(&mut [0; 4]).expect("it waits for bytes");
    near.write_all(&vec![7; MUCH]).expect("it waits for room");
    peer.join().expect("no panic");
}

/// Closing takes no time, whatever it is to wait for.
pub(crate) fn a_lingering_close_blocks_no_worker(model: Model) {
    in_task(model, || {
        let (mut near, far) = pair();
        near.set_linger(Some(Duration::from_secs(6))).expect("taken");
        near.set_nonblocking(true).expect("a wish");
        while near.write(&[1; 65_536]).is_ok() {}
        let started = Instant::now();
        drop(near);
        let took = started.elapsed();
        assert!(took < Duration::from_secs(2), "the worker was held for {took:?}");
        let (mut near, _far) = pair();
        near.set_linger(Some(Duration::from_secs(6))).expect("taken");
        near.set_nonblocking(true).expect("a wish");
        while near.write(&[1; 65_536]).is_ok() {}
        let second = std::net::TcpStream::from(near.as_fd().try_clone_to_owned().expect("one"));
        drop(near);
        drop(TcpStream::from(second));
        let took = started.elapsed();
        assert!(took < Duration::from_secs(4), "the worker was held for {took:?}");
        drop(far);
    });
}

/// Less than a second is more than nothing, which would throw away what was written.
pub(crate) fn a_linger_below_a_second_is_rounded_up(model: Model) {
    on(model, || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut near = TcpStream::connect(address).expect("a backlog");
        near.set_linger(Some(Duration::from_millis(300))).expect("taken");
        assert_eq!(near.linger().expect("told"), Some(Duration::from_secs(1)));
        near.write_all(b"not thrown away").expect("taken");
        drop(near);
        let mut words = String::new();
        let (mut far, _) = listener.accept().expect("it is there");
        far.read_to_string(&mut words).expect("no reset");
        assert_eq!(words, "not thrown away");
    });
}

/// Addresses that nobody answers at: a listener whose backlog is full.
struct Silent {
    address: SocketAddr,
    _held: (std::net::TcpListener, Vec<std::net::TcpStream>),
}

fn silent() -> Silent {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    rustix::net::listen(&listener, 0).expect("a smaller backlog");
    let address = listener.local_addr().expect("an address");
    let mut held = Vec::new();
    let short = Duration::from_millis(200);
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, short) {
        held.push(stream);
    }
    Silent { address, _held: (listener, held) }
}

/// One address that does not answer does not keep the others from being tried.
pub(crate) fn a_silent_address_leaves_time_for_the_next(model: Model) {
    on(model, || {
        let silent = silent();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let good = listener.local_addr().expect("an address");
        let started = Instant::now();
        let stream = TcpStream::connect(&[silent.address, good][..]).expect("the second answers");
        assert_eq!(stream.peer_addr().expect("known"), good);
        let took = started.elapsed();
        assert!(took < Duration::from_secs(15), "connected after {took:?}");
    });
}

/// Two ports beside each other that nobody listens on.
fn free_ports() -> [u16; 2] {
    loop {
        let first = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = first.local_addr().expect("an address").port();
        let beside = port ^ 1;
        if std::net::TcpListener::bind(("127.0.0.1", beside)).is_ok() {
            return [port, beside];
        }
    }
}

/// A connect to a port of this machine that nobody listens on may be given that very port, and
/// meets itself: it is refused, as if it had been given another.
pub(crate) fn a_connect_never_meets_itself(model: Model) {
    on(model, || {
        let ports = free_ports();
        let started = Instant::now();
        // The kernel goes through its ports one by one.
        for attempt in 0..40_000 {
            let port = ports[attempt % 2];
            match TcpStream::connect(("127.0.0.1".parse::<std::net::IpAddr>().expect("one"), port))
            {
                Ok(stream) => panic!("met {stream:?} at attempt {attempt}"),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}"),
            }
            if started.elapsed() > LONG / 2 {
                break;
            }
        }
    });
}

/// Among thousands that wait to accept, a connection costs what it costs among one. The worker's
/// own clock is asked, so that it does not matter what else the machine does.
pub(crate) fn two_thousand_acceptors_cost_a_connection_nothing(model: Model) {
    const WAITING: usize = 2_000;
    const CONNECTIONS: u32 = 200;
    in_task(model, move || {
        let listener = std::sync::Arc::new(TcpListener::bind("127.0.0.1:0").expect("a port"));
        let address = listener.local_addr().expect("an address");
        let accepted = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let acceptors: Vec<_> = (0..WAITING)
            .map(|_| {
                let (listener, accepted) = (listener.clone(), accepted.clone());
                task::spawn(move || {
                    while listener.accept().is_ok() {
                        accepted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            task::yield_now();
        }
        let (started, before) = (Instant::now(), thread_time());
        let count = || accepted.load(std::sync::atomic::Ordering::Relaxed);
        // One by one: many that are woken together for many are no waste.
        for number in 1..=CONNECTIONS as usize {
            drop(TcpStream::connect(address).expect("a backlog"));
            while count() < number {
                assert!(started.elapsed() < LONG, "{} of {CONNECTIONS} accepted", count());
                task::yield_now();
            }
        }
        let each = (thread_time() - before) / CONNECTIONS;
        eprintln!("{model}: {each:?} a connection, connect included");
        assert!(each < Duration::from_millis(1), "{each:?} for a connection");
        for acceptor in &acceptors {
            acceptor.cancel();
        }
        for acceptor in acceptors {
            let _ = acceptor.join();
        }
    });
}
