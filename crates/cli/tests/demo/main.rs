//! `fiveways demo` as its users meet it: what each demo says, to the byte, and the ways around it.
//!
//! Times are told in whole seconds of the demo, so that they can be exact at any scale.

mod around;
mod turns;
mod locks;
mod pools;
mod support;
