//! The program `fiveways`.

fn main() {}
