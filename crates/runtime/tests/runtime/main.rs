//! The guarantees of a runtime, test by test, on every model that this machine has.

mod support;

mod cancelling;
mod deadlines;
mod ending;
mod exhaustion;
mod fairness;
mod joining;
mod letting_go;
mod parking;
mod placing;
mod storms;
mod timers;
mod unblocking;
mod unwinding;
mod waiting;
