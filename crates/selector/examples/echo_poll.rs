//! An echo server on `poll(2)`: any number of connections, all of them passed in each wait.
//!
//! `cargo run -p fiveways-selector --example echo_poll [ADDRESS]`

mod echo;

use fiveways_selector::Poll;

fn main() -> std::io::Result<()> {
    echo::serve(Poll::new()?)
}
