//! What [`remote!`](crate::executor::remote) expands to.

pub use inventory;

pub use crate::executor::call::{Function, Output, Registered, answer};
pub use crate::executor::wire::Answer;
