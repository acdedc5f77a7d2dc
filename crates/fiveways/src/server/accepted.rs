//! An accepted connection that no handler serves yet.
//!
//! Shared between the acceptor and the task or thread that will serve it: when no thread or stack
//! is available, the acceptor still holds the connection and tries again. (If another worker is out
//! of stacks, that is discovered too late: its connection is closed.)

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
    // Not inlined: inlined handlers would add their frames to one that each idle task pays for.
    #[inline(never)]
    pub(crate) fn serve(self, handler: &impl Handler) {
        let taken = self.0.lock().take();
        // The acceptor has dropped its reference, so nothing of this is kept while the connection
        // lasts.
        drop(self.0);
        if let Some((stream, pass)) = taken {
            // Already known, since the connection was accepted.
            let peer = stream.peer_addr().ok();
            let result = handler.serve(stream);
            pass.ended(peer, result);
        }
    }
}
