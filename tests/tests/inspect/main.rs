//! Seeing inside: dumps, the watchdog, deadlocks, and tasks lost at the end.

mod dumps;
mod deadlocks;
mod watchdog;
mod endings;
mod outside;
