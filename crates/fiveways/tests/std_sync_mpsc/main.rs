//! std's suite for `mpsc`, in substance: channels without a bound, with one, and without room.
//!
//! Each claim is tested from plain threads, and from tasks on one worker and on two.

#[macro_use]
mod support;
mod ends;
mod waiting;
mod bounds;
mod many;
