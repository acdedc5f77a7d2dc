//! The load generator: closed loop, one thread, one message in flight per connection.
//!
//! A connection sends its next message when the reply to the last one is complete and every byte of
//! it was right. Edge-triggered epoll and one receive per event where the reply is short: the
//! generator must be cheaper than the server it drives. Each run reports how busy both processors
//! were, so that a run the generator held back can be told. Sending long messages from a memory
//! file without a copy was tried: it cost the server more per request and gained no throughput.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::cell::Cell;
use crate::clock::now_ns;
use crate::pattern::Pattern;
use crate::socket::{Epoll, connect, receive, round_trip, send};

/// Events taken at once.
const EVENTS_PER_WAIT: usize = 1024;

/// The receive buffer; all connections share it, so it stays in the cache.
const BUFFER_LEN: usize = 128 * 1024;

/// Connections opened before the last of them is awaited: well below any backlog.
const CONNECT_BATCH: usize = 256;

/// Why a run is worthless.
#[derive(Debug)]
pub enum Failure {
    Io(&'static str, io::Error),
    /// The server closed a connection.
    Closed,
    /// A reply had other bytes than the message, or more.
    WrongReply,
    /// Nothing came back during a whole window.
    Stalled,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(what, error) => write!(formatter, "{what}: {error}"),
            Self::Closed => formatter.write_str("the server closed a connection"),
            Self::WrongReply => formatter.write_str("a reply differs from its message"),
            Self::Stalled => formatter.write_str("no reply during the whole window"),
        }
    }
}

/// What one window of load yielded.
pub struct Tally {
    pub elapsed_ns: u64,
    pub requests: u64,
    pub latency_ns: Histogram<u64>,
    /// Connections that completed nothing.
    pub starved: usize,
}

/// One connection's message in flight.
struct Client {
    stream: TcpStream,
    /// Where the message starts in the pattern.
    start: u32,
    sent: u32,
    received: u32,
    message: u32,
    sent_at_ns: u64,
    completed: u32,
}

pub struct Generator {
    epoll: Epoll,
    clients: Vec<Client>,
    pattern: Pattern,
    buffer: Vec<u8>,
    message_len: usize,
    /// Looks for events without sleeping.
    is_spinning: bool,
}

impl Generator {
    /// Opens the cell's connections; all are accepted when this returns.
    pub fn connect(address: SocketAddr, cell: Cell, is_spinning: bool) -> Result<Self, Failure> {
        let io = |what| move |error| Failure::Io(what, error);
        let mut generator = Self {
            epoll: Epoll::new().map_err(io("epoll"))?,
            clients: Vec::with_capacity(cell.connections),
            pattern: Pattern::new(cell.message_len),
            buffer: vec![0; BUFFER_LEN],
            message_len: cell.message_len,
            is_spinning,
        };
        for number in 1..=cell.connections {
            let stream = connect(address).map_err(io("connect"))?;
            if number % CONNECT_BATCH == 0 || number == cell.connections {
                round_trip(&stream, &[0x5a]).map_err(io("first byte"))?;
            }
            generator.clients.push(Client::new(stream));
        }
        generator.register().map_err(io("register"))?;
        Ok(generator)
    }

    fn register(&self) -> io::Result<()> {
        for (index, client) in self.clients.iter().enumerate() {
            client.stream.set_nonblocking(true)?;
            self.epoll.add(client.stream.as_raw_fd(), index as u64)?;
        }
        Ok(())
    }

    /// Sends the first message on every connection.
    pub fn start(&mut self) -> Result<(), Failure> {
        let now_ns = now_ns();
        (0..self.clients.len()).try_for_each(|index| self.begin(index, now_ns))
    }

    /// Keeps the load up for a while; what is in flight at the end stays in flight.
    pub fn run(&mut self, window: Duration) -> Result<Tally, Failure> {
        self.clients.iter_mut().for_each(|client| client.completed = 0);
        let mut latency_ns = latencies();
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_WAIT];
        let start_ns = now_ns();
        let end_ns = start_ns + window.as_nanos() as u64;
        let mut last_ns = start_ns;
        while last_ns < end_ns {
            let left_ms = (end_ns - last_ns).div_ceil(1_000_000) as i32;
            let timeout_ms = if self.is_spinning { 0 } else { left_ms };
            let waited = self.epoll.wait(&mut events, timeout_ms);
            let count = waited.map_err(|error| Failure::Io("wait", error))?;
            for event in &events[..count] {
                self.on_event(event.u64 as usize, event.events as i32, &mut latency_ns)?;
            }
            last_ns = now_ns();
        }
        if latency_ns.is_empty() {
            return Err(Failure::Stalled);
        }
        let starved = self.clients.iter().filter(|client| client.completed == 0).count();
        let requests = latency_ns.len();
        Ok(Tally { elapsed_ns: last_ns - start_ns, requests, latency_ns, starved })
    }

    fn on_event(
        &mut self,
        index: usize,
        flags: i32,
        latency_ns: &mut Histogram<u64>,
    ) -> Result<(), Failure> {
        if flags & (libc::EPOLLERR | libc::EPOLLHUP) != 0 {
            return Err(Failure::Closed);
        }
        if flags & libc::EPOLLIN != 0 {
            self.on_readable(index, latency_ns)?;
        }
        let has_rest = (self.clients[index].sent as usize) < self.message_len;
        if flags & libc::EPOLLOUT != 0 && has_rest {
            self.send_on(index)?;
        }
        Ok(())
    }

    /// Receives until the socket is drained, and answers a complete reply with the next message.
    fn on_readable(
        &mut self,
        index: usize,
        latency_ns: &mut Histogram<u64>,
    ) -> Result<(), Failure> {
        loop {
            let client = &mut self.clients[index];
            let received = client.received as usize;
            // One byte more than is due, so that a reply that is too long shows.
            let asked = (self.message_len - received + 1).min(self.buffer.len());
            let len = match receive(&client.stream, &mut self.buffer[..asked]) {
                Ok(0) => return Err(Failure::Closed),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Failure::Io("receive", error)),
            };
            let due = &self.pattern.message(client.start as usize)[received..client.sent as usize];
            if due.get(..len) != Some(&self.buffer[..len]) {
                return Err(Failure::WrongReply);
            }
            client.received += len as u32;
            if client.received as usize == self.message_len {
                let now_ns = now_ns();
                client.completed += 1;
                latency_ns.saturating_record(now_ns - client.sent_at_ns);
                self.begin(index, now_ns)?;
            }
            if len < asked {
                return Ok(());
            }
        }
    }

    /// Starts the connection's next message.
    fn begin(&mut self, index: usize, now_ns: u64) -> Result<(), Failure> {
        let client = &mut self.clients[index];
        client.message = client.message.wrapping_add(1);
        client.start = Pattern::start(index, client.message) as u32;
        client.sent = 0;
        client.received = 0;
        client.sent_at_ns = now_ns;
        self.send_on(index)
    }

    /// Sends what the socket takes of the rest of the message.
    fn send_on(&mut self, index: usize) -> Result<(), Failure> {
        let client = &mut self.clients[index];
        while (client.sent as usize) < self.message_len {
            let (start, sent) = (client.start as usize, client.sent as usize);
            match send(&client.stream, &self.pattern.message(start)[sent..]) {
                Ok(len) => client.sent += len as u32,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Failure::Io("send", error)),
            }
        }
        Ok(())
    }
}

/// An empty histogram for up to a minute, allocated in full so that recording never allocates.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds and digits are constants")
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self { stream, start: 0, sent: 0, received: 0, message: 0, sent_at_ns: 0, completed: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const CELL: Cell = Cell { connections: 1, message_len: 5_000 };
    const WINDOW: Duration = Duration::from_secs(1);

    /// Runs the load against a server of one connection that passes what it read through `alter`,
    /// with the number of bytes it saw before.
    fn outcome_of(alter: fn(usize, &mut Vec<u8>)) -> Result<Tally, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.set_nodelay(true).expect("an open socket");
            let (mut seen, mut buffer) = (0, [0; 4096]);
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                let mut reply = buffer[..len].to_vec();
                alter(seen, &mut reply);
                seen += len;
                if stream.write_all(&reply).is_err() {
                    break;
                }
            }
        });
        let mut generator = Generator::connect(address, CELL, false)?;
        generator.start()?;
        let outcome = generator.run(WINDOW);
        drop(generator);
        server.join().expect("the server does not panic");
        outcome
    }

    #[test]
    fn an_honest_echo_is_counted() {
        let tally = outcome_of(|_, _| {}).expect("an honest server");
        assert!(tally.requests > 1);
        assert_eq!(tally.starved, 0);
        assert!(tally.latency_ns.max() <= tally.elapsed_ns + 1_000_000_000);
    }

    #[test]
    fn one_wrong_byte_after_many_right_ones_is_noticed() {
        let outcome = outcome_of(|seen, reply| {
            if seen > 50_000 {
                reply[0] ^= 1;
            }
        });
        assert!(matches!(outcome, Err(Failure::WrongReply)));
    }

    #[test]
    fn one_byte_too_many_is_noticed() {
        let outcome = outcome_of(|seen, reply| {
            if seen > 0 {
                reply.push(0);
            }
        });
        assert!(matches!(outcome, Err(Failure::WrongReply)));
    }

    #[test]
    fn a_silent_server_is_a_failure_and_not_a_slow_one() {
        let outcome = outcome_of(|seen, reply| {
            if seen > 0 {
                reply.clear();
            }
        });
        assert!(matches!(outcome, Err(Failure::Stalled)));
    }
}
