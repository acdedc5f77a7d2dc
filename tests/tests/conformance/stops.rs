//! A stop has phases: what is queued is accepted, the listener is closed everywhere, handlers are
//! told, connections drain, and what is left is ended. The same under every model, and with
//! processes.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener as Listener, TcpStream as Client};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::net::TcpStream;
use fiveways::server::{Control, Overload, Server};
use fiveways::sync::{Event, mpsc};
use fiveways::{Model, select};
use fiveways_tests::arena::Arena;
use fiveways_tests::child::Remote;
use fiveways_tests::client::{ask, expect_end, expect_eof, limit, retry};
use fiveways_tests::patience::{LONG, eventually};
use rustix::process::Signal;

const ARENA: &str = env!("CARGO_BIN_EXE_fiveways-arena");

/// A signal to the whole process group, as Ctrl-C and service managers send it, is one stop and not
/// one for the supervisor and one more for each child; a second one forces.
pub(crate) fn a_signal_to_the_process_group_is_one_stop(model: Model) {
    for signal in [Signal::TERM, Signal::INT] {
        let mut remote = Remote::start(ARENA, model, &["processes=2", "drain_ms=60000"]);
        // `blocking` serves one in each process, and it may be the same process for both.
        let count = if model == Model::Blocking { 1 } else { 6 };
        let mut clients: Vec<_> = (0..count).map(|_| remote.connect()).collect();
        clients.iter_mut().for_each(|client| ask(client, b"inside"));
        let stopped = Instant::now();
        remote.signal_group(signal);
        // What counted as two stops ended them within a few milliseconds.
        while stopped.elapsed() < Duration::from_millis(300) {
            clients.iter_mut().for_each(|client| ask(client, b"still served"));
        }
        remote.signal_group(signal);
        clients.iter().for_each(expect_end);
        let (counts, cut_short) = remote.end();
        assert_eq!((counts.accepted, cut_short), (count, count), "told by {signal:?}");
        assert!(stopped.elapsed() < Duration::from_secs(20), "took {:?}", stopped.elapsed());
    }
}

/// Servers that share a port in every way there is.
const SHARINGS: [&[&str]; 3] = [&[], &["processes=2"], &["processes=2", "mode=reuse-port"]];

/// While connections that are inside finish, new ones are refused at once, and a successor can have
/// the port: no process and no thread keeps the listener open.
pub(crate) fn new_clients_are_refused_while_a_stop_drains(model: Model) {
    for sharing in SHARINGS {
        let settings = [sharing, &["drain_ms=60000"]].concat();
        let mut remote = Remote::start(ARENA, model, &settings);
        let mut inside = remote.connect();
        ask(&mut inside, b"inside");
        remote.signal(Signal::TERM);
        let stopped = Instant::now();
        let is_refused = || match Client::connect_timeout(&remote.addr(), LONG / 20) {
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        };
        // A client that comes before the listener is closed is accepted.
        while !is_refused() {
            assert!(stopped.elapsed() < LONG / 4, "new clients are not refused");
            thread::sleep(Duration::from_millis(1));
        }
        let successor = Listener::bind(remote.addr()).expect("the port is free");
        ask(&mut inside, b"still served");
        drop((inside, successor));
        assert_eq!(remote.end().1, 0);
    }
}

/// Connections that wait in the backlog, with their requests sent, when the stop comes are served.
pub(crate) fn connections_queued_at_a_stop_are_served(model: Model) {
    const QUEUED: usize = 60;
    for sharing in SHARINGS {
        for limit in ["limit=1000", "limit=2"] {
            let settings = [sharing, &["drain_ms=60000", limit]].concat();
            let mut remote = Remote::start(ARENA, model, &settings);
            ask(&mut remote.connect(), b"it serves");
            // The server stands still, as on a busy machine, so that a queue forms.
            remote.signal_group(Signal::STOP);
            let queued: Vec<_> = (0..QUEUED).map(|_| remote.connect()).collect();
            for mut client in &queued {
                client.write_all(b"request").expect("taken");
                client.shutdown(Shutdown::Write).expect("still there");
            }
            remote.signal(Signal::TERM);
            remote.signal_group(Signal::CONT);
            let answers = queued.into_iter().map(|mut client| {
                let mut answer = String::new();
                client.read_to_string(&mut answer).is_ok() && answer == "request"
            });
            let served = answers.filter(|answered| *answered).count();
            assert_eq!(served, QUEUED, "served with {settings:?}");
            let (counts, cut_short) = remote.end();
            assert_eq!((counts.accepted as usize, cut_short), (QUEUED + 1, 0));
        }
    }
}

/// A signal that is sent as soon as the server has told its address stops it in order.
pub(crate) fn a_signal_right_after_the_address_drains(model: Model) {
    for round in 0..12 {
        let settings: &[&str] = if round % 3 == 0 { &["processes=2"] } else { &[] };
        let mut remote = Remote::start(ARENA, model, settings);
        let signal = if round % 2 == 0 { Signal::TERM } else { Signal::INT };
        remote.signal(signal);
        assert_eq!(remote.end().1, 0);
    }
}

/// Handlers learn of a stop, after new clients are refused, and can end by themselves.
pub(crate) fn handlers_are_told_of_a_stop(model: Model) {
    let told: Arc<OnceLock<Control>> = Arc::default();
    let control = Arc::clone(&told);
    let handler = move |mut stream: TcpStream| -> std::io::Result<()> {
        let control = control.get().expect("it is set before clients come");
        assert!(!control.is_stopping());
        stream.write_all(b"hello")?;
        let (_keeps_open, never) = mpsc::channel::<()>();
        select! {
            wait(control.stopping()) => {}
            recv(never) -> _ => unreachable!("nothing is sent"),
        }
        assert!(control.is_stopping());
        stream.write_all(b"bye")
    };
    let mut arena = Arena::with(model, |server| server.drain(2 * LONG), handler);
    told.set(arena.control().clone()).expect("set once");
    let mut client = arena.connect();
    client.read_exact(&mut [0; 5]).expect("it is served");
    arena.control().stop();
    let mut last = String::new();
    client.read_to_string(&mut last).expect("it ends in order");
    assert_eq!(last, "bye");
    assert!(Client::connect(arena.addr()).is_err(), "the listener was closed before");
    assert_eq!(arena.join().cut_short, 0);
}

/// A client that waits for a place under a limit is accepted as soon as another leaves.
pub(crate) fn a_leaver_lets_the_next_one_in_at_once(model: Model) {
    const CLIENTS: u32 = 50;
    let greet = |mut stream: TcpStream| stream.write_all(b"!");
    let limit = |server: Server| server.max_connections(1, Overload::Wait);
    let best = (0..5).map(|_| {
        let arena = Arena::with(model, limit, greet);
        let started = Instant::now();
        let clients: Vec<_> = (0..CLIENTS).map(|_| arena.connect()).collect();
        for mut client in clients {
            client.read_exact(&mut [0]).expect("its turn comes");
        }
        let took = started.elapsed();
        arena.stop();
        took / CLIENTS
    });
    let best = best.min().expect("five times");
    // One that looks for a place every 20 ms needs 20 ms.
    assert!(best < Duration::from_millis(5), "{best:?} a client");
}

/// Well below the drain deadline of 10 s that is set with it, and well above what it takes.
const CLOSED_BY: Duration = Duration::from_secs(2);

/// A server of one or two processes that answers each line with a line.
fn line_server(model: Model, processes: &str) -> Remote {
    let settings = ["service=greet", "drain_ms=10000", "close_idle=true", processes];
    Remote::start(ARENA, model, &settings)
}

/// Reads the answer of a line server.
fn expect_ok(client: &mut Client) {
    let mut answer = [0; 3];
    client.read_exact(&mut answer).expect("the answer comes");
    assert_eq!(&answer, b"ok\n");
}

/// Waits until a stop drains, which is when new clients are refused.
fn wait_for_drain(addr: SocketAddr) {
    eventually("new clients are refused", || Client::connect(addr).is_err());
}

/// Expects that nothing comes for much longer than idle connections last, not even the end.
fn expect_nothing(client: &mut Client) {
    limit(client, Duration::from_millis(400));
    let error = retry(|| client.read(&mut [0])).expect_err("neither bytes nor the end");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    limit(client, LONG);
}

/// Connections that wait for their next request, or for their first, do not hold a stop: they end
/// in order.
pub(crate) fn a_stop_closes_idle_connections(model: Model) {
    for processes in ["processes=1", "processes=2"] {
        let mut remote = line_server(model, processes);
        // `blocking` serves one in each process, and it may be the same process for both.
        let count = if model == Model::Blocking { 1 } else { 6 };
        let mut clients: Vec<_> = (0..count).map(|_| remote.connect()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            expect_ok(client);
            if number % 3 != 2 {
                client.write_all(b"a request\n").expect("taken");
                expect_ok(client);
            }
        }
        let stopped = Instant::now();
        remote.signal(Signal::TERM);
        clients.iter().for_each(expect_eof);
        let (counts, cut_short) = remote.end();
        assert!(stopped.elapsed() < CLOSED_BY, "took {:?}", stopped.elapsed());
        assert_eq!((counts.accepted, cut_short), (count, 0), "{processes}");
    }
}

/// A client that has sent half a request when a stop comes can send the rest, is answered, and then
/// closed in order.
pub(crate) fn a_stop_lets_half_a_request_become_whole(model: Model) {
    for processes in ["processes=1", "processes=2"] {
        let mut remote = line_server(model, processes);
        let mut client = remote.connect();
        expect_ok(&mut client);
        client.write_all(b"a request\n").expect("taken");
        expect_ok(&mut client);
        client.write_all(b"hal").expect("taken");
        remote.signal(Signal::TERM);
        wait_for_drain(remote.addr());
        expect_nothing(&mut client);
        client.write_all(b"f a request\n").expect("taken");
        expect_ok(&mut client);
        let answered = Instant::now();
        expect_eof(&client);
        assert!(answered.elapsed() < CLOSED_BY, "took {:?}", answered.elapsed());
        assert_eq!(remote.end().1, 0, "{processes}");
    }
}

/// An answer that is being computed when a stop comes is sent whole, and so is that to a request
/// which was sent behind the first and is still unread.
pub(crate) fn a_stop_lets_an_answer_be_computed(model: Model) {
    const ANSWER: usize = 1 << 20;
    let go = Arc::new(Event::new());
    let computed = Arc::clone(&go);
    let handler = move |mut stream: TcpStream| -> std::io::Result<()> {
        let mut request = [0; 3];
        while stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
            stream.read_exact(&mut request)?;
            computed.wait();
            for _ in 0..16 {
                stream.write_all(&[request[0]; ANSWER / 16])?;
            }
        }
        Ok(())
    };
    let settings = |server: Server| server.drain(2 * LONG).close_idle_on_stop(true);
    let mut arena = Arena::with(model, settings, handler);
    let mut client = arena.connect();
    client.write_all(b"one").expect("taken");
    arena.wait_for_connections(1);
    arena.control().stop();
    wait_for_drain(arena.addr());
    client.write_all(b"two").expect("taken");
    expect_nothing(&mut client);
    go.set();
    let answered = Instant::now();
    for expected in *b"ot" {
        let mut answer = vec![0; ANSWER];
        client.read_exact(&mut answer).expect("the answer comes whole");
        assert!(answer.iter().all(|byte| *byte == expected));
    }
    expect_eof(&client);
    assert_eq!(arena.join().cut_short, 0);
    assert!(answered.elapsed() < CLOSED_BY, "took {:?}", answered.elapsed());
}

/// Half a request that came together with the one before can be made whole: the connection holds
/// what its handler has not taken yet, or the handler has taken it since its answer.
pub(crate) fn a_stop_lets_a_request_become_whole_that_came_with_the_last(model: Model) {
    for holds in [true, false] {
        let go = Arc::new(Event::new());
        let goes_on = Arc::clone(&go);
        let handler = move |mut stream: TcpStream| -> std::io::Result<()> {
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line)? > 0 {
                stream.write_all(&line)?;
                line.clear();
                if holds {
                    goes_on.wait();
                }
            }
            Ok(())
        };
        let settings = |server: Server| server.drain(2 * LONG).close_idle_on_stop(true);
        let mut arena = Arena::with(model, settings, handler);
        let mut client = arena.connect();
        client.write_all(b"one\ntw").expect("taken");
        client.read_exact(&mut [0; 4]).expect("the first is answered");
        arena.control().stop();
        wait_for_drain(arena.addr());
        expect_nothing(&mut client);
        go.set();
        client.write_all(b"o\n").expect("taken");
        let mut answer = [0; 4];
        client.read_exact(&mut answer).expect("the second is answered");
        assert_eq!(&answer, b"two\n");
        let answered = Instant::now();
        expect_eof(&client);
        assert_eq!(arena.join().cut_short, 0);
        assert!(answered.elapsed() < CLOSED_BY, "took {:?}", answered.elapsed());
    }
}

/// An idle connection that has the only place at a stop leaves it to one that is queued.
pub(crate) fn a_stop_closes_idle_connections_for_queued_ones(model: Model) {
    let settings = ["service=greet", "drain_ms=10000", "close_idle=true", "limit=1"];
    let mut remote = Remote::start(ARENA, model, &settings);
    let mut idle = remote.connect();
    expect_ok(&mut idle);
    let mut queued: Vec<_> = (0..3).map(|_| remote.connect()).collect();
    for client in &mut queued {
        client.write_all(b"a request\n").expect("taken");
    }
    let stopped = Instant::now();
    remote.signal(Signal::TERM);
    expect_eof(idle);
    for client in &mut queued {
        expect_ok(client);
        expect_ok(client);
        expect_eof(client);
    }
    let (counts, cut_short) = remote.end();
    assert_eq!((counts.accepted, cut_short), (4, 0));
    assert!(stopped.elapsed() < 2 * CLOSED_BY, "took {:?}", stopped.elapsed());
}
