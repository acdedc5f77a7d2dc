//! The part common to all socket types: a descriptor, its generation, its time limits.
//!
//! Time limits and the non-blocking mode are kept here and not in the kernel's socket, whose mode
//! stays blocking (I5): they are read per call, and a socket can move between coroutines, threads
//! and processes without a change of mode. (A limit that the kernel enforces as well for plain
//! threads is removed before the open socket gets other users.)
#![expect(unsafe_code, reason = "operations point at the caller's buffers")]

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::ManuallyDrop;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways_driver::{Direction, Op, Source};
use fiveways_runtime::{
    clock, close, control, forget, hand_to_thread, is_cancelled, perform, worker_index,
};
use fiveways_sys::net::message::{CLOSE_ON_EXEC, CONTROL_TRUNCATED, Message, Rights};
use fiveways_sys::net::{self, Address, Control, DONT_WAIT, Family, Kind, OptionName, Reply};

use crate::net::limits::Limits;

static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);

/// An open socket. Closing it notifies this thread's driver.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: ManuallyDrop<OwnedFd>,
    generation: u64,
    nonblocking: AtomicBool,
    pub(crate) limits: Limits,
}

impl Socket {
    /// Opens a new socket.
    pub(crate) fn open(family: Family, kind: Kind) -> io::Result<Socket> {
        match control(Control::Open(family, kind))? {
            Reply::Opened(fd) => Ok(Socket::from_fd(fd)),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Opens a connected pair of Unix sockets.
    pub(crate) fn pair(kind: Kind) -> io::Result<(Socket, Socket)> {
        match control(Control::Pair(kind))? {
            Reply::Pair(a, b) => Ok((Socket::from_fd(a), Socket::from_fd(b))),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Wraps a descriptor without another owner.
    pub(crate) fn from_fd(fd: OwnedFd) -> Socket {
        Socket {
            fd: ManuallyDrop::new(fd),
            generation: NEXT_GENERATION.fetch_add(1, Ordering::Relaxed),
            nonblocking: AtomicBool::new(false),
            limits: Limits::default(),
        }
    }

    /// Wraps a descriptor that comes from elsewhere, in any mode, and sets the mode in which it is
    /// used here: blocking, or non-blocking for a listener (I5).
    pub(crate) fn taken_over(fd: OwnedFd, listens: bool) -> Socket {
        // A failure means that it is no socket, which the first call will report.
        let _ = net::set_nonblocking(fd.as_fd(), listens);
        Socket::from_fd(fd)
    }

    /// Returns the descriptor without closing it.
    pub(crate) fn into_fd(self) -> OwnedFd {
        let source = self.source();
        self.limits.give_up(source.fd);
        let mut this = ManuallyDrop::new(self);
        // SAFETY: required: not used again. `this` is never dropped nor looked at after this.
        let fd = unsafe { ManuallyDrop::take(&mut this.fd) };
        forget(source);
        fd
    }

    pub(crate) fn try_clone(&self) -> io::Result<Socket> {
        let fd = net::duplicate(self.as_fd())?;
        let mut clone = Socket::from_fd(fd);
        clone.limits = self.limits.of_clone();
        clone.nonblocking.store(self.is_nonblocking(), Ordering::Relaxed);
        Ok(clone)
    }

    #[inline]
    pub(crate) fn source(&self) -> Source {
        Source { fd: self.fd.as_raw_fd(), generation: self.generation }
    }

    #[inline]
    pub(crate) fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    pub(crate) fn set_nonblocking(&self, on: bool) {
        self.nonblocking.store(on, Ordering::Relaxed);
    }

    /// The flag for a data call: `MSG_DONTWAIT` in non-blocking mode.
    #[inline]
    fn flags(&self) -> u32 {
        if self.is_nonblocking() { DONT_WAIT } else { 0 }
    }

    pub(crate) fn write_deadline(&self) -> Option<Instant> {
        self.limits.deadline(Direction::Write)
    }

    pub(crate) fn read_timeout(&self) -> Option<Duration> {
        self.limits.timeout(Direction::Read)
    }

    pub(crate) fn write_timeout(&self) -> Option<Duration> {
        self.limits.timeout(Direction::Write)
    }

    pub(crate) fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.limits.set_timeout(Direction::Read, limit)
    }

    pub(crate) fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.limits.set_timeout(Direction::Write, limit)
    }

    #[inline]
    pub(crate) fn recv(&self, buf: &mut [u8], flags: u32) -> io::Result<usize> {
        let (source, flags) = (self.source(), flags | self.flags());
        let op = Op::Recv { source, buf: buf.as_mut_ptr(), len: buf.len(), flags };
        // SAFETY: required: `buf` valid and in place until this returns. It is borrowed.
        unsafe { self.limits.perform(op) }
    }

    #[inline]
    pub(crate) fn send(&self, buf: &[u8], flags: u32) -> io::Result<usize> {
        let (source, flags) = (self.source(), flags | self.flags());
        let op = Op::Send { source, buf: buf.as_ptr(), len: buf.len(), flags };
        // SAFETY: required: `buf` valid and in place until this returns. It is borrowed.
        unsafe { self.limits.perform(op) }
    }

    pub(crate) fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut message = Message::new();
        // SAFETY: required: valid until the header is no longer used. `bufs` outlives `message`.
        unsafe { message.buffers(bufs.as_ptr().cast(), bufs.len()) };
        self.recv_message(&mut message, 0)
    }

    pub(crate) fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut message = Message::new();
        // SAFETY: required: valid until the header is no longer used. `bufs` outlives `message`.
        unsafe { message.buffers(bufs.as_ptr().cast(), bufs.len()) };
        self.send_message(&mut message, 0)
    }

    /// Receives one datagram; returns its sender's address if it has one.
    pub(crate) fn recv_from(
        &self,
        buf: &mut [u8],
        flags: u32,
    ) -> io::Result<(usize, Option<Address>)> {
        let bufs = [IoSliceMut::new(buf)];
        let mut message = Message::new();
        message.want_name();
        // SAFETY: required: valid until the header is no longer used. `bufs` outlives `message`.
        unsafe { message.buffers(bufs.as_ptr().cast(), bufs.len()) };
        let count = self.recv_message(&mut message, flags)?;
        Ok((count, message.name()))
    }

    /// Sends one datagram, to the connected peer or to an address.
    pub(crate) fn send_to(
        &self,
        buf: &[u8],
        address: Option<&Address>,
        flags: u32,
    ) -> io::Result<usize> {
        let bufs = [IoSlice::new(buf)];
        let mut message = Message::new();
        if let Some(address) = address {
            message.set_name(address);
        }
        // SAFETY: required: valid until the header is no longer used. `bufs` outlives `message`.
        unsafe { message.buffers(bufs.as_ptr().cast(), bufs.len()) };
        self.send_message(&mut message, flags)
    }

    /// Sends bytes of a stream, and a descriptor with the first of them.
    pub(crate) fn send_with(&self, buf: &[u8], fd: BorrowedFd<'_>) -> io::Result<usize> {
        let bufs = [IoSlice::new(buf)];
        let mut rights = Rights::one(fd);
        let (control, len) = rights.as_control();
        let mut message = Message::new();
        // SAFETY: required: valid until the header is no longer used. `bufs` outlives `message`.
        unsafe { message.buffers(bufs.as_ptr().cast(), bufs.len()) };
        // SAFETY: required: as above. `rights` outlives `message`.
        unsafe { message.control(control, len) };
        self.send_message(&mut message, 0)
    }

    /// Receives bytes of a stream, and the descriptors that came with them. Also returns whether
    /// there were more descriptors than could be taken.
    pub(crate) fn recv_with(
        &self,
        buf: &mut [u8],
        fds: &mut Vec<OwnedFd>,
    ) -> io::Result<(usize, bool)> {
        let bufs = [IoSliceMut::new(buf)];
        let mut rights = Rights::room();
        let (control, len) = rights.as_control();
        let mut message = Message::new();
        // SAFETY: required: valid until the header is no longer used. `bufs` outlives `message`.
        unsafe { message.buffers(bufs.as_ptr().cast(), bufs.len()) };
        // SAFETY: required: as above. `rights` outlives `message`.
        unsafe { message.control(control, len) };
        let count = self.recv_message(&mut message, CLOSE_ON_EXEC)?;
        // SAFETY: required: filled by a successful receive, taken once. It was, just now.
        fds.extend(unsafe { rights.take(message.control_len()) });
        Ok((count, message.flags() & CONTROL_TRUNCATED != 0))
    }

    fn recv_message(&self, message: &mut Message, flags: u32) -> io::Result<usize> {
        let (source, flags) = (self.source(), flags | self.flags());
        let op = Op::RecvMsg { source, header: message.prepare(), flags };
        // SAFETY: required: a prepared header in place until this returns. `message` is borrowed.
        unsafe { self.limits.perform(op) }
    }

    fn send_message(&self, message: &mut Message, flags: u32) -> io::Result<usize> {
        let (source, flags) = (self.source(), flags | self.flags());
        let op = Op::SendMsg { source, header: message.prepare(), flags };
        // SAFETY: required: a prepared header in place until this returns. `message` is borrowed.
        unsafe { self.limits.perform(op) }
    }

    /// Accepts one connection, and returns its peer's address as reported by the accept itself: a
    /// connection that was reset while it was queued has no address to ask for, but may still
    /// deliver bytes.
    pub(crate) fn accept(&self) -> io::Result<(Socket, Option<Address>)> {
        let mut peer = None;
        let op = Op::Accept { source: self.source(), peer: &mut peer };
        let at_once = self.is_nonblocking().then(clock::now);
        // SAFETY: required: `peer` in place until this returns. It is a local of this frame.
        let answer = unsafe { self.perform_at_once_or(op, at_once) };
        let answer = answer.map_err(|error| if_at_once(at_once, error))?;
        // SAFETY: required: a descriptor nobody else owns. An accept answers with that.
        let fd = unsafe { net::own(answer as RawFd) };
        Ok((Socket::from_fd(fd), peer))
    }

    /// Performs an operation without waiting in non-blocking mode, otherwise within the limits.
    ///
    /// # Safety
    ///
    /// Those of [`perform`].
    #[inline]
    pub(crate) unsafe fn perform_at_once_or(
        &self,
        op: Op,
        at_once: Option<Instant>,
    ) -> io::Result<usize> {
        if at_once.is_none() {
            // SAFETY: required: what the operation points at stays; passed on to our caller.
            return unsafe { self.limits.perform(op) };
        }
        // SAFETY: required: as above.
        let answer = unsafe { perform(op, at_once) };
        answer.inspect(|count| self.limits.note(&op, *count))
    }

    /// Lends the descriptor to a caller that may duplicate it, and that knows of no limits.
    pub(crate) fn lend_fd(&self) -> BorrowedFd<'_> {
        self.limits.give_away(self.fd.as_raw_fd());
        self.as_fd()
    }

    /// Makes this thread's driver forget the socket, which is about to leave the thread.
    pub(crate) fn leave(&self) {
        forget(self.source());
    }

    /// Waits until the descriptor is readable (or writable), at its end, or in error.
    pub(crate) fn wait_ready(&self, writable: bool, by: Option<Instant>) -> io::Result<()> {
        let source = self.source();
        let op = if writable { Op::Writable { source } } else { Op::Readable { source } };
        // SAFETY: required: what the operation points at stays. It points at nothing.
        unsafe { perform(op, by) }.map(drop)
    }

    /// Connects a stream socket.
    pub(crate) fn connect(&self, address: &Address, by: Option<Instant>) -> io::Result<()> {
        let op = Op::Connect { source: self.source(), address };
        // SAFETY: required: `address` valid and in place until this returns. It is borrowed.
        unsafe { perform(op, by) }.map(drop)
    }

    pub(crate) fn bind(&self, address: &Address) -> io::Result<()> {
        control(Control::Bind(self.as_fd(), address)).map(drop)
    }

    /// Connects a datagram socket: sets its default peer, without waiting.
    pub(crate) fn set_peer(&self, address: &Address) -> io::Result<()> {
        control(Control::Connect(self.as_fd(), address)).map(drop)
    }

    /// Starts listening. A listener is non-blocking in the kernel: accept has no per-call flag
    /// (I5).
    pub(crate) fn listen(&self, backlog: i32) -> io::Result<()> {
        control(Control::SetNonblocking(self.as_fd(), true))?;
        control(Control::Listen(self.as_fd(), backlog)).map(drop)
    }

    pub(crate) fn local_name(&self) -> io::Result<Address> {
        name(control(Control::LocalName(self.as_fd()))?)
    }

    pub(crate) fn peer_name(&self) -> io::Result<Address> {
        name(control(Control::PeerName(self.as_fd()))?)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        control(Control::Shutdown(self.as_fd(), how)).map(drop)
    }

    pub(crate) fn set_option(&self, name: OptionName, value: i32) -> io::Result<()> {
        self.set_option_bytes(name, &value.to_ne_bytes())
    }

    pub(crate) fn set_option_bytes(&self, name: OptionName, value: &[u8]) -> io::Result<()> {
        control(Control::SetOption(self.as_fd(), name, value)).map(drop)
    }

    pub(crate) fn option(&self, name: OptionName) -> io::Result<i32> {
        let mut value = [0_u8; 4];
        self.option_bytes(name, &mut value)?;
        Ok(i32::from_ne_bytes(value))
    }

    /// Reads an option whose value is not an integer.
    pub(crate) fn option_bytes(&self, name: OptionName, value: &mut [u8]) -> io::Result<()> {
        control(Control::Option(self.as_fd(), name, value)).map(drop)
    }

    /// The value of `SO_LINGER`.
    pub(crate) fn linger(&self) -> io::Result<Option<Duration>> {
        let mut value = [0_u8; 8];
        self.option_bytes(net::option_name::LINGER, &mut value)?;
        let [on, seconds] =
            [0, 4].map(|at| i32::from_ne_bytes(std::array::from_fn(|i| value[at + i])));
        Ok((on != 0).then(|| Duration::from_secs(seconds.max(0) as u64)))
    }

    /// Returns `true` if closing it would wait for written data to arrive.
    fn lingers(&self) -> bool {
        matches!(self.linger(), Ok(Some(limit)) if !limit.is_zero())
    }

    /// Takes the socket's pending error.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let errno = self.option(net::option_name::ERROR)?;
        Ok((errno != 0).then(|| io::Error::from_raw_os_error(errno)))
    }
}

fn unexpected(reply: &Reply) -> io::Error {
    io::Error::other(format!("the driver answered a control call with {reply:?}"))
}

fn name(reply: Reply) -> io::Result<Address> {
    match reply {
        Reply::Name(Some(address)) => Ok(address),
        Reply::Name(None) => Err(io::ErrorKind::NotConnected.into()),
        reply => Err(unexpected(&reply)),
    }
}

/// Converts an internet address.
pub(crate) fn inet(address: Address) -> io::Result<SocketAddr> {
    SocketAddr::try_from(address).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, "the socket has no internet address")
    })
}

/// Formats a socket as std does: an address that is not available is left out.
pub(crate) fn debug<A: fmt::Debug, const N: usize>(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    names: [(&str, io::Result<A>); N],
    fd: RawFd,
) -> fmt::Result {
    let mut fields = f.debug_struct(what);
    for (field, name) in names {
        if let Ok(name) = name {
            fields.field(field, &name);
        }
    }
    fields.field("fd", &fd).finish()
}

/// In non-blocking mode, an expired deadline means that the call would have had to wait.
pub(crate) fn if_at_once(at_once: Option<Instant>, error: io::Error) -> io::Error {
    if at_once.is_some() && error.kind() == io::ErrorKind::TimedOut {
        return io::ErrorKind::WouldBlock.into();
    }
    error
}

/// How many bytes a graceful close reads at once, and in total.
const REST_PIECE: usize = 16 << 10;
const REST_MOST: usize = 64 << 20;

impl Socket {
    /// Shuts down the sending side, and reads what the peer still sends, until it closes too or the
    /// limit has passed: a close with unread bytes would be a reset, which makes the peer lose what
    /// it has not read yet.
    #[cold]
    fn close_in_order(&self, limit: Duration) {
        let Some(end) = clock::after(limit) else { return };
        self.limits.end_by(Some(end));
        if self.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut rest = vec![0; REST_PIECE];
        let mut read = 0;
        while read < REST_MOST {
            match self.recv(&mut rest, 0) {
                Ok(0) => return,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The limit has passed, the task is cancelled, or the peer is gone.
                Err(_) => return,
            }
        }
    }
}

/// Closes a descriptor whose close may block, on a thread where that delays nobody.
#[cold]
fn close_elsewhere(fd: OwnedFd) {
    let number = fd.as_raw_fd();
    if let Err(call) = hand_to_thread(Box::new(move || drop(fd))) {
        // All threads are busy: the kernel then sends what is left in the background, without a
        // limit.
        let _ = net::set_option(number, net::option_name::LINGER, &[0; 8]);
        drop(call);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(limit) = self.limits.linger_close()
            && !thread::panicking()
            && !is_cancelled()
        {
            self.close_in_order(limit);
        }
        let source = self.source();
        let lingers = worker_index().is_some() && self.lingers();
        // SAFETY: required: not used again. This is the drop.
        let fd = unsafe { ManuallyDrop::take(&mut self.fd) };
        if lingers {
            forget(source);
            close_elsewhere(fd);
        } else {
            close(source, fd);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
