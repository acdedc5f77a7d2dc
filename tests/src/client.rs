//! Clients made of `std` alone, and bytes that tell where in the stream they belong.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use crate::patience::LONG;

/// A prime, so that a piece lost from the middle of a stream cannot go unnoticed at round sizes.
const PERIOD: usize = 1_048_573;

static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(5);
    // Twice, so that a window of up to one period is in one piece wherever it begins.
    let once: Vec<u8> = (0..PERIOD).map(|_| random.u8(..)).collect();
    once.repeat(2)
});

/// Connects, with time limits that only a failure reaches.
#[track_caller]
pub fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, LONG).expect("connects");
    limit(&stream, LONG);
    stream.set_nodelay(true).expect("takes options");
    stream
}

/// Sets both time limits.
pub fn limit(stream: &TcpStream, limit: Duration) {
    stream.set_read_timeout(Some(limit)).expect("takes options");
    stream.set_write_timeout(Some(limit)).expect("takes options");
}

/// Sends a message and expects it back.
#[track_caller]
pub fn ask(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(message).expect("the message is taken");
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).expect("the answer comes");
    assert_eq!(answer, message);
}

/// Closes with a reset, discarding what is on the way.
pub fn reset(stream: TcpStream) {
    let stream = fiveways::net::TcpStream::from(stream);
    stream.set_linger(Some(Duration::ZERO)).expect("takes options");
}

/// Expects the end of the stream, in order or by a reset.
#[track_caller]
pub fn expect_end(mut stream: impl Read) {
    let mut buf = [0; 4096];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_gone(&error) => return,
            Err(error) => panic!("no end but {error}"),
        }
    }
}

/// Expects the end of the stream in order, and nothing before it.
#[track_caller]
pub fn expect_eof(mut stream: impl Read) {
    let count = retry(|| stream.read(&mut [0; 16])).expect("the stream ends in order");
    assert_eq!(count, 0, "bytes that nobody sent");
}

/// Has the peer gone?
pub fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

/// The bytes of the test stream from a place on; at most a mebibyte at once.
pub fn noise(at: usize, len: usize) -> &'static [u8] {
    let start = at % PERIOD;
    &NOISE[start..start + len.min(PERIOD)]
}

/// Writes the bytes `from..to` of the test stream.
///
/// # Errors
///
/// Of the stream.
pub fn send_noise(mut stream: impl Write, from: usize, to: usize) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let piece = noise(at, (to - at).min(256 * 1024));
        stream.write_all(piece)?;
        at += piece.len();
    }
    Ok(())
}

/// Reads and checks the bytes `from..to` of the test stream.
#[track_caller]
pub fn expect_noise(mut stream: impl Read, from: usize, to: usize) {
    let mut buf = vec![0; 256 * 1024];
    let mut at = from;
    while at < to {
        let room = buf.len().min(to - at);
        let count = retry(|| stream.read(&mut buf[..room])).expect("the stream goes on");
        assert!(count > 0, "the stream ended at {at} of {to}");
        assert!(buf[..count] == *noise(at, count), "wrong bytes between {at} and {}", at + count);
        at += count;
    }
}

/// Calls again while the call is interrupted: a ring that was closed by this thread may do that.
///
/// # Errors
///
/// Of the call.
pub fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
