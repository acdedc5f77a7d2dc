//! One connection of a load: messages, replies, and checks.
//!
//! The same code runs on threads and in tasks: all waits go through `fiveways`.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::time::{Duration, Instant};

use fiveways::task::yield_now;
use fiveways::time::sleep;

use crate::connect::args::{Check, ConnectArgs, Mode, Reply};
use crate::connect::connection::Connection;
use crate::connect::dial::{Dial, Failure};
use crate::connect::display::Display;
use crate::connect::inbox::Inbox;
use crate::connect::reason::{reason, span};
use crate::connect::tally::Tally;

/// What every connection of a load does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    dial: Dial,
    mode: Mode,
    count: Option<u64>,
    message: String,
    reply: Reply,
    check: Check,
    hold: Duration,
    interval: Duration,
    reply_timeout: Option<Duration>,
}

impl Plan {
    /// Reads it from the command line.
    pub(crate) fn new(args: &ConnectArgs) -> Plan {
        let load = &args.load;
        let line_feed = if args.raw || load.message().ends_with('\n') { "" } else { "\n" };
        let message = format!("{}{line_feed}", load.message());
        Plan {
            dial: Dial::new(args, load.connections().0 == 1),
            mode: load.mode(),
            count: load.count(),
            message: message.replace("{pid}", &std::process::id().to_string()),
            reply: load.reply(),
            check: load.check(),
            hold: load.hold(),
            interval: load.interval(),
            reply_timeout: load.reply_timeout(),
        }
    }

    /// Makes one connection and all its exchanges.
    pub(crate) fn run(
        &self,
        number: usize,
        tally: &Tally,
        display: Option<Display>,
    ) -> Result<(), Failure> {
        let connection = self.dial.open()?;
        let prepared = connection.set_timeout(self.reply_timeout).and_then(|()| {
            if self.mode == Mode::Polling { connection.set_nonblocking() } else { Ok(()) }
        });
        prepared.map_err(|error| reason(&error))?;
        let inbox = Inbox::default();
        Client { plan: self, number, tally, display, connection, inbox }.run()
    }

    /// The bytes of one message.
    fn message(&self, number: usize, exchange: u64) -> Vec<u8> {
        if !self.message.contains('{') {
            return self.message.clone().into_bytes();
        }
        let text = self.message.replace("{c}", &number.to_string());
        text.replace("{n}", &exchange.to_string()).into_bytes()
    }
}

struct Client<'a> {
    plan: &'a Plan,
    number: usize,
    tally: &'a Tally,
    display: Option<Display>,
    connection: Connection,
    inbox: Inbox,
}

impl Client<'_> {
    fn run(mut self) -> Result<(), Failure> {
        let mut since = Instant::now();
        let mut exchange = 0;
        loop {
            exchange += 1;
            let is_last = self.plan.count == Some(exchange);
            let message = self.plan.message(self.number, exchange);
            if self.plan.mode == Mode::RecvFirst {
                self.receive(&message, exchange, since)?;
                since = Instant::now();
                self.send(&message)?;
                self.hold(is_last);
            } else {
                since = Instant::now();
                self.send(&message)?;
                self.hold(is_last);
                self.receive(&message, exchange, since)?;
            }
            if is_last {
                return Ok(());
            }
            if !self.plan.interval.is_zero() {
                sleep(self.plan.interval);
            }
        }
    }

    fn hold(&self, is_last: bool) {
        if is_last && !self.plan.hold.is_zero() {
            sleep(self.plan.hold);
        }
    }

    fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        let mut rest = message;
        let began = Instant::now();
        // An empty datagram is a message; an empty message on a stream is nothing.
        while !rest.is_empty() || message.is_empty() && self.connection.is_datagram() {
            match self.connection.send(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) => self.bear(error, began, "the server does not read: not sent")?,
            }
            if message.is_empty() {
                break;
            }
        }
        self.tally.sent(message.len());
        Ok(())
    }

    /// Receives a whole reply, and checks it.
    fn receive(&mut self, message: &[u8], exchange: u64, since: Instant) -> Result<(), Failure> {
        let reply = self.reply(message, exchange)?;
        self.tally.received(reply.len());
        self.tally.exchanged(since.elapsed());
        let reply = self.inbox.taken(reply);
        compare(self.plan.check, message, reply, exchange)?;
        if self.plan.check != Check::None && !self.inbox.waiting().is_empty() {
            let more = self.inbox.waiting().len();
            return Err(format!("reply {exchange} is {more} bytes too long").into());
        }
        match &mut self.display {
            Some(display) => display.show_line(reply).map_err(|error| error.message.into()),
            None => Ok(()),
        }
    }

    fn reply(&mut self, message: &[u8], exchange: u64) -> Result<Range<usize>, Failure> {
        let began = Instant::now();
        let mut looked_at = 0;
        loop {
            let waiting = self.inbox.waiting();
            let length = match self.plan.reply {
                Reply::AsSent => Some(message.len()).filter(|size| waiting.len() >= *size),
                Reply::Size(size) => Some(size).filter(|size| waiting.len() >= *size),
                Reply::Line => {
                    let found = waiting[looked_at..].iter().position(|byte| *byte == b'\n');
                    found.map(|at| looked_at + at + 1)
                }
                Reply::Anything => Some(waiting.len()).filter(|size| *size > 0),
            };
            if let Some(length) = length {
                return Ok(self.inbox.take(length));
            }
            looked_at = waiting.len();
            self.fill(exchange, began)?;
            if self.connection.is_datagram() {
                let datagram = self.inbox.waiting().len();
                return Ok(self.inbox.take(datagram));
            }
        }
    }

    /// Waits for more bytes of a reply.
    fn fill(&mut self, exchange: u64, began: Instant) -> Result<(), Failure> {
        loop {
            let connection = &mut self.connection;
            match self.inbox.fill(|room| connection.recv(room)) {
                Ok(0) if !self.connection.is_datagram() => {
                    let so_far = self.inbox.waiting().len();
                    let of = if so_far > 0 {
                        format!(", {so_far} bytes into it")
                    } else {
                        String::new()
                    };
                    let what = format!("the server closed the connection before reply {exchange}");
                    return Err(format!("{what} was there{of}").into());
                }
                Ok(_) => return Ok(()),
                Err(error) => self.bear(error, began, "no reply")?,
            }
        }
    }

    /// Ignores "nothing yet" when polling; any other error ends the connection.
    fn bear(&self, error: io::Error, began: Instant, late: &str) -> Result<(), Failure> {
        let limit = self.plan.reply_timeout;
        let is_late = limit.is_some_and(|limit| began.elapsed() >= limit);
        if error.kind() == ErrorKind::WouldBlock && !is_late {
            self.tally.asked_in_vain();
            yield_now();
            return Ok(());
        }
        match (error.kind(), limit) {
            (ErrorKind::TimedOut | ErrorKind::WouldBlock, Some(limit)) => {
                Err(format!("{late} within {}", span(limit)).into())
            }
            _ => Err(reason(&error).into()),
        }
    }
}

/// Compares a reply with the expected one.
fn compare(check: Check, message: &[u8], reply: &[u8], exchange: u64) -> Result<(), Failure> {
    let expected = match check {
        Check::None => return Ok(()),
        Check::Echo => message.to_vec(),
        Check::Upper => message.to_ascii_uppercase(),
    };
    if expected == reply {
        return Ok(());
    }
    if expected.len() != reply.len() {
        let (is, should) = (reply.len(), expected.len());
        return Err(format!("reply {exchange} has {is} bytes instead of {should}").into());
    }
    let at = expected.iter().zip(reply).position(|(a, b)| a != b).unwrap_or(0);
    let (is, should) = (reply[at].escape_ascii(), expected[at].escape_ascii());
    Err(format!("reply {exchange} is wrong at byte {at}: '{is}' instead of '{should}'").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_reply_is_told_with_its_place() {
        assert_eq!(compare(Check::Echo, b"abc", b"abc", 1), Ok(()));
        assert_eq!(compare(Check::Upper, "aß\n".as_bytes(), "Aß\n".as_bytes(), 1), Ok(()));
        assert_eq!(compare(Check::None, b"abc", b"", 1), Ok(()));
        let wrong = compare(Check::Upper, b"abc", b"AbC", 7).expect_err("it is wrong");
        assert_eq!(wrong.reason, "reply 7 is wrong at byte 1: 'b' instead of 'B'");
        let short = compare(Check::Echo, b"abc", b"ab", 2).expect_err("it is short");
        assert_eq!(short.reason, "reply 2 has 2 bytes instead of 3");
    }
}
