//! Spawn, join, yield and channels: programs that print one JSON line per figure, in interleaved
//! rounds.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::options::Plan;
use crate::report::{Draft, Report, median, ratio};
use crate::stats;
use crate::table::Table;
use crate::{peer, processor};

const NOTES: &str = "Tasks: nanoseconds for one spawn and join (one task at a time, and a thousand \
    at a time) and for one yield among 1, 1,000 and 10,000 tasks. Channels: nanoseconds for one \
    hand-over of an item to a task that waits for it (ping-pong, by bound), and for one item of a \
    stream (by bound); crossbeam's are between two threads, free to run on all processors, all \
    others on one processor. Ratios are formed inside each round, median [lowest-highest]; below 1 \
    is faster.";

/// Programs that print the same figures, ours last.
struct Set {
    title: &'static str,
    programs: [Program; 3],
}

struct Program {
    runtime: &'static str,
    path: PathBuf,
    /// On the server's processor only?
    pinned: bool,
}

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
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let (mut tables, mut data) = (Vec::new(), Vec::new());
    for set in sets(plan)? {
        let rows = measure_set(&set, plan, &mut random);
        tables.push((set.title.to_owned(), table(&rows)));
        data.push(rows);
    }
    Draft { seed: plan.seed, rounds: plan.rounds, notes: NOTES, tables, data: &data }.finish()
}

fn sets(plan: &Plan) -> Result<[Set; 2], String> {
    let directory = peer::own_directory()?;
    let program = |runtime, path, pinned| Program { runtime, path, pinned };
    let rival = |runtime, name, pinned| program(runtime, directory.join(name), pinned);
    let ours = |name| program("fiveways", bench(&plan.fiveways, name), true);
    let tasks =
        [rival("tokio", "micro-tokio", true), rival("may", "micro-may", true), ours("micro")];
    let channels = [
        rival("tokio", "micro-tokio-channels", true),
        rival("crossbeam", "micro-crossbeam", false),
        ours("channel_speed"),
    ];
    Ok([
        Set { title: "Tasks: ns", programs: tasks },
        Set { title: "Channels: ns", programs: channels },
    ])
}

/// The bench of this name that was built last; cargo appends a number to the name.
fn bench(release: &Path, name: &str) -> PathBuf {
    let folder = release.join("deps");
    let is_bench = |path: &PathBuf| {
        let file = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let number = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    let files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let built = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    files.filter(is_bench).max_by_key(built).unwrap_or_else(|| folder.join(name))
}

fn measure_set(set: &Set, plan: &Plan, random: &mut fastrand::Rng) -> [Row; 3] {
    let row = |program: &Program| Row {
        runtime: program.runtime,
        ns: BTreeMap::new(),
        unavailable: None,
    };
    let mut rows = set.programs.each_ref().map(row);
    let mut order = [0, 1, 2];
    for round in 0..plan.rounds {
        eprintln!("{}, round {} of {}", set.title, round + 1, plan.rounds);
        random.shuffle(&mut order);
        for index in order {
            let program = &set.programs[index];
            match measure(&program.path, program.pinned.then_some(plan.server_cpu)) {
                Ok(figures) => rows[index].push(round, figures),
                Err(reason) => rows[index].unavailable = Some(reason),
            }
        }
    }
    rows
}

fn measure(program: &Path, cpu: Option<usize>) -> Result<Vec<Figure>, String> {
    let name = program.display();
    if !program.exists() {
        return Err(format!("not built: {name}"));
    }
    let mut command = Command::new(program);
    if let Some(cpu) = cpu {
        // SAFETY: pinning is one plain system call, allowed between fork and exec.
        unsafe { command.pre_exec(move || processor::pin(cpu)) };
    }
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
    let [first, second, ours] = rows;
    let ratios = [first, second].map(|row| format!("fiveways/{}", row.runtime));
    let [a, b] = ratios.each_ref().map(String::as_str);
    let mut table = Table::new(&["figure", first.runtime, second.runtime, ours.runtime, a, b]);
    let names: std::collections::BTreeSet<_> = rows.iter().flat_map(|row| row.ns.keys()).collect();
    for name in names {
        let values = |row: &Row| row.ns.get(name).cloned().unwrap_or_default();
        let middle = |row| median(stats::summary(values(row).into_iter().flatten()), 1);
        let mut cells = vec![name.clone(), middle(first), middle(second), middle(ours)];
        for rival in [first, second] {
            cells.push(ratio(stats::ratio(&values(ours), &values(rival))));
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
