//! One connection on its way to a handler.
//!
//! Shared between the acceptor and whoever is to serve it: when no thread or stack can be had, the
//! acceptor still holds the connection and tries again. (Another worker that is out of stacks finds
//! out too late for that: its connection is closed.)

use std::sync::Arc;

use fiveways_sys::lock::Mutex;

use crate::net::TcpStream;
use crate::server::Handler;
use crate::server::admission::ConnectionGuard;

#[derive(Clone, Debug)]
pub(crate) struct Accepted(Arc<Mutex<Option<(TcpStream, ConnectionGuard)>>>);

impl Accepted {
    pub(crate) fn new(stream: TcpStream, pass: ConnectionGuard) -> Accepted {
        Accepted(Arc::new(Mutex::new(Some((stream, pass)))))
    }

    /// Serves the connection, once.
    // Inlined handlers would add their frames up into one that each idle task pays for.
    #[inline(never)]
    pub(crate) fn serve(self, handler: &impl Handler) {
        let taken = self.0.lock().take();
        // The acceptor has let go: nothing of this stays for as long as the connection.
        drop(self.0);
        if let Some((stream, pass)) = taken {
            // Known since it was accepted.
            let peer = stream.peer_addr().ok();
            let result = handler.serve(stream);
            pass.ended(peer, result);
        }
    }
}
