//! What goes between a pool and its worker processes: frames over a socket.
//!
//! ```text
//!   frame      length: u64, little-endian | kind: u8 | body
//!   to worker  CALL: length of the name: u32 | name | arguments      QUIT
//!   from it    HELLO once, then for each call an answer: VALUE bytes | PANICKED text | …
//! ```
//!
//! Both ends are the same program, so there are no versions. A broken frame is an error all the
//! same: the process on the other side runs code of users, which may do anything to descriptors.

use std::io::{self, Read, Write};

use crate::executor::failure::{FutureError, Panic};

const QUIT: u8 = 0;
const CALL: u8 = 1;

const HELLO: u8 = 0;
const VALUE: u8 = 1;
const PANICKED: u8 = 2;
const UNKNOWN_FUNCTION: u8 = 3;
const UNDECODABLE: u8 = 4;
const UNENCODABLE: u8 = 5;

/// What a worker is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Quit,
    Call { name: String, arguments: Vec<u8> },
}

impl Request {
    /// Reads a request; `None` when the pool is gone.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Request>> {
        let Some((kind, body)) = read_frame(from)? else { return Ok(None) };
        match kind {
            QUIT => Ok(Some(Request::Quit)),
            CALL => Request::of_call(&body).map(Some).ok_or_else(broken),
            _ => Err(broken()),
        }
    }

    fn of_call(body: &[u8]) -> Option<Request> {
        let (length, rest) = body.split_first_chunk()?;
        let (name, arguments) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let name = String::from_utf8(name.to_vec()).ok()?;
        Some(Request::Call { name, arguments: arguments.to_vec() })
    }
}

pub(super) fn write_quit(to: &mut impl Write) -> io::Result<()> {
    write_frame(to, QUIT, &[])
}

pub(super) fn write_call(to: &mut impl Write, name: &str, arguments: &[u8]) -> io::Result<()> {
    let length = u32::try_from(name.len()).map_err(|_| broken())?;
    write_frame(to, CALL, &[&length.to_le_bytes(), name.as_bytes(), arguments])
}

/// What comes of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A worker is ready for calls; answers none.
    Hello,
    /// The result, as bytes.
    Value(Vec<u8>),
    /// The function panicked and said this.
    Panicked(String),
    /// There is no function of this name.
    UnknownFunction(String),
    /// The arguments cannot be read.
    Undecodable(String),
    /// The result cannot be written.
    Unencodable(String),
}

impl Answer {
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Answer::Hello => write_frame(to, HELLO, &[]),
            Answer::Value(bytes) => write_frame(to, VALUE, &[bytes]),
            Answer::Panicked(text) => write_frame(to, PANICKED, &[text.as_bytes()]),
            Answer::UnknownFunction(name) => write_frame(to, UNKNOWN_FUNCTION, &[name.as_bytes()]),
            Answer::Undecodable(text) => write_frame(to, UNDECODABLE, &[text.as_bytes()]),
            Answer::Unencodable(text) => write_frame(to, UNENCODABLE, &[text.as_bytes()]),
        }
    }

    /// Reads an answer; `None` when the worker is gone.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Answer>> {
        let Some((kind, body)) = read_frame(from)? else { return Ok(None) };
        let text = |body: Vec<u8>| String::from_utf8_lossy(&body).into_owned();
        Ok(Some(match kind {
            HELLO => Answer::Hello,
            VALUE => Answer::Value(body),
            PANICKED => Answer::Panicked(text(body)),
            UNKNOWN_FUNCTION => Answer::UnknownFunction(text(body)),
            UNDECODABLE => Answer::Undecodable(text(body)),
            UNENCODABLE => Answer::Unencodable(text(body)),
            _ => return Err(broken()),
        }))
    }

    /// The bytes of the result, or why there are none.
    pub(super) fn into_value(self) -> Result<Vec<u8>, FutureError> {
        match self {
            Answer::Value(bytes) => Ok(bytes),
            Answer::Panicked(text) => Err(FutureError::Panicked(Panic::elsewhere(text))),
            Answer::UnknownFunction(name) => Err(FutureError::UnknownFunction(name)),
            Answer::Undecodable(why) => Err(FutureError::Undecodable(why)),
            Answer::Unencodable(why) => Err(FutureError::Unencodable(why)),
            Answer::Hello => Err(FutureError::Undecodable("a greeting for an answer".to_owned())),
        }
    }
}

/// What is no frame.
fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a broken frame")
}

fn write_frame(to: &mut impl Write, kind: u8, body: &[&[u8]]) -> io::Result<()> {
    let length = 1 + body.iter().map(|part| part.len()).sum::<usize>();
    let mut frame = Vec::with_capacity(8 + length);
    frame.extend_from_slice(&(length as u64).to_le_bytes());
    frame.push(kind);
    body.iter().for_each(|part| frame.extend_from_slice(part));
    to.write_all(&frame)
}

/// Reads a frame; `None` at the end, when it comes between two frames.
fn read_frame(from: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 9];
    let began = loop {
        match from.read(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            began => break began?,
        }
    };
    if began == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[began..])?;
    let [length @ .., kind] = head;
    let length = u64::from_le_bytes(length).checked_sub(1).ok_or_else(broken)?;
    // Grows with what comes: a length that is a lie takes no memory.
    let mut body = Vec::new();
    from.by_ref().take(length).read_to_end(&mut body)?;
    if body.len() as u64 == length { Ok(Some((kind, body))) } else { Err(broken()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut bytes = Vec::new();
        write_call(&mut bytes, "f", b"xy").expect("memory");
        write_quit(&mut bytes).expect("memory");
        let mut from = &bytes[..];
        let call = Request::Call { name: "f".to_owned(), arguments: b"xy".to_vec() };
        assert_eq!(Request::read(&mut from).expect("a frame"), Some(call));
        assert_eq!(Request::read(&mut from).expect("a frame"), Some(Request::Quit));
        assert_eq!(Request::read(&mut from).expect("the end"), None);
    }

    #[test]
    fn broken_frames_are_errors_and_take_no_memory() {
        let huge = [&u64::MAX.to_le_bytes()[..], &[VALUE], b"little"].concat();
        let empty = 0_u64.to_le_bytes();
        let strange = [&1_u64.to_le_bytes()[..], &[77]].concat();
        for bytes in [&huge[..], &huge[..5], &empty, &strange] {
            assert!(Answer::read(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
        let mut long_name = Vec::new();
        write_frame(&mut long_name, CALL, &[&9_u32.to_le_bytes(), b"short"]).expect("memory");
        assert!(Request::read(&mut &long_name[..]).is_err());
    }
}
