//! Diagnosis from outside: what workers and blocked threads do, as data and as text.

pub(crate) mod watchdog;
pub(crate) mod all_asleep;
pub(crate) mod collect;
pub(crate) mod interrupt;
pub(crate) mod symbols;
pub(crate) mod format;
