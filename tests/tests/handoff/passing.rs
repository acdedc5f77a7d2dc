//! To another process, and back.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::handoff::{self, Detached, FrameError, ReceiveError};
use fiveways::net::{TcpStream, UnixStream};
use fiveways::process::{Child, Command, Stdio};
use fiveways::runtime::counters;
use fiveways::{task, time};
use fiveways_tests::arena::{in_task, in_task_of, pair};
use fiveways_tests::client::{expect_eof, expect_noise, noise, send_noise};
use fiveways_tests::patience::LONG;

const ROLE: &str = env!("CARGO_BIN_EXE_fiveways-role");

fn soon() -> Option<Instant> {
    Some(Instant::now() + LONG)
}

/// Starts a role whose standard input is the other end of the channel.
fn start(role: &str, model: Model) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let mut command = Command::new(ROLE);
    command.args([role, model.name()]);
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped());
    (command.spawn().expect("the role starts"), ours)
}

fn line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("it comes");
    line
}

/// S002-36, S002-38, S002-41, D37, D39, G05: a task accepts, another process does the session, of
/// which a part has been read here already; then the connection comes back and goes on here.
pub(crate) fn a_connection_is_served_by_another_process_and_comes_back(model: Model) {
    in_task_of(model, 2, move || {
        let (mut child, mut channel) = start("serve-passed", model);
        let (mut near, far) = pair();
        let mut far = BufReader::new(far);
        far.get_ref().write_all(b"hello\none\ntwo\n").expect("taken");
        let mut first = String::new();
        near.read_line(&mut first).expect("it comes");
        assert_eq!(first, "hello\n");
        let mut detached = near.detach().expect("still there");
        detached.add_unsent(b"0 begun\n");
        handoff::send(&mut channel, detached, soon()).expect("the role receives");
        for expected in ["0 begun\n", "1 one\n", "2 two\n"] {
            assert_eq!(line(&mut far), expected);
        }
        for round in 3..20 {
            writeln!(far.get_ref(), "round").expect("taken");
            assert_eq!(line(&mut far), format!("{round} round\n"));
        }
        // The empty line ends the session; what follows is for us.
        far.get_ref().write_all(b"\nand now you\n").expect("taken");
        let back = handoff::receive::<TcpStream>(&mut channel, soon()).expect("it comes back");
        let mut near = back.expect("a connection").into_stream().expect("room for a word");
        assert_eq!(line(&mut near), "and now you\n");
        assert_eq!(line(&mut far), "back\n");
        let peer = far.get_ref().local_addr().expect("bound");
        assert_eq!(near.peer_addr().expect("it is known"), peer);
        drop(near);
        expect_eof(&mut far);
        drop(channel);
        assert!(child.wait().expect("ours").success());
    });
}

/// S002-36, S002-37: one process accepts and two serve, fifty sessions at once.
pub(crate) fn many_connections_are_shared_by_two_processes(model: Model) {
    in_task_of(model, 2, move || {
        let mut workers = [start("serve-passed", model), start("serve-passed", model)];
        let mut clients = Vec::new();
        for number in 0..50 {
            let (near, mut far) = pair();
            far.write_all(format!("client {number}\n\n").as_bytes()).expect("taken");
            let detached = near.detach().expect("still there");
            handoff::send(&mut workers[number % 2].1, detached, soon()).expect("taken");
            clients.push(far);
        }
        for (number, client) in clients.into_iter().enumerate() {
            let back = handoff::receive(&mut workers[number % 2].1, soon()).expect("it comes");
            let back: Detached = back.expect("a connection");
            drop(back.into_stream().expect("room for a word"));
            let mut client = BufReader::new(client);
            assert_eq!(line(&mut client), format!("1 client {number}\n"));
            assert_eq!(line(&mut client), "back\n");
            expect_eof(&mut client);
        }
        for (mut child, channel) in workers {
            drop(channel);
            assert!(child.wait().expect("ours").success());
        }
    });
}

/// D39, D37: the process that has the connection is killed: its peer sees the end at once, for
/// nobody else has a copy. So does the peer of a connection that was still on its way.
pub(crate) fn a_process_that_dies_with_a_connection_ends_it(model: Model) {
    in_task(model, move || {
        let (mut child, mut channel) = start("hold-passed", model);
        let (near, held) = pair();
        let detached = near.detach().expect("still there");
        handoff::send(&mut channel, detached, soon()).expect("the role receives");
        let mut words = BufReader::new(child.stdout.take().expect("piped"));
        assert_eq!(line(&mut words), "held\n");
        let (near, on_its_way) = pair();
        let detached = near.detach().expect("still there");
        handoff::send(&mut channel, detached, soon()).expect("the channel has room");
        for far in [&held, &on_its_way] {
            far.set_read_timeout(Some(Duration::from_millis(10))).expect("takes it");
            let error = (&mut &*far).read(&mut [0]).expect_err("it is held");
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            far.set_read_timeout(Some(LONG)).expect("takes it");
        }
        child.kill().expect("ours");
        child.wait().expect("ours");
        expect_eof(&held);
        expect_eof(&on_its_way);
        // Nobody receives any more: the next stays with us.
        let (near, mut far) = pair();
        let detached = near.detach().expect("still there");
        let failed = handoff::send(&mut channel, detached, soon()).expect_err("nobody is there");
        let back = failed.into_inner().into_stream().expect("nothing is unsent");
        (&back).write_all(b"x").expect("it is whole");
        far.read_exact(&mut [0]).expect("it comes");
    });
}

/// D37, D39: no copy stays with the sender, which would delay the end; and the socket's mode is the
/// same before and after.
pub(crate) fn the_senders_copy_is_closed(model: Model) {
    in_task(model, || {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        for turn in 0..10 {
            let (mut near, far) = pair();
            if turn % 2 == 0 {
                // Watched by the driver, under uring with a request in the kernel.
                near.set_read_timeout(Some(Duration::from_millis(1))).expect("takes it");
                assert!(near.fill_buf().is_err(), "nobody wrote");
            }
            handoff::send(&mut ours, near.detach().expect("still there"), soon()).expect("room");
            let received = handoff::receive::<TcpStream>(&mut theirs, soon()).expect("it comes");
            let received = received.expect("a connection");
            let flags = rustix::fs::fcntl_getfl(&received).expect("it is open");
            assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "the mode was flipped");
            let flags = rustix::io::fcntl_getfd(&received).expect("it is open");
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            drop(received);
            far.set_read_timeout(Some(LONG)).expect("takes it");
            expect_eof(&far);
        }
        drop(ours);
        assert!(handoff::receive::<TcpStream>(&mut theirs, soon()).expect("the end").is_none());
    });
}

/// Unix streams carry as much as TCP streams do; a receiver that expects the other kind is told.
pub(crate) fn unix_streams_are_passed_too(model: Model) {
    in_task(model, || {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        let pass = |ours: &mut UnixStream| {
            let (mut near, far) = UnixStream::pair().expect("a pair");
            near.set_read_timeout(Some(LONG)).expect("takes it");
            near.set_idle_timeout(Some(2 * LONG)).expect("takes it");
            send_noise(&far, 0, 5_000).expect("taken");
            near.fill_buf().expect("something comes");
            near.consume(100);
            let mut detached = near.detach().expect("still there");
            detached.add_unsent(noise(0, 10));
            handoff::send(ours, detached, soon()).expect("room");
            far
        };
        let far = pass(&mut ours);
        let received = handoff::receive::<UnixStream>(&mut theirs, soon()).expect("it comes");
        let near = received.expect("a connection").into_stream().expect("room");
        assert_eq!(near.read_timeout().expect("it is kept"), Some(LONG));
        assert_eq!(near.idle_timeout(), Some(2 * LONG));
        expect_noise(&near, 100, 5_000);
        expect_noise(&far, 0, 10);
        pass(&mut ours);
        let error = handoff::receive::<TcpStream>(&mut theirs, soon()).expect_err("a Unix stream");
        assert!(matches!(error, ReceiveError::Frame(FrameError::OtherKind)), "{error}");
    });
}

/// D39: a receiver that does not read: the deadline ends the sending, and the connection is whole.
pub(crate) fn a_full_channel_gives_the_connection_back(model: Model) {
    in_task(model, || {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        let (near, far) = pair();
        let mut detached = near.detach().expect("still there");
        for at in 0..16 {
            detached.add_unsent(noise(at << 19, 1 << 19));
        }
        let deadline = Instant::now() + Duration::from_millis(20);
        let failed = handoff::send(&mut ours, detached, Some(deadline)).expect_err("nobody reads");
        assert_eq!(failed.error().kind(), ErrorKind::TimedOut);
        assert!(Instant::now() >= deadline);
        // Half a frame was sent: the receiver is told, and gets no copy of the connection.
        let error = handoff::receive::<TcpStream>(&mut theirs, soon()).expect_err("half a frame");
        assert!(matches!(error, ReceiveError::Frame(FrameError::Truncated)), "{error}");
        let back = failed.into_inner();
        assert_eq!(back.unsent().len(), 8 << 20);
        let reading = task::spawn_local(move || expect_noise(&far, 0, 8 << 20));
        drop(back.into_stream().expect("the peer reads"));
        reading.join().expect("every byte in its place");

        // Too much for any channel is refused before anything is sent.
        let (near, _far) = pair();
        let mut detached = near.detach().expect("still there");
        detached.add_unsent(&vec![0; (16 << 20) + 1]);
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        let failed = handoff::send(&mut ours, detached, None).expect_err("too much");
        assert_eq!(failed.error().kind(), ErrorKind::InvalidInput);
        drop(ours);
        assert!(handoff::receive::<TcpStream>(&mut theirs, None).expect("the end").is_none());
    });
}

/// A task that is cancelled while it sends still has the connection.
pub(crate) fn a_cancelled_send_keeps_the_connection(model: Model) {
    in_task(model, || {
        let (mut ours, _theirs) = UnixStream::pair().expect("a pair");
        let (near, mut far) = pair();
        let mut detached = near.detach().expect("still there");
        detached.add_unsent(&vec![7; 8 << 20]);
        let sending = task::spawn_local(move || handoff::send(&mut ours, detached, None));
        task::yield_now();
        time::sleep(Duration::from_millis(5));
        sending.cancel();
        let failed = sending.join().expect("it is told by an error").expect_err("nobody reads");
        assert_eq!(failed.error().raw_os_error(), Some(libc::ECANCELED));
        far.write_all(b"x").expect("it is whole");
        drop(failed);
        expect_gone(&far);
    });
}

/// Expects the end, in order or by the reset that unread bytes make of it.
fn expect_gone(far: &TcpStream) {
    far.set_read_timeout(Some(LONG)).expect("takes it");
    fiveways_tests::client::expect_end(far);
}

/// D39: a receiver whose deadline comes before anything does can go on receiving.
pub(crate) fn a_late_receive_leaves_the_channel_in_order(model: Model) {
    in_task(model, || {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        let deadline = Some(Instant::now() + Duration::from_millis(10));
        let error = handoff::receive::<TcpStream>(&mut theirs, deadline).expect_err("too early");
        let ReceiveError::Channel(error) = error else { panic!("{error}") };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let (near, _far) = pair();
        let receiving = task::spawn_local(move || handoff::receive::<TcpStream>(&mut theirs, None));
        task::yield_now();
        handoff::send(&mut ours, near.detach().expect("still there"), None).expect("room");
        let received = receiving.join().expect("no panic").expect("it comes");
        assert!(received.is_some());
    });
}

/// D38: a connection that was watched by one worker, then detached on another and passed on, lives
/// on elsewhere; the first worker is not kept busy by it.
pub(crate) fn a_worker_that_watched_it_once_is_left_in_peace(model: Model) {
    in_task_of(model, 2, move || {
        let (mut child, mut channel) = start("hold-passed", model);
        let (near, far) = pair();
        let near = on(0, move || {
            near.set_read_timeout(Some(Duration::from_millis(5))).expect("takes it");
            assert!((&near).read(&mut [0]).is_err(), "nobody wrote");
            near
        });
        on(1, move || {
            handoff::send(&mut channel, near.detach().expect("still there"), soon()).expect("room");
            channel
        });
        let mut words = BufReader::new(child.stdout.take().expect("piped"));
        assert_eq!(line(&mut words), "held\n");
        let events = || on(0, || counters().expect("in a task").events);
        let before = events();
        for at in 0..20 {
            send_noise(&far, at * 100, (at + 1) * 100).expect("taken");
            time::sleep(Duration::from_millis(3));
        }
        let events = events() - before;
        assert!(model == Model::Nonblocking || events < 2_000, "{events} events for nobody");
        child.kill().expect("ours");
        child.wait().expect("ours");
        expect_gone(&far);
    });
}

fn on<T: Send + 'static>(worker: usize, f: impl FnOnce() -> T + Send + 'static) -> T {
    let task = task::Builder::new().worker(worker).spawn(f).expect("a stack");
    task.join().expect("no panic")
}

/// What another program has of a connection becomes one of ours, and the other way round: the
/// descriptor in either mode, unread and unsent bytes.
pub(crate) fn connections_are_made_of_parts_and_taken_apart(model: Model) {
    in_task(model, || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let far = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let (near, _) = listener.accept().expect("it has connected");
        near.set_nonblocking(true).expect("takes it");
        let peer = task::spawn_local(move || {
            expect_noise(&far, 0, 5);
            send_noise(&far, 10, 15).expect("taken");
            expect_noise(&far, 5, 10);
            expect_eof(&far);
        });
        let parts = (OwnedFd::from(near), noise(0, 10).to_vec(), noise(0, 5).to_vec());
        let detached = Detached::<TcpStream>::from_parts(parts.0, parts.1, parts.2);
        let (mut detached, outcome) = handoff::run(detached, soon(), |stream| {
            expect_noise(&mut *stream, 0, 15);
        });
        outcome.expect("the peer answers");
        detached.add_unsent(noise(5, 5));
        let (fd, unread, unsent) = detached.into_parts();
        assert!(unread.is_empty());
        let mut near = std::net::TcpStream::from(fd);
        near.write_all(&unsent).expect("taken");
        drop(near);
        peer.join().expect("every byte in its place");
    });
}
