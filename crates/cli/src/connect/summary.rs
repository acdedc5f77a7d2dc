//! The summary of a load as text. Without clock and without I/O.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::connect::dial::Failure;
use crate::connect::tally::Sum;

/// Connections with the same result that are listed by number.
const LISTED: usize = 10;

/// How one connection ended; `None`: it had not ended when the load was interrupted.
pub(crate) type Outcome = Option<Result<(), Failure>>;

/// Writes the summary of a load.
pub(crate) fn write(how: &str, outcomes: &[Outcome], sum: &Sum, elapsed: Duration) -> String {
    let mut out = String::new();
    let succeeded = outcomes.iter().filter(|outcome| matches!(outcome, Some(Ok(())))).count();
    let failed = failures(outcomes);
    let unfinished = outcomes.iter().filter(|outcome| outcome.is_none()).count();
    let connections = plural(outcomes.len() as u64, "connection");
    let _ = write!(out, "{connections} {how}: {succeeded} succeeded, {failed} failed");
    if unfinished > 0 {
        let _ = write!(out, ", {unfinished} interrupted");
    }
    out.push('\n');
    for (reason, numbers) in by_reason(outcomes) {
        let _ = writeln!(out, "  {} × {reason}{}", numbers.len(), list(&numbers, outcomes.len()));
    }
    let seconds = elapsed.as_secs_f64();
    let rate = sum.exchanges as f64 / seconds.max(1e-9);
    let (sent, received) = (plural(sum.sent, "byte"), plural(sum.received, "byte"));
    let exchanges = plural(sum.exchanges, "exchange");
    let _ = writeln!(out, "{exchanges} in {seconds:.3} s, {rate:.1} per second");
    let _ = write!(out, "{sent} sent, {received} received");
    if let Some([shortest, mean, longest]) = sum.round_trips() {
        let [shortest, mean, longest] = [shortest, mean, longest].map(milliseconds);
        let _ = write!(out, "\nround trip: shortest {shortest}, mean {mean}, longest {longest} ms");
    }
    if sum.in_vain > 0 {
        let _ = write!(out, "\npolled {} without a reply", plural(sum.in_vain, "time"));
    }
    out
}

/// The number of failed connections.
pub(crate) fn failures(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, Some(Err(_)))).count()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1e3)
}

fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The failed connections by reason, the most frequent first.
fn by_reason(outcomes: &[Outcome]) -> Vec<(&str, Vec<usize>)> {
    let mut reasons: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, outcome) in outcomes.iter().enumerate() {
        if let Some(Err(failure)) = outcome {
            reasons.entry(&failure.reason).or_default().push(at + 1);
        }
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, numbers)| std::cmp::Reverse(numbers.len()));
    reasons
}

/// The numbers of these connections, if there are several in all.
fn list(numbers: &[usize], all: usize) -> String {
    if all == 1 {
        return String::new();
    }
    let listed: Vec<_> = numbers.iter().take(LISTED).map(usize::to_string).collect();
    let more = if numbers.len() > LISTED { ", …" } else { "" };
    let noun = if numbers.len() == 1 { "connection" } else { "connections" };
    format!(" ({noun} {}{more})", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::tally::Tally;

    #[test]
    fn every_connection_is_accounted_for_and_reasons_are_grouped() {
        let failed = |reason: &str| Some(Err(Failure::from(reason.to_owned())));
        let outcomes = [Some(Ok(())), failed("refused"), failed("late"), failed("late"), None];
        let tally = Tally::default();
        tally.sent(6);
        tally.received(6);
        tally.exchanged(Duration::from_micros(50));
        tally.exchanged(Duration::from_micros(150));
        let text = write("on threads", &outcomes, &Sum::of([&tally]), Duration::from_secs(2));
        let expected = "\
5 connections on threads: 1 succeeded, 3 failed, 1 interrupted
  2 × late (connections 3, 4)
  1 × refused (connection 2)
2 exchanges in 2.000 s, 1.0 per second
6 bytes sent, 6 bytes received
round trip: shortest 0.050, mean 0.100, longest 0.150 ms";
        assert_eq!(text, expected);
        assert_eq!(failures(&outcomes), 3);
    }

    #[test]
    fn a_load_without_any_exchange_has_no_round_trip() {
        let text = write("on a thread", &[None], &Sum::default(), Duration::ZERO);
        assert!(text.starts_with("1 connection on a thread: 0 succeeded, 0 failed, 1 interrupted"));
        assert!(!text.contains("round trip"), "{text}");
    }
}
