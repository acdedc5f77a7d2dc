//! Echo in a hand-written epoll loop: what one thread can do on readiness with no runtime at all.
//!
//! Edge-triggered; every descriptor is registered once, for both directions. All connections share
//! one hot 64 KiB buffer: a reply is written from where the request was read, and only what the
//! socket does not take is copied into the connection. While such a rest exists nothing is read,
//! so a slow reader holds back itself alone.
//!
//! A read shorter than the buffer has drained the socket, so no second read is made to learn
//! `EAGAIN` — except when the event says that the peer closed, since that edge is already spent.

mod socket;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use peers_launch::{announce, listen};
use socket::{Epoll, Step, accept, close, receive, send};

const BUFFER_LEN: usize = 64 * 1024;
const EVENTS_PER_WAIT: usize = 1024;

/// Reads of one connection before the others get their turn.
const READS_PER_TURN: usize = 16;

/// What one connection keeps between turns, found by its descriptor.
#[derive(Default)]
struct Connection {
    /// Bytes read and not yet written back.
    rest: Vec<u8>,
    /// How many of `rest` were written.
    sent: usize,
    /// The peer has closed its side, or an error is pending: read until it shows.
    is_closing: bool,
    /// Waits in `Server::unfinished`, still readable.
    is_queued: bool,
    is_open: bool,
}

struct Server {
    epoll: Epoll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    /// Connections that used up their reads of the turn: their edge is spent.
    unfinished: VecDeque<RawFd>,
}

fn main() -> io::Result<()> {
    let listener = listen()?;
    announce(&listener)?;
    let epoll = Epoll::new()?;
    epoll.add(listener.as_raw_fd(), libc::EPOLLIN)?;
    let mut server = Server {
        epoll,
        connections: Vec::new(),
        buffer: vec![0; BUFFER_LEN],
        unfinished: VecDeque::new(),
    };
    server.run(listener.as_raw_fd())
}

impl Server {
    fn run(&mut self, listener: RawFd) -> io::Result<()> {
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_WAIT];
        loop {
            let count = self.epoll.wait(&mut events, self.unfinished.is_empty())?;
            for event in &events[..count] {
                let (fd, flags) = (event.u64 as RawFd, event.events as i32);
                if fd == listener {
                    self.accept_all(listener)?;
                } else {
                    self.on_event(fd, flags);
                }
            }
            self.resume_unfinished();
        }
    }

    fn accept_all(&mut self, listener: RawFd) -> io::Result<()> {
        while let Some(fd) = accept(listener)? {
            let index = fd as usize;
            if index >= self.connections.len() {
                self.connections.resize_with(index + 1, Connection::default);
            }
            self.connections[index] = Connection { is_open: true, ..Connection::default() };
            let flags = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
            self.epoll.add(fd, flags)?;
        }
        Ok(())
    }

    fn on_event(&mut self, fd: RawFd, flags: i32) {
        let connection = &mut self.connections[fd as usize];
        if flags & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0 {
            connection.is_closing = true;
        }
        // A new connection's first event is often `EPOLLOUT` alone: there is nothing to do yet.
        if flags != libc::EPOLLOUT || !connection.rest.is_empty() {
            self.serve(fd);
        }
    }

    /// One fair share for each connection that was left readable in earlier turns.
    fn resume_unfinished(&mut self) {
        for _ in 0..self.unfinished.len() {
            let Some(fd) = self.unfinished.pop_front() else { return };
            let connection = &mut self.connections[fd as usize];
            // Closed since, and perhaps reused: the flag belongs to the present connection.
            if std::mem::take(&mut connection.is_queued) && connection.is_open {
                self.serve(fd);
            }
        }
    }

    fn serve(&mut self, fd: RawFd) {
        match echo(fd, &mut self.connections[fd as usize], &mut self.buffer) {
            Turn::Waits => {}
            Turn::IsUnfinished => {
                let connection = &mut self.connections[fd as usize];
                if !std::mem::replace(&mut connection.is_queued, true) {
                    self.unfinished.push_back(fd);
                }
            }
            Turn::HasEnded => {
                self.connections[fd as usize] = Connection::default();
                close(fd);
            }
        }
    }
}

/// How a connection's turn ended.
enum Turn {
    /// A new edge will come: the socket is drained, or full.
    Waits,
    /// There may be more to read, and no edge will say so.
    IsUnfinished,
    HasEnded,
}

fn echo(fd: RawFd, connection: &mut Connection, buffer: &mut [u8]) -> Turn {
    if !connection.rest.is_empty() {
        match flush(fd, connection) {
            Step::Done(_) => {}
            Step::WouldBlock => return Turn::Waits,
            Step::Failed => return Turn::HasEnded,
        }
    }
    for _ in 0..READS_PER_TURN {
        let len = match receive(fd, buffer) {
            Step::Done(0) | Step::Failed => return Turn::HasEnded,
            Step::Done(len) => len,
            Step::WouldBlock => return Turn::Waits,
        };
        let sent = match send(fd, &buffer[..len]) {
            Step::Done(sent) => sent,
            Step::WouldBlock => 0,
            Step::Failed => return Turn::HasEnded,
        };
        if sent < len {
            // A short write has filled the socket, so an edge will come (epoll(7), question 9).
            connection.rest.extend_from_slice(&buffer[sent..len]);
            return Turn::Waits;
        }
        if len < buffer.len() && !connection.is_closing {
            return Turn::Waits;
        }
    }
    Turn::IsUnfinished
}

/// Writes the connection's rest until it is gone or the socket refuses.
fn flush(fd: RawFd, connection: &mut Connection) -> Step {
    while connection.sent < connection.rest.len() {
        match send(fd, &connection.rest[connection.sent..]) {
            Step::Done(sent) => connection.sent += sent,
            step => return step,
        }
    }
    connection.rest = Vec::new();
    connection.sent = 0;
    Step::Done(0)
}
