//! The connection between a supervisor and one child process: orders down, a report up.
//!
//! ```text
//!   supervisor                           child
//!   ChildHandle::order ──bell──────────▶ Control::hush        drain, force
//!   ChildHandle::report ◀──────pipe──── ParentHandle::report   once, at the child's end
//! ```
//!
//! Both are created before the fork. A report is smaller than `PIPE_BUF`, so it arrives whole or
//! not at all.

use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;

use fiveways_runtime::clock;
use fiveways_sys::event_fd::EventFd;
use fiveways_sys::net::{duplicate, wait_ready};

use crate::server::Report;
use crate::server::counts::Stats;
use crate::server::stop::{Control, Order};

/// The counts, and the connections cut short.
const NUMBERS: usize = Stats::COUNTS + 1;

/// Bytes of a number in a report.
const WIDTH: usize = size_of::<u64>();

/// The supervisor's end.
#[derive(Debug)]
pub(crate) struct ChildHandle {
    bell: EventFd,
    report: PipeReader,
}

/// The child's end.
#[derive(Debug)]
pub(crate) struct ParentHandle {
    /// Where orders arrive.
    bell: EventFd,
    report: PipeWriter,
}

/// Makes both ends, for the fork that follows.
pub(crate) fn link() -> io::Result<(ChildHandle, ParentHandle)> {
    let bell = EventFd::new()?;
    let theirs = EventFd::from(duplicate(&bell)?);
    let (reads, writes) = pipe()?;
    Ok((ChildHandle { bell, report: reads }, ParentHandle { bell: theirs, report: writes }))
}

impl ChildHandle {
    /// Sends an order to the child.
    pub(crate) fn order(&self, order: Order) {
        self.bell.add(order as u64);
    }

    /// Returns the report of a child that has ended, if it left one.
    pub(crate) fn report(mut self) -> Option<Report> {
        // Processes that the child started may hold the write end open: only what is there is read.
        if !wait_ready(self.report.as_fd(), false, Some(clock::machine())).ok()? {
            return None;
        }
        let mut bytes = [0; NUMBERS * WIDTH];
        self.report.read_exact(&mut bytes).ok()?;
        let mut numbers = bytes.chunks_exact(WIDTH).map(|bytes| {
            u64::from_ne_bytes(bytes.try_into().expect("chunks are as long as numbers"))
        });
        let cut_short = numbers.next()? as usize;
        let mut counts = [0; Stats::COUNTS];
        counts.iter_mut().zip(numbers).for_each(|(count, number)| *count = number);
        Some(Report { stats: Stats::from_array(counts), cut_short })
    }
}

impl ParentHandle {
    /// The child's control, which receives the supervisor's orders.
    pub(crate) fn control(&self) -> io::Result<Control> {
        Ok(Control::with_bell(EventFd::from(duplicate(&self.bell)?)))
    }

    /// Sends the report to the supervisor.
    pub(crate) fn report(mut self, report: &Report) {
        let numbers = [report.cut_short as u64].into_iter().chain(report.stats.to_array());
        let bytes: Vec<u8> = numbers.flat_map(u64::to_ne_bytes).collect();
        // A supervisor that has ended does not read it.
        let _ = self.report.write_all(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_arrives_as_it_was_made_and_its_absence_is_noticed() {
        let (ours, theirs) = link().expect("descriptors");
        let stats = Stats { accepted: 3, panicked: u64::MAX, connections: 2, ..Stats::default() };
        let report = Report { stats, cut_short: 7 };
        theirs.report(&report);
        assert_eq!(ours.report(), Some(report));

        let (ours, theirs) = link().expect("descriptors");
        let still_open = theirs.report.try_clone().expect("a descriptor");
        drop(theirs);
        assert_eq!(ours.report(), None);
        drop(still_open);
    }
}
