//! Ctrl-C: ends the program at once, or writes to a socket after `take_over`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fiveways::signal::handle_on_alternate_stack;
use signal_hook::consts::SIGINT;
use signal_hook::{flag, low_level};

use crate::connect::INTERRUPTED;

/// The handling of Ctrl-C.
#[derive(Debug)]
pub(crate) struct Interrupt {
    bell: UnixStream,
    /// `true` if the handler itself ends the program: until `take_over`.
    abrupt: Arc<AtomicBool>,
}

impl Interrupt {
    /// Starts handling Ctrl-C: it ends the program with the shells' status.
    pub(crate) fn new() -> io::Result<Interrupt> {
        let abrupt = Arc::new(AtomicBool::new(true));
        let status = i32::from(INTERRUPTED);
        flag::register_conditional_shutdown(SIGINT, status, Arc::clone(&abrupt))?;
        let (bell, hammer) = UnixStream::pair()?;
        low_level::pipe::register(SIGINT, hammer)?;
        handle_on_alternate_stack(SIGINT)?;
        Ok(Interrupt { bell, abrupt })
    }

    /// Takes over: from now on Ctrl-C makes the bell readable instead.
    pub(crate) fn take_over(&self) {
        self.abrupt.store(false, Ordering::SeqCst);
    }

    /// Returns a second handle to the bell, to be read on a thread.
    pub(crate) fn bell(&self) -> io::Result<UnixStream> {
        self.bell.try_clone()
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
