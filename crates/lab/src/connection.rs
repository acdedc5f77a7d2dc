//! One connection of the generator: at most one request in flight, every byte of its reply checked.
//!
//! ```text
//!             ask                 reply complete
//!   idle ------------> asking ----------------------> idle
//!    ^                   | send what is left, check what comes
//!    | greeting checked  v
//!  greeted            Failure: the caller drops the connection
//! ```
//!
//! The state is in three fields: `sent` of the request, `got` of the reply (or of the greeting
//! while `greeting` is not empty), and `asking`. Bytes that arrive while idle were not requested:
//! corrupt.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use crate::failure::Failure;
use crate::socket::Socket;
use crate::workload::Payload;

/// The result of a turn of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing to do before the next event.
    Waiting,
    /// The exchange in flight is complete.
    Answered,
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Until the socket returned less than requested: the next bytes cause a new event.
    UntilShort,
    /// Until there is nothing, or the end: the event reported a close, which comes only once.
    UntilEmpty,
}

/// A connection and its exchange.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    index: usize,
    number: u64,
    greeting: &'static [u8],
    asking: bool,
    sent: usize,
    got: usize,
    asked_at: Instant,
    checks: u32,
}

impl Connection {
    /// Takes a connected socket; the greeting, if any, is its first exchange.
    pub(crate) fn new(socket: Socket, index: usize, payload: &Payload) -> Connection {
        let greeting = payload.service().greeting();
        let asked_at = Instant::now();
        let asking = !greeting.is_empty();
        let (number, sent, got, checks) = (0, 0, 0, 0);
        Connection { socket, index, number, greeting, asking, sent, got, asked_at, checks }
    }

    /// Returns `true` if an exchange is in flight.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking
    }

    /// When the exchange in flight, or the last one, began.
    pub(crate) fn asked_at(&self) -> Instant {
        self.asked_at
    }

    /// Counts a check that found it unchanged; returns how often in this exchange.
    pub(crate) fn count_check(&mut self) -> u32 {
        self.checks += 1;
        self.checks
    }

    /// Begins the next request and sends as much of it as fits.
    #[inline]
    pub(crate) fn ask(&mut self, payload: &Payload, now: Instant) -> Result<Progress, Failure> {
        debug_assert!(!self.asking, "one request in flight");
        self.number += 1;
        (self.asking, self.sent, self.got, self.asked_at) = (true, 0, 0, now);
        self.checks = 0;
        self.send_rest(payload)?;
        Ok(self.settle(payload))
    }

    /// Continues the exchange after an event.
    #[inline]
    pub(crate) fn advance(
        &mut self,
        payload: &Payload,
        buf: &mut [u8],
        reading: Reading,
    ) -> Result<Progress, Failure> {
        self.receive(payload, buf, reading)?;
        if self.asking && self.greeting.is_empty() {
            self.send_rest(payload)?;
        }
        Ok(self.settle(payload))
    }

    /// The number of its last request; zero before the first.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Half-closes; the server's close must follow.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.socket.finish()
    }

    /// Checks for the server's close, which [`Connection::finish`] requested. Returns `true` if it
    /// has come.
    pub(crate) fn is_closed(&self, buf: &mut [u8]) -> Result<bool, Failure> {
        match self.socket.recv(buf) {
            Ok(0) => Ok(true),
            Ok(_) => Err(Failure::Corrupt),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(Failure::of(&error)),
        }
    }

    fn send_rest(&mut self, payload: &Payload) -> Result<(), Failure> {
        let request = payload.request(self.index, self.number);
        while self.sent < request.len() {
            match self.socket.send(&request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Failure::of(&error)),
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        payload: &Payload,
        buf: &mut [u8],
        reading: Reading,
    ) -> Result<(), Failure> {
        loop {
            let count = match self.socket.recv(buf) {
                Ok(0) => return Err(Failure::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Failure::of(&error)),
            };
            let expected = self.expected(payload);
            if expected.get(self.got..self.got + count) != Some(&buf[..count]) {
                return Err(Failure::Corrupt);
            }
            self.got += count;
            if count < buf.len() && reading == Reading::UntilShort {
                return Ok(());
            }
        }
    }

    /// The expected reply as a whole; nothing is expected while idle.
    fn expected<'a>(&self, payload: &'a Payload) -> &'a [u8] {
        match (self.asking, self.greeting.is_empty()) {
            (false, _) => &[],
            (true, true) => payload.reply(self.index, self.number),
            (true, false) => self.greeting,
        }
    }

    /// Ends the exchange if it is complete.
    fn settle(&mut self, payload: &Payload) -> Progress {
        if !self.asking || self.got < self.expected(payload).len() {
            return Progress::Waiting;
        }
        let is_greeting = !self.greeting.is_empty();
        if !is_greeting && self.sent < payload.request(self.index, self.number).len() {
            return Progress::Waiting;
        }
        self.greeting = b"";
        (self.asking, self.got) = (false, 0);
        Progress::Answered
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
