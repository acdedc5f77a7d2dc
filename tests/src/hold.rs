//! A handler that blocks its worker until the test lets it go on: what has come together by then is
//! all ready at once.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::patience::LONG;

/// Blocks a thread once, by plain means, so that the tasks beside it wait too.
#[derive(Clone, Debug)]
pub struct Hold(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    blocked: SyncSender<()>,
    is_blocked: Mutex<Receiver<()>>,
    release: SyncSender<()>,
    is_released: Mutex<Receiver<()>>,
}

impl Default for Hold {
    fn default() -> Hold {
        Hold::new()
    }
}

impl Hold {
    /// Makes one.
    pub fn new() -> Hold {
        let (blocked, is_blocked) = sync_channel(1);
        let (release, is_released) = sync_channel(1);
        let (is_blocked, is_released) = (Mutex::new(is_blocked), Mutex::new(is_released));
        Hold(Arc::new(Ends { blocked, is_blocked, release, is_released }))
    }

    /// Blocks the calling thread until it is released.
    pub fn block_here(&self) {
        // Nobody may listen any more when the test has failed.
        let _ = self.0.blocked.send(());
        let released = self.0.is_released.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = released.recv_timeout(LONG);
    }

    /// Waits until somebody is blocked.
    ///
    /// # Panics
    ///
    /// When nobody is.
    #[track_caller]
    pub fn wait_until_blocked(&self) {
        let blocked = self.0.is_blocked.lock().unwrap_or_else(PoisonError::into_inner);
        blocked.recv_timeout(LONG).expect("somebody blocks");
    }

    /// Lets it go on.
    pub fn release(&self) {
        let _ = self.0.release.send(());
    }
}
