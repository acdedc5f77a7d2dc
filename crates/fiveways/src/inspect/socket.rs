//! Dumps for other processes: over a Unix socket in the abstract namespace.
//!
//! ```text
//!   fiveways dump 4711 ──connect──▶ @fiveways-inspect-4711     owner: the same user, else closed
//!        "dump backtraces=1 limit=50\n" ──▶
//!                             ◀── the dump as JSON, then the end of the stream
//! ```
//!
//! An abstract name needs no file, and disappears with its process. It has no permissions either,
//! so both sides ask the kernel for the other's user. One thread serves all clients, and waits for
//! none: see [`clients`](super::clients).

use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use fiveways_runtime::clock;
use fiveways_sys::net::peer;

use crate::inspect::clients::serve;
use crate::inspect::{Dump, Started, service_thread};

const PREFIX: &str = "fiveways-inspect-";

/// How long the whole answer may take to arrive.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The maximum length of an answer.
const ANSWER_MAX: u64 = 1 << 30;

/// Lets other processes of the same user take dumps of this one, until it ends.
///
/// Runs in a separate thread; later calls do nothing. After a fork, the child must call it again.
///
/// # Errors
///
/// If the thread cannot be started or no descriptor is left; `AddrInUse` if another process has
/// taken the name.
pub fn listen() -> io::Result<()> {
    static STARTED: Started = Started::never();
    STARTED.once(|| {
        let listener = UnixListener::bind_addr(&address(std::process::id())?)?;
        listener.set_nonblocking(true)?;
        service_thread("fiveways-inspect", move || serve(&listener))
    })
}

fn address(process: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("{PREFIX}{process}"))
}

/// Takes a dump of another process that [listens](listen): of all its tasks, or of `limit` tasks
/// per worker, those that have waited longest.
///
/// Blocks the thread.
///
/// # Errors
///
/// `ConnectionRefused` if there is no such process, or it does not listen; `PermissionDenied` if it
/// is another user's; `InvalidData` if the answer is no dump; `TimedOut` or `WouldBlock` if the
/// answer is not complete after 20 seconds.
pub fn of_process(process: u32, backtraces: bool, limit: Option<usize>) -> io::Result<Dump> {
    let stream = UnixStream::connect_addr(&address(process)?)?;
    let server = peer::of(stream.as_fd())?;
    if server.process != process
        || !(server.user == peer::own_user() || server.user == 0 || peer::own_user() == 0)
    {
        let message = format!("process {process} is of user {}", server.user);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    let limit = limit.map_or(String::new(), |limit| format!(" limit={limit}"));
    let question = format!("dump backtraces={}{limit}\n", u8::from(backtraces));
    (&stream).write_all(question.as_bytes())?;
    let answer = Limited { stream, by: clock::now() + ANSWER_LIMIT }.take(ANSWER_MAX);
    Ok(serde_json::from_reader(BufReader::with_capacity(64 * 1024, answer))?)
}

/// A stream that can be read until an instant, however slowly data arrives.
struct Limited {
    stream: UnixStream,
    by: Instant,
}

impl Read for Limited {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.by.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buf)
    }
}

/// Returns the processes on this machine that listen, in ascending order; also those of other
/// users.
///
/// # Errors
///
/// If the kernel's list of sockets cannot be read.
pub fn processes() -> io::Result<Vec<u32>> {
    let list = std::fs::read_to_string("/proc/net/unix")?;
    let name =
        |line: &str| line.rsplit(' ').next()?.strip_prefix('@')?.strip_prefix(PREFIX)?.parse().ok();
    let mut processes: Vec<u32> = list.lines().filter_map(name).collect();
    processes.sort_unstable();
    processes.dedup();
    Ok(processes)
}
