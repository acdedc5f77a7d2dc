//! The maximum number of workers of a pool.

use std::thread;

use crate::executor::failure::BuildError;

/// The maximum number of threads or processes of a pool.
///
/// Only processors that this program may use are counted: its affinity and a control group's quota
/// are considered (as in CPython since 3.13).
///
/// # Examples
///
/// ```
/// use fiveways::executor::Sizing;
///
/// assert_eq!(Sizing::FiveTimesCpus.workers_on(4), 20);
/// assert_eq!(Sizing::CpusPlusFourAtMost32.workers_on(4), 8);
/// assert_eq!(Sizing::CpusPlusFourAtMost32.workers_on(64), 32);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "max_workers")]
pub enum Sizing {
    /// Five per processor: the default of CPython's `ThreadPoolExecutor` in 3.5 to 3.7.
    FiveTimesCpus,
    /// The number of processors plus four, but at most 32: CPython's default for threads since 3.8,
    /// and the default here.
    CpusPlusFourAtMost32,
    /// One per processor: the default for processes, and for work that computes.
    Cpus,
    /// This number. Building a pool with 0 fails.
    Fixed(usize),
}

impl Sizing {
    /// Returns the number of workers on this machine.
    pub fn workers(self) -> usize {
        self.workers_on(thread::available_parallelism().map_or(1, usize::from))
    }

    /// Returns the number of workers on a machine with this many processors.
    pub fn workers_on(self, cpus: usize) -> usize {
        match self {
            Sizing::FiveTimesCpus => cpus.saturating_mul(5),
            Sizing::CpusPlusFourAtMost32 => cpus.saturating_add(4).min(32),
            Sizing::Cpus => cpus,
            Sizing::Fixed(count) => count,
        }
    }

    /// As [`Sizing::workers`], but an error if it is 0.
    pub(super) fn checked(self) -> Result<usize, BuildError> {
        match self.workers() {
            0 => Err(BuildError::ZeroSize),
            count => Ok(count),
        }
    }
}
