//! What coroutines and their stacks promise.

mod coroutines;
mod limits;
mod overflow;
mod panics;
mod room;
mod stacks;
mod switching;

mod rig;
