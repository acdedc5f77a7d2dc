//! How many workers a pool has at most.

use std::thread;

use crate::executor::failure::BuildError;

/// How many threads or processes a pool starts at most.
///
/// The processors are those that this program may use: a smaller affinity or a control group's
/// quota counts (CPython counts so since 3.13).
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
    /// Five for each processor: the default of CPython's `ThreadPoolExecutor` in 3.5 to 3.7.
    FiveTimesCpus,
    /// Four more than there are processors, but at most 32: CPython's default for threads since
    /// 3.8, and ours.
    CpusPlusFourAtMost32,
    /// One for each processor: the default for processes, and for work that computes.
    Cpus,
    /// This many. None at all is refused by what builds the pool.
    Fixed(usize),
}

impl Sizing {
    /// How many workers this is here and now.
    pub fn workers(self) -> usize {
        self.workers_on(thread::available_parallelism().map_or(1, usize::from))
    }

    /// How many workers this is on a machine with so many processors.
    pub fn workers_on(self, cpus: usize) -> usize {
        match self {
            Sizing::FiveTimesCpus => cpus.saturating_mul(5),
            Sizing::CpusPlusFourAtMost32 => cpus.saturating_add(4).min(32),
            Sizing::Cpus => cpus,
            Sizing::Fixed(count) => count,
        }
    }

    /// The same, refused when it is none.
    pub(super) fn checked(self) -> Result<usize, BuildError> {
        match self.workers() {
            0 => Err(BuildError::ZeroSize),
            count => Ok(count),
        }
    }
}
