//! The clients of the [socket](super::socket).
//!
//! ```text
//!   connected ──▶ asking ──a line──▶ answered ──all of it taken──▶ closed
//!                   └─────────┴── late, nonsense, or too many: closed
//! ```
//!
//! One thread serves all of them by polling and waits for none. A client must send its request and
//! receive its whole answer within time limits, and if there are too many clients, the one that has
//! been silent for longest is closed. So silent and slow clients do not delay others.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use fiveways_runtime::clock;
use fiveways_sys::multiplex::poll::{self, Entry};
use fiveways_sys::net::peer;

use crate::inspect::Options;

/// The maximum length of a request.
const QUESTION_MAX: usize = 128;

/// How long a client may take to send its request.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);

/// How long a client may take to receive its whole answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The maximum number of concurrent clients.
const CLIENTS_MAX: usize = 64;

/// How long the thread pauses when no client can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves clients for ever. The listener is non-blocking.
pub(super) fn serve(listener: &UnixListener) {
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let mut table = vec![Entry::new(listener.as_fd(), poll::IN)];
        table.extend(clients.iter().map(Client::entry));
        let next = clients.iter().map(|client| client.by).min();
        let limit = next.map(|by| by.saturating_duration_since(clock::now()));
        // If interrupted, nothing is ready.
        let ready = poll::poll(&mut table, limit).is_ok();
        let is_ready = |at: usize| ready && table[at].answer() != 0;
        // Existing clients first, before one of them may have to be closed.
        let mut at = 0;
        clients.retain_mut(|client| {
            at += 1;
            if is_ready(at) { client.goes_on() } else { clock::now() < client.by }
        });
        if is_ready(0) {
            accept(listener, &mut clients);
        }
    }
}

/// Accepts one client. Its request has probably arrived already.
fn accept(listener: &UnixListener, clients: &mut Vec<Client>) {
    let stream = match listener.accept() {
        Ok((stream, _)) => stream,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
        // Probably no descriptor is left: later there may be one.
        Err(_) => return thread::sleep(PAUSE),
    };
    if let Ok(mut client) = Client::new(stream)
        && client.goes_on()
    {
        if clients.len() == CLIENTS_MAX {
            make_room(clients);
        }
        clients.push(client);
    }
}

/// Closes the oldest client that has not sent a request, otherwise the oldest. They are in order of
/// arrival.
fn make_room(clients: &mut Vec<Client>) {
    let silent = clients.iter().position(|client| client.answer.is_none());
    clients.remove(silent.unwrap_or(0));
}

/// A client that is connected.
struct Client {
    stream: UnixStream,
    /// When it is closed, if it is not done.
    by: Instant,
    question: Vec<u8>,
    /// The answer, and how much of it has been sent.
    answer: Option<(Vec<u8>, usize)>,
}

impl Client {
    fn new(stream: UnixStream) -> io::Result<Client> {
        let user = peer::of(stream.as_fd())?.user;
        if user != peer::own_user() && user != 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        stream.set_nonblocking(true)?;
        let by = clock::now() + QUESTION_LIMIT;
        Ok(Client { stream, by, question: Vec::new(), answer: None })
    }

    /// The poll entry of what it waits for.
    fn entry(&self) -> Entry {
        let asked = if self.answer.is_none() { poll::IN } else { poll::OUT };
        Entry::new(self.stream.as_fd(), asked)
    }

    /// Does what is possible without waiting; returns `false` if the client is done.
    fn goes_on(&mut self) -> bool {
        match self.step() {
            Ok(done) => !done,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock && clock::now() < self.by,
        }
    }

    /// Reads the request, writes the answer. `WouldBlock`: there is more to do.
    fn step(&mut self) -> io::Result<bool> {
        while self.answer.is_none() {
            let mut piece = [0; QUESTION_MAX];
            let room = QUESTION_MAX - self.question.len();
            let count = self.stream.read(&mut piece[..room])?;
            self.question.extend_from_slice(&piece[..count]);
            if self.question.contains(&b'\n') {
                self.answer = Some((answer(&self.question)?, 0));
                self.by = clock::now() + ANSWER_LIMIT;
            } else if count == 0 {
                // It has closed, or sent too much.
                return Ok(true);
            }
        }
        let Some((answer, taken)) = &mut self.answer else { return Ok(false) };
        while *taken < answer.len() {
            match self.stream.write(&answer[*taken..])? {
                0 => return Ok(true),
                count => *taken += count,
            }
        }
        Ok(true)
    }
}

/// The answer to a request.
fn answer(question: &[u8]) -> io::Result<Vec<u8>> {
    let line = question.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match std::str::from_utf8(line).ok().and_then(parse) {
        Some(options) => Ok(serde_json::to_vec(&options.dump())?),
        None => Ok(b"error: unknown request\n".to_vec()),
    }
}

/// Parses `dump`, followed by settings in any order.
fn parse(question: &str) -> Option<Options> {
    let mut words = question.split_whitespace();
    if words.next() != Some("dump") {
        return None;
    }
    words.try_fold(Options::new().backtraces(false), |options, word| {
        let (name, value) = word.split_once('=')?;
        match name {
            "backtraces" => Some(options.backtraces(value == "1")),
            "limit" => Some(options.limit(value.parse().ok()?)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> (UnixStream, Client) {
        let (theirs, ours) = UnixStream::pair().expect("a pair");
        (theirs, Client::new(ours).expect("it is of the same user"))
    }

    #[test]
    fn only_questions_are_understood() {
        assert!(parse("dump\n").is_some());
        assert!(parse("dump backtraces=1 limit=7\n").is_some());
        for nonsense in ["", "\n", "dump x", "dump limit=-1", "dump limit", "GET / HTTP/1.1"] {
            assert!(parse(nonsense).is_none(), "{nonsense:?}");
        }
    }

    #[test]
    fn a_client_that_does_not_take_its_answer_in_time_is_done_with() {
        let (mut theirs, mut client) = client();
        theirs.write_all(b"dump\n").expect("room");
        client.answer = Some((vec![b'x'; 10_000_000], 0));
        client.by = Instant::now() + Duration::from_secs(60);
        assert!(client.goes_on(), "it has not taken all");
        let mut some = [0; 4096];
        theirs.read_exact(&mut some).expect("it has begun");
        client.by = Instant::now();
        assert!(!client.goes_on(), "it is late, however much it takes");
    }

    #[test]
    fn the_silent_make_room_before_those_who_have_asked() {
        let (far, mut clients): (Vec<_>, Vec<_>) = (0..3).map(|_| client()).unzip();
        clients[0].answer = Some((Vec::new(), 0));
        make_room(&mut clients);
        assert!(clients[0].answer.is_some() && clients.len() == 2);
        make_room(&mut clients);
        make_room(&mut clients);
        assert!(clients.is_empty() && far.len() == 3);
    }

    /// Any bytes, cut anywhere, are read or refused at once, and never more than a request.
    #[test]
    fn any_bytes_are_a_question_or_refused() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let began = Instant::now();
        for _ in 0..5_000 {
            let (mut theirs, mut client) = client();
            let mut bytes = b"dump limit=0 backtraces=0 \n".repeat(random.usize(1..8));
            for _ in 0..random.usize(0..8) {
                let at = random.usize(0..bytes.len());
                bytes[at] = random.u8(..);
            }
            bytes.truncate(random.usize(0..=bytes.len()));
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(random.usize(1..=rest.len()));
                theirs.write_all(piece).expect("room");
                if !client.goes_on() {
                    break;
                }
                rest = more;
            }
            drop(theirs);
            assert!(!client.goes_on(), "its end is seen, seed {seed}");
            assert!(client.question.len() <= QUESTION_MAX, "seed {seed}");
        }
        assert!(began.elapsed() < Duration::from_secs(60), "seed {seed}");
    }
}
