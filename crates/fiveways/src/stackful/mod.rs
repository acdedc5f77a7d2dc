//! Coroutines that are not tasks: generators, and greenlets that switch to each other.

pub mod greenlet;
pub mod generator;
mod nested;
