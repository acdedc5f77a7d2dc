//! The workload of a server: the service, the number of connections, the bytes to send, and the
//! expected replies. Pure data, made from a seed: same seed, same bytes.
//!
//! The contract of the services, as the generator checks it:
//!
//! | service | at connecting | for a request |
//! |---------|---------------|---------------|
//! | `echo`  | nothing       | the same bytes |
//! | `upper` | nothing       | the same bytes, ASCII letters in upper case |
//! | `greet` | `ok\n` once   | requests are lines (`\n` comes last), each answered by `ok\n`    |
//! | `sink`  | nothing       | nothing, ever; at our half-close the server closes |
//!
//! A request is complete when its whole reply was read and checked; one to `sink` when the socket
//! has accepted its last byte. The socket's send buffer is kept small so that the server's reading
//! sets the pace.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::Serialize;

/// Every model by name, in the order of reports.
pub const MODELS: [&str; 11] = [
    "blocking",
    "threads",
    "pool",
    "nonblocking",
    "select",
    "poll",
    "epoll",
    "epoll-et",
    "signal",
    "uring",
    "auto",
];

/// The longest time a worker spins before it sleeps, in microseconds, where spinning is measured:
/// the default of `serve`.
pub const SPIN_US: u64 = 50;

/// Returns `true` if the model's workers can spin before they sleep. Threads wait in the kernel at
/// once, and `nonblocking` never sleeps.
pub fn may_spin(model: &str) -> bool {
    !matches!(model, "blocking" | "threads" | "pool" | "nonblocking")
}

/// Whether workers spin before they sleep, in the servers that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Spin {
    /// They sleep at once, as threads do.
    Off,
    /// They spin first, for at most [`SPIN_US`].
    On,
    /// Each model that can spin is measured twice: with and without.
    Both,
}

impl Spin {
    /// The spins with which a model is measured, in microseconds; `None` if it cannot spin.
    pub fn variants(self, model: &str) -> &'static [Option<u64>] {
        match self {
            _ if !may_spin(model) => &[None],
            Spin::Off => &[Some(0)],
            Spin::On => &[Some(SPIN_US)],
            Spin::Both => &[Some(0), Some(SPIN_US)],
        }
    }
}

/// Finds a model by name.
///
/// # Errors
///
/// If the word names no model.
pub fn model(word: &str) -> Result<&'static str, WorkloadError> {
    let found = MODELS.into_iter().find(|&name| name == word);
    found.ok_or_else(|| {
        WorkloadError(format!("unknown model '{word}' (known: {})", MODELS.join(" ")))
    })
}

/// The error of an invalid workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadError(String);

impl fmt::Display for WorkloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WorkloadError {}

/// The ready-made services that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Answers with the same bytes.
    Echo,
    /// Answers with the same bytes, ASCII letters in upper case.
    Upper,
    /// Greets once, then answers every line with `ok`.
    Greet,
    /// Reads and answers nothing.
    Sink,
}

impl Service {
    /// Every service.
    pub const ALL: [Service; 4] = [Service::Echo, Service::Upper, Service::Greet, Service::Sink];

    /// Its name, as `serve --service` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Service::Echo => "echo",
            Service::Upper => "upper",
            Service::Greet => "greet",
            Service::Sink => "sink",
        }
    }

    /// What the server sends before the first request.
    pub const fn greeting(self) -> &'static [u8] {
        match self {
            Service::Greet => b"ok\n",
            Service::Echo | Service::Upper | Service::Sink => b"",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Service {
    type Err = WorkloadError;

    fn from_str(word: &str) -> Result<Service, WorkloadError> {
        Service::ALL.into_iter().find(|service| service.name() == word).ok_or_else(|| {
            WorkloadError(format!("unknown service '{word}' (known: echo upper greet sink)"))
        })
    }
}

/// A message size in bytes, written as a number with an optional `K` or `M` (1024, 1024²).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MessageSize(usize);

impl MessageSize {
    /// The largest message: a larger request is a bulk transfer, which is another question.
    pub const MAX: MessageSize = MessageSize(16 << 20);

    /// Makes a size of this many bytes.
    ///
    /// # Errors
    ///
    /// For zero, and for more than [`MessageSize::MAX`].
    pub fn new(bytes: usize) -> Result<MessageSize, WorkloadError> {
        match bytes {
            0 => Err(WorkloadError("a message of 0 bytes is too small (least: 1)".to_owned())),
            _ if bytes > Self::MAX.0 => {
                Err(WorkloadError(format!("a message of {bytes} bytes is too large (most: 16M)")))
            }
            _ => Ok(MessageSize(bytes)),
        }
    }

    /// In bytes.
    pub const fn bytes(self) -> usize {
        self.0
    }
}

impl fmt::Display for MessageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes.is_multiple_of(1 << 20) => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes.is_multiple_of(1 << 10) => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

impl FromStr for MessageSize {
    type Err = WorkloadError;

    fn from_str(word: &str) -> Result<MessageSize, WorkloadError> {
        let (digits, unit) = match word.as_bytes().last() {
            Some(b'k' | b'K') => (&word[..word.len() - 1], 1 << 10),
            Some(b'm' | b'M') => (&word[..word.len() - 1], 1 << 20),
            _ => (word, 1_usize),
        };
        let count = digits.parse::<usize>().ok().and_then(|count| count.checked_mul(unit));
        let bytes = count.ok_or_else(|| {
            WorkloadError(format!("'{word}' is not a size (write bytes, or like 4K or 1M)"))
        })?;
        MessageSize::new(bytes)
    }
}

/// The workload of every server of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Workload {
    /// The service.
    pub service: Service,
    /// Connections open at once, each with one request in flight.
    pub connections: usize,
    /// Bytes of a request.
    #[serde(rename = "size_bytes")]
    pub size: MessageSize,
    /// The seed of the payload.
    #[serde(skip)]
    pub seed: u64,
}

impl Workload {
    /// The maximum number of connections: the ports of one loopback address, with room for others.
    pub const CONNECTIONS_MAX: usize = 20_000;

    /// Checks that it can be run.
    ///
    /// # Errors
    ///
    /// If there are no connections, too many, or more bytes in flight than are sensible (4 GiB).
    pub fn validate(&self) -> Result<(), WorkloadError> {
        let most = Self::CONNECTIONS_MAX;
        let problem = match self.connections {
            0 => "0 connections are too few (least: 1)".to_owned(),
            count if count > most => format!("{count} connections are too many (most: {most})"),
            count if count.saturating_mul(self.size.bytes()) > 4 << 30 => {
                format!("{count} messages of {} at once are too much (most: 4 GiB)", self.size)
            }
            _ => return Ok(()),
        };
        Err(WorkloadError(problem))
    }
}

/// The bytes of all requests and of the expected replies.
///
/// Requests are windows of one random text, so that nothing is generated or copied while measuring:
///
/// ```text
/// text:    [............................................]   length = VARIETY + size
/// request:        ^-- start(connection, number), size bytes --^
/// reply:   the same window of the text as the service turns it
/// ```
///
/// Two consecutive requests on one connection, and the first ones of adjacent connections, start at
/// different offsets, so a late, repeated or misdirected reply is noticed.
#[derive(Clone, Debug)]
pub struct Payload {
    service: Service,
    size: usize,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Payload {
    /// The number of different offsets. A prime, so that the strides below visit all of them; small
    /// enough for the windows of small messages to stay in the processor's first-level cache.
    const VARIETY: usize = 4093;

    /// Makes the bytes of a workload.
    pub fn new(workload: &Workload) -> Payload {
        let size = workload.size.bytes();
        let mut random = fastrand::Rng::with_seed(workload.seed);
        let mut request: Vec<u8> = (0..Self::VARIETY + size).map(|_| random.u8(..)).collect();
        let service = workload.service;
        let reply = match service {
            Service::Echo => request.clone(),
            Service::Upper => request.to_ascii_uppercase(),
            Service::Greet => {
                request = line_of(size);
                b"ok\n".to_vec()
            }
            Service::Sink => Vec::new(),
        };
        Payload { service, size, request, reply }
    }

    /// The service whose bytes these are.
    pub fn service(&self) -> Service {
        self.service
    }

    /// The request with this number on this connection.
    #[inline]
    pub fn request(&self, connection: usize, number: u64) -> &[u8] {
        match self.service {
            Service::Greet => &self.request,
            _ => &self.request[self.window(connection, number)],
        }
    }

    /// The expected reply to it.
    #[inline]
    pub fn reply(&self, connection: usize, number: u64) -> &[u8] {
        match self.service {
            Service::Greet | Service::Sink => &self.reply,
            Service::Echo | Service::Upper => &self.reply[self.window(connection, number)],
        }
    }

    #[inline]
    fn window(&self, connection: usize, number: u64) -> Range<usize> {
        let variety = Self::VARIETY as u64;
        let start = (connection as u64 * 1009 + number % variety * 389) % variety;
        start as usize..start as usize + self.size
    }
}

fn line_of(size: usize) -> Vec<u8> {
    let mut line: Vec<u8> = b"hello ".iter().copied().cycle().take(size).collect();
    line[size - 1] = b'\n';
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(service: Service, size: usize) -> Workload {
        let size = MessageSize::new(size).expect("a valid size");
        Workload { service, connections: 8, size, seed: 1 }
    }

    #[test]
    fn sizes_are_read_with_their_units_and_shown_with_them() {
        for (word, bytes, shown) in [
            ("64", 64, "64 B"),
            ("4K", 4096, "4 KiB"),
            ("64k", 65_536, "64 KiB"),
            ("1M", 1 << 20, "1 MiB"),
        ] {
            let size: MessageSize = word.parse().expect("a size");
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown));
        }
        for word in ["", "K", "-1", "4KB", "1.5K", "0", "17M", "99999999999999999999", "é"] {
            assert!(word.parse::<MessageSize>().is_err(), "{word:?} was taken for a size");
        }
    }

    #[test]
    fn services_and_models_are_found_by_their_names_alone() {
        for service in Service::ALL {
            assert_eq!(service.name().parse(), Ok(service));
        }
        let error = "Echo".parse::<Service>().expect_err("names are in lower case");
        assert_eq!(error.to_string(), "unknown service 'Echo' (known: echo upper greet sink)");
        assert_eq!(model("epoll-et"), Ok("epoll-et"));
        let error = model("io-uring").expect_err("spelled uring").to_string();
        assert!(error.starts_with("unknown model 'io-uring' (known: blocking threads"), "{error}");
    }

    #[test]
    fn a_workload_without_connections_or_with_too_much_in_flight_is_refused() {
        let good = workload(Service::Echo, 64);
        assert_eq!(good.validate(), Ok(()));
        assert!(Workload { connections: 0, ..good.clone() }.validate().is_err());
        assert!(Workload { connections: 20_001, ..good.clone() }.validate().is_err());
        let bulk = Workload { size: MessageSize::MAX, connections: 257, ..good };
        let error = bulk.validate().expect_err("more than 4 GiB").to_string();
        assert_eq!(error, "257 messages of 16 MiB at once are too much (most: 4 GiB)");
    }

    #[test]
    fn the_same_seed_makes_the_same_bytes_and_another_seed_others() {
        let first = workload(Service::Echo, 64);
        let other = Workload { seed: 2, ..first.clone() };
        let bytes = |workload: &Workload| Payload::new(workload).request(3, 5).to_vec();
        assert_eq!(bytes(&first), bytes(&first));
        assert_ne!(bytes(&first), bytes(&other));
    }

    #[test]
    fn requests_that_could_be_confused_differ() {
        let payload = Payload::new(&workload(Service::Echo, 64));
        for connection in 0..64 {
            for number in 0..100 {
                let request = payload.request(connection, number);
                assert_ne!(request, payload.request(connection, number + 1));
                assert_ne!(request, payload.request(connection + 1, number));
            }
        }
    }

    #[test]
    fn each_service_has_its_reply() {
        let reply = |service| Payload::new(&workload(service, 64)).reply(2, 7).to_vec();
        let request = |service| Payload::new(&workload(service, 64)).request(2, 7).to_vec();
        assert_eq!(reply(Service::Echo), request(Service::Echo));
        assert_eq!(reply(Service::Upper), request(Service::Upper).to_ascii_uppercase());
        assert_eq!(reply(Service::Greet), b"ok\n");
        assert_eq!(reply(Service::Sink), b"");
        let line = request(Service::Greet);
        assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(63));
        assert_eq!(Payload::new(&workload(Service::Greet, 1)).request(0, 0), b"\n");
    }
}
