//! Processor time of a server that has nothing to do, with no connections and with many.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::options::Plan;
use crate::peer::Peer;
use crate::report::{Draft, Report};
use crate::server::Server;
use crate::table::Table;
use crate::{socket, usage};

const NOTES: &str = "Processor time of the server during the window, all its threads; the \
    connections have made one round trip each and rest.";

const CONNECTIONS: [usize; 2] = [0, 1_000];

/// The rivals' buffer per connection unless the command line says otherwise.
const BUFFER_LEN: usize = 16 * 1024;

/// Between the last round trip and the window: a server may spin for a moment after work.
const SETTLE: Duration = Duration::from_millis(300);

#[derive(Debug, Serialize)]
struct Row {
    server: String,
    /// One entry for each number of connections: nanoseconds used, or why there is no figure.
    cpu_ns: Vec<Result<u64, String>>,
}

/// Runs the plan once (rounds would only repeat zeros) and reports.
pub fn run(plan: &Plan) -> Result<Report, String> {
    let mut rows = Vec::new();
    for peer in &plan.peers {
        eprintln!("{}", peer.name);
        let cpu_ns = CONNECTIONS.iter().map(|&count| measure(plan, peer, count)).collect();
        rows.push(Row { server: peer.name.clone(), cpu_ns });
    }
    let mut table = Table::new(&["server", "0 connections", "1,000 connections"]);
    rows.iter().for_each(|row| table.push(row.cells(plan.window)));
    let caption = format!("Idle for {:?}: processor time", plan.window);
    let tables = vec![(caption, table)];
    Draft { seed: plan.seed, rounds: 1, notes: NOTES, tables, data: &rows }.finish()
}

fn measure(plan: &Plan, peer: &Peer, connections: usize) -> Result<u64, String> {
    let server = Server::start(peer, plan.server_cpu, plan.buffer_len.unwrap_or(BUFFER_LEN))?;
    let connect = |_| {
        let stream = socket::connect(server.address)?;
        socket::round_trip(&stream, &[0x5a])?;
        Ok(stream)
    };
    let streams: std::io::Result<Vec<TcpStream>> = (0..connections).map(connect).collect();
    let _open = streams.map_err(|error| format!("{error} ({})", server.complaint()))?;
    thread::sleep(SETTLE);
    let family = server.family();
    let before = usage::cpu_ns(&family)?;
    thread::sleep(plan.window);
    Ok(usage::cpu_ns(&family)? - before)
}

impl Row {
    fn cells(&self, window: Duration) -> Vec<String> {
        let mut cells = vec![self.server.clone()];
        for outcome in &self.cpu_ns {
            match outcome {
                Ok(ns) => {
                    let percent = *ns as f64 / window.as_nanos() as f64 * 100.0;
                    cells.push(format!("{:.3} ms = {percent:.4}%", *ns as f64 / 1e6));
                }
                Err(reason) => return vec![format!("{}  unavailable: {reason}", self.server)],
            }
        }
        cells
    }
}
