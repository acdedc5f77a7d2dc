//! TCP has no message boundaries: data sent in pieces is received as a stream, in other pieces.
//!
//! Two parties over one connection. Without frames the receiver cannot know where a message ends;
//! with a header of fixed length, which contains the message's length, it always does.

use std::io::{self, Read, Write};

use clap::Args;
use fiveways::net::{TcpListener, TcpStream};
use fiveways::task;

use super::stage::{Outcome, say};

/// TCP has no message boundaries; a length prefix adds them
#[derive(Args, Debug)]
pub(super) struct StickyArgs {}

const WORDS: [&str; 5] = ["one", "two", "three", "four", "five"];

/// The length of a message on the wire: four bytes, big-endian.
type Header = [u8; 4];

pub(super) fn run(_args: &StickyArgs) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    // Each send goes out at once, and yet they are received together.
    sender.set_nodelay(true)?;
    many_sends(&mut sender, &mut receiver)?;
    one_send(&mut sender, &mut receiver)?;
    byte_by_byte(&mut sender, &mut receiver)
}

fn many_sends(sender: &mut TcpStream, receiver: &mut TcpStream) -> Outcome {
    say!("{} sends: {}", WORDS.len(), WORDS.join(", "));
    for word in WORDS {
        sender.write_all(word.as_bytes())?;
    }
    let all = arrived(receiver, WORDS.concat().len())?;
    let mut buf = [0; 1000];
    let count = receiver.read(&mut buf[..all])?;
    say!("1 read: {}", String::from_utf8_lossy(&buf[..count]));
    for word in WORDS {
        send(sender, word.as_bytes())?;
    }
    let mut words = Vec::new();
    for _ in WORDS {
        words.push(String::from_utf8(receive(receiver)?)?);
    }
    say!("with a header: {} messages: {}", words.len(), words.join(", "));
    Ok(())
}

fn one_send(sender: &mut TcpStream, receiver: &mut TcpStream) -> Outcome {
    let long = [b'x'; 2500];
    say!("1 send: {} bytes", long.len());
    sender.write_all(&long)?;
    let mut left = arrived(receiver, long.len())?;
    let mut counts = Vec::new();
    let mut buf = [0; 1000];
    while left > 0 {
        let count = receiver.read(&mut buf)?;
        counts.push(count.to_string());
        left -= count;
    }
    say!("{} reads: {} bytes", counts.len(), counts.join(", "));
    send(sender, &long)?;
    say!("with a header: 1 message: {} bytes", receive(receiver)?.len());
    Ok(())
}

/// The header may arrive in pieces as well.
fn byte_by_byte(sender: &mut TcpStream, receiver: &mut TcpStream) -> Outcome {
    let mut peer = sender.try_clone()?;
    let sending = task::spawn(move || -> io::Result<()> {
        let header: Header = 4_u32.to_be_bytes();
        for byte in header.into_iter().chain(*b"late") {
            peer.write_all(&[byte])?;
            task::yield_now();
        }
        Ok(())
    });
    let message = String::from_utf8(receive(receiver)?)?;
    sending.join()??;
    say!("8 sends of 1 byte: 1 message: {message}");
    Ok(())
}

/// Sends a message prefixed by its length.
fn send(stream: &mut impl Write, message: &[u8]) -> Outcome {
    let header: Header = u32::try_from(message.len())?.to_be_bytes();
    // In one piece, only for speed.
    stream.write_all(&[&header, message].concat())?;
    Ok(())
}

/// Receives a message, however its bytes arrive.
fn receive(stream: &mut impl Read) -> Outcome<Vec<u8>> {
    let mut header = Header::default();
    stream.read_exact(&mut header)?;
    let mut message = vec![0; u32::from_be_bytes(header) as usize];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Waits until this many bytes have arrived, without reading them.
fn arrived(stream: &TcpStream, count: usize) -> Outcome<usize> {
    let mut buf = vec![0; count];
    while stream.peek(&mut buf)? < count {
        task::yield_now();
    }
    Ok(count)
}
