//! crossbeam-channel 0.5.17, Go's tests as it has them, and tokio 1.54.1.
//!
//! - [`flavours`]: crossbeam's `array`, `list`, `zero`, `iter`, `same_channel` and `thread_locals`.
//!   Not `mpsc`: std's suite is ported elsewhere.
//! - [`storms`]: the same, where many take part.
//! - [`selects`] and [`select_storms`]: crossbeam's `select`, `select_macro` and `ready`. Not
//!   readiness without doing it; not `never` and `tick` as channels.
//! - [`go`]: crossbeam's `golang`.
//! - [`timers`]: crossbeam's `after` and `tick`. Timers are no channels here, but arms and
//!   iterators.
//! - [`async_sync`]: tokio's `sync_mpsc`, `sync_semaphore`, `sync_barrier`, `sync_rwlock` and
//!   `task_join_set`. Not reserved places, closing by the receiver, and wakers.
//!
//! A channel of each flavour is made by [`ends`].

mod async_sync;
mod flavours;
mod go;
mod select_storms;
mod selects;
mod storms;
mod timers;

use fiveways::sync::channel::{Receiver, Sender, bounded, unbounded};

/// Any number of items.
const ENDLESS: usize = usize::MAX;

/// The capacities that are tested.
const FLAVOURS: [usize; 5] = [0, 1, 2, 100, ENDLESS];

/// A channel for so many items.
fn ends<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    if capacity == ENDLESS { unbounded() } else { bounded(capacity) }
}
