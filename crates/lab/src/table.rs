//! A comparison as text: a table, a verdict, and the method.
//!
//! Pure (I7). Fits 100 columns. No escape codes unless colours are asked for.

use crate::figures::{grouped, scaled, time, wrapped};
use crate::report::{Report, Row};
use crate::statistics::Spread;
use crate::verdict::{STALL_US, contenders, verdict};
use crate::workload::{SPIN_US, Spin};

const WIDTH: usize = 100;
const MODEL: usize = 18;
/// Marks the rows with a smaller workload than the others.
const MARK: &str = "*";

/// Whether to use escape codes for colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// Bold, dim and red.
    Always,
}

impl Colour {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Colour::Never => text.to_owned(),
            Colour::Always => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn red(self, text: &str) -> String {
        self.paint("31", text)
    }
}

/// The report as text.
pub fn text(report: &Report, colour: Colour) -> String {
    let mut out = String::new();
    line(&mut out, &title(report));
    out.push('\n');
    line(&mut out, &colour.bold(&header()));
    let best = winner(report);
    for (at, row) in report.by_ratio().into_iter().enumerate() {
        line(&mut out, &table_row(report, row, best == Some(at), colour));
    }
    out.push('\n');
    for remark in remarks(report) {
        line(&mut out, &wrapped(&remark, WIDTH, 2));
    }
    for sentence in verdict(report) {
        line(&mut out, &wrapped(&sentence, WIDTH, 2));
    }
    out.push('\n');
    for sentence in foot(report) {
        for part in wrapped(&sentence, WIDTH, 2).lines() {
            line(&mut out, &colour.dim(part));
        }
    }
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn title(report: &Report) -> String {
    let (workload, method) = (&report.workload, &report.method);
    format!(
        "{}, {}, {} messages, one in flight on each: {} of {} s, interleaved",
        workload.service,
        counted(workload.connections, "connection"),
        workload.size,
        counted(report.rounds, "round"),
        method.window_seconds,
    )
}

fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(count as f64))
}

fn header() -> String {
    cells(
        "model",
        [
            "▼ ratio to best",
            "req/s",
            "p50 µs",
            "p99 µs",
            "longest",
            "CPU µs/req",
            "KiB/conn",
            "errors",
        ],
    )
}

fn cells(model: &str, figures: [&str; 8]) -> String {
    let [ratio, rate, p50, p99, longest, cpu, memory, errors] = figures;
    format!(
        "{model:<MODEL$} {ratio:>15} {rate:>9} {p50:>8} {p99:>8} {longest:>8} {cpu:>10} \
         {memory:>8} {errors:>6}"
    )
}

fn table_row(report: &Report, row: &Row, is_best: bool, colour: Colour) -> String {
    let mark = if row.connections == report.workload.connections { "" } else { MARK };
    let name = format!("{}{mark}", row.label());
    if let Some(reason) = &row.unavailable {
        return colour.dim(&unavailable(&name, reason));
    }
    let or_dash = |figure: Option<String>| figure.unwrap_or_else(|| "–".to_owned());
    let latency = row.latency_us;
    let figures = [
        or_dash(row.ratio_to_best.map(|spread| ratio(&spread))),
        or_dash(row.requests_per_second.map(|spread| grouped(spread.median))),
        or_dash(latency.map(|latency| scaled(latency.p50))),
        or_dash(latency.map(|latency| scaled(latency.p99))),
        or_dash(latency.map(|latency| time(latency.max))),
        or_dash(row.cpu_us_per_request.map(scaled)),
        or_dash(row.rss_bytes_per_connection.map(|bytes| format!("{:.1}", bytes / 1024.0))),
        grouped(row.errors as f64),
    ];
    let text = cells(&name, figures.each_ref().map(String::as_str));
    let has_stalled = latency.is_some_and(|latency| latency.max >= STALL_US);
    match (row.errors > 0 || has_stalled, is_best) {
        (false, true) => colour.bold(&text),
        (false, false) => text,
        (true, _) => colour.red(&text),
    }
}

/// The index of the row that the verdict names first.
fn winner(report: &Report) -> Option<usize> {
    let best = contenders(report).first().copied()?;
    report.by_ratio().into_iter().position(|row| std::ptr::eq(row, best))
}

/// A row with a reason instead of figures; a long one continues on lines below.
fn unavailable(name: &str, reason: &str) -> String {
    let indent = MODEL + 1;
    let reason = wrapped(&format!("cannot run here: {reason}"), WIDTH - indent, 0);
    let lines: Vec<String> = reason
        .lines()
        .enumerate()
        .map(|(at, part)| format!("{:<MODEL$} {part}", if at == 0 { name } else { "" }))
        .collect();
    lines.join("\n")
}

fn ratio(spread: &Spread) -> String {
    format!("{:.2} ±{:.2}", spread.median, spread.reach())
}

/// Remarks on single rows, and on the run.
fn remarks(report: &Report) -> Vec<String> {
    let mut remarks = Vec::new();
    for row in &report.rows {
        if row.errors > 0 {
            let kinds = row.errors_by_kind.by_name();
            let kinds = kinds.iter().filter(|(_, count)| *count > 0);
            let kinds: Vec<String> =
                kinds.map(|(kind, count)| format!("{} {kind}", grouped(*count as f64))).collect();
            remarks.push(format!("{}: errors: {}", row.label(), kinds.join(", ")));
        }
        let mark = if row.connections == report.workload.connections { "" } else { MARK };
        remarks.extend(row.notes.iter().map(|note| format!("{mark}{}: {note}", row.label())));
    }
    remarks.extend(report.notes.iter().cloned());
    remarks
}

fn foot(report: &Report) -> Vec<String> {
    vec![
        "Closed loop: a connection sends its next request when the reply is complete; every reply \
         byte is checked. A server that stalls receives fewer requests, so p50 and p99 hold for a \
         closed loop with this many in flight and say little about open traffic (coordinated \
         omission); the longest latency of all rounds shows a stall."
            .to_owned(),
        "Figures are medians over rounds; ± is the round farthest from the median; ratios are \
         taken within each round, and the table is sorted by them (▼). KiB/conn is the resident \
         memory that one more idle connection adds to the server."
            .to_owned(),
        spin(report),
        placement(report),
        machine(report),
        format!("Seed {}. Command: {}", report.seed, report.command),
    ]
}

fn spin(report: &Report) -> String {
    match report.method.spin {
        Spin::Off => "Spin off: workers sleep as soon as nothing can run, as threads do. Under \
                      `serve` they spin briefly first, which matters with few connections: \
                      --spin both shows it."
            .to_owned(),
        Spin::On => format!(
            "Spin on: workers spin for up to {SPIN_US} µs before they sleep (+spin), while \
             that pays; threads sleep at once, so these rows are not alike."
        ),
        Spin::Both => format!(
            "Spin both: in rows with +spin, workers spin for up to {SPIN_US} µs before they \
             sleep, while that pays; in the others they sleep at once, as threads do."
        ),
    }
}

fn placement(report: &Report) -> String {
    let (placement, method) = (&report.placement, &report.method);
    let servers = format!(
        "{} and {} for each server",
        counted(method.workers, "worker"),
        match method.processes {
            1 => "1 process".to_owned(),
            count => format!("{count} processes"),
        }
    );
    match placement.is_shared() {
        true => format!(
            "Server and generator share processor {}: figures are of both together; {servers}.",
            listed(&placement.server)
        ),
        false => format!(
            "Server on processor {}, generator on {}; {servers}.",
            listed(&placement.server),
            listed(&placement.generator)
        ),
    }
}

fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let memory = machine.memory_bytes.map_or(0.0, |bytes| bytes as f64 / f64::from(1 << 30));
    let mut text = format!(
        "{}; {}, {}, {memory:.1} GiB; fiveways {}",
        machine.kernel,
        machine.cpu_model.as_deref().unwrap_or("unknown processor"),
        counted(machine.cpus.len(), "processor"),
        machine.fiveways,
    );
    if machine.debug_build {
        text.push_str(" (a debug build: these figures mean little; use --release)");
    }
    if let Some(load) = machine.load_average.filter(|&load| load >= 0.5) {
        text.push_str(&format!("; load average {load:.1} at the start: the machine was busy"));
    }
    text.push('.');
    text
}

fn listed(cpus: &[usize]) -> String {
    let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
    cpus.join(",")
}
