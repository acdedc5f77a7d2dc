//! The readiness driver over each selector: lines, dryness, hang-ups, cancels, generations.

mod rig;

mod closing;
mod lines;
mod reading;
mod reports;
