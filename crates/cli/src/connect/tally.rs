//! The counts of a connection; written only by it, read by the summary at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The counts of one connection.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    exchanges: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    in_vain: AtomicU64,
    /// In nanoseconds: the sum of all round trips, the shortest plus one (0: none yet), the
    /// longest.
    total_ns: AtomicU64,
    shortest_ns: AtomicU64,
    longest_ns: AtomicU64,
}

/// The sums over several connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) exchanges: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// How often a polling connection found nothing to read.
    pub(crate) in_vain: u64,
    total_ns: u64,
    shortest_ns: Option<u64>,
    longest_ns: u64,
}

impl Tally {
    /// Counts bytes that were sent.
    pub(crate) fn sent(&self, count: usize) {
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Counts bytes that were received.
    pub(crate) fn received(&self, count: usize) {
        self.received.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Counts a poll that found nothing.
    pub(crate) fn asked_in_vain(&self) {
        self.in_vain.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an exchange whose reply took this long.
    pub(crate) fn exchanged(&self, round_trip: Duration) {
        let ns = u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX);
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
        self.longest_ns.fetch_max(ns, Ordering::Relaxed);
        let shortest = self.shortest_ns.load(Ordering::Relaxed);
        if shortest == 0 || ns < shortest - 1 {
            self.shortest_ns.store(ns + 1, Ordering::Relaxed);
        }
    }
}

impl Sum {
    /// Sums up the counts.
    pub(crate) fn of<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Sum {
        let mut sum = Sum::default();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for tally in tallies {
            sum.exchanges += read(&tally.exchanges);
            sum.sent += read(&tally.sent);
            sum.received += read(&tally.received);
            sum.in_vain += read(&tally.in_vain);
            sum.total_ns += read(&tally.total_ns);
            sum.longest_ns = sum.longest_ns.max(read(&tally.longest_ns));
            let shortest = read(&tally.shortest_ns).checked_sub(1);
            sum.shortest_ns = [sum.shortest_ns, shortest].into_iter().flatten().min();
        }
        sum
    }

    /// The shortest, the mean and the longest round trip, if there was any.
    pub(crate) fn round_trips(&self) -> Option<[Duration; 3]> {
        let shortest = self.shortest_ns?;
        let mean = self.total_ns.checked_div(self.exchanges)?;
        Some([shortest, mean, self.longest_ns].map(Duration::from_nanos))
    }
}
