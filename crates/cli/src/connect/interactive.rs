//! The line client: one `poll(2)` over stdin, the server, and Ctrl-C.
//!
//! Nothing in the loop blocks except stdout: the connection is non-blocking, and while lines wait
//! to be sent no more are read. So a server that answers slowly, or floods, or never reads cannot
//! block the rest, and a file of any size can be sent through an echo.
//!
//! ```text
//!   talking ──end of the input, all sent──▶ draining ──server ends, or long silence──▶ exit 0
//!      │                                       │
//!      └──server ends──▶ exit 1                └──Ctrl-C (always)──▶ exit 130
//! ```

use std::io::{self, BufRead, ErrorKind, IsTerminal};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fiveways::selector::{Events, Interest, Poll, Selector, Token};

use crate::connect::INTERRUPTED;
use crate::connect::args::ConnectArgs;
use crate::connect::connection::Connection;
use crate::connect::dial::{Dial, Failure};
use crate::connect::display::Display;
use crate::connect::interrupt::Interrupt;
use crate::connect::reason::{reason, span};
use crate::error::CliError;
use outbox::Outbox;

mod outbox;

const CTRL_C: Token = Token(0);
const SERVER: Token = Token(1);
const STDIN: Token = Token(2);

/// The prompt returns after this much silence, so that it does not interrupt answers.
const PROMPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes received at once.
const CHUNK: usize = 64 * 1024;

/// Runs a conversation.
pub(crate) fn run(args: &ConnectArgs, interrupt: &Interrupt) -> Result<ExitCode, CliError> {
    let connection = Dial::new(args, true).open().map_err(usage)?;
    let mut session = Session::new(args, connection).map_err(broken)?;
    session.selector.register(interrupt.as_fd(), Interest::READABLE, CTRL_C).map_err(broken)?;
    interrupt.take_over();
    let ended = session.converse();
    session.display.end()?;
    match ended? {
        End::Done => Ok(ExitCode::SUCCESS),
        End::Interrupted => {
            eprintln!("interrupted");
            Ok(ExitCode::from(INTERRUPTED))
        }
        End::Silence(wait) => {
            let hint = "--wait TIME waits longer, --wait 0s until the server ends";
            eprintln!("note: nothing arrived for {}, which ends the wait ({hint})", span(wait));
            Ok(ExitCode::SUCCESS)
        }
        End::Failed(what) => Err(CliError::failed(what)),
    }
}

fn usage(failure: Failure) -> CliError {
    let error = CliError::usage(failure.reason);
    match failure.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn broken(error: io::Error) -> CliError {
    CliError::usage(format!("cannot wait for input: {error}"))
}

/// How a conversation ends.
enum End {
    Done,
    Interrupted,
    Silence(Duration),
    Failed(String),
}

struct Session<'a> {
    args: &'a ConnectArgs,
    connection: Connection,
    selector: Poll,
    display: Display,
    outbox: Outbox,
    stdin_watched: bool,
    is_terminal: bool,
    /// When data was last sent or received.
    last: Instant,
    prompt_at: Option<Instant>,
    datagrams_received: u64,
    buf: Vec<u8>,
}

impl Session<'_> {
    fn new(args: &ConnectArgs, connection: Connection) -> io::Result<Session<'_>> {
        connection.set_nonblocking()?;
        let mut selector = Poll::new()?;
        selector.register(connection.as_fd(), Interest::READABLE, SERVER)?;
        let is_terminal = io::stdin().is_terminal();
        let now = Instant::now();
        Ok(Session {
            args,
            connection,
            selector,
            display: Display::new(args),
            outbox: Outbox::new(args.raw),
            stdin_watched: false,
            is_terminal,
            last: now,
            prompt_at: is_terminal.then_some(now),
            datagrams_received: 0,
            buf: vec![0; CHUNK],
        })
    }

    fn converse(&mut self) -> Result<End, CliError> {
        let mut events = Events::with_capacity(4);
        loop {
            if let Some(end) = self.prepare() {
                return Ok(end);
            }
            self.watch().map_err(broken)?;
            let deadline = [self.prompt_at, self.silence_ends()].into_iter().flatten().min();
            self.selector.wait(&mut events, deadline).map_err(broken)?;
            let happened = |token| events.iter().any(|event| event.token() == token);
            if happened(CTRL_C) {
                return Ok(End::Interrupted);
            }
            // Input is handled first: its end determines what the server's end means.
            if happened(STDIN) {
                self.read_input()?;
            }
            if happened(SERVER)
                && let Some(end) = self.receive()?
            {
                return Ok(end);
            }
        }
    }

    /// Does what is due before waiting: sends, prompts, checks whether all is done.
    fn prepare(&mut self) -> Option<End> {
        match self.outbox.send(&mut self.connection) {
            Ok(true) => self.last = Instant::now(),
            Ok(false) => {}
            // Data that the server sent before it closed is still to be shown: the read reports the
            // end.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.outbox.give_up(),
            Err(error) => return Some(End::Failed(reason(&error))),
        }
        let now = Instant::now();
        if self.prompt_at.is_some_and(|at| at <= now) {
            self.display.prompt(&self.args.prompt);
            self.prompt_at = None;
        }
        if self.outbox.is_finished() && self.connection.is_datagram() {
            let answered = self.datagrams_received >= self.outbox.datagrams();
            if answered {
                return Some(End::Done);
            }
        }
        let wait = self.args.wait()?;
        if self.silence_ends()? > now {
            return None;
        }
        let none = self.connection.is_datagram() && self.datagrams_received == 0;
        Some(if none {
            End::Failed(format!("no answer within {}", span(wait)))
        } else {
            End::Silence(wait)
        })
    }

    /// When silence after the end of stdin ends the wait for answers.
    fn silence_ends(&self) -> Option<Instant> {
        if !self.outbox.is_finished() {
            return None;
        }
        self.last.checked_add(self.args.wait()?)
    }

    /// Watches what is useful now: no input while lines wait to be sent.
    fn watch(&mut self) -> io::Result<()> {
        let sending = !self.outbox.is_empty();
        let interest =
            if sending { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.selector.modify(self.connection.as_fd(), interest, SERVER)?;
        let wanted = !sending && !self.outbox.is_ended();
        if wanted != self.stdin_watched {
            let stdin = io::stdin();
            if wanted {
                self.selector.register(stdin.as_fd(), Interest::READABLE, STDIN)?;
            } else {
                self.selector.deregister(stdin.as_fd())?;
            }
            self.stdin_watched = wanted;
        }
        Ok(())
    }

    fn read_input(&mut self) -> Result<(), CliError> {
        let mut stdin = io::stdin().lock();
        let count = match stdin.fill_buf() {
            Ok([]) => {
                self.outbox.end(&self.connection);
                self.last = Instant::now();
                self.prompt_at = None;
                return Ok(());
            }
            Ok(bytes) => {
                self.outbox.push(bytes, &self.connection);
                bytes.len()
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(CliError::usage(format!("cannot read stdin: {error}"))),
        };
        stdin.consume(count);
        if self.is_terminal {
            self.display.entered();
            // A line that is not sent gets no answer.
            let pause = if self.outbox.is_empty() { Duration::ZERO } else { PROMPT_PAUSE };
            self.prompt_at = Some(Instant::now() + pause);
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<End>, CliError> {
        let count = match self.connection.recv(&mut self.buf) {
            Ok(0) if !self.connection.is_datagram() => return Ok(Some(self.server_ended())),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Ok(Some(End::Failed(self.failed(&error)))),
        };
        self.last = Instant::now();
        self.datagrams_received += 1;
        let shown = &self.buf[..count];
        if self.connection.is_datagram() {
            self.display.show_line(shown)?;
        } else {
            self.display.show(shown)?;
        }
        if self.is_terminal && !self.outbox.is_ended() {
            self.prompt_at = Some(self.last + PROMPT_PAUSE);
        }
        Ok(None)
    }

    fn server_ended(&self) -> End {
        match self.outbox.is_complete() {
            true => End::Done,
            false => End::Failed("the server closed the connection".to_owned()),
        }
    }

    fn failed(&self, error: &io::Error) -> String {
        if self.connection.is_datagram() && error.kind() == ErrorKind::ConnectionRefused {
            return "nothing receives datagrams there (connection refused)".to_owned();
        }
        reason(error)
    }
}
