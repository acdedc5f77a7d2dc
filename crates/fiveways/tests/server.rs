//! What a server promises beyond serving: quiet listeners, honest counts.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as Client;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::net::{TcpListener, TcpStream};
use fiveways::server::{Control, Report, Server};

const PATIENCE: Duration = Duration::from_secs(60);

/// Serves on a thread until stopped.
fn serve(
    server: Server,
    handler: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> (Control, thread::JoinHandle<std::io::Result<Report>>) {
    let server = server.handle_signals(false);
    let control = server.control();
    (control, thread::spawn(move || server.serve(handler)))
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        thread::yield_now();
    }
}

#[test]
fn a_listener_that_must_not_wait_does_not_keep_a_server_busy() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let server = Server::new(listener).expect("a server").model(Model::Epoll).spin(Duration::ZERO);
    let (tell, told) = mpsc::channel();
    let (control, serving) = serve(server, move |_| {
        let turns = || fiveways::runtime::counters().map_or(0, |counters| counters.turns);
        let before = turns();
        fiveways::time::sleep(Duration::from_millis(50));
        tell.send(turns() - before).expect("it is awaited");
        Ok(())
    });
    let _client = Client::connect(address).expect("it listens");
    let turns = told.recv_timeout(PATIENCE).expect("it is served");
    assert!(turns < 1_000, "{turns} turns in 50 ms");
    control.stop();
    serving.join().expect("no panic").expect("no error");
}

#[test]
fn a_handler_cut_short_is_no_panic_and_a_panic_is_one() {
    let server = Server::bind("127.0.0.1:0").expect("a port").model(Model::Epoll);
    let address = server.local_addr().expect("an address");
    let (control, serving) = serve(server.drain(Duration::ZERO), |mut stream| {
        let mut order = [0; 1];
        stream.read_exact(&mut order)?;
        if order == *b"p" {
            panic!("on purpose");
        }
        stream.write_all(b"k")?;
        fiveways::time::sleep(Duration::from_secs(3600));
        Ok(())
    });
    let mut sleeper = Client::connect(address).expect("it listens");
    sleeper.write_all(b"s").expect("room");
    sleeper.read_exact(&mut [0; 1]).expect("it sleeps now");
    let mut panicker = Client::connect(address).expect("it listens");
    panicker.write_all(b"p").expect("room");
    until("it panicked", || control.stats().panicked == 1);
    control.stop();
    let report = serving.join().expect("no panic").expect("no error");
    assert_eq!((report.stats.panicked, report.cut_short), (1, 1));
}

#[test]
fn a_listener_that_is_none_is_refused_at_once() {
    let file = std::fs::File::open("/dev/null").expect("a file");
    let listener = TcpListener::from(std::os::fd::OwnedFd::from(file));
    let error = Server::new(listener).expect_err("it is no socket");
    assert_ne!(error.kind(), ErrorKind::WouldBlock, "{error}");
}

#[test]
fn a_listener_beyond_the_reach_of_select_is_refused_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let many: Vec<_> = (0..1024).map(|_| listener.try_clone().expect("a descriptor")).collect();
    let last = many.into_iter().next_back().expect("there are many");
    let server = Server::new(last).expect("a server").model(Model::Select);
    let (_control, serving) = serve(server, |_| Ok(()));
    let error = serving.join().expect("no panic").expect_err("select cannot watch it");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("too large for select"), "{error}");
}
