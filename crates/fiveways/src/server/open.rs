//! The connections that are being served, so that they can be ended from outside.
//!
//! A connection's ticket leaves the list before its descriptor is closed, and the list is locked
//! while descriptors in it are used: so the numbers in it always belong to those connections.

use std::collections::HashMap;
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fiveways_runtime::{clock, control};
use fiveways_sys::lock::Mutex;
use fiveways_sys::net;

use crate::net::TcpStream;
use crate::net::traffic::Traffic;

/// How often connections are checked while a stop closes idle ones.
pub(crate) const LOOK: Duration = Duration::from_millis(25);

#[derive(Debug)]
pub(crate) struct Open {
    closes_idle: bool,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    connections: HashMap<u64, Connection>,
    next: u64,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Connection {
    fd: RawFd,
    /// Recorded if a stop closes idle connections.
    traffic: Option<Arc<Traffic>>,
}

impl Open {
    pub(crate) fn new(closes_idle: bool) -> Open {
        Open { closes_idle, list: Mutex::default() }
    }

    /// Returns `true` if a stop closes idle connections.
    pub(crate) fn closes_idle(&self) -> bool {
        self.closes_idle
    }

    /// Adds a connection, which leaves when its stream is dropped.
    pub(crate) fn add(self: &Arc<Open>, stream: &mut TcpStream) {
        let socket = stream.socket();
        let traffic = self.closes_idle.then(|| socket.limits.traffic());
        let connection = Connection { fd: socket.source().fd, traffic };
        let mut list = self.list.lock();
        list.next += 1;
        let number = list.next;
        list.connections.insert(number, connection);
        drop(list);
        stream.set_ticket(Box::new(Ticket { open: Arc::clone(self), number }));
    }

    /// Ends all connections.
    pub(crate) fn shut_all(&self) {
        for connection in self.list.lock().connections.values() {
            connection.shut(Shutdown::Both);
        }
    }

    /// Ends the reads of connections that have been idle for several checks. Does nothing if called
    /// again within [`LOOK`].
    pub(crate) fn close_idle(&self) {
        let mut list = self.list.lock();
        let now = clock::now();
        if list.looked.is_some_and(|looked| now < looked + LOOK) {
            return;
        }
        list.looked = Some(now);
        for connection in list.connections.values() {
            if connection.becomes_idle() {
                connection.shut(Shutdown::Read);
            }
        }
    }
}

impl Connection {
    #[expect(unsafe_code, reason = "descriptors in the list are kept open by their tickets")]
    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: required: open while borrowed. The list is locked while one of its connections
        // is borrowed, so the ticket cannot leave.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    fn becomes_idle(&self) -> bool {
        let arrived = || net::bytes_received(self.fd()).ok();
        self.traffic.as_ref().is_some_and(|traffic| traffic.becomes_idle(arrived))
    }

    fn shut(&self, how: Shutdown) {
        // It may already be disconnected.
        let _ = control(net::Control::Shutdown(self.fd(), how));
    }
}

struct Ticket {
    open: Arc<Open>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.open.list.lock().connections.remove(&self.number);
    }
}
