//! Resident memory per idle connection: many connections, one small round trip on each, then rest.

use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::options::Plan;
use crate::peer::Peer;
use crate::report::{Draft, Report, median};
use crate::server::Server;
use crate::socket;
use crate::stats::{self, Summary};
use crate::table::Table;
use crate::usage::{self, Memory};

const NOTES: &str = "Growth of the server's memory between the first moment it listens and the \
    moment all connections have made one round trip of 64 B and rest. User memory only: sockets \
    in the kernel cost the same for all, kernel stacks of threads are not in it.";

const MESSAGE: [u8; 64] = [0x5a; 64];

/// The rivals' buffer per connection unless the command line says otherwise: as small as one would
/// make it who cares for memory.
const BUFFER_LEN: usize = 512;

/// How long the server's memory is given to settle; a figure still moving would show as spread.
const SETTLE: Duration = Duration::from_millis(300);

#[derive(Debug, Serialize)]
struct Row {
    server: String,
    samples: Vec<Sample>,
    unavailable: Option<String>,
}

#[derive(Debug, Serialize)]
struct Sample {
    connections: usize,
    before: Memory,
    after: Memory,
}

/// Runs the plan and reports.
pub fn run(plan: &Plan) -> Result<Report, String> {
    let row = |peer: &Peer| Row { server: peer.name.clone(), samples: vec![], unavailable: None };
    let mut rows: Vec<Row> = plan.peers.iter().map(row).collect();
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let mut order: Vec<usize> = (0..plan.peers.len()).collect();
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        random.shuffle(&mut order);
        for &index in &order {
            match measure(plan, &plan.peers[index]) {
                Ok(sample) => rows[index].samples.push(sample),
                Err(reason) => rows[index].unavailable = Some(reason),
            }
        }
    }
    let head = ["server", "RSS B/conn", "PSS B/conn", "lowest", "highest", "maps/conn", "threads"];
    let mut table = Table::new(&head);
    rows.iter().for_each(|row| table.push(row.cells()));
    let caption = format!("{} idle connections", plan.connections);
    let tables = vec![(caption, table)];
    Draft { seed: plan.seed, rounds: plan.rounds, notes: NOTES, tables, data: &rows }.finish()
}

fn measure(plan: &Plan, peer: &Peer) -> Result<Sample, String> {
    let server = Server::start(peer, plan.server_cpu, plan.buffer_len.unwrap_or(BUFFER_LEN))?;
    let before = usage::memory(&server.family())?;
    let mut streams = Vec::with_capacity(plan.connections);
    for number in 0..plan.connections {
        let failed = |error| format!("connection {number}: {error} ({})", server.complaint());
        let stream = socket::connect(server.address).map_err(failed)?;
        socket::round_trip(&stream, &MESSAGE).map_err(failed)?;
        streams.push(stream);
    }
    thread::sleep(SETTLE);
    let after = usage::memory(&server.family())?;
    Ok(Sample { connections: streams.len(), before, after })
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let Some(pss) = self.growth(|memory| memory.pss_bytes) else {
            let reason = self.unavailable.as_deref().unwrap_or("not run");
            return vec![format!("{}  unavailable: {reason}", self.server)];
        };
        let threads = self.samples.iter().map(|sample| sample.after.threads as f64);
        vec![
            self.server.clone(),
            median(self.growth(|memory| memory.rss_bytes), 0),
            format!("{:.0}", pss.median),
            format!("{:.0}", pss.min),
            format!("{:.0}", pss.max),
            median(self.growth(|memory| memory.mappings), 2),
            median(stats::summary(threads), 0),
        ]
    }

    /// Growth per connection, over the rounds.
    fn growth(&self, of: fn(&Memory) -> u64) -> Option<Summary> {
        stats::summary(self.samples.iter().map(|sample| {
            (of(&sample.after) as f64 - of(&sample.before) as f64) / sample.connections as f64
        }))
    }
}
