//! An echo server on edge-triggered `epoll(7)`: each change is reported once.
//!
//! `cargo run -p fiveways-selector --example echo_epoll_et [ADDRESS]`

mod echo;

use fiveways_selector::Epoll;

fn main() -> std::io::Result<()> {
    echo::serve(Epoll::et()?)
}
