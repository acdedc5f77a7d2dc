//! Items used by the expansion of [`remote!`](crate::executor::remote).

pub use inventory;

pub use crate::executor::call::{Function, Output, Registered, answer};
pub use crate::executor::wire::Answer;
