//! What the conformance suite and the regression tests share.
//!
//! A behaviour is one function over a [`Model`](fiveways::Model); the macros here make a test of it
//! for each model, named `behaviour::model`. [`stage::run`] is what every such test goes through:
//! a model that this machine lacks is said aloud (and is a failure when `CI=true`), a test that
//! hangs is ended, and what the test left behind (descriptors, threads) is a failure.

pub mod stage;
pub mod arena;
pub mod child;
pub mod client;
pub mod hold;
pub mod leaks;
pub mod patience;
