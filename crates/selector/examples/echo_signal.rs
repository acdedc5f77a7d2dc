//! An echo server driven by signals: the kernel queues one for each change of a socket.
//!
//! `cargo run -p fiveways-selector --example echo_signal [ADDRESS]`

mod echo;

use fiveways_selector::Signal;

fn main() -> std::io::Result<()> {
    echo::serve(Signal::new()?)
}
