//! An echo server over any selector: the common part of the six `echo_*` examples.
//!
//! One thread, one [`Registry`]. A connection is in one of three states, and is watched only for
//! the event that it waits for:
//!
//! ```text
//!   reading   nothing kept: watched for reading
//!   writing   bytes kept in the outbox, because a write was partial: watched for writing
//!   ending    the peer sends no more: the outbox is written, then the connection is closed
//! ```
//!
//! While bytes are kept nothing is read, so a client that does not read is not read from either and
//! costs at most one buffer. By edge a source has to be drained before it is waited for; a source
//! that used up its budget before that is queued and goes on after the others had their turn.

use std::collections::VecDeque;
use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use fiveways_selector::{Interest, Key, Registry, Selector};

/// Connections accepted, or reads of one connection, before others have their turn.
const BUDGET: usize = 32;

/// Bytes read at once.
const BUFFER: usize = 64 * 1024;

/// How long not to accept when descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until the process is ended. Takes the address to listen on from the command line.
pub(crate) fn serve(selector: impl Selector) -> io::Result<()> {
    let addr = env::args().nth(1).unwrap_or_else(|| String::from("127.0.0.1:0"));
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);

    let mut registry = Registry::with_selector(selector);
    let source = Source::Listener(listener);
    let listener = registry.register(source, Interest::READABLE, Connection::default())?;
    let buf = vec![0; BUFFER].into_boxed_slice();
    Server { registry, listener, in_line: VecDeque::new(), paused: None, buf }.run()
}

enum Source {
    Listener(TcpListener),
    Stream(TcpStream),
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Source::Listener(listener) => listener.as_fd(),
            Source::Stream(stream) => stream.as_fd(),
        }
    }
}

#[derive(Default)]
struct Connection {
    outbox: Vec<u8>,
    written: usize,
    ending: bool,
    /// Whether it is in the queue of sources that go on without a report.
    in_line: bool,
}

/// The request of a source after its turn.
enum Next {
    /// Watch it for this.
    Wait(Interest),
    /// Another turn: its budget is used up.
    Turn,
    /// Close it.
    Close,
}

struct Server<S> {
    registry: Registry<Source, Connection, S>,
    listener: Key,
    in_line: VecDeque<Key>,
    /// The end of a pause in accepting.
    paused: Option<Instant>,
    buf: Box<[u8]>,
}

impl<S: Selector> Server<S> {
    fn run(mut self) -> io::Result<()> {
        loop {
            let deadline = if self.in_line.is_empty() { self.paused } else { Some(Instant::now()) };
            self.registry.select(deadline)?;
            while let Some(ready) = self.registry.next_ready() {
                let key = ready.key;
                self.attend(key)?;
            }
            for _ in 0..self.in_line.len() {
                let Some(key) = self.in_line.pop_front() else { break };
                if let Some((_, connection)) = self.registry.get_mut(key) {
                    connection.in_line = false;
                    self.attend(key)?;
                }
            }
            if self.paused.is_some_and(|until| until <= Instant::now()) {
                self.paused = None;
                self.registry.modify(self.listener, Interest::READABLE)?;
            }
        }
    }

    /// Gives a source its turn. Fails only if the listener is lost.
    fn attend(&mut self, key: Key) -> io::Result<()> {
        if key == self.listener {
            return self.accept();
        }
        let Some((Source::Stream(stream), connection)) = self.registry.get_mut(key) else {
            return Ok(());
        };
        // A client's error ends its connection and affects no other (D26).
        let next = connection.turn(stream, &mut self.buf).unwrap_or(Next::Close);
        match next {
            Next::Turn => self.line_up(key),
            Next::Wait(interest) if self.registry.modify(key, interest).is_ok() => {}
            Next::Wait(_) | Next::Close => drop(self.registry.unregister(key)),
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..BUDGET {
            let Some((Source::Listener(listener), _)) = self.registry.get(self.listener) else {
                return Ok(());
            };
            match listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.welcome(stream) {
                        eprintln!("a connection was refused: {error}");
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_the_clients(&error) => {}
                // Out of descriptors or memory: queued connections stay there until there are some.
                Err(error) => {
                    eprintln!("not accepting for a while: {error}");
                    self.paused = Some(Instant::now() + PAUSE);
                    return self.registry.modify(self.listener, Interest::NONE);
                }
            }
        }
        self.line_up(self.listener);
        Ok(())
    }

    /// Queues a source, once: it may be reported while it is queued.
    fn line_up(&mut self, key: Key) {
        if let Some((_, connection)) = self.registry.get_mut(key)
            && !connection.in_line
        {
            connection.in_line = true;
            self.in_line.push_back(key);
        }
    }

    fn welcome(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let source = Source::Stream(stream);
        self.registry.register(source, Interest::READABLE, Connection::default())?;
        Ok(())
    }
}

/// Returns `true` if the client went away between its handshake and our accept, or a signal came.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}

impl Connection {
    fn turn(&mut self, mut stream: &TcpStream, buf: &mut [u8]) -> io::Result<Next> {
        for _ in 0..BUDGET {
            if !self.flush(stream)? {
                return Ok(Next::Wait(Interest::WRITABLE));
            }
            if self.ending {
                return Ok(Next::Close);
            }
            match stream.read(buf) {
                Ok(0) => self.ending = true,
                Ok(len) => self.send(stream, &buf[..len])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Next::Wait(Interest::READABLE));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Next::Turn)
    }

    /// Writes, and keeps the bytes that do not fit.
    fn send(&mut self, stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        let written = write_some(stream, bytes)?;
        self.outbox.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Writes the kept bytes. Returns `true` if none is left.
    fn flush(&mut self, stream: &TcpStream) -> io::Result<bool> {
        if self.outbox.is_empty() {
            return Ok(true);
        }
        self.written += write_some(stream, &self.outbox[self.written..])?;
        if self.written < self.outbox.len() {
            return Ok(false);
        }
        // An idle connection keeps no memory.
        self.outbox = Vec::new();
        self.written = 0;
        Ok(true)
    }
}

/// Writes until the call would block and returns the number of bytes.
fn write_some(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(len) => written += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
