//! A stop has phases: what is queued is accepted, the listener is closed everywhere, handlers are
//! told, connections drain, and what is left is ended. The same under every model, and with
//! processes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener as Listener, TcpStream as Client};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::net::TcpStream;
use fiveways::server::{Control, Overload, Server};
use fiveways::sync::mpsc;
use fiveways::{Model, select};
use fiveways_tests::arena::Arena;
use fiveways_tests::child::Remote;
use fiveways_tests::client::{ask, expect_end};
use fiveways_tests::patience::LONG;
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
        // Who comes before the listener is closed is let in.
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

/// Who waits for a place under a limit comes in as soon as somebody leaves.
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
