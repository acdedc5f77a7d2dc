//! Code on a stack of its own that its caller resumes: generators, and greenlets that switch to
//! each other.

pub mod greenlet;
pub mod generator;
mod nested;
