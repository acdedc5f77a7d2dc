//! The verdict of a comparison, in a few sentences that claim no more than its rounds support.
//!
//! Pure (I7). The order of the models is the table's; a model that never sleeps is not recommended,
//! and `auto` does not compete with the model that it took.

use crate::figures::{grouped, scaled, time};
use crate::report::{Report, Row};
use crate::statistics::{Spread, ratio};

/// A generator this busy was the limit, and not the server.
const GENERATOR_FULL: f64 = 0.97;

/// A smaller lead, in any round, is none: it would be shown as 1.00.
const CLEAR_LEAD: f64 = 1.005;
/// Of two equal models one leads in all of five rounds by chance once in 16 runs; in all of three,
/// once in 4.
const ROUNDS_ENOUGH: usize = 5;
/// A reply that took this many microseconds is mentioned: a person notices it.
pub(crate) const STALL_US: f64 = 250_000.0;

/// The sentences for a report.
pub(crate) fn verdict(report: &Report) -> Vec<String> {
    let contenders = contenders(report);
    let Some((best, others)) = contenders.split_first() else {
        return vec!["No model was measured.".to_owned()];
    };
    let mut sentences = vec![headline(best, others)];
    sentences.extend(burner(report, best));
    sentences.extend(spinner(report, best));
    sentences.extend(cost(report, best));
    sentences.extend(taken(report));
    sentences.extend(stalls(report));
    sentences.extend(limited(report));
    sentences
}

/// The rows that may be recommended, best first: they had the same workload, sleep when idle, and
/// are no other row under another name. If none is left, all with the same workload.
pub(crate) fn contenders(report: &Report) -> Vec<&Row> {
    let all = asked_the_same(report);
    let is_named = |row: &&Row| !row.never_sleeps() && !is_another(report, row);
    let named: Vec<&Row> = all.iter().copied().filter(is_named).collect();
    if named.is_empty() { all } else { named }
}

/// The rows that served the workload's own number of connections, best first.
fn asked_the_same(report: &Report) -> Vec<&Row> {
    let asked = report.workload.connections;
    let is_measured = |row: &&Row| row.requests_per_second.is_some() && row.connections == asked;
    report.by_ratio().into_iter().filter(is_measured).collect()
}

/// Returns `true` if it is `auto` next to a row of the model that it took.
fn is_another(report: &Report, row: &Row) -> bool {
    row.model == "auto" && twin(report, row).is_some()
}

/// The row of the model that `auto` took, with the same spin.
fn twin<'a>(report: &'a Report, auto: &Row) -> Option<&'a Row> {
    let model = auto.takes.as_deref()?;
    let is_twin = |row: &&Row| row.model == model && row.spin_us == auto.spin_us;
    report.rows.iter().filter(|row| row.requests_per_second.is_some()).find(is_twin)
}

fn headline(best: &Row, others: &[&Row]) -> String {
    let rate = best.requests_per_second.map_or(0.0, |spread| spread.median);
    let figures = format!("{} with {} requests/s", best.label(), grouped(rate));
    let start = format!("Best here: {figures}");
    let Some(second) = others.first() else {
        return format!("{start}; nothing else to compare it with.");
    };
    let Some(lead) = lead(best, second) else {
        return format!("{start}; {} was measured in no common round.", second.label());
    };
    let times = format!("{:.2} × {} ({})", lead.median, second.label(), range(&lead));
    let near: Vec<String> =
        others.iter().take_while(|row| !leads(best, row)).map(|row| row.label()).collect();
    if !near.is_empty() {
        let all = listed(&[&[best.label()][..], &near].concat());
        return format!(
            "No clear winner: {all} change places between rounds, or are too close to tell apart; \
             {figures} is {times}."
        );
    }
    match common_rounds(best, second) {
        1 => format!("{start}, {times}: in the only round there is, which may be chance."),
        2..ROUNDS_ENOUGH => {
            format!("{start}, {times}: ahead in every round, but the rounds are few.")
        }
        _ => format!("{start}, {times}: ahead in every round."),
    }
}

/// How much more the first serves than the second, round by round.
fn lead(best: &Row, second: &Row) -> Option<Spread> {
    ratio(&best.requests_per_second_by_round, &second.requests_per_second_by_round)
}

fn leads(best: &Row, other: &Row) -> bool {
    lead(best, other).is_none_or(|lead| lead.min >= CLEAR_LEAD)
}

fn common_rounds(a: &Row, b: &Row) -> usize {
    let rounds = a.requests_per_second_by_round.iter().zip(&b.requests_per_second_by_round);
    rounds.filter(|(a, b)| a.is_some() && b.is_some()).count()
}

fn range(spread: &Spread) -> String {
    format!("{:.2}–{:.2} over rounds", spread.min, spread.max)
}

fn listed(names: &[String]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// The sentence on a model that keeps a processor busy all the time.
fn burner(report: &Report, best: &Row) -> Option<String> {
    const PRICE: &str = "never sleeps: it keeps a processor busy even when idle";
    if best.never_sleeps() {
        return Some(format!("{} {PRICE}.", best.label()));
    }
    let all = asked_the_same(report);
    let ahead = all.iter().take_while(|row| !std::ptr::eq(**row, best));
    let burner = ahead.into_iter().find(|row| row.never_sleeps())?;
    let lead = lead(burner, best)?;
    Some(format!(
        "{} served {:.2} × as much ({}), but it {PRICE}, so it is not named best.",
        burner.label(),
        lead.median,
        range(&lead),
    ))
}

/// The sentence on a winner that spins, next to others that do not.
fn spinner(report: &Report, best: &Row) -> Option<String> {
    let limit = best.spin_us.filter(|&limit| limit > 0)?;
    let without = report.rows.iter().find(|row| row.model == best.model && !row.is_spinning());
    let cpus = |row: &Row| row.server_cpus.map_or("–".to_owned(), |cpus| format!("{cpus:.2}"));
    let start = format!(
        "{} keeps {} of a processor busy, spinning for up to {limit} µs before it sleeps",
        best.label(),
        cpus(best),
    );
    Some(match without.and_then(|row| Some((row, lead(row, best)?))) {
        Some((row, share)) => format!(
            "{start}; {} keeps {} and serves {:.2} × as much.",
            row.label(),
            cpus(row),
            share.median
        ),
        None => format!("{start}; models on threads cannot, so it is not compared alike."),
    })
}

/// Compares with every row, since a smaller figure would be in the same column.
fn cost(report: &Report, best: &Row) -> Option<String> {
    let cost = best.cpu_us_per_request?;
    let costs = report.rows.iter().filter_map(|row| Some((row, row.cpu_us_per_request?)));
    let (cheapest, least) = costs.min_by(|a, b| a.1.total_cmp(&b.1))?;
    let shown = scaled(cost);
    let start = format!("{} costs {shown} µs of server processor time per request", best.label());
    Some(if std::ptr::eq(cheapest, best) || scaled(least) == shown {
        format!("{start}; no row costs less.")
    } else {
        let fewer = match cheapest.connections == report.workload.connections {
            true => "",
            false => ", with fewer connections",
        };
        format!("{start}; the cheapest is {} with {} µs{fewer}.", cheapest.label(), scaled(least))
    })
}

/// Why `auto` is not among those compared, and how far the two rows of one model are apart.
fn taken(report: &Report) -> Option<String> {
    let is_auto = |row: &&Row| row.model == "auto" && row.requests_per_second.is_some();
    let auto = report.rows.iter().find(is_auto)?;
    let model = auto.takes.as_deref()?;
    // If there is none, its own name shows what it took.
    let twin = twin(report, auto)?;
    let distance = lead(auto, twin)?;
    Some(format!(
        "auto took {model} here, so it is {} measured twice and does not compete: it served {:.2} \
         × as much ({}), by chance alone.",
        twin.label(),
        distance.median,
        range(&distance),
    ))
}

/// The models that kept a client waiting for long, once: medians and percentiles hide it.
fn stalls(report: &Report) -> Option<String> {
    let longest = |row: &Row| row.latency_us.map_or(0.0, |latency| latency.max);
    let mut rows: Vec<&Row> = report.rows.iter().filter(|row| longest(row) >= STALL_US).collect();
    rows.sort_by(|a, b| longest(b).total_cmp(&longest(a)));
    let named: Vec<String> = rows
        .iter()
        .map(|row| format!("{} (longest {})", row.label(), time(longest(row))))
        .collect();
    (!named.is_empty())
        .then(|| format!("Kept a client waiting for long at least once: {}.", listed(&named)))
}

fn limited(report: &Report) -> Option<String> {
    let is_full = |row: &&Row| {
        let server_is_idle = row.server_cpus.is_some_and(|cpus| cpus < 0.9);
        row.generator_cpus.is_some_and(|cpus| cpus > GENERATOR_FULL) && server_is_idle
    };
    let full: Vec<String> = report.rows.iter().filter(is_full).map(Row::label).collect();
    if full.is_empty() || report.placement.is_shared() {
        return None;
    }
    Some(format!(
        "The generator, not the server, was the limit for {}: compare processor time instead.",
        full.join(", ")
    ))
}
