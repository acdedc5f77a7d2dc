//! Sending connections to another process, over a Unix stream.
//!
//! The kernel duplicates the descriptor into the message (`SCM_RIGHTS`, unix(7)); in transit it
//! belongs to the message, so it is closed if the receiver dies before it reads. See
//! [`frame`](super::frame) for the bytes.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use fiveways_sys::errno;
use fiveways_sys::net::{self, option_name};

use crate::handoff::detached::{Connection, Detached, Failed, Kind};
use crate::handoff::frame::{BYTES_MAX, FrameError, HEADER, Header, SEAL};
use crate::net::End;
use crate::net::UnixStream;
use crate::net::socket::Socket;

/// Bytes received at once.
const PIECE: usize = 64 * 1024;

/// Sends a connection to the process at the other end of a Unix stream, and closes it here.
///
/// Unread and unsent bytes are sent with it (up to 16 MiB), and its time limits; the idle limit
/// starts again in the receiver. From then on only the receiver has it. If the receiver dies before
/// it has received the connection, the connection is closed, and its peer sees the end.
///
/// Only whole connections are sent over a channel, one after the other; it is borrowed mutably so
/// that two cannot mix.
///
/// # Suspends
///
/// While the channel is full.
///
/// # Cancellation
///
/// Fails with `ECANCELED` while it waits.
///
/// # Errors
///
/// The error returns the connection to the sender: `TimedOut` after the deadline; `InvalidInput` if
/// too many bytes are unread and unsent; any error of the channel. If a part had already been sent,
/// the channel is unusable: it is shut down for writing, so that the receiver sees it too.
#[doc(alias = "SCM_RIGHTS")]
#[doc(alias = "send_handle")]
pub fn send<S: Connection>(
    channel: &mut UnixStream,
    detached: Detached<S>,
    deadline: Option<Instant>,
) -> Result<(), Failed<Detached<S>>> {
    let _limited = Limited::new(channel, deadline);
    match send_parts(channel.socket(), &detached) {
        Ok(()) => Ok(()),
        Err(error) => Err(Failed::new(detached, error)),
    }
}

/// A channel whose calls end at a deadline, until this is dropped.
struct Limited<'a>(&'a Socket, End);

impl<'a> Limited<'a> {
    fn new(channel: &'a UnixStream, deadline: Option<Instant>) -> Limited<'a> {
        let socket = channel.socket();
        Limited(socket, socket.limits.end_by(deadline))
    }
}

impl Drop for Limited<'_> {
    fn drop(&mut self) {
        self.0.limits.set_end_back(self.1);
    }
}

/// A channel in the middle of a frame: shut down on drop.
struct Begun<'a>(Option<&'a Socket>);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(channel) = self.0 {
            // It may be closed already.
            let _ = channel.shutdown(Shutdown::Write);
        }
    }
}

fn send_parts<S: Connection>(channel: &Socket, detached: &Detached<S>) -> io::Result<()> {
    let (unread, unsent) = (detached.unread(), detached.unsent());
    let len = unread.len() + unsent.len();
    if len > BYTES_MAX {
        let message = format!("{len} bytes are unread or unsent, more than {BYTES_MAX}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let header = Header {
        kind: S::KIND,
        unread: unread.len(),
        unsent: unsent.len(),
        read_limit: detached.parts().socket.read_timeout(),
        write_limit: detached.parts().socket.write_timeout(),
        idle_limit: detached.parts().socket.limits.idle_timeout(),
    };
    let mut begun = Begun(None);
    for bytes in [&header.encode(), unread, unsent] {
        send_all(channel, bytes, &mut begun)?;
    }
    retry(|| channel.send_with(&[SEAL], detached.as_fd()))?;
    begun.0 = None;
    Ok(())
}

fn send_all<'a>(channel: &'a Socket, mut bytes: &[u8], begun: &mut Begun<'a>) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = retry(|| channel.send(bytes, 0))?;
        begun.0 = Some(channel);
        bytes = &bytes[count..];
    }
    Ok(())
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The error of receiving a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The channel failed, or the deadline passed, before any byte of a connection; or no
    /// descriptor was left for one that had arrived completely. The channel is still usable.
    Channel(io::Error),
    /// The channel failed, or the deadline passed, in the middle of a connection, which is lost.
    /// The channel was shut down.
    Begun(io::Error),
    /// The received bytes are not a valid connection. The channel was shut down.
    Frame(FrameError),
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiveError::Channel(error) => write!(f, "the channel failed: {error}"),
            ReceiveError::Begun(error) => {
                write!(f, "the channel was ended in the middle of a connection: {error}")
            }
            ReceiveError::Frame(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReceiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReceiveError::Channel(error) | ReceiveError::Begun(error) => Some(error),
            ReceiveError::Frame(error) => Some(error),
        }
    }
}

impl From<io::Error> for ReceiveError {
    fn from(error: io::Error) -> ReceiveError {
        ReceiveError::Channel(error)
    }
}

impl From<FrameError> for ReceiveError {
    fn from(error: FrameError) -> ReceiveError {
        ReceiveError::Frame(error)
    }
}

impl From<ReceiveError> for io::Error {
    fn from(error: ReceiveError) -> io::Error {
        match error {
            ReceiveError::Channel(error) => error,
            // Not of the kind of its cause: a `TimedOut` would invite a retry.
            begun @ ReceiveError::Begun(_) => {
                io::Error::new(io::ErrorKind::ConnectionAborted, begun)
            }
            ReceiveError::Frame(error) => io::Error::new(io::ErrorKind::InvalidData, error),
        }
    }
}

/// Receives a connection that another process has sent with [`send`]; returns `None` if that has
/// closed the channel and no connection is left in it.
///
/// The channel must be used for nothing else; in particular it must not be read with `BufRead`,
/// which reads ahead and would lose descriptors.
///
/// # Suspends
///
/// Until a whole connection has arrived.
///
/// # Cancellation
///
/// Fails with `ECANCELED` while it waits; in the middle of a connection that shuts down the
/// channel.
///
/// # Errors
///
/// [`ReceiveError::Channel`]: `TimedOut` after the deadline; `InvalidInput` if the channel has been
/// read ahead; `EMFILE` if this process has no descriptor left for the connection, which is then
/// lost. [`ReceiveError::Begun`] for the same in the middle of a connection: where the next one
/// begins is then unknown, and the unread bytes of a connection were written by its peer, which is
/// not trusted. [`ReceiveError::Frame`] for anything that is not a connection of the requested
/// kind. With these two the channel is shut down for reading and emptied, so that later calls find
/// its end and the sender an error. All descriptors that arrived are closed.
#[doc(alias = "recv_handle")]
pub fn receive<S: Connection>(
    channel: &mut UnixStream,
    deadline: Option<Instant>,
) -> Result<Option<Detached<S>>, ReceiveError> {
    if channel.is_ahead() {
        let message = "the channel has been read ahead: descriptors may be lost";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message).into());
    }
    let _limited = Limited::new(channel, deadline);
    let mut receiver = Receiver { channel: channel.socket(), fds: Vec::new(), begun: false };
    let Some((header, unread, unsent, fd)) = receiver.frame()? else { return Ok(None) };
    if header.kind != S::KIND || kind_of(&fd) != Some(S::KIND) {
        receiver.begun = true;
        return Err(FrameError::OtherKind.into());
    }
    let detached = Detached::from_parts(fd, unread, unsent);
    detached.parts().socket.set_read_timeout(header.read_limit)?;
    detached.parts().socket.set_write_timeout(header.write_limit)?;
    detached.parts().socket.limits.set_idle_timeout(header.idle_limit)?;
    Ok(Some(detached))
}

/// A header, the unread and unsent bytes, and the descriptor.
type Frame = (Header, Vec<u8>, Vec<u8>, OwnedFd);

/// The receiving side of one frame. Dropped in the middle of it, it shuts down the channel.
struct Receiver<'a> {
    channel: &'a Socket,
    /// Received descriptors; closed if the frame is not completed.
    fds: Vec<OwnedFd>,
    /// `true` if a part of the frame has been received, and not all of it.
    begun: bool,
}

impl Drop for Receiver<'_> {
    fn drop(&mut self) {
        if !self.begun {
            return;
        }
        // From now on its sender gets errors, so what is left in it is all there is: it could still
        // be read. Descriptors in it are closed by the kernel.
        if self.channel.shutdown(Shutdown::Read).is_ok() {
            let mut rest = vec![0; PIECE];
            while matches!(net::recv_now(self.channel.as_fd(), &mut rest), Ok(1..)) {}
        }
    }
}

impl Receiver<'_> {
    /// Receives a frame; `None` at the end of the channel.
    fn frame(&mut self) -> Result<Option<Frame>, ReceiveError> {
        let mut header = [0; HEADER];
        match self.fill(&mut header)? {
            0 => return Ok(None),
            HEADER => {}
            _ => return Err(FrameError::Truncated.into()),
        }
        let header = Header::decode(&header)?;
        let unread = self.bytes(header.unread)?;
        let unsent = self.bytes(header.unsent)?;
        Ok(Some((header, unread, unsent, self.seal()?)))
    }

    /// Receives once, and never beyond the frame: the next frame's descriptor must stay with it.
    fn once(&mut self, buf: &mut [u8]) -> Result<usize, ReceiveError> {
        let mut cut = false;
        let received = retry(|| {
            let received = self.channel.recv_with(buf, &mut self.fds);
            received.map(|(count, truncated)| {
                cut = truncated;
                count
            })
        });
        let count = match received {
            Ok(count) => count,
            Err(error) if self.begun => return Err(ReceiveError::Begun(error)),
            Err(error) => return Err(ReceiveError::Channel(error)),
        };
        self.begun |= count > 0;
        match (cut, self.fds.is_empty()) {
            // One was sent, and this process has no number left for it: the kernel has closed it.
            (true, true) => Err(ReceiveError::Begun(io::Error::from_raw_os_error(errno::EMFILE))),
            (true, false) => Err(FrameError::StrayDescriptors.into()),
            (false, _) => Ok(count),
        }
    }

    /// Receives until the buffer is full or the channel ends; no descriptor may come with it.
    fn fill(&mut self, buf: &mut [u8]) -> Result<usize, ReceiveError> {
        let mut filled = 0;
        while filled < buf.len() {
            let count = self.once(&mut buf[filled..])?;
            if !self.fds.is_empty() {
                return Err(FrameError::StrayDescriptors.into());
            }
            if count == 0 {
                break;
            }
            filled += count;
        }
        Ok(filled)
    }

    /// Receives this many bytes. Memory is allocated as they arrive: their number is unverified.
    fn bytes(&mut self, len: usize) -> Result<Vec<u8>, ReceiveError> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let start = bytes.len();
            let end = len.min(start + PIECE);
            bytes.resize(end, 0);
            if self.fill(&mut bytes[start..])? < end - start {
                return Err(FrameError::Truncated.into());
            }
        }
        Ok(bytes)
    }

    /// Receives the seal and the descriptor that comes with it. Then the frame is complete.
    fn seal(&mut self) -> Result<OwnedFd, ReceiveError> {
        let mut seal = [0];
        match (self.once(&mut seal), seal[0]) {
            (Err(ReceiveError::Begun(error)), SEAL) => {
                self.begun = false;
                return Err(ReceiveError::Channel(error));
            }
            (Err(error), _) => return Err(error),
            (Ok(0), _) => return Err(FrameError::Truncated.into()),
            (Ok(_), SEAL) => {}
            (Ok(_), _) => return Err(FrameError::NotAFrame.into()),
        }
        match (self.fds.pop(), self.fds.is_empty()) {
            (Some(fd), true) => {
                self.begun = false;
                Ok(fd)
            }
            (None, _) => Err(FrameError::NoDescriptor.into()),
            (Some(_), false) => Err(FrameError::StrayDescriptors.into()),
        }
    }
}

/// Returns the kind of connection a descriptor is, if it is one.
fn kind_of(fd: &OwnedFd) -> Option<Kind> {
    use fiveways_sys::net::option;
    use std::os::fd::AsRawFd;
    let ask = |name| {
        let mut value = [0; 4];
        option(fd.as_raw_fd(), name, &mut value).ok().map(|_| i32::from_ne_bytes(value))
    };
    if ask(option_name::TYPE)? != net::STREAM || ask(option_name::IS_LISTENING)? != 0 {
        return None;
    }
    match ask(option_name::DOMAIN)? {
        net::UNIX => Some(Kind::Unix),
        _ if ask(option_name::PROTOCOL)? == net::TCP => Some(Kind::Tcp),
        _ => None,
    }
}
