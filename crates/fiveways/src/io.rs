//! Standard input for tasks: reading a line does not block the worker.
//!
//! Standard input is shared with other processes (above all, the shell), so its mode is not
//! changed: waits for it go through the driver, and each read takes only what is available. A
//! regular file is always ready and read directly.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsFd;

use fiveways_runtime::spend_without_unwinding;
use fiveways_sys::lock::{Mutex, MutexGuard};
use fiveways_sys::pipe::{read_if_ready, standard_input};
use fiveways_sys::process::generation::PerProcess;
use fiveways_sys::process::set_once::SetOnce;

use crate::descriptor::Descriptor;

/// Bytes read at once.
const PIECE: usize = 8 * 1024;

static STDIN: SetOnce<Shared> = SetOnce::new();

struct Shared {
    descriptor: Descriptor,
    /// Bytes that were read and not yet returned; a fork does not inherit them. Locked for single
    /// reads only, never during a wait.
    buffer: PerProcess<Mutex<Vec<u8>>>,
}

/// The standard input of this process, for tasks and plain threads alike.
///
/// All handles share one buffer; each line is returned to one reader, whole. [`std::io::stdin`] has
/// a buffer of its own: use one or the other.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// for line in fiveways::io::stdin().lines() {
///     println!("you said {}", line?);
/// }
/// # Ok(())
/// # }
/// ```
#[doc(alias = "input")]
pub fn stdin() -> Stdin {
    Stdin(())
}

/// A handle to standard input: see [`stdin`].
pub struct Stdin(());

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdin").finish_non_exhaustive()
    }
}

impl Stdin {
    /// Reads a line including its line feed and appends it; returns 0 at the end of the input.
    ///
    /// # Suspends
    ///
    /// Until a whole line is available; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`; a partial line is left for the next reader.
    ///
    /// # Errors
    ///
    /// Any error of `read(2)`; `InvalidData` for a line that is not UTF-8, which is discarded.
    pub fn read_line(&self, line: &mut String) -> io::Result<usize> {
        let bytes = Shared::open()?.take_when(|buffer| {
            buffer.iter().position(|byte| *byte == b'\n').map(|newline| newline + 1)
        })?;
        match str::from_utf8(&bytes) {
            Ok(text) => line.push_str(text),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
        Ok(bytes.len())
    }

    /// Returns an iterator over the lines, without their line feeds.
    pub fn lines(self) -> Lines {
        Lines(self)
    }
}

impl Read for Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let room = buf.len();
        let is_enough = |buffer: &[u8]| (!buffer.is_empty()).then(|| buffer.len().min(room));
        let bytes = Shared::open()?.take_when(is_enough)?;
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

/// An iterator over the lines of standard input: see [`Stdin::lines`].
#[derive(Debug)]
pub struct Lines(Stdin);

impl Iterator for Lines {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<io::Result<String>> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => {
                if line.ends_with('\n') {
                    line.pop();
                    if line.ends_with('\r') {
                        line.pop();
                    }
                }
                Some(Ok(line))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl Shared {
    fn open() -> io::Result<&'static Shared> {
        if let Some(shared) = STDIN.get() {
            return Ok(shared);
        }
        let descriptor = Descriptor::new_shared(standard_input()?);
        Ok(STDIN.get_or_init(|| Shared { descriptor, buffer: PerProcess::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.buffer.get(Mutex::default).lock()
    }

    /// Takes as many bytes as `enough` returns, once it returns a number; at the end of the input,
    /// all.
    fn take_when(&self, enough: impl Fn(&[u8]) -> Option<usize>) -> io::Result<Vec<u8>> {
        spend_without_unwinding();
        loop {
            if let Some(bytes) = self.take_or_read(&enough)? {
                return Ok(bytes);
            }
            self.descriptor.wait(false, None)?;
        }
    }

    /// One check and one read; `None` if nothing more is available at this moment.
    fn take_or_read(&self, enough: impl Fn(&[u8]) -> Option<usize>) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = self.lock();
        let ended = match enough(&buffer) {
            Some(_) => false,
            None => match self.read_more(&mut buffer) {
                Ok(count) => count == 0,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        let count = enough(&buffer).or(ended.then_some(buffer.len()));
        Ok(count.map(|count| buffer.drain(..count).collect()))
    }

    fn read_more(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let start = buffer.len();
        buffer.resize(start + PIECE, 0);
        let read = read_if_ready(self.descriptor.as_fd(), &mut buffer[start..]);
        buffer.truncate(start + *read.as_ref().unwrap_or(&0));
        read
    }
}
