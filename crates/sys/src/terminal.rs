//! The size of a terminal.
//!
//! Reference: tty_ioctl(4), `TIOCGWINSZ`.

use std::os::fd::AsFd;

/// Returns the columns and lines of a terminal; `None` if it is none, or has no size.
pub fn size(terminal: impl AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_pipe_has_no_size() {
        let (end, _other) = std::io::pipe().expect("a pipe");
        assert_eq!(super::size(end), None);
    }
}
