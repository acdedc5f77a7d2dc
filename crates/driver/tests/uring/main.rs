//! The ring driver, driven directly: operations on the stack, sockets on loopback, peers in std.

mod ring;
mod reading;
mod buffers;
mod bulk;
mod cancel;
mod closing;
mod refusal;
mod support;
