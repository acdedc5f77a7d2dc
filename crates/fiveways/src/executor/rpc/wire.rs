//! The protocol between a pool and its worker processes: frames over a socket.
//!
//! ```text
//!   frame      length of the body: u64 | number of the call: u64 | kind: u8 | body
//!   to worker  CALL: length of the name: u32 | name | arguments      QUIT, number 0: nothing
//!   from it    HELLO, number 0: nothing; then for each call, with its number:
//!              VALUE: bytes, PANICKED: text …
//! ```
//!
//! Numbers are little-endian. Both ends are the same program, so there are no versions. A broken
//! frame is an error all the same: the other process runs user code, which may do anything to
//! descriptors. So the head of a frame is checked before its body is awaited, and an answer is
//! accepted only under the number of the call.

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

/// The number of frames that belong to no call.
const NO_CALL: u64 = 0;

/// The length of a head.
const HEAD: usize = 17;

/// The maximum length of a body.
pub(in crate::executor) const BODY_MAX: u64 = 1 << 31;

/// Bytes of a body that are allocated before they have arrived.
const ROOM: u64 = 64 * 1024;

/// A request to a worker.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::executor) enum Request {
    Quit,
    Call { number: u64, name: String, arguments: Vec<u8> },
}

impl Request {
    /// Reads a request; `None` if the pool is gone.
    pub(in crate::executor) fn read(from: &mut impl Read) -> io::Result<Option<Request>> {
        let Some(Head { length, number, kind }) = Head::read(from)? else { return Ok(None) };
        match kind {
            QUIT if length == 0 && number == NO_CALL => Ok(Some(Request::Quit)),
            CALL if number != NO_CALL => {
                let body = read_body(from, length)?;
                Request::of_call(number, &body).map(Some).ok_or_else(broken)
            }
            _ => Err(broken()),
        }
    }

    fn of_call(number: u64, body: &[u8]) -> Option<Request> {
        let (length, rest) = body.split_first_chunk()?;
        let (name, arguments) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let name = String::from_utf8(name.to_vec()).ok()?;
        Some(Request::Call { number, name, arguments: arguments.to_vec() })
    }
}

pub(in crate::executor) fn write_quit(to: &mut impl Write) -> io::Result<()> {
    write_frame(to, NO_CALL, QUIT, &[])
}

/// Writes a call that [fits](check_call).
pub(in crate::executor) fn write_call(
    to: &mut impl Write,
    number: u64,
    name: &str,
    arguments: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(name.len()).map_err(|_| broken())?;
    write_frame(to, number, CALL, &[&length.to_le_bytes(), name.as_bytes(), arguments])
}

/// Checks that a call with this many bytes of name and arguments can be sent.
pub(in crate::executor) fn check_call(name: usize, arguments: usize) -> Result<(), String> {
    let length = (name as u64).saturating_add(arguments as u64).saturating_add(4);
    if length <= BODY_MAX { Ok(()) } else { Err(too_long(length)) }
}

fn too_long(length: u64) -> String {
    format!("{length} bytes, more than the {BODY_MAX} that can be sent")
}

/// Reports that this worker is ready for calls.
pub(in crate::executor) fn write_hello(to: &mut impl Write) -> io::Result<()> {
    write_frame(to, NO_CALL, HELLO, &[])
}

/// Reads a worker's first message.
pub(in crate::executor) fn read_hello(from: &mut impl Read) -> io::Result<()> {
    match Head::read(from)? {
        Some(Head { length: 0, number: NO_CALL, kind: HELLO }) => Ok(()),
        Some(_) => Err(broken()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The answer to a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The serialised result.
    Value(Vec<u8>),
    /// The function panicked with this message.
    Panicked(String),
    /// There is no function of this name.
    UnknownFunction(String),
    /// The arguments cannot be deserialised.
    Undecodable(String),
    /// The result cannot be serialised.
    Unencodable(String),
}

impl Answer {
    pub(in crate::executor) fn write(&self, to: &mut impl Write, number: u64) -> io::Result<()> {
        let (kind, body) = match self {
            Answer::Value(bytes) => (VALUE, &bytes[..]),
            Answer::Panicked(text) => (PANICKED, text.as_bytes()),
            Answer::UnknownFunction(name) => (UNKNOWN_FUNCTION, name.as_bytes()),
            Answer::Undecodable(text) => (UNDECODABLE, text.as_bytes()),
            Answer::Unencodable(text) => (UNENCODABLE, text.as_bytes()),
        };
        if body.len() as u64 > BODY_MAX {
            let why = too_long(body.len() as u64);
            return write_frame(to, number, UNENCODABLE, &[why.as_bytes()]);
        }
        write_frame(to, number, kind, &[body])
    }

    /// Reads the answer to the call of this number; the end of the worker is `UnexpectedEof`.
    pub(in crate::executor) fn read(from: &mut impl Read, number: u64) -> io::Result<Answer> {
        let head = Head::read(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if head.number != number || !(VALUE..=UNENCODABLE).contains(&head.kind) {
            return Err(broken());
        }
        let body = read_body(from, head.length)?;
        let text = |body: Vec<u8>| String::from_utf8_lossy(&body).into_owned();
        Ok(match head.kind {
            VALUE => Answer::Value(body),
            PANICKED => Answer::Panicked(text(body)),
            UNKNOWN_FUNCTION => Answer::UnknownFunction(text(body)),
            UNDECODABLE => Answer::Undecodable(text(body)),
            _ => Answer::Unencodable(text(body)),
        })
    }

    /// Returns the bytes of the result, or the error.
    pub(in crate::executor) fn into_value(self) -> Result<Vec<u8>, FutureError> {
        match self {
            Answer::Value(bytes) => Ok(bytes),
            Answer::Panicked(text) => Err(FutureError::Panicked(Panic::elsewhere(text))),
            Answer::UnknownFunction(name) => Err(FutureError::UnknownFunction(name)),
            Answer::Undecodable(why) => Err(FutureError::Undecodable(why)),
            Answer::Unencodable(why) => Err(FutureError::Unencodable(why)),
        }
    }
}

/// The error of an invalid frame.
fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a broken frame")
}

fn write_frame(to: &mut impl Write, number: u64, kind: u8, body: &[&[u8]]) -> io::Result<()> {
    let length = body.iter().map(|part| part.len()).sum::<usize>();
    let mut frame = Vec::with_capacity(HEAD + length);
    frame.extend_from_slice(&(length as u64).to_le_bytes());
    frame.extend_from_slice(&number.to_le_bytes());
    frame.push(kind);
    body.iter().for_each(|part| frame.extend_from_slice(part));
    to.write_all(&frame)
}

/// The head of a frame.
struct Head {
    length: u64,
    number: u64,
    kind: u8,
}

impl Head {
    /// Reads a head; `None` at the end of the stream between two frames.
    fn read(from: &mut impl Read) -> io::Result<Option<Head>> {
        let mut head = [0; HEAD];
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
        let [length, number] = [0, 8].map(|at| {
            let bytes = head[at..at + 8].try_into().expect("it is eight bytes long");
            u64::from_le_bytes(bytes)
        });
        let head = Head { length, number, kind: head[HEAD - 1] };
        if head.length <= BODY_MAX { Ok(Some(head)) } else { Err(broken()) }
    }
}

/// Reads a body. Memory is allocated as bytes arrive: a false length allocates none.
fn read_body(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(length.min(ROOM) as usize);
    from.by_ref().take(length).read_to_end(&mut body)?;
    if body.len() as u64 == length { Ok(body) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Vec<u8> {
        let mut bytes = Vec::new();
        write_call(&mut bytes, 7, "f", b"xy").expect("memory");
        bytes
    }

    fn value(number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        Answer::Value(b"five".to_vec()).write(&mut bytes, number).expect("memory");
        bytes
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut bytes = call();
        write_quit(&mut bytes).expect("memory");
        let mut from = &bytes[..];
        let (name, arguments) = ("f".to_owned(), b"xy".to_vec());
        let call = Request::Call { number: 7, name, arguments };
        assert_eq!(Request::read(&mut from).expect("a frame"), Some(call));
        assert_eq!(Request::read(&mut from).expect("a frame"), Some(Request::Quit));
        assert_eq!(Request::read(&mut from).expect("the end"), None);
        let mut hello = Vec::new();
        write_hello(&mut hello).expect("memory");
        read_hello(&mut &hello[..]).expect("a greeting");
        let answer = Answer::read(&mut &value(7)[..], 7).expect("a frame");
        assert_eq!(answer, Answer::Value(b"five".to_vec()));
    }

    #[test]
    fn an_answer_to_another_call_and_a_greeting_are_no_answers() {
        let mut hello = Vec::new();
        write_hello(&mut hello).expect("memory");
        for bytes in [value(6), value(8), value(NO_CALL), hello] {
            let error = Answer::read(&mut &bytes[..], 7).expect_err("another frame");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
        read_hello(&mut &value(NO_CALL)[..]).expect_err("no greeting");
    }

    /// A source that fails if more than the head is read.
    struct Endless<'a>(&'a [u8]);

    impl Read for Endless<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            assert!(!self.0.is_empty(), "more than the head is awaited");
            self.0.read(buf)
        }
    }

    #[test]
    fn a_wrong_head_is_refused_before_its_body_is_awaited() {
        let head = |length: u64, number: u64, kind| {
            [&length.to_le_bytes()[..], &number.to_le_bytes(), &[kind]].concat()
        };
        for head in [
            head(u64::MAX, u64::MAX, 255),
            head(BODY_MAX + 1, 7, VALUE),
            head(1, 7, 77),
            head(1, 8, VALUE),
            head(1, 7, HELLO),
        ] {
            Answer::read(&mut Endless(&head), 7).expect_err("a wrong head");
        }
        for head in [
            head(u64::MAX, u64::MAX, 255),
            head(BODY_MAX + 1, 7, CALL),
            head(8, NO_CALL, CALL),
            head(8, NO_CALL, QUIT),
            head(0, 7, QUIT),
        ] {
            Request::read(&mut Endless(&head)).expect_err("a wrong head");
        }
    }

    #[test]
    fn only_what_fits_is_sent() {
        check_call(9, BODY_MAX as usize - 13).expect("it fits");
        let why = check_call(9, BODY_MAX as usize - 12).expect_err("a byte too many");
        assert_eq!(why, "2147483649 bytes, more than the 2147483648 that can be sent");
        check_call(usize::MAX, usize::MAX).expect_err("more than there is");
    }

    /// Any bytes, cut anywhere: an error or the end, never more memory than bytes.
    #[test]
    fn any_bytes_are_read_or_refused() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..200_000 {
            let mut bytes = [call(), value(7), value(8)].concat();
            for _ in 0..random.usize(0..4) {
                let at = random.usize(0..bytes.len());
                bytes[at] = random.u8(..);
            }
            let from = random.usize(0..bytes.len());
            let until = random.usize(from..=bytes.len());
            let mut rest = &bytes[from..until];
            if let Ok(Answer::Value(body)) = Answer::read(&mut rest, 7) {
                assert!(body.len() <= until - from - HEAD, "seed {seed}");
                assert!(body.capacity() as u64 <= 2 * ROOM, "seed {seed}");
            }
            let mut rest = &bytes[from..until];
            while let Ok(Some(request)) = Request::read(&mut rest) {
                if let Request::Call { name, arguments, .. } = request {
                    assert!(name.len() + arguments.len() <= until - from, "seed {seed}");
                }
            }
        }
    }
}
