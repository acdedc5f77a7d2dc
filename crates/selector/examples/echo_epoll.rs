//! An echo server on level-triggered `epoll(7)`.
//!
//! `cargo run -p fiveways-selector --example echo_epoll [ADDRESS]`

mod echo;

use fiveways_selector::Epoll;

fn main() -> std::io::Result<()> {
    echo::serve(Epoll::new()?)
}
