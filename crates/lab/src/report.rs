//! A comparison as data, and its JSON. The schema is described in `docs/compare-json.md`.
//!
//! Invariant I7: no clock, socket or thread here; same input, same bytes out.

use serde::Serialize;

use crate::failure::Failures;
use crate::machine::{Machine, Placement};
use crate::statistics::{Latency, Rounds, Sample, Spread, Summary, ratios_to_best, rounded};
use crate::workload::{Spin, Workload};

/// The version of the JSON schema: raised when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// A comparison: everything needed to judge it, and to repeat it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of this schema.
    pub schema: u32,
    /// The command as it was typed.
    pub command: String,
    /// The seed of payloads and orders.
    pub seed: u64,
    /// Where it ran.
    pub machine: Machine,
    /// On which processors.
    pub placement: Placement,
    /// The workload.
    pub workload: Workload,
    /// Rounds completed by every model that could run.
    pub rounds: usize,
    /// `true` if all planned rounds were completed, `false` after an interrupt or if time ran out.
    pub complete: bool,
    /// How it was measured.
    pub method: Method,
    /// Deviations from the plan, in sentences.
    pub notes: Vec<String>,
    /// One row per model, in the order requested; two if it was measured with and without spinning.
    pub rows: Vec<Row>,
}

/// How a comparison was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Method {
    /// Worker threads of each server.
    pub workers: usize,
    /// Processes of each server.
    pub processes: usize,
    /// Whether workers spun before they slept.
    pub spin: Spin,
    /// Rounds that were planned.
    pub rounds_planned: usize,
    /// How long a window should be.
    pub window_seconds: f64,
    /// How long the shortest was.
    pub window_seconds_min: f64,
    /// How long each server was asked before its window.
    pub warm_up_seconds: f64,
}

/// The measurements of one model: the input of its row.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// Its name.
    pub model: &'static str,
    /// The model that `auto` took, as reported by the server.
    pub takes: Option<String>,
    /// The longest time its workers spin before they sleep, in microseconds; `None` if it cannot
    /// spin.
    pub spin_us: Option<u64>,
    /// Connections it was given.
    pub connections: usize,
    /// Its clean samples by round; `None` where there is none.
    pub samples: Vec<Option<Sample>>,
    /// Failures in all rounds.
    pub failures: Failures,
    /// Why it cannot run here.
    pub unavailable: Option<String>,
    /// Notes on it, in sentences.
    pub notes: Vec<String>,
}

/// One model's results. Figures are of clean samples only; they are `None` if there are none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub model: &'static str,
    /// Which model `auto` took; `None` for the others.
    pub takes: Option<String>,
    /// The longest time its workers spin before they sleep; `None` if it cannot spin.
    pub spin_us: Option<u64>,
    /// Connections it was given.
    pub connections: usize,
    /// Throughput over rounds.
    pub requests_per_second: Option<Spread>,
    /// Throughput as a ratio to the best of the same round, over rounds.
    pub ratio_to_best: Option<Spread>,
    /// Latencies in microseconds.
    pub latency_us: Option<Latency>,
    /// Processor time of the server for a request.
    pub cpu_us_per_request: Option<f64>,
    /// Resident memory that an idle connection adds to the server.
    pub rss_bytes_per_connection: Option<f64>,
    /// Processors the server kept busy.
    pub server_cpus: Option<f64>,
    /// Processors that the generator kept busy: near one, the generator was the limit.
    pub generator_cpus: Option<f64>,
    /// Throughput of each round.
    pub requests_per_second_by_round: Rounds,
    /// Failures of all kinds, in all rounds.
    pub errors: u64,
    /// The same by kind.
    pub errors_by_kind: Failures,
    /// Why it cannot run here.
    pub unavailable: Option<String>,
    /// Notes on it, in sentences.
    pub notes: Vec<String>,
}

/// Makes the rows of a comparison.
///
/// Only a model that served the workload's own number of connections can be the best. Ratios are of
/// complete rounds: in an incomplete one, the best of those measured may not be the best. If no
/// round is complete, all measurements count.
pub fn rows(workload: &Workload, rounds: usize, subjects: &[Subject]) -> Vec<Row> {
    let all: Vec<Rounds> = subjects.iter().map(throughput).collect();
    let kept = if rounds == 0 { usize::MAX } else { rounds };
    let throughputs: Vec<(bool, Rounds)> = subjects
        .iter()
        .zip(&all)
        .map(|(subject, rounds)| {
            let is_contender = subject.connections == workload.connections;
            (is_contender, rounds.iter().copied().take(kept).collect())
        })
        .collect();
    let parts = subjects.iter().zip(ratios_to_best(&throughputs)).zip(all);
    parts.map(|((subject, ratio), rounds)| row(subject, ratio, rounds)).collect()
}

fn throughput(subject: &Subject) -> Rounds {
    let clean = |sample: &Option<Sample>| sample.filter(|sample| sample.requests > 0);
    let rate = |sample: Sample| rounded(sample.requests_per_second(), 1);
    subject.samples.iter().map(|sample| clean(sample).map(rate)).collect()
}

fn row(subject: &Subject, ratio_to_best: Option<Spread>, rounds: Rounds) -> Row {
    let summary = Summary::of(subject.samples.iter().flatten());
    Row {
        model: subject.model,
        takes: subject.takes.clone(),
        spin_us: subject.spin_us,
        connections: subject.connections,
        requests_per_second: summary.map(|summary| summary.requests_per_second),
        ratio_to_best,
        latency_us: summary.map(|summary| summary.latency_us),
        cpu_us_per_request: summary.map(|summary| summary.cpu_us_per_request),
        rss_bytes_per_connection: summary.and_then(|summary| summary.rss_bytes_per_connection),
        server_cpus: summary.map(|summary| summary.server_cpus),
        generator_cpus: summary.map(|summary| summary.generator_cpus),
        requests_per_second_by_round: rounds,
        errors: subject.failures.total(),
        errors_by_kind: subject.failures,
        unavailable: subject.unavailable.clone(),
        notes: subject.notes.clone(),
    }
}

impl Report {
    /// The report as JSON, indented, with a line end.
    ///
    /// # Errors
    ///
    /// None in practice: all fields can be represented in JSON.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let mut json = serde_json::to_string_pretty(self)?;
        json.push('\n');
        Ok(json)
    }

    /// Returns `true` if a model that can run here had failures.
    pub fn has_errors(&self) -> bool {
        self.rows.iter().any(|row| row.errors > 0)
    }

    /// Returns `true` if any model was measured.
    pub fn is_measured(&self) -> bool {
        self.rows.iter().any(|row| row.requests_per_second.is_some())
    }

    /// The rows by their ratio to the best of each round, the best first; those without figures
    /// last.
    pub fn by_ratio(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        let middle = |spread: Option<Spread>| spread.map_or(-1.0, |spread| spread.median);
        let key = |row: &Row| (middle(row.ratio_to_best), middle(row.requests_per_second));
        rows.sort_by(|a, b| {
            let ((a, a_rate), (b, b_rate)) = (key(a), key(b));
            b.total_cmp(&a).then(b_rate.total_cmp(&a_rate))
        });
        rows
    }
}

impl Row {
    /// Its name in the table and in sentences: the model, whether its workers spin, and what `auto`
    /// took.
    pub fn label(&self) -> String {
        let spin = if self.is_spinning() { "+spin" } else { "" };
        let takes = self.takes.as_ref().map_or(String::new(), |model| format!(" ({model})"));
        format!("{}{spin}{takes}", self.model)
    }

    /// Returns `true` if its workers spin before they sleep.
    pub fn is_spinning(&self) -> bool {
        self.spin_us.is_some_and(|limit| limit > 0)
    }

    /// Returns `true` if its server keeps a processor busy even when idle.
    pub fn never_sleeps(&self) -> bool {
        self.model == "nonblocking"
    }
}
