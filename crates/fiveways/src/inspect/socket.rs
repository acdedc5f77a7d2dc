//! Dumps for other processes: over a Unix socket in the abstract name space.
//!
//! ```text
//!   fiveways dump 4711 ──connect──▶ @fiveways-inspect-4711     owner: the same user, else closed
//!        "dump backtraces=1 limit=50\n" ──▶
//!                             ◀── the dump as JSON, then the end of the stream
//! ```
//!
//! An abstract name needs no file, and goes with its process. It has no permissions either, so both
//! sides ask the kernel who the other is. Whoever connects is served in turn, each for a few
//! seconds at most.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use fiveways_sys::peer;

use crate::inspect::{Dump, Options, Started, onlooker};

const PREFIX: &str = "fiveways-inspect-";

/// The longest question.
const QUESTION_MAX: u64 = 128;

/// How long a client has to ask, and to read what there is so far.
const CLIENT_LIMIT: Duration = Duration::from_secs(2);

/// How long an answer may make no progress.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Lets other processes of the same user take dumps of this one, until it ends.
///
/// By a thread of its own; later calls do nothing. After a fork, the child calls it again.
///
/// # Errors
///
/// When the thread cannot be started or no descriptor is left; `AddrInUse` when somebody else has
/// taken the name.
pub fn listen() -> io::Result<()> {
    static STARTED: Started = Started::never();
    STARTED.once(|| {
        let listener = UnixListener::bind_addr(&address(std::process::id())?)?;
        onlooker("fiveways-inspect", move || {
            for client in listener.incoming() {
                match client {
                    // A client that goes away, or asks nonsense, is its own affair.
                    Ok(client) => drop(serve(client)),
                    // No descriptor left, most likely: later there may be one.
                    Err(_) => std::thread::sleep(Duration::from_millis(100)),
                }
            }
        })
    })
}

fn address(process: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("{PREFIX}{process}"))
}

fn is_allowed(user: u32) -> bool {
    user == peer::own_user() || user == 0
}

/// Answers one client.
fn serve(client: UnixStream) -> io::Result<()> {
    if !is_allowed(peer::of(client.as_fd())?.user) {
        return Ok(());
    }
    client.set_write_timeout(Some(CLIENT_LIMIT))?;
    let question = question(&client, Instant::now() + CLIENT_LIMIT)?;
    let Some(options) = parse(&question) else {
        return (&client).write_all(b"error: this is no question\n");
    };
    let mut writer = BufWriter::with_capacity(64 * 1024, client);
    serde_json::to_writer(&mut writer, &options.take())?;
    writer.flush()
}

/// Reads one line.
fn question(client: &UnixStream, deadline: Instant) -> io::Result<String> {
    let mut line = Vec::new();
    let mut reader = client.take(QUESTION_MAX);
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        let left = deadline.saturating_duration_since(Instant::now());
        client.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        if left.is_zero() || reader.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        line.push(byte[0]);
    }
    String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// `dump`, then settings in any order.
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

/// Takes a dump of another process that [listens](listen): of its tasks, or of so many of each
/// worker that have waited longest.
///
/// Blocks the thread.
///
/// # Errors
///
/// `ConnectionRefused` when there is no such process, or it does not listen; `PermissionDenied`
/// when it is another user's; `InvalidData` when what comes is no dump.
pub fn of_process(process: u32, backtraces: bool, limit: Option<usize>) -> io::Result<Dump> {
    let stream = UnixStream::connect_addr(&address(process)?)?;
    let server = peer::of(stream.as_fd())?;
    if server.process != process || !(is_allowed(server.user) || peer::own_user() == 0) {
        let message = format!("process {process} is of user {}", server.user);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let limit = limit.map_or(String::new(), |limit| format!(" limit={limit}"));
    let question = format!("dump backtraces={}{limit}\n", u8::from(backtraces));
    (&stream).write_all(question.as_bytes())?;
    Ok(serde_json::from_reader(BufReader::with_capacity(64 * 1024, stream))?)
}

/// The processes that listen here, in ascending order; also those of other users.
///
/// # Errors
///
/// When the kernel's list of sockets cannot be read.
pub fn processes() -> io::Result<Vec<u32>> {
    let list = std::fs::read_to_string("/proc/net/unix")?;
    let name =
        |line: &str| line.rsplit(' ').next()?.strip_prefix('@')?.strip_prefix(PREFIX)?.parse().ok();
    let mut processes: Vec<u32> = list.lines().filter_map(name).collect();
    processes.sort_unstable();
    processes.dedup();
    Ok(processes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_questions_are_understood() {
        assert!(parse("dump\n").is_some());
        assert!(parse("dump backtraces=1 limit=7\n").is_some());
        for nonsense in ["", "\n", "dump x", "dump limit=-1", "dump limit", "GET / HTTP/1.1"] {
            assert!(parse(nonsense).is_none(), "{nonsense:?}");
        }
    }
}
