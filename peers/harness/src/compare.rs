//! Throughput, latency and processor time: rounds over cells over shuffled servers.

use serde::Serialize;

use crate::cell::Cell;
use crate::load::{Generator, Tally};
use crate::options::Plan;
use crate::peer::{self, Peer};
use crate::report::{Draft, Report, median, ratio};
use crate::server::Server;
use crate::stats::{self, Summary};
use crate::table::Table;
use crate::{clock, processor, usage};

const NOTES: &str = "\
    krps: thousand requests per second; us/req: processor time of the server per request; srv, \
    gen busy: how busy server and generator kept their processors (a busy generator and a less \
    busy server mean that the generator was the limit: compare us/req there); others: what \
    other processes took of both, which spoils a run above a few percent; starved: connections \
    that completed nothing. Medians over rounds; ratios are formed inside each round, median \
    [lowest-highest]. Above 1 is faster for krps ratios (x) and costlier for us/req ratios \
    (cpu).";

/// What others may take of the two processors together, the kernel's own work included.
const QUIET: f64 = 0.10;

/// One server's turn.
#[derive(Debug, Clone, Serialize)]
struct Sample {
    requests_per_second: f64,
    cpu_us_per_request: f64,
    server_busy: f64,
    client_busy: f64,
    /// What other processes took of the two processors.
    others_busy: f64,
    latency_us_p50: f64,
    latency_us_p99: f64,
    latency_us_max: f64,
    /// Connections that completed nothing during the window.
    starved: usize,
}

/// One server's turns in one cell; a round it failed is a gap.
#[derive(Debug, Serialize)]
struct Row {
    server: String,
    samples: Vec<Option<Sample>>,
    /// The last failure, if any round failed.
    unavailable: Option<String>,
    ratios: Option<Ratios>,
}

#[derive(Debug, Serialize)]
struct Ratios {
    krps_to_tokio: Option<Summary>,
    cpu_to_tokio: Option<Summary>,
    krps_to_best_runtime: Option<Summary>,
    krps_to_epoll_loop: Option<Summary>,
    krps_to_uring_loop: Option<Summary>,
}

#[derive(Debug, Serialize)]
struct CellResult {
    cell: Cell,
    best_runtime: Option<String>,
    rows: Vec<Row>,
}

/// Runs the plan and reports.
pub fn run(plan: &Plan) -> Result<Report, String> {
    processor::pin(plan.client_cpu).map_err(|error| format!("--client-cpu: {error}"))?;
    let mut results: Vec<_> =
        plan.cells.iter().map(|&cell| CellResult::new(cell, &plan.peers)).collect();
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let mut order: Vec<usize> = (0..plan.peers.len()).collect();
    for round in 1..=plan.rounds {
        for result in &mut results {
            eprintln!("round {round} of {}: {}", plan.rounds, result.cell);
            random.shuffle(&mut order);
            for &index in &order {
                let outcome = measure(plan, &plan.peers[index], result.cell);
                result.rows[index].push(outcome);
            }
        }
    }
    results.iter_mut().for_each(CellResult::relate);
    results.iter().for_each(CellResult::warn);
    let tables = results.iter().map(|result| (result.caption(), result.table())).collect();
    let (seed, rounds) = (plan.seed, plan.rounds);
    Draft { seed, rounds, notes: NOTES, tables, data: &results }.finish()
}

/// Starts a server, puts it under load, and stops it.
fn measure(plan: &Plan, peer: &Peer, cell: Cell) -> Result<Sample, String> {
    let server = Server::start(peer, plan.server_cpu, buffer_len(plan, cell))?;
    let failed = |failure| format!("{failure} ({})", server.complaint());
    let generator = Generator::connect(server.address, cell, plan.spin_client);
    let mut generator = generator.map_err(failed)?;
    generator.start().map_err(failed)?;
    generator.run(plan.warmup).map_err(failed)?;
    let family = server.family();
    let before = Clocks::read(plan, &family)?;
    let tally = generator.run(plan.window).map_err(failed)?;
    let after = Clocks::read(plan, &family)?;
    Ok(sample(&tally, &after.since(&before)))
}

/// Processor time: of the server, of the generator, and of everything on their processors.
struct Clocks {
    server_ns: u64,
    client_ns: u64,
    both_processors_ns: u64,
}

impl Clocks {
    fn read(plan: &Plan, family: &[i32]) -> Result<Self, String> {
        let busy_ns = |cpu| usage::processor_busy_ns(cpu).unwrap_or(0);
        Ok(Self {
            server_ns: usage::cpu_ns(family)?,
            client_ns: clock::thread_cpu_ns(),
            both_processors_ns: busy_ns(plan.server_cpu) + busy_ns(plan.client_cpu),
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            server_ns: self.server_ns - before.server_ns,
            client_ns: self.client_ns - before.client_ns,
            both_processors_ns: self.both_processors_ns - before.both_processors_ns,
        }
    }
}

/// The rivals' best buffer: at 64 KiB messages 16 KiB costs tokio twice the processor time.
fn buffer_len(plan: &Plan, cell: Cell) -> usize {
    let usual = if cell.message_len > 16 * 1024 { 64 * 1024 } else { 16 * 1024 };
    plan.buffer_len.unwrap_or(usual)
}

fn sample(tally: &Tally, used: &Clocks) -> Sample {
    let (requests, elapsed_ns) = (tally.requests as f64, tally.elapsed_ns as f64);
    let (server_ns, client_ns) = (used.server_ns as f64, used.client_ns as f64);
    let others_ns = used.both_processors_ns as f64 - server_ns - client_ns;
    let latency_us = |quantile| tally.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
    Sample {
        requests_per_second: requests / elapsed_ns * 1e9,
        cpu_us_per_request: server_ns / requests / 1e3,
        server_busy: server_ns / elapsed_ns,
        client_busy: client_ns / elapsed_ns,
        others_busy: others_ns.max(0.0) / elapsed_ns,
        latency_us_p50: latency_us(0.5),
        latency_us_p99: latency_us(0.99),
        latency_us_max: tally.latency_ns.max() as f64 / 1e3,
        starved: tally.starved,
    }
}

impl Row {
    fn new(peer: &Peer) -> Self {
        Self { server: peer.name.clone(), samples: Vec::new(), unavailable: None, ratios: None }
    }

    fn push(&mut self, outcome: Result<Sample, String>) {
        match outcome {
            Ok(sample) => self.samples.push(Some(sample)),
            Err(reason) => {
                eprintln!("  {}: {reason}", self.server);
                self.samples.push(None);
                self.unavailable = Some(reason);
            }
        }
    }

    fn values(&self, of: fn(&Sample) -> f64) -> Vec<Option<f64>> {
        self.samples.iter().map(|sample| sample.as_ref().map(of)).collect()
    }

    fn summary(&self, of: fn(&Sample) -> f64) -> Option<Summary> {
        stats::summary(self.values(of).into_iter().flatten())
    }

    fn cells(&self) -> Vec<String> {
        let (Some(ratios), Some(rate)) = (&self.ratios, self.summary(krps)) else {
            let reason = self.unavailable.as_deref().unwrap_or("not run");
            return vec![format!("{}  unavailable: {reason}", self.server)];
        };
        let percent = |of| median(self.summary(of), 0) + "%";
        let starved = self.samples.iter().flatten().map(|sample| sample.starved).max().unwrap_or(0);
        vec![
            self.server.clone(),
            format!("{:.1}", rate.median),
            format!("{:.0}%", (rate.max - rate.min) / rate.median * 100.0),
            median(self.summary(|sample| sample.cpu_us_per_request), 2),
            percent(|sample| sample.server_busy * 100.0),
            percent(|sample| sample.client_busy * 100.0),
            percent(|sample| sample.others_busy * 100.0),
            median(self.summary(|sample| sample.latency_us_p50), 0),
            median(self.summary(|sample| sample.latency_us_p99), 0),
            starved.to_string(),
            ratio(ratios.krps_to_tokio),
            ratio(ratios.cpu_to_tokio),
            ratio(ratios.krps_to_best_runtime),
            ratio(ratios.krps_to_epoll_loop),
            ratio(ratios.krps_to_uring_loop),
        ]
    }
}

impl CellResult {
    fn new(cell: Cell, peers: &[Peer]) -> Self {
        Self { cell, best_runtime: None, rows: peers.iter().map(Row::new).collect() }
    }

    /// Forms all ratios, once every round is in.
    fn relate(&mut self) {
        let is_runtime = |row: &&Row| peer::RUNTIMES.contains(&row.server.as_str());
        let rate = |row: &Row| row.summary(krps).map_or(0.0, |summary| summary.median);
        let best = self.rows.iter().filter(is_runtime).filter(|row| rate(row) > 0.0);
        self.best_runtime =
            best.max_by(|a, b| rate(a).total_cmp(&rate(b))).map(|row| row.server.clone());
        let rates_of = |name: Option<&str>| {
            let row = self.rows.iter().find(|row| Some(row.server.as_str()) == name);
            row.map(|row| row.values(krps)).unwrap_or_default()
        };
        let tokio = self.rows.iter().find(|row| row.server == peer::TOKIO);
        let tokio_cpu = tokio.map(|row| row.values(cpu)).unwrap_or_default();
        let [tokio, best, epoll_loop, uring_loop] = [
            Some(peer::TOKIO),
            self.best_runtime.as_deref(),
            Some(peer::EPOLL_LOOP),
            Some(peer::URING_LOOP),
        ]
        .map(rates_of);
        for row in &mut self.rows {
            let rates = row.values(krps);
            row.ratios = Some(Ratios {
                krps_to_tokio: stats::ratio(&rates, &tokio),
                cpu_to_tokio: stats::ratio(&row.values(cpu), &tokio_cpu),
                krps_to_best_runtime: stats::ratio(&rates, &best),
                krps_to_epoll_loop: stats::ratio(&rates, &epoll_loop),
                krps_to_uring_loop: stats::ratio(&rates, &uring_loop),
            });
        }
    }

    /// Says when the machine was not quiet: such figures are worth nothing.
    fn warn(&self) {
        let others = |row: &Row| row.summary(|sample| sample.others_busy);
        let disturbed = |row: &&Row| others(row).is_some_and(|busy| busy.median > QUIET);
        let count = self.rows.iter().filter(disturbed).count();
        if count > 0 {
            eprintln!("warning: {}: other processes disturbed {count} servers' turns", self.cell);
        }
    }

    fn caption(&self) -> String {
        let Cell { connections, message_len } = self.cell;
        let best = self.best_runtime.as_deref().unwrap_or("none");
        format!("{connections} connections x {message_len} B (best rival runtime: {best})")
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            "server",
            "krps",
            "spread",
            "us/req",
            "srv busy",
            "gen busy",
            "others",
            "p50 us",
            "p99 us",
            "starved",
            "x tokio",
            "cpu tokio",
            "x best",
            "x epoll-loop",
            "x uring-loop",
        ]);
        self.rows.iter().for_each(|row| table.push(row.cells()));
        table
    }
}

fn krps(sample: &Sample) -> f64 {
    sample.requests_per_second / 1e3
}

fn cpu(sample: &Sample) -> f64 {
    sample.cpu_us_per_request
}
