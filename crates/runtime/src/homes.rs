//! Which workers read ahead, and what those that have ended left behind.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use fiveways_driver::Source;

use crate::inbox::Inbox;

#[derive(Default)]
struct Homes {
    workers: HashMap<u32, Arc<Inbox>>,
    orphans: HashMap<Source, Vec<u8>>,
}

static HOMES: LazyLock<Mutex<Homes>> = LazyLock::new(Mutex::default);

fn homes() -> MutexGuard<'static, Homes> {
    HOMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker that reads ahead has started.
pub(crate) fn moved_in(inbox: &Arc<Inbox>) {
    homes().workers.insert(inbox.index, Arc::clone(inbox));
}

/// A worker that reads ahead ends and leaves this behind.
pub(crate) fn moved_out(inbox: &Inbox, left: Vec<(Source, Vec<u8>)>) {
    let mut homes = homes();
    homes.workers.remove(&inbox.index);
    homes.orphans.extend(left);
}

/// The inbox of a worker that reads ahead, while it lives.
pub(crate) fn find(home: u32) -> Option<Arc<Inbox>> {
    homes().workers.get(&home).cloned()
}

/// Takes what an ended worker left for a stream.
pub(crate) fn take_orphan(source: Source) -> Option<Vec<u8>> {
    homes().orphans.remove(&source)
}
