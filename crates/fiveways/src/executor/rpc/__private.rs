//! Items used by the expansion of [`remote!`](crate::executor::remote).

pub use inventory;

pub use crate::executor::rpc::call::{Function, Output, Registered, answer};
pub use crate::executor::rpc::wire::Answer;
