//! What every rival server does before it serves, so that no server differs in these.
//!
//! A server takes `--buffer BYTES` (the size of its buffer per connection, where it has one) and
//! switches of its own; it raises its descriptor limit, opens a listener with a deep backlog on a
//! free loopback port, and prints `listening on ADDR` as its first line on stdout. It then runs
//! until a signal ends it.

use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;

/// Pending connections the kernel is asked to hold; it may cap them at `net.core.somaxconn`.
const BACKLOG: i32 = 8192;

/// The buffer of one connection unless `--buffer` says otherwise.
const DEFAULT_BUFFER_LEN: usize = 16 * 1024;

/// What the command line of a rival server said.
#[derive(Debug)]
pub struct Options {
    /// Bytes of the buffer of one connection.
    pub buffer_len: usize,
    switches: Vec<String>,
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// `--buffer` without a positive number is `InvalidInput`.
    pub fn from_args() -> io::Result<Self> {
        let mut buffer_len = DEFAULT_BUFFER_LEN;
        let mut switches = Vec::new();
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            if arg != "--buffer" {
                switches.push(arg);
                continue;
            }
            let value = args.next().and_then(|value| value.parse().ok()).filter(|&len| len > 0);
            buffer_len = value.ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, "--buffer needs a number of bytes")
            })?;
        }
        Ok(Self { buffer_len, switches })
    }

    /// Tells whether a switch such as `--multishot` was given.
    #[must_use]
    pub fn has(&self, switch: &str) -> bool {
        self.switches.iter().any(|given| given == switch)
    }
}

/// Raises the soft descriptor limit and opens a non-blocking listener on a free loopback port.
///
/// # Errors
///
/// Those of `getrlimit`, `setrlimit`, `bind` and `listen`.
pub fn listen() -> io::Result<TcpListener> {
    raise_descriptor_limit()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // std asks for a backlog of 128; asking again on a listening socket only changes the number.
    // SAFETY: a call on a descriptor that `listener` keeps open; no memory is passed.
    let answer = unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Prints the first line the harness waits for.
///
/// # Errors
///
/// Those of the address look-up and of writing to stdout.
pub fn announce(listener: &TcpListener) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on {address}")?;
    stdout.flush()
}

fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live, writable `rlimit`, which is what the call fills.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a live `rlimit`; the call only reads it.
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
