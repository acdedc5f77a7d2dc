//! A small echo, on all models but one: connections are accepted on one worker and served on
//! another, and move.
//!
//! Not over io_uring: of the memory that it shares with the kernel the sanitizer sees one side
//! only. Nor does it see what system calls write; that they write in time is for the tests to tell.

use std::io::{self, BufRead, Read, Write};
use std::net::SocketAddr;
use std::thread;

use fiveways::Model;
use fiveways::executor::unblock;
use fiveways::net::{TcpListener, TcpStream};
use fiveways::server::Server;
use fiveways::task;

use crate::crowd::{WORKERS, on_worker};

const CONNECTIONS: usize = 20;
const ROUNDS: usize = 20;

const MODELS: [Model; 8] = [
    Model::Threads,
    Model::Pool,
    Model::Nonblocking,
    Model::Select,
    Model::Poll,
    Model::Epoll,
    Model::EpollEt,
    Model::Signal,
];

pub(crate) fn storms() {
    moves();
    for model in MODELS {
        serves(model);
    }
}

/// Connections that are accepted here and served there; what has been read of them moves along.
fn moves() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    let server = task::spawn(move || {
        let serve = |number| {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            assert!(!stream.fill_buf().expect("it is open").is_empty());
            on_worker(number % WORKERS, move || echo(stream).expect("it is open"))
        };
        let served: Vec<_> = (0..2 * CONNECTIONS).map(serve).collect();
        assert!(task::join_all(served).iter().all(Result::is_ok));
    });
    talk_all(address);
    server.join().expect("it does not panic");
}

fn serves(model: Model) {
    let server = Server::bind("127.0.0.1:0").expect("there is a port");
    let server = server.model(model).workers(WORKERS).pool_size(4).handle_signals(false);
    let (address, control) = (server.local_addr().expect("it is bound"), server.control());
    let server = thread::spawn(move || server.serve(echo));
    talk_all(address);
    control.stop();
    let report = unblock(|| server.join().expect("it does not panic")).expect("it can wait");
    assert_eq!(report.cut_short, 0, "{model}: {report:?}");
}

/// Talks from tasks and from a plain thread.
fn talk_all(address: SocketAddr) {
    let stranger = thread::spawn(move || (0..CONNECTIONS).for_each(|_| talk(address)));
    let talkers = (0..CONNECTIONS).map(|number| on_worker(number % WORKERS, move || talk(address)));
    assert!(task::join_all(talkers).iter().all(Result::is_ok));
    unblock(|| stranger.join().expect("it does not panic"));
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.halves();
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        writer.write_all(bytes)?;
        let count = bytes.len();
        reader.consume(count);
    }
}

fn talk(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    let mut back = [0; 8];
    for round in 0..ROUNDS as u64 {
        let bytes = round.to_ne_bytes();
        stream.write_all(&bytes).expect("it is open");
        stream.read_exact(&mut back).expect("it is open");
        assert_eq!(back, bytes);
    }
}
