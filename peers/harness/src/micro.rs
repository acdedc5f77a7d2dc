//! Spawn, join and yield: programs that print one JSON line per figure, in interleaved rounds.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::options::Plan;
use crate::report::{Draft, Report, median, ratio};
use crate::stats;
use crate::table::Table;
use crate::{peer, processor};

const NOTES: &str = "Nanoseconds for one spawn and join (one task at a time, and a thousand at a \
    time) and for one yield among 1, 1,000 and 10,000 tasks; all on one processor. Ratios are \
    formed inside each round, median [lowest-highest]; below 1 is faster.";

const RUNTIMES: [&str; 3] = ["tokio", "may", "fiveways"];

/// One line of a program's output.
#[derive(Debug, Deserialize)]
struct Figure {
    what: String,
    ns: f64,
}

/// A runtime's figures: for each name, one value per round.
#[derive(Debug, Serialize)]
struct Row {
    runtime: &'static str,
    ns: BTreeMap<String, Vec<Option<f64>>>,
    unavailable: Option<String>,
}

/// Runs the plan and reports.
pub fn run(plan: &Plan) -> Result<Report, String> {
    let directory = peer::own_directory()?;
    let programs = [
        directory.join("micro-tokio"),
        directory.join("micro-may"),
        plan.fiveways.join("examples/micro"),
    ];
    let row = |runtime| Row { runtime, ns: BTreeMap::new(), unavailable: None };
    let mut rows = RUNTIMES.map(row);
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let mut order = [0, 1, 2];
    for round in 0..plan.rounds {
        eprintln!("round {} of {}", round + 1, plan.rounds);
        random.shuffle(&mut order);
        for index in order {
            match measure(&programs[index], plan.server_cpu) {
                Ok(figures) => rows[index].push(round, figures),
                Err(reason) => rows[index].unavailable = Some(reason),
            }
        }
    }
    let tables = vec![("Tasks: ns".to_owned(), table(&rows))];
    Draft { seed: plan.seed, rounds: plan.rounds, notes: NOTES, tables, data: &rows }.finish()
}

fn measure(program: &PathBuf, cpu: usize) -> Result<Vec<Figure>, String> {
    let name = program.display();
    if !program.exists() {
        return Err(format!("not built: {name}"));
    }
    let mut command = Command::new(program);
    // SAFETY: pinning is one plain system call, allowed between fork and exec.
    unsafe { command.pre_exec(move || processor::pin(cpu)) };
    let output = command.output().map_err(|error| format!("cannot start {name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Result<_, _> = text.lines().map(serde_json::from_str).collect();
    figures.map_err(|error| format!("{name}: {error}"))
}

impl Row {
    fn push(&mut self, round: usize, figures: Vec<Figure>) {
        for Figure { what, ns } in figures {
            let values = self.ns.entry(what).or_default();
            // A round this program failed is a gap, so that rounds stay paired.
            values.resize(round, None);
            values.push(Some(ns));
        }
    }
}

fn table(rows: &[Row; 3]) -> Table {
    let [tokio, may, fiveways] = rows;
    let mut table =
        Table::new(&["figure", "tokio", "may", "fiveways", "fiveways/tokio", "fiveways/may"]);
    let names: std::collections::BTreeSet<_> = rows.iter().flat_map(|row| row.ns.keys()).collect();
    for name in names {
        let values = |row: &Row| row.ns.get(name).cloned().unwrap_or_default();
        let middle = |row| median(stats::summary(values(row).into_iter().flatten()), 1);
        let mut cells = vec![name.clone(), middle(tokio), middle(may), middle(fiveways)];
        for rival in [tokio, may] {
            cells.push(ratio(stats::ratio(&values(fiveways), &values(rival))));
        }
        table.push(cells);
    }
    for row in rows {
        if let Some(reason) = &row.unavailable {
            table.push(vec![format!("{}  unavailable: {reason}", row.runtime)]);
        }
    }
    table
}
