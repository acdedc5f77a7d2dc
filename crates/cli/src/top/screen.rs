//! A terminal that is redrawn, and restored at the end.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fiveways_sys::terminal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::dump::print;
use crate::error::CliError;

/// The other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// To the upper left corner; erase to the end of the line; and of the screen.
const HOME: &str = "\x1b[H";
const ERASE_LINE: &str = "\x1b[K\r\n";
const ERASE_REST: &str = "\x1b[J";

/// The terminal's alternate screen, until it is dropped.
#[derive(Debug)]
pub(crate) struct Screen {
    ended: Arc<AtomicBool>,
}

/// Columns and lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) lines: usize,
}

impl Screen {
    /// Opens the alternate screen; `None` if stdout is not a terminal, or signals cannot be caught.
    pub(crate) fn open() -> Option<Screen> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, Arc::clone(&ended)).ok()?;
        }
        print(ENTER).ok()?;
        Some(Screen { ended })
    }

    /// Returns `true` if the user has ended it.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(crate) fn size(&self) -> Size {
        let (columns, lines) = terminal::size(io::stdout()).unwrap_or((80, 24));
        Size { columns: columns.into(), lines: lines.into() }
    }

    /// Shows a text that fits the screen.
    pub(crate) fn show(&self, text: &str) -> Result<(), CliError> {
        let mut whole = String::from(HOME);
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let end = if number + 1 < lines.len() { ERASE_LINE } else { "\x1b[K" };
            // Writing to a string does not fail.
            let _ = write!(whole, "{line}{end}");
        }
        whole.push_str(ERASE_REST);
        print(&whole)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut stdout = io::stdout();
        // A terminal that is gone needs no restoring.
        let _ = stdout.write_all(LEAVE.as_bytes()).and_then(|()| stdout.flush());
    }
}
