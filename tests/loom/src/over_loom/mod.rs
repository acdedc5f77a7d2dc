//! What the product's files find in the place of std.

pub mod cell;
pub mod thread;
pub mod sync;
