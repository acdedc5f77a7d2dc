//! Seeing inside: dumps, the watchdog, deadlocks, and tasks lost at the end.

mod dumps;
mod deadlocks;
mod knots;
mod watchdog;
mod endings;
mod outside;
