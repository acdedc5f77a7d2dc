//! Ready-made handlers: echo, upper, greet, sink.
//!
//! They use the fast path (`BufRead`), which processes the bytes of a request in the buffer in
//! which they arrived. They work on bytes and not on messages, so the way a stream is cut into
//! reads does not matter, and multi-byte characters pass unharmed.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Write};
use std::str::FromStr;

use crate::net::TcpStream;

/// A ready-made handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Service {
    /// Answers with the same bytes.
    Echo,
    /// Answers with the same bytes, ASCII letters in upper case.
    Upper,
    /// Sends `ok` and a line feed once, then the same for every line.
    Greet,
    /// Reads and answers nothing.
    Sink,
}

impl Service {
    /// Every service.
    pub const ALL: [Service; 4] = [Service::Echo, Service::Upper, Service::Greet, Service::Sink];

    /// The service's name, as accepted by `from_str`.
    pub const fn name(self) -> &'static str {
        match self {
            Service::Echo => "echo",
            Service::Upper => "upper",
            Service::Greet => "greet",
            Service::Sink => "sink",
        }
    }

    /// Serves a connection until the client has closed its sending side and every request is
    /// answered.
    ///
    /// # Suspends
    ///
    /// While there is nothing to read, and while the client does not read its answers.
    ///
    /// # Errors
    ///
    /// Any error of reading from or writing to the stream.
    pub fn serve(self, mut stream: TcpStream) -> io::Result<()> {
        let (mut reader, mut writer) = stream.halves();
        match self {
            Service::Echo => echo(&mut reader, &mut writer),
            Service::Upper => upper(&mut reader, &mut writer),
            Service::Greet => greet(&mut reader, &mut writer),
            Service::Sink => each(&mut reader, |_| Ok(())),
        }
    }
}

/// Calls `f` with the bytes as they come, until the end of the stream.
#[inline]
fn each(reader: &mut impl BufRead, mut f: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        f(bytes)?;
        let count = bytes.len();
        reader.consume(count);
    }
}

/// Answers with the same bytes.
///
/// # Errors
///
/// Any error of the reader or the writer.
#[inline(never)]
pub fn echo(reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<()> {
    each(reader, |bytes| writer.write_all(bytes))
}

/// Answers with the same bytes, ASCII letters in upper case; other bytes pass unchanged.
///
/// # Errors
///
/// Any error of the reader or the writer.
#[inline(never)]
pub fn upper(reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<()> {
    thread_local! {
        /// One warm buffer for the thread's tasks. A task that suspends while using it keeps it,
        /// and the next task allocates another.
        static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    each(reader, |bytes| {
        let mut scratch = SCRATCH.take();
        scratch.clear();
        scratch.extend(bytes.iter().map(u8::to_ascii_uppercase));
        let result = writer.write_all(&scratch);
        SCRATCH.set(scratch);
        result
    })
}

/// Sends `ok` and a line feed once, then the same for every line.
///
/// # Errors
///
/// Any error of the reader or the writer.
#[inline(never)]
pub fn greet(reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<()> {
    const OK: &[u8] = b"ok\n";
    writer.write_all(OK)?;
    each(reader, |bytes| {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        if lines == 1 { writer.write_all(OK) } else { writer.write_all(&OK.repeat(lines)) }
    })
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error of parsing a word that names no service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseServiceError(String);

impl fmt::Display for ParseServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown service '{}' (known: echo upper greet sink)", self.0)
    }
}

impl std::error::Error for ParseServiceError {}

impl FromStr for Service {
    type Err = ParseServiceError;

    fn from_str(word: &str) -> Result<Service, ParseServiceError> {
        let found = Service::ALL.into_iter().find(|service| service.name() == word);
        found.ok_or_else(|| ParseServiceError(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(service: impl Fn(&mut &[u8], &mut Vec<u8>) -> io::Result<()>, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        service(&mut text.as_bytes(), &mut out).expect("memory does not fail");
        out
    }

    #[test]
    fn upper_leaves_everything_but_ascii_letters_alone() {
        assert_eq!(answer(|r, w| upper(r, w), "abc中ß!"), "ABC中ß!".as_bytes());
    }

    #[test]
    fn greet_answers_once_and_then_every_line() {
        assert_eq!(answer(|r, w| greet(r, w), "a\nb\nc"), b"ok\nok\nok\n");
        assert_eq!(answer(|r, w| greet(r, w), ""), b"ok\n");
    }
}
