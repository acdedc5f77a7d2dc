//! Echo in a hand-written io_uring loop: what one thread can do on completion with no runtime.
//!
//! Multishot accept, one multishot receive per connection into a shared ring of staggered 64 KiB
//! buffers, and one send at a time per connection straight from the buffer the bytes arrived in, so
//! that the echo keeps its order. A send that comes back short is sent on; a buffer returns to the
//! ring when its bytes are gone. A receive that found no buffer is armed again once some returned.
//!
//! A descriptor is closed only when no operation on it is left in the kernel, so a completion can
//! never meet a reused descriptor. Deliberately missing: a bound on how many buffers one client
//! may hold by not reading. This is a yardstick, not a server.

mod buffers;

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};

use buffers::Buffers;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use peers_launch::{announce, listen};

const RING_ENTRIES: u32 = 4096;
const COMPLETION_ENTRIES: u32 = 32 * 1024;
const COMPLETIONS_PER_BATCH: usize = 256;

/// What an operation was, in the upper half of its user data; its descriptor is the lower half.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;

/// Received bytes on their way back.
#[derive(Clone, Copy, Default)]
struct Piece {
    buffer: u16,
    start: u32,
    end: u32,
}

/// One connection, found by its descriptor.
#[derive(Default)]
struct Connection {
    /// A multishot receive is in the kernel.
    is_receiving: bool,
    /// A send of `sending` is in the kernel.
    is_sending: bool,
    /// The peer closed, or an operation failed: no receive is armed again.
    is_over: bool,
    sending: Piece,
    /// Pieces that wait for their turn behind `sending`.
    queue: VecDeque<Piece>,
}

struct Server {
    ring: IoUring,
    buffers: Buffers,
    connections: Vec<Connection>,
    /// Connections whose receive ended because the buffers were used up.
    starved: Vec<RawFd>,
}

fn main() -> io::Result<()> {
    let listener = listen()?;
    announce(&listener)?;
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_cqsize(COMPLETION_ENTRIES)
        .build(RING_ENTRIES)?;
    let buffers = Buffers::register(&ring)?;
    let connections = Vec::new();
    Server { ring, buffers, connections, starved: Vec::new() }.run(listener.as_raw_fd())
}

impl Server {
    fn run(&mut self, listener: RawFd) -> io::Result<()> {
        self.arm_accept(listener)?;
        let mut batch = [const { MaybeUninit::uninit() }; COMPLETIONS_PER_BATCH];
        loop {
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                // The completion queue is full: drain it and go on.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            loop {
                let completions = self.ring.completion().fill(&mut batch);
                if completions.is_empty() {
                    break;
                }
                for completion in &*completions {
                    self.on_completion(completion, listener)?;
                }
            }
            if self.buffers.publish() {
                self.feed_starved()?;
            }
        }
    }

    fn on_completion(&mut self, entry: &cqueue::Entry, listener: RawFd) -> io::Result<()> {
        let fd = entry.user_data() as u32 as RawFd;
        match entry.user_data() >> 32 << 32 {
            RECEIVE => self.on_received(fd, entry.result(), entry.flags()),
            SEND => self.on_sent(fd, entry.result()),
            _ => self.on_accepted(entry.result(), entry.flags(), listener),
        }
    }

    fn on_accepted(&mut self, fd: i32, flags: u32, listener: RawFd) -> io::Result<()> {
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(-fd));
        }
        set_nodelay(fd);
        let index = fd as usize;
        if index >= self.connections.len() {
            self.connections.resize_with(index + 1, Connection::default);
        }
        self.connections[index] = Connection::default();
        self.arm_receive(fd)?;
        if cqueue::more(flags) { Ok(()) } else { self.arm_accept(listener) }
    }

    fn on_received(&mut self, fd: RawFd, result: i32, flags: u32) -> io::Result<()> {
        let connection = &mut self.connections[fd as usize];
        connection.is_receiving = cqueue::more(flags);
        let buffer = cqueue::buffer_select(flags);
        if let (Some(buffer), true) = (buffer, result > 0) {
            let piece = Piece { buffer, start: 0, end: result as u32 };
            if connection.is_over {
                self.buffers.recycle(buffer);
            } else if connection.is_sending {
                connection.queue.push_back(piece);
            } else {
                self.submit_send(fd, piece)?;
            }
        } else if result == -libc::ENOBUFS {
            self.starved.push(fd);
            return Ok(());
        } else {
            if let Some(buffer) = buffer {
                self.buffers.recycle(buffer);
            }
            connection.is_over = true;
        }
        let connection = &self.connections[fd as usize];
        if !connection.is_receiving && !connection.is_over {
            return self.arm_receive(fd);
        }
        self.close_if_done(fd);
        Ok(())
    }

    fn on_sent(&mut self, fd: RawFd, result: i32) -> io::Result<()> {
        let connection = &mut self.connections[fd as usize];
        connection.is_sending = false;
        let mut piece = connection.sending;
        if result <= 0 {
            self.abandon(fd);
            return Ok(());
        }
        piece.start += result as u32;
        if piece.start < piece.end {
            return self.submit_send(fd, piece);
        }
        self.buffers.recycle(piece.buffer);
        if let Some(next) = connection.queue.pop_front() {
            return self.submit_send(fd, next);
        }
        self.close_if_done(fd);
        Ok(())
    }

    /// Gives up a connection whose peer is gone: its buffers return, its receive is made to end.
    fn abandon(&mut self, fd: RawFd) {
        let connection = &mut self.connections[fd as usize];
        connection.is_over = true;
        self.buffers.recycle(connection.sending.buffer);
        for piece in std::mem::take(&mut connection.queue) {
            self.buffers.recycle(piece.buffer);
        }
        // SAFETY: `fd` is open until `close_if_done`; the armed receive then completes with 0.
        unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
        self.close_if_done(fd);
    }

    fn close_if_done(&mut self, fd: RawFd) {
        let connection = &self.connections[fd as usize];
        let is_starved = || self.starved.contains(&fd);
        if !connection.is_over || connection.is_receiving || connection.is_sending || is_starved() {
            return;
        }
        // SAFETY: no operation on `fd` is left in the kernel and no list names it.
        unsafe { libc::close(fd) };
    }

    fn feed_starved(&mut self) -> io::Result<()> {
        for fd in std::mem::take(&mut self.starved) {
            if self.connections[fd as usize].is_over {
                self.close_if_done(fd);
            } else {
                self.arm_receive(fd)?;
            }
        }
        Ok(())
    }

    fn arm_accept(&mut self, listener: RawFd) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(types::Fd(listener)).flags(libc::SOCK_CLOEXEC);
        self.push(&entry.build().user_data(ACCEPT))
    }

    fn arm_receive(&mut self, fd: RawFd) -> io::Result<()> {
        self.connections[fd as usize].is_receiving = true;
        let entry = opcode::RecvMulti::new(types::Fd(fd), buffers::GROUP).build();
        self.push(&entry.user_data(RECEIVE | fd as u64))
    }

    fn submit_send(&mut self, fd: RawFd, piece: Piece) -> io::Result<()> {
        let connection = &mut self.connections[fd as usize];
        connection.is_sending = true;
        connection.sending = piece;
        let bytes = self.buffers.bytes(piece.buffer, piece.start);
        // MSG_WAITALL: the kernel goes on with a short send by itself where it can.
        let entry = opcode::Send::new(types::Fd(fd), bytes, piece.end - piece.start)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        self.push(&entry.user_data(SEND | fd as u64))
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: what an entry points at are pool buffers, which live as long as the ring, and
            // a piece's buffer is not recycled before its send completed.
            let pushed = unsafe { self.ring.submission().push(entry) };
            if pushed.is_ok() {
                return Ok(());
            }
            self.ring.submit()?;
        }
    }
}

fn set_nodelay(fd: RawFd) {
    let on: libc::c_int = 1;
    let len = size_of_val(&on) as libc::socklen_t;
    let value = (&raw const on).cast();
    // SAFETY: `value` points at a live `c_int` of `len` bytes.
    unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, value, len) };
}
