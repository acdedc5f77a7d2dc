//! An echo server on `select(2)`: simple and old, and full at descriptor 1023.
//!
//! `cargo run -p fiveways-selector --example echo_select [ADDRESS]`

mod echo;

use fiveways_selector::Select;

fn main() -> std::io::Result<()> {
    echo::serve(Select::new()?)
}
