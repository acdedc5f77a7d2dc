//! One connection is handed to a thread for a session of many rounds and comes back, twice: by
//! hand on a bare selector, in its five steps, and with this library.
//!
//! Both serve the same dialogue, and both print it: `cargo run --example handoff`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fiveways::net::TcpListener as CooperativeListener;
use fiveways::selector::{Epoll, Events, Interest, Selector, Token};
use fiveways::{handoff, task};

const ROUNDS: u32 = 3;

/// How long a session may take.
const LIMIT: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    println!("by hand:");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = client(listener.local_addr()?);
    by_hand(&listener)?;
    client.join().expect("the client does not panic")?;

    println!("with fiveways:");
    let listener = CooperativeListener::bind("127.0.0.1:0")?;
    let client = self::client(listener.local_addr()?);
    let serving = task::spawn(move || with_fiveways(&listener));
    serving.join().map_err(io::Error::other)??;
    client.join().expect("the client does not panic")
}

/// Orders a session, plays it, and asks whether the server is there afterwards.
fn client(address: std::net::SocketAddr) -> thread::JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        let mut stream = BufReader::new(TcpStream::connect(address)?);
        let mut line = String::new();
        let mut ask = |question: &str| {
            writeln!(stream.get_mut(), "{question}")?;
            line.clear();
            stream.read_line(&mut line)?;
            print!("  {question:12} -> {line}");
            io::Result::Ok(())
        };
        ask("session")?;
        (1..=ROUNDS).try_for_each(|round| ask(&format!("round {round}")))?;
        ask("still there?")
    })
}

/// The session: plain blocking code, for a thread.
fn session(stream: &mut (impl Read + Write)) -> io::Result<()> {
    writeln!(stream, "begin")?;
    for _ in 0..ROUNDS {
        let question = line_of(stream)?;
        writeln!(stream, "{question} of {ROUNDS}")?;
    }
    Ok(())
}

/// Reads a line without reading further.
fn line_of(stream: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).map_err(io::Error::other)
}

fn by_hand(listener: &TcpListener) -> io::Result<()> {
    const CONNECTION: Token = Token(1);
    let mut selector = Epoll::new()?;
    let mut events = Events::with_capacity(8);
    let (mut stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    selector.register(stream.as_fd(), Interest::READABLE, CONNECTION)?;
    let _order = watched_line(&mut selector, &mut stream)?;

    // 1. Unregister it, or the loop takes bytes away that are the session's.
    selector.deregister(stream.as_fd())?;
    // 2. Make it blocking: for every process that has it.
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let (tell, told) = mpsc::channel();
    let waker = selector.waker();
    thread::spawn(move || {
        // 3. The exchange. A panic must not take the connection with it.
        let outcome = catch_unwind(AssertUnwindSafe(|| session(&mut stream)));
        // 4. Make it non-blocking again, whatever has happened, and wake the loop, which sleeps.
        let restored = stream.set_nonblocking(true);
        // The loop waits for it.
        let _ = tell.send((stream, outcome, restored));
        waker.wake();
    });
    let mut stream = loop {
        // Here the loop would serve its other connections.
        selector.wait(&mut events, None)?;
        if let Ok((stream, outcome, restored)) = told.try_recv() {
            outcome.expect("the session does not panic")?;
            restored?;
            break stream;
        }
    };
    // 5. Register it again; what came meanwhile is reported, because this selector goes by level.
    selector.register(stream.as_fd(), Interest::READABLE, CONNECTION)?;
    let _question = watched_line(&mut selector, &mut stream)?;
    writeln!(stream, "yes")
}

/// Reads a line from a non-blocking stream, as its pieces come.
fn watched_line(selector: &mut Epoll, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut events = Events::with_capacity(8);
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                selector.wait(&mut events, None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(line)
}

fn with_fiveways(listener: &CooperativeListener) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let deadline = Instant::now() + LIMIT;
    let (connection, outcome) = handoff::run(stream.detach()?, Some(deadline), session);
    outcome.map_err(io::Error::other)??;
    let mut stream = connection.into_stream()?;
    stream.read_line(&mut line)?;
    writeln!(stream, "yes")
}
