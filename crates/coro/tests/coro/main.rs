//! The guarantees of coroutines and their stacks.

mod coroutines;
mod limits;
mod overflow;
mod panics;
mod room;
mod stacks;
mod switching;

mod support;
