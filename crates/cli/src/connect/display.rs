//! Output on stdout, and the prompt on stderr.
//!
//! The prompt goes to stderr, so that redirected answers stay clean. If an answer arrives while the
//! prompt is shown, the prompt's line is erased first.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::exit;

use crate::connect::args::ConnectArgs;
use crate::connect::text::Utf8Decoder;
use crate::error::CliError;

/// Erases a terminal's line.
const ERASE_LINE: &[u8] = b"\r\x1b[K";

/// Shows bytes as they arrive.
#[derive(Debug)]
pub(crate) struct Display {
    decoder: Utf8Decoder,
    binary: bool,
    is_terminal: bool,
    /// `true` if the prompt is shown at the end of the screen.
    prompted: bool,
    /// `true` if the cursor is at the beginning of a line.
    at_line_start: bool,
}

impl Display {
    /// Makes a display with nothing on it.
    pub(crate) fn new(args: &ConnectArgs) -> Display {
        Display {
            decoder: Utf8Decoder::default(),
            binary: args.binary,
            is_terminal: io::stdout().is_terminal(),
            prompted: false,
            at_line_start: true,
        }
    }

    /// Shows a piece of the data from the server.
    pub(crate) fn show(&mut self, piece: &[u8]) -> Result<(), CliError> {
        if self.binary {
            return self.write(piece);
        }
        let mut text = String::with_capacity(piece.len() + 4);
        self.decoder.decode(piece, &mut text);
        self.write(text.as_bytes())
    }

    /// Shows a whole reply on a line of its own.
    pub(crate) fn show_line(&mut self, reply: &[u8]) -> Result<(), CliError> {
        self.show(reply)?;
        self.finish()?;
        if self.binary || self.at_line_start { Ok(()) } else { self.write(b"\n") }
    }

    /// Shows the prompt, unless it is already shown.
    pub(crate) fn prompt(&mut self, prompt: &str) {
        if self.prompted {
            return;
        }
        let line_feed = if self.at_line_start { "" } else { "\n" };
        eprint!("{line_feed}{prompt}");
        (self.prompted, self.at_line_start) = (true, true);
    }

    /// Records that the user ended the prompt's line.
    pub(crate) fn entered(&mut self) {
        self.prompted = false;
    }

    /// Shows incomplete text that was held back, and leaves a terminal at the beginning of a line.
    pub(crate) fn end(&mut self) -> Result<(), CliError> {
        self.finish()?;
        if self.prompted {
            eprintln!();
            self.prompted = false;
        } else if self.is_terminal && !self.at_line_start {
            self.write(b"\n")?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), CliError> {
        let mut text = String::new();
        self.decoder.finish(&mut text);
        self.write(text.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let Some(last) = bytes.last() else {
            return Ok(());
        };
        let mut stdout = io::stdout().lock();
        let erase = if self.prompted && self.is_terminal { ERASE_LINE } else { b"" };
        let written = stdout.write_all(erase).and_then(|()| stdout.write_all(bytes));
        match written.and_then(|()| stdout.flush()) {
            Ok(()) => {
                (self.prompted, self.at_line_start) = (false, *last == b'\n');
                Ok(())
            }
            // The reader of the output has closed it.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(0),
            Err(error) => Err(CliError::usage(format!("cannot write to stdout: {error}"))),
        }
    }
}
