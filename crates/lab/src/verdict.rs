//! What a comparison says, in a few plain sentences that claim no more than its rounds carry.
//!
//! Pure (I7).

use crate::figures::grouped;
use crate::report::{Report, Row};
use crate::statistics::{Spread, ratio};

/// A generator this busy was the limit, and not the server.
const GENERATOR_FULL: f64 = 0.97;

/// A lead below this, in any round, is none: it would be shown as 1.00.
const CLEAR_LEAD: f64 = 1.005;
/// Of two equal models one leads in all of five rounds by chance once in 16 runs; in all of three,
/// once in 4.
const ROUNDS_ENOUGH: usize = 5;

/// The sentences for a report.
pub(crate) fn verdict(report: &Report) -> Vec<String> {
    let contenders = contenders(report);
    let Some((best, others)) = contenders.split_first() else {
        return vec!["No model was measured.".to_owned()];
    };
    let mut sentences = vec![headline(best, others)];
    sentences.extend(cost(best, others));
    sentences.extend(limited(report));
    sentences
}

/// The rows that were asked the same, best first; `auto` is one of the others under another name.
fn contenders(report: &Report) -> Vec<&Row> {
    let asked = report.workload.connections;
    let is_measured = |row: &&Row| row.requests_per_second.is_some() && row.connections == asked;
    let all: Vec<&Row> = report.by_throughput().into_iter().filter(is_measured).collect();
    let named: Vec<&Row> = all.iter().copied().filter(|row| row.model != "auto").collect();
    if named.is_empty() { all } else { named }
}

fn headline(best: &Row, others: &[&Row]) -> String {
    let rate = best.requests_per_second.map_or(0.0, |spread| spread.median);
    let start = format!("Best here: {} with {} requests/s", best.model, grouped(rate));
    let Some(second) = others.first() else {
        return format!("{start}; nothing else to compare it with.");
    };
    let (ours, theirs) = (&best.requests_per_second_by_round, &second.requests_per_second_by_round);
    let Some(lead) = ratio(ours, theirs) else {
        return format!("{start}; {} was measured in no common round.", second.model);
    };
    let times = format!("{:.2} × {} ({})", lead.median, second.model, range(&lead));
    let rounds = ours.iter().zip(theirs).filter(|(a, b)| a.is_some() && b.is_some()).count();
    if lead.min < CLEAR_LEAD {
        return format!("{start}, {times}: the rounds do not tell these two apart.");
    }
    match rounds < ROUNDS_ENOUGH {
        true => format!("{start}, {times}: ahead in every round, but the rounds are few."),
        false => format!("{start}, {times}: ahead in every round."),
    }
}

fn range(spread: &Spread) -> String {
    format!("{:.2}–{:.2} over rounds", spread.min, spread.max)
}

fn cost(best: &Row, others: &[&Row]) -> Option<String> {
    let cost = best.cpu_us_per_request?;
    let rows = [best].into_iter().chain(others.iter().copied());
    let costs = rows.filter_map(|row| Some((row, row.cpu_us_per_request?)));
    let (cheapest, least) = costs.min_by(|a, b| a.1.total_cmp(&b.1))?;
    let start = format!("It costs {cost:.2} µs of server processor time per request");
    Some(if cheapest.model == best.model {
        format!("{start}, the least of all.")
    } else {
        format!("{start}; the cheapest is {} with {least:.2} µs.", cheapest.model)
    })
}

fn limited(report: &Report) -> Option<String> {
    let is_full = |row: &&Row| {
        let server_is_idle = row.server_cpus.is_some_and(|cpus| cpus < 0.9);
        row.generator_cpus.is_some_and(|cpus| cpus > GENERATOR_FULL) && server_is_idle
    };
    let full: Vec<&str> = report.rows.iter().filter(is_full).map(|row| row.model).collect();
    if full.is_empty() || report.placement.is_shared() {
        return None;
    }
    Some(format!(
        "The generator, not the server, was the limit for {}: compare processor time instead.",
        full.join(", ")
    ))
}
