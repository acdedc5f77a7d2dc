//! Time limits of sockets: what they cost, whose they are, and which of them a late call ran into.

use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::iter;
use std::net::TcpStream as Client;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::net::{TcpStream, TimeoutError, UnixStream};
use fiveways::task;
use fiveways_tests::arena::{Arena, echo_by_read};
use fiveways_tests::child::Remote;
use fiveways_tests::client::{self, ask, expect_noise, noise, send_noise};
use fiveways_tests::patience::{LONG, Watchdog, eventually};
use rustix::net::{AddressFamily, SocketType, connect, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const ARENA: &str = env!("CARGO_BIN_EXE_fiveways-arena");

/// Short for a test, and long beside a pause of a busy machine.
const LIMIT: Duration = Duration::from_millis(400);

/// Runs `f` beside its caller, as a task where the caller is one.
fn beside(f: impl FnOnce() + Send + 'static) {
    if task::in_task() {
        drop(task::spawn(f));
    } else {
        thread::spawn(f);
    }
}

/// D19: if descriptors run out while a server serves, for whatever reason, the server waits:
/// accepting pauses, goes on when there are some again, and every client that came meanwhile is
/// served.
pub(crate) fn descriptors_that_run_out_later_are_awaited(model: Model) {
    let arena = Arena::new(model, echo_by_read);
    ask(&mut arena.connect(), b"before");
    arena.wait_for_connections(0);
    let sockets =
        [(); 20].map(|()| socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket"));
    let before = getrlimit(Resource::Nofile);
    let highest = sockets.iter().map(AsRawFd::as_raw_fd).max().expect("some") as u64;
    let lower = Rlimit { current: Some(highest + 1), ..before };
    setrlimit(Resource::Nofile, lower).expect("it may be lowered");
    let taken: Vec<_> = iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let mut clients = sockets.map(|socket| {
        connect(&socket, &arena.addr()).expect("it waits in the backlog");
        Client::from(socket)
    });
    for client in &mut clients {
        client::limit(client, LONG);
        client.write_all(b"me").expect("taken");
    }
    eventually("accepting pauses", || arena.stats().exhausted > 2);
    drop(taken);
    setrlimit(Resource::Nofile, before).expect("it was so before");
    for mut client in clients {
        let mut answer = [0; 2];
        client.read_exact(&mut answer).expect("everybody is served in the end");
        assert_eq!(&answer, b"me");
    }
    arena.wait_for_connections(0);
    assert_eq!(arena.stop().stats.accepted, 21);
}

/// A limit of a plain thread is kept by the kernel: `blocking`, `pool` and `threads` block in their
/// reads, and 50 exchanges are 50 receives and 50 sends.
#[test]
fn a_limit_costs_a_plain_thread_no_system_call() {
    let calls = "recvfrom,recvmsg,sendto,sendmsg,poll,ppoll,select,pselect6,setsockopt";
    for model in [Model::Blocking, Model::Pool, Model::Threads] {
        let name = format!("fiveways-calls-{}-{model}", std::process::id());
        let file = std::env::temp_dir().join(name);
        let settings = ["idle_ms=60000", "pool=2"];
        let Some(server) = Remote::traced(ARENA, model, &settings, calls, &file) else { return };
        let mut client = server.connect();
        for number in 0..50 {
            ask(&mut client, format!("exchange {number}").as_bytes());
        }
        drop(client);
        server.leave();
        let trace = std::fs::read_to_string(&file).expect("strace wrote it");
        let _ = std::fs::remove_file(&file);
        let count = |what: &str| trace.lines().filter(|line| line.contains(what)).count();
        let text = format!("on {model}:\n{trace}");
        // The last one finds the end of the stream; it may come too late to be seen.
        assert!(matches!(count("recvfrom("), 50 | 51), "{} receives {text}", count("recvfrom("));
        assert_eq!(count("sendto("), 50, "sends {text}");
        assert_eq!(count("MSG_DONTWAIT"), 0, "calls that do not block {text}");
        assert!(count("poll(") < 10, "{} waits before reads {text}", count("poll("));
        assert!(count("_SNDTIMEO") + count("_RCVTIMEO") <= 2, "limits set again {text}");
    }
}

/// A clone has limits of its own, whatever the kernel was told for another.
#[test]
fn clones_with_other_limits_keep_their_own() {
    let _watchdog = Watchdog::new("clones with other limits".to_owned(), LONG);
    let (mut brief, mut peer) = UnixStream::pair().expect("descriptors");
    let patient = brief.try_clone().expect("descriptors");
    brief.set_read_timeout(Some(LIMIT)).expect("takes limits");
    let late = |mut stream: &UnixStream| {
        let began = Instant::now();
        let error = stream.read(&mut [0; 8]).expect_err("nobody wrote");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        began.elapsed()
    };
    // The kernel has the short limit; the other has a longer one, and then none.
    assert!(late(&brief) >= LIMIT);
    patient.set_read_timeout(Some(3 * LIMIT)).expect("takes limits");
    let elapsed = late(&patient);
    assert!(elapsed >= 3 * LIMIT, "ended after {elapsed:?} by the limit of another");
    patient.set_read_timeout(None).expect("takes limits");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut buf = [0; 8];
            let count = (&patient).read(&mut buf).expect("it has no limit");
            buf[..count].to_vec()
        });
        // While it waits without one, another call is limited.
        for _ in 0..3 {
            let elapsed = late(&brief);
            assert!(elapsed >= LIMIT, "too early: {elapsed:?}");
            assert!(elapsed < 10 * LIMIT, "waited by the limit of another: {elapsed:?}");
        }
        peer.write_all(b"at last").expect("taken");
        assert_eq!(waiting.join().expect("no panic"), b"at last");
    });
    // The clone without a limit did not end the limits of the others for good.
    assert!(late(&brief) >= LIMIT);
    drop(brief.fill_buf().expect_err("nobody wrote"));
}

/// The next owner of the open socket, by a duplicate or for good, finds no limit of ours in it.
#[test]
fn a_descriptor_that_is_given_away_has_no_limit() {
    let (stream, _peer) = UnixStream::pair().expect("descriptors");
    stream.set_read_timeout(Some(Duration::from_millis(60))).expect("takes limits");
    let late = || (&stream).read(&mut [0; 8]).expect_err("nobody wrote").kind();
    assert_eq!(late(), ErrorKind::TimedOut);
    let duplicate = StdStream::from(stream.as_fd().try_clone_to_owned().expect("descriptors"));
    assert_eq!(duplicate.read_timeout().expect("a socket"), None);
    // Ours still has it.
    assert_eq!(late(), ErrorKind::TimedOut);
    assert_eq!(duplicate.read_timeout().expect("a socket"), None);

    let (stream, _peer) = UnixStream::pair().expect("descriptors");
    stream.set_write_timeout(Some(Duration::from_millis(60))).expect("takes limits");
    (&stream).write_all(b"something").expect("there is room");
    let given = StdStream::from(OwnedFd::from(stream));
    assert_eq!(given.write_timeout().expect("a socket"), None);
}

/// The kernel's limit begins anew after a signal, and no call goes on by itself after it; ours
/// lasts as long as was said [D46].
#[test]
fn signals_change_no_limit_of_a_plain_thread() {
    let _watchdog = Watchdog::new("signals and a limit".to_owned(), LONG);
    let seen = Arc::new(AtomicBool::new(false));
    let id = signal_hook::flag::register(libc::SIGUSR2, Arc::clone(&seen)).expect("a handler");
    let (mut stream, _peer) = UnixStream::pair().expect("descriptors");
    stream.set_read_timeout(Some(LIMIT)).expect("takes limits");
    let reader = thread::spawn(move || {
        let began = Instant::now();
        let error = stream.read(&mut [0; 8]).expect_err("nobody wrote");
        (error, began.elapsed())
    });
    while !reader.is_finished() {
        interrupt(&reader);
        thread::sleep(LIMIT / 8);
    }
    let (error, elapsed) = reader.join().expect("no panic");
    signal_hook::low_level::unregister(id);
    assert!(seen.load(Ordering::Relaxed), "nobody was interrupted");
    assert!(TimeoutError::of(&error).is_some_and(TimeoutError::is_read), "{error:?}");
    assert!(elapsed >= LIMIT && elapsed < 5 * LIMIT, "ended after {elapsed:?}");
}

#[expect(unsafe_code, reason = "sends a signal to a thread")]
fn interrupt<T>(thread: &thread::JoinHandle<T>) {
    // SAFETY: required: a thread that was neither joined nor detached. Its handle is there.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR2) };
}

/// A server that pushes to a silent listener is not idle: its read of the client is not cut while
/// its writes move something, through another value for the connection.
pub(crate) fn a_connection_that_only_sends_is_not_idle(model: Model) {
    let pushes = 16;
    let (arena, told) = reading_beside(model, move |stream| {
        for _ in 0..pushes {
            stream.write_all(b"news\n")?;
            fiveways::time::sleep(LIMIT / 4);
        }
        Ok(())
    });
    let client = arena.connect();
    let (error, elapsed) = told.recv_timeout(LONG).expect("it ends");
    assert!(TimeoutError::of(&error).is_some_and(TimeoutError::is_idle), "{error:?}");
    // The last push moves something, and then nothing does.
    let least = LIMIT / 4 * (pushes - 1) + LIMIT;
    assert!(elapsed >= least, "cut after {elapsed:?}, while something moved");
    assert!(elapsed < least + 4 * LIMIT, "ended after {elapsed:?}");
    expect_noise_of(client, b"news\n".repeat(pushes as usize));
    arena.stop();
}

/// A write of several megabytes that a slow peer takes piece by piece is no idleness, though it is
/// one call.
pub(crate) fn a_large_write_that_moves_slowly_is_not_idle(model: Model) {
    const LEN: usize = 80 << 20;
    /// More than the kernel takes off the writer's hands: what lies there moves for it no more.
    const BUFFERS: usize = 16 << 20;
    let (arena, told) = reading_beside(model, |stream| stream.write_all(&everything(LEN)));
    let mut client = arena.connect();
    let mut at = 0;
    while at < LEN {
        let to = at + (1 << 20);
        expect_noise(&mut client, at, to);
        at = to;
        if at < LEN - BUFFERS {
            // The kernel calls a socket writable when a third of its buffer is free: some
            // megabytes, which are to leave well within the limit.
            thread::sleep(LIMIT / 10);
            assert!(told.try_recv().is_err(), "cut at {at} of {LEN}");
        }
    }
    let (error, elapsed) = told.recv_timeout(LONG).expect("it ends");
    assert!(TimeoutError::of(&error).is_some_and(TimeoutError::is_idle), "{error:?}");
    assert!(elapsed >= 6 * LIMIT, "ended after {elapsed:?}");
    drop(client);
    arena.stop();
}

/// The first bytes of the test stream, in one piece.
fn everything(len: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(len);
    send_noise(&mut all, 0, len).expect("memory does not fail");
    all
}

/// How a read ended that nobody answered, and after how long.
type Ended = (io::Error, Duration);

/// Serves with an idle limit and a handler that reads beside `write`, through a clone.
fn reading_beside(
    model: Model,
    write: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> (Arena, mpsc::Receiver<Ended>) {
    let (tell, told) = mpsc::channel();
    let settings = |server: fiveways::server::Server| server.idle_timeout(Some(LIMIT));
    let arena = Arena::with(model, settings, move |mut stream: TcpStream| {
        let (mut clone, tell) = (stream.try_clone()?, tell.clone());
        let began = Instant::now();
        beside(move || {
            let error = clone.read(&mut [0; 8]).expect_err("the client is silent");
            drop(clone);
            // The test may have failed and gone.
            let _ = tell.send((error, began.elapsed()));
        });
        write(&mut stream)
    });
    (arena, told)
}

/// Expects exactly these bytes and the end.
#[track_caller]
fn expect_noise_of(mut client: impl Read, bytes: Vec<u8>) {
    let mut all = Vec::new();
    client.read_to_end(&mut all).expect("the stream ends in order");
    assert_eq!(all, bytes);
}

/// Where nothing moves, the limit counts from the last byte, whichever value moved it, and whatever
/// shorter limits its calls have.
pub(crate) fn a_connection_on_which_nothing_moves_is_idle_for_all_its_clones(model: Model) {
    let (tell, told) = mpsc::channel();
    let settings = |server: fiveways::server::Server| server.idle_timeout(Some(LIMIT));
    let arena = Arena::with(model, settings, move |mut stream: TcpStream| -> io::Result<()> {
        let mut clone = stream.try_clone()?;
        clone.read_exact(&mut [0; 4])?;
        let began = Instant::now();
        stream.set_read_timeout(Some(LIMIT / 4))?;
        let mut reads = 0;
        let error = loop {
            let error = stream.fill_buf().map(<[u8]>::len).expect_err("the client is silent");
            match TimeoutError::of(&error) {
                Some(late) if late.is_read() => reads += 1,
                _ => break error,
            }
        };
        // The test may have failed and gone.
        let _ = tell.send((error, reads, began.elapsed()));
        Ok(())
    });
    let mut client = arena.connect();
    client.write_all(b"once").expect("taken");
    let (error, reads, elapsed) = told.recv_timeout(LONG).expect("it ends");
    assert!(TimeoutError::of(&error).is_some_and(TimeoutError::is_idle), "{error:?}");
    assert!((1..=4).contains(&reads), "{reads} reads ran into their own limit");
    assert!(elapsed >= LIMIT * 9 / 10 && elapsed < 4 * LIMIT, "ended after {elapsed:?}");
    drop(client);
    arena.stop();
}

/// A late call says which limit it ran into.
pub(crate) fn limits_are_told_apart(model: Model) {
    let (tell, told) = mpsc::channel();
    let arena = Arena::new(model, move |mut stream: TcpStream| -> io::Result<()> {
        let brief = Some(Duration::from_millis(60));
        stream.set_read_timeout(brief)?;
        let read = stream.read(&mut [0; 8]).expect_err("the client is silent");
        let filled = stream.fill_buf().map(<[u8]>::len).expect_err("the client is silent");
        stream.set_write_timeout(brief)?;
        let written = loop {
            if let Err(error) = stream.write_all(noise(0, 256 * 1024)) {
                break error;
            }
        };
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        stream.set_idle_timeout(brief)?;
        let idle_read = stream.read(&mut [0; 8]).expect_err("the client is silent");
        // The kernel may have passed some on meanwhile.
        let idle_write = loop {
            if let Err(error) = stream.write_all(noise(0, 256 * 1024)) {
                break error;
            }
        };
        // The test may have failed and gone.
        let _ = tell.send([read, filled, written, idle_read, idle_write]);
        Ok(())
    });
    let client = arena.connect();
    let errors = told.recv_timeout(LONG).expect("they end");
    for (error, expected) in errors.iter().zip(["read", "read", "write", "idle", "idle"]) {
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let late = TimeoutError::of(error).unwrap_or_else(|| panic!("no limit: {error:?}"));
        let is = [("read", late.is_read()), ("write", late.is_write()), ("idle", late.is_idle())];
        for (name, is_it) in is {
            assert_eq!(is_it, name == expected, "{name}: {error}");
        }
        let wrapped = io::Error::other(io::Error::new(ErrorKind::TimedOut, *late));
        assert_eq!(TimeoutError::of(&wrapped), Some(late));
    }
    drop(client);
    arena.stop();
}
