//! What a handler can rely on, whatever its model: its errors are heard, its time limits hold, its
//! answers arrive.

use std::error::Error;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex as StdMutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use fiveways::Model;
use fiveways::net::{TcpListener, TcpStream, TimeoutError};
use fiveways::runtime::Runtime;
use fiveways::server::{Overload, Server};
use fiveways::sync::{Mutex, channel};
use fiveways::{select, task, time};
use fiveways_tests::arena::{Arena, echo_by_read};
use fiveways_tests::client::{self, noise};
use fiveways_tests::patience::LONG;

const ARENA: &str = env!("CARGO_BIN_EXE_fiveways-arena");

const BRIEF: Duration = Duration::from_millis(60);

/// An error of a handler reaches the program, whatever its type, with the peer.
pub(crate) fn an_error_of_a_handler_is_heard(model: Model) {
    fn fails(_: TcpStream) -> anyhow::Result<()> {
        Err(io::Error::other("no such thing")).context("while looking")
    }
    let (tell, told) = mpsc::channel::<(SocketAddr, Box<dyn Error + Send + Sync>)>();
    let hear = move |peer, error| tell.send((peer, error)).expect("the test waits");
    let arena = Arena::with(model, |server| server.on_error(hear), fails);
    let client = arena.connect();
    let (peer, error) = told.recv_timeout(LONG).expect("it is heard");
    assert_eq!(peer, client.local_addr().expect("an address"));
    assert_eq!(error.to_string(), "while looking");
    assert_eq!(error.source().expect("a cause").to_string(), "no such thing");
    drop(client);
    assert_eq!(arena.stop().stats.failed, 1);
}

/// Unless it is heard, a line on stderr tells of errors, at most one a second, and of all of them.
pub(crate) fn errors_that_nobody_hears_are_told_in_few_lines(model: Model) {
    let mut command = Command::new(ARENA);
    command.arg(model.name()).arg("fails=1").stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut addr = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    stdout.read_line(&mut addr).expect("its address");
    let addr = addr.trim().parse().expect("an address");
    let began = Instant::now();
    for _ in 0..30 {
        client::expect_end(client::connect(addr));
    }
    let seconds = began.elapsed().as_secs();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
    let mut printed = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut printed).expect("text");
    assert!(child.wait().expect("our child").success(), "{printed}");
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines.len() as u64 <= 3 + seconds, "a line for each error: {printed}");
    assert!(lines[0].contains("for 127.0.0.1:") && lines[0].contains("as it must"), "{printed}");
    let counted = |line: &&str| {
        let words = line.split([' ', '(']).filter_map(|word| word.parse::<u64>().ok());
        let is_told = u64::from(line.contains("as it must"));
        is_told + words.sum::<u64>()
    };
    assert_eq!(lines.iter().map(counted).sum::<u64>(), 30, "{printed}");
}

/// "The handler does not change": a time limit around its waits holds under every model.
pub(crate) fn a_scope_limits_every_wait_of_a_handler(model: Model) {
    let (tell, told) = mpsc::channel();
    let arena = Arena::new(model, move |stream: TcpStream| -> io::Result<()> {
        // The test may have failed and gone.
        let _ = tell.send(catch_unwind(AssertUnwindSafe(|| waits(stream))));
        Ok(())
    });
    let client = arena.connect();
    let waited = told.recv_timeout(LONG).expect("each wait ends");
    for (what, outcome, took) in waited.expect("no panic") {
        assert!(outcome, "{what} did not end as it should");
        assert!(took >= BRIEF && took < LONG / 4, "{what} ended after {took:?}");
    }
    drop(client);
    arena.stop();
}

/// What was waited for, whether it ended as it should, and after how long.
type Waits = Vec<(&'static str, bool, Duration)>;

fn waits(mut stream: TcpStream) -> Waits {
    let mut all = Waits::new();
    let mut limited = |what, f: &mut dyn FnMut() -> bool| {
        let began = Instant::now();
        let outcome = f();
        all.push((what, outcome, began.elapsed()));
    };
    let is_late = |ended: Result<io::Result<usize>, task::Elapsed>| {
        let error = ended.expect("an error").expect_err("late");
        let is_elapsed = error.get_ref().is_some_and(|source| source.is::<task::Elapsed>());
        error.kind() == ErrorKind::TimedOut && is_elapsed && TimeoutError::of(&error).is_none()
    };
    let mut buf = [0; 8];
    limited("a read", &mut || is_late(task::timeout(BRIEF, || stream.read(&mut buf))));
    let mut fill = || stream.fill_buf().map(<[u8]>::len);
    limited("a fill", &mut || is_late(task::timeout(BRIEF, &mut fill)));
    let mut write = || loop {
        stream.write_all(noise(0, 1 << 20))?;
    };
    limited("a write", &mut || is_late(task::timeout(BRIEF, &mut write)));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let accept = || listener.accept().map(|_| 0);
    limited("an accept", &mut || is_late(task::timeout(BRIEF, accept)));
    limited("a sleep", &mut || task::timeout(BRIEF, || time::sleep(LONG)).is_err());
    let (sender, receiver) = channel::bounded::<u8>(1);
    limited("a receive", &mut || task::timeout(BRIEF, || receiver.recv()).is_err());
    sender.send(1).expect("there is room");
    limited("a send", &mut || task::timeout(BRIEF, || sender.send(2)).is_err());
    receiver.recv().expect("it is there");
    let lock = Arc::new(Mutex::new(()));
    let (held, over) = hold(&lock);
    limited("a lock", &mut || task::timeout(BRIEF, || drop(lock.lock())).is_err());
    let (end, ended) = channel::bounded::<u8>(1);
    let runtime = Runtime::builder().model(Model::Poll).build().expect("a worker");
    let mut sleeper = Some(runtime.block_on(|| task::spawn(move || ended.recv().is_err())));
    limited("a join", &mut || {
        let sleeper = sleeper.take().expect("it is joined once");
        task::timeout(BRIEF, || sleeper.join()).is_err()
    });
    drop((end, runtime));
    limited("a select", &mut || {
        let wait = || {
            select! {
                recv(receiver) -> _item => 0,
                readable(listener) -> _ready => 1,
            }
        };
        task::timeout(BRIEF, wait).is_err()
    });
    let poll = || select! { readable(listener) -> _ready => 0, };
    limited("a poll", &mut || task::timeout(BRIEF, poll).is_err());
    let inner = || task::timeout(LONG, || time::sleep(LONG)).is_err();
    limited("the outer of two", &mut || task::timeout(BRIEF, inner).is_err());
    let outer = || task::timeout(BRIEF, || time::sleep(LONG)).is_err();
    limited("the inner of two", &mut || task::timeout(LONG, outer) == Ok(true));
    drop(over);
    held.join().expect("no panic");
    // Afterwards nothing is limited.
    time::sleep(2 * BRIEF);
    drop(lock.lock());
    all
}

/// Has a thread hold the lock until the sender is dropped.
fn hold(lock: &Arc<Mutex<()>>) -> (thread::JoinHandle<()>, mpsc::Sender<()>) {
    let (over, wait) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let lock = Arc::clone(lock);
    let held = thread::spawn(move || {
        let _guard = lock.lock();
        tell.send(()).expect("the handler waits");
        let _ = wait.recv();
    });
    told.recv().expect("it is held");
    (held, over)
}

/// What needs a worker says so where it is called, by an error or a panic at the user's line.
#[test]
fn what_a_plain_thread_cannot_do_is_refused_at_the_users_line() {
    let error = task::Builder::new().spawn_local(|| ()).expect_err("there is no worker");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let places = Arc::new(StdMutex::new(Vec::new()));
    let seen = Arc::clone(&places);
    let me = thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if thread::current().id() == me {
            let place = info.location().map(Location::file).unwrap_or_default().to_owned();
            seen.lock().expect("no panic").push(place);
        }
    }));
    let refused = catch_unwind(|| drop(task::spawn_local(|| ())));
    std::panic::set_hook(before);
    assert!(refused.is_err(), "there is no worker");
    let places = places.lock().expect("no panic");
    assert!(places.iter().all(|place| place.ends_with("handlers.rs")), "{places:?}");
}

/// An answer that is sent before the request was read is not lost by a reset, if the server closes
/// in order.
pub(crate) fn an_answer_before_the_request_was_read_arrives(model: Model) {
    let settings = |server: Server| server.linger_close(Some(LONG / 4));
    let arena = Arena::with(model, settings, |mut stream: TcpStream| stream.write_all(b"busy"));
    for _ in 0..20 {
        let mut client = arena.connect();
        // More than the kernel takes off our hands: the server reads it, or this fails.
        client::send_noise(&client, 0, 8 << 20).expect("the server reads to the end");
        client.shutdown(Shutdown::Write).expect("it is connected");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("no reset");
        assert_eq!(answer, b"busy");
    }
    arena.stop();
    // One that never closes is waited for no longer than was said.
    let settings = |server: Server| server.linger_close(Some(3 * BRIEF));
    let arena = Arena::with(model, settings, |mut stream: TcpStream| stream.write_all(b"busy"));
    let began = Instant::now();
    let mut client = arena.connect();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("the server says that nothing more comes");
    arena.wait_for_connections(0);
    assert!(began.elapsed() >= 3 * BRIEF, "closed after {:?}", began.elapsed());
    arena.stop();
}

/// A peer that takes nothing is given up by the kernel after the time that was set, and the error
/// is the kernel's.
pub(crate) fn a_peer_that_takes_nothing_is_given_up(model: Model) {
    let (tell, told) = mpsc::channel();
    let limit = Duration::from_millis(700);
    let settings = |server: Server| server.user_timeout(Some(limit));
    let arena = Arena::with(model, settings, move |mut stream: TcpStream| -> io::Result<()> {
        assert_eq!(stream.user_timeout()?, Some(limit));
        let began = Instant::now();
        let error = loop {
            if let Err(error) = stream.write_all(noise(0, 1 << 20)) {
                break error;
            }
        };
        // The test may have failed and gone.
        let _ = tell.send((error, began.elapsed()));
        Ok(())
    });
    let client = arena.connect();
    let (error, took) = told.recv_timeout(LONG).expect("it is given up");
    assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT), "{error:?}");
    assert!(TimeoutError::of(&error).is_none(), "no limit of ours");
    assert!(took >= limit / 2, "after {took:?}");
    drop(client);
    arena.stop();
}

/// What accepting fails with again and again is an error of the server, not tried for ever.
pub(crate) fn a_listener_that_fails_for_good_ends_the_server(model: Model) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let ours = listener.try_clone().expect("descriptors");
    let server = Server::new(TcpListener::from(listener)).expect("it listens");
    let server = server.model(model).handle_signals(false);
    let control = server.control();
    let (tell, told) = mpsc::channel();
    let serving = thread::spawn(move || tell.send(server.serve(echo_by_read)));
    client::ask(&mut client::connect(addr), b"served");
    rustix::net::shutdown(&ours, rustix::net::Shutdown::Both).expect("it listens");
    let ended = told.recv_timeout(LONG / 2);
    control.stop();
    let error = ended.expect("it ends").expect_err("nobody can be accepted");
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error}");
    assert_eq!(control.stats().aborted, 0, "taken for connections that have gone");
    serving.join().expect("no panic").expect("it was told");
}

/// A descriptor that is no TCP listener is refused when the server is made, not tried for ever.
#[test]
fn what_is_no_tcp_listener_is_refused() {
    let path = std::env::temp_dir().join(format!("fiveways-no-tcp-{}", std::process::id()));
    let unix = std::os::unix::net::UnixListener::bind(&path).expect("a path");
    let error = Server::new(TcpListener::from(OwnedFd::from(unix))).expect_err("it is no TCP");
    let _ = std::fs::remove_file(&path);
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("TCP"), "{error}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let connected = std::net::TcpStream::connect(addr).expect("connects");
    let error = Server::new(TcpListener::from(OwnedFd::from(connected))).expect_err("no listener");
    assert!(error.to_string().contains("does not listen"), "{error}");
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let error = Server::new(TcpListener::from(OwnedFd::from(datagrams))).expect_err("no listener");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// Sizes that no machine has room for are refused before anything is started.
#[test]
fn absurd_sizes_are_refused_by_name() {
    let server = || Server::bind("127.0.0.1:0").expect("a port").handle_signals(false);
    let cases: [(&str, Server); 5] = [
        ("workers", server().model(Model::Epoll).workers(u32::MAX as usize)),
        ("workers", server().model(Model::Epoll).workers(5_000_000)),
        ("workers", server().model(Model::Epoll).workers(usize::MAX)),
        ("processes", server().model(Model::Epoll).processes(5_000_000)),
        ("pool", server().model(Model::Pool).pool_size(5_000_000)),
    ];
    for (what, server) in cases {
        let error = server.serve(echo_by_read).expect_err("nobody has room for that");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}: {error}");
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
    for workers in [5_000_000, u32::MAX as usize, usize::MAX] {
        let error = Runtime::builder().workers(workers).build().expect_err("no room");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{workers}: {error}");
    }
}

/// `select` refuses what it cannot watch, if that was asked for, and counts it.
#[test]
fn select_refuses_high_descriptors_if_told_so() {
    let settings = |server: Server| server.max_connections(usize::MAX, Overload::Refuse);
    let arena = Arena::with(Model::Select, settings, echo_by_read);
    client::ask(&mut arena.connect(), b"before");
    let held: Vec<_> =
        (0..1_100).map(|_| std::fs::File::open("/dev/null").expect("opens")).collect();
    client::expect_end(&arena.connect());
    assert_eq!(arena.stats().refused, 1);
    drop(held);
    client::ask(&mut arena.connect(), b"after");
    arena.stop();
}
