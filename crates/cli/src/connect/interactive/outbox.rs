//! Lines on their way to the server.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};

use crate::connect::connection::Connection;

/// Cuts input into lines and keeps what could not be sent yet.
#[derive(Debug)]
pub(super) struct Outbox {
    raw: bool,
    /// An incomplete line at the end of the input.
    partial: Vec<u8>,
    messages: VecDeque<Vec<u8>>,
    /// Bytes of the first message that have been sent.
    sent: usize,
    ended: bool,
    /// `true` if the sending side is shut down.
    told: bool,
    /// `true` if messages were discarded.
    lost: bool,
    datagrams: u64,
}

impl Outbox {
    pub(super) fn new(raw: bool) -> Outbox {
        Outbox {
            raw,
            partial: Vec::new(),
            messages: VecDeque::new(),
            sent: 0,
            ended: false,
            told: false,
            lost: false,
            datagrams: 0,
        }
    }

    /// Adds input.
    pub(super) fn push(&mut self, input: &[u8], to: &Connection) {
        for piece in input.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.end_line(to);
            }
        }
    }

    /// Records the end of the input; a last line needs no line feed.
    pub(super) fn end(&mut self, to: &Connection) {
        self.end_line(to);
        self.ended = true;
    }

    /// Sends what can be sent without waiting, finally the end; returns whether anything was sent.
    pub(super) fn send(&mut self, to: &mut Connection) -> io::Result<bool> {
        let mut any = false;
        while let Some(message) = self.messages.front() {
            match to.send(&message[self.sent..]) {
                Ok(count) => {
                    any = true;
                    self.sent += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(any),
                Err(error) => return Err(error),
            }
            if self.sent >= message.len() {
                self.messages.pop_front();
                self.sent = 0;
            }
        }
        if self.ended && !self.told {
            self.told = true;
            match to.end_sending() {
                // The connection is closed already: the read reports how.
                Err(error) if error.kind() == ErrorKind::NotConnected => {}
                result => result?,
            }
        }
        Ok(any)
    }

    /// Discards waiting messages: the server accepts no more.
    pub(super) fn give_up(&mut self) {
        self.messages.clear();
        (self.sent, self.lost) = (0, true);
    }

    /// Returns `true` if every line was sent.
    pub(super) fn is_complete(&self) -> bool {
        self.is_finished() && !self.lost
    }

    /// Returns `true` if nothing is waiting to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Returns `true` if the input has ended.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Returns `true` if everything has been sent, including the end.
    pub(super) fn is_finished(&self) -> bool {
        self.told
    }

    /// The number of messages made.
    pub(super) fn datagrams(&self) -> u64 {
        self.datagrams
    }

    fn end_line(&mut self, to: &Connection) {
        let line = std::mem::take(&mut self.partial);
        let line = trim(&line);
        if line.is_empty() {
            return;
        }
        self.datagrams += 1;
        let feed: &[u8] = if self.raw { b"" } else { b"\n" };
        match self.messages.back_mut() {
            // Lines of a stream that wait together are sent together.
            Some(last) if !to.is_datagram() => last.extend([line, feed].concat()),
            _ => self.messages.push_back([line, feed].concat()),
        }
    }
}

/// Trims white space at both ends, that of all scripts if the line is text.
fn trim(line: &[u8]) -> &[u8] {
    match std::str::from_utf8(line) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => line.trim_ascii(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_trimmed_of_the_white_space_of_all_scripts() {
        assert_eq!(trim(" \t中 文\u{3000}\r\n".as_bytes()), "中 文".as_bytes());
        assert_eq!(trim(b" \xff \n"), b"\xff");
        assert_eq!(trim(b" \r\n"), b"");
    }
}
