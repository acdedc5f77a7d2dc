//! An echo server made of callbacks: one that accepts, and one for each connection (S002-30 to
//! S002-32).
//!
//! The accepting callback adds the connections' callbacks; the state of a connection is inside its
//! closure. A callback that fails ends its connection and nothing else (D26).
//!
//! `cargo run -p fiveways-selector --example echo_callbacks [ADDRESS]`

use std::cell::Cell;
use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use fiveways_selector::{End, Event, Flow, Interest, Reactor};

/// How long not to accept when descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);

fn main() -> io::Result<()> {
    let addr = env::args().nth(1).unwrap_or_else(|| String::from("127.0.0.1:0"));
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);

    let mut reactor = Reactor::new()?;
    reactor.on_end(|_, end| match end {
        End::Done => {}
        End::Failed(error) => eprintln!("a connection failed: {error}"),
        End::Panicked(_) => eprintln!("a callback panicked"),
    });
    let paused = Rc::new(Paused::default());
    let accepting = {
        let paused = Rc::clone(&paused);
        move |reactor: &mut Reactor, listener: &TcpListener, _: Event| {
            accept(reactor, listener, &paused)
        }
    };
    let listener = reactor.add(listener, Interest::READABLE, accepting)?;
    loop {
        reactor.turn(paused.get())?;
        if paused.get().is_some_and(|until| until <= Instant::now()) {
            paused.set(None);
            reactor.watch(listener, Interest::READABLE)?;
        }
    }
}

/// The end of a pause in accepting.
type Paused = Cell<Option<Instant>>;

fn accept(reactor: &mut Reactor, from: &TcpListener, paused: &Paused) -> io::Result<Flow> {
    match from.accept() {
        Ok((stream, _)) => {
            if let Err(error) = welcome(reactor, stream) {
                eprintln!("a connection was refused: {error}");
            }
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        // An error here would end the listener. Out of descriptors is no reason for that.
        Err(error) => {
            eprintln!("not accepting for a while: {error}");
            paused.set(Some(Instant::now() + PAUSE));
            return Ok(Flow::Watch(Interest::NONE));
        }
    }
    // One at a time: by level, the next connection is reported in the next turn.
    Ok(Flow::Continue)
}

fn welcome(reactor: &mut Reactor, stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let mut outbox = Outbox::default();
    let mut ending = false;
    let echo = move |_: &mut Reactor, mut stream: &TcpStream, event: Event| {
        // Watched for one event at a time: kept bytes are written first, and nothing is read
        // meanwhile.
        if event.is_writable() || !outbox.is_empty() {
            outbox.flush(stream)?;
        } else {
            let mut buf = [0; 16 * 1024];
            match stream.read(&mut buf) {
                Ok(0) => ending = true,
                Ok(len) => outbox.send(stream, &buf[..len])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(match (outbox.is_empty(), ending) {
            (false, _) => Flow::Watch(Interest::WRITABLE),
            (true, false) => Flow::Watch(Interest::READABLE),
            (true, true) => Flow::End,
        })
    };
    reactor.add(stream, Interest::READABLE, echo)?;
    Ok(())
}

/// Bytes that could not be written yet.
#[derive(Default)]
struct Outbox(Vec<u8>);

impl Outbox {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes, and keeps the bytes that do not fit.
    fn send(&mut self, mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        let written = match stream.write(bytes) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        self.0.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    fn flush(&mut self, stream: &TcpStream) -> io::Result<()> {
        // At most one buffer is kept, so moving the rest to the front is cheap.
        let kept = std::mem::take(&mut self.0);
        self.send(stream, &kept)
    }
}
