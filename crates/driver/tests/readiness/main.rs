//! The readiness driver over each selector: lists, readiness, hang-ups, cancels, generations.

mod support;

mod closing;
mod lines;
mod reading;
mod reports;
