//! An echo server that never asks for readiness and tries every socket, all the time: the
//! non-blocking model.
//!
//! Without pause it would use its core fully, served or idle (D12). Here it rests a tenth of a
//! millisecond whenever no source is queued for a turn.
//!
//! `cargo run -p fiveways-selector --example echo_nonblocking [ADDRESS]`

mod echo;

use std::time::Duration;

use fiveways_selector::Nonblocking;

fn main() -> std::io::Result<()> {
    echo::serve(Nonblocking::with_pause(Duration::from_micros(100))?)
}
