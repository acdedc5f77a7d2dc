//! Runs a comparison: rounds over models, one server and one run of the generator at a time.
//!
//! ```text
//!  for each round:  for each model, in an order drawn for this round:
//!    start server -> load (connect, warm up, window, drain, close) -> stop server -> sample
//! ```
//!
//! A model that fails affects its own row only: it declines to start (a row with the server's
//! reason), or it fails (counted, and not tried again unless requested). The time budget holds
//! whatever the models do: each step has a time limit.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways_sys::process;

use crate::failure::{Failure, Failures};
use crate::load::{self, Limits, Moment, Outcome, Plan};
use crate::machine::{Machine, Placement};
use crate::report::{Method, Report, SCHEMA, Subject, rows};
use crate::schedule::{Budget, order};
use crate::server::{Launch, Server, cpu_ns, family_of, resident_bytes};
use crate::statistics::{Sample, rounded};
use crate::workload::{Spin, Workload};

/// Descriptors that the generator and the server need in addition to their connections.
const DESCRIPTORS_SPARE: u64 = 64;
/// select(2) supports only descriptors below this number.
const SELECT_MAX: usize = 1024;

/// A comparison to run.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The program under test, which has a `serve` command.
    pub program: PathBuf,
    /// The models, by name.
    pub models: Vec<&'static str>,
    /// The workload of each.
    pub workload: Workload,
    /// How many rounds.
    pub rounds: usize,
    /// How long each server is driven before its window.
    pub warm_up: Duration,
    /// Windows and their budget.
    pub budget: Budget,
    /// Time limits of each step.
    pub limits: StepLimits,
    /// Worker threads of each server.
    pub workers: usize,
    /// Processes of each server.
    pub processes: usize,
    /// Whether workers spin before they sleep, for models that can.
    pub spin: Spin,
    /// Ends the comparison early when it becomes `true`: the report has what was measured until
    /// then.
    pub interrupt: Arc<AtomicBool>,
    /// `true` to measure a model again in later rounds after it failed.
    pub keep_going: bool,
    /// The command as it was typed, for the report.
    pub command: String,
}

/// Time limits of the steps of one sample.
#[derive(Clone, Copy, Debug)]
pub struct StepLimits {
    /// From the start of a server until it listens.
    pub start: Duration,
    /// For making the connections.
    pub connect: Duration,
    /// For each reply.
    pub request: Duration,
    /// From SIGTERM until the server has exited.
    pub stop: Duration,
}

/// The progress of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The round, from zero.
    pub round: usize,
    /// The model that is measured next; `None` at the end.
    pub model: Option<&'static str>,
    /// Samples taken or skipped.
    pub done: usize,
    /// Samples planned.
    pub total: usize,
}

/// Why a comparison could not run at all.
#[derive(Debug)]
#[non_exhaustive]
pub enum CompareError {
    /// The workload needs more descriptors than a process may have here.
    Descriptors {
        /// How many it needs.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// The generator itself failed.
    Generator(io::Error),
}

impl fmt::Display for CompareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompareError::Descriptors { needed, limit } => {
                write!(f, "{needed} descriptors are needed and {limit} are allowed")
            }
            CompareError::Generator(error) => write!(f, "the load generator failed: {error}"),
        }
    }
}

impl std::error::Error for CompareError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CompareError::Descriptors { .. } => None,
            CompareError::Generator(error) => Some(error),
        }
    }
}

/// Runs a comparison on the calling thread, and calls `watch` before each step and at the end.
///
/// The calling thread must live until this returns, as it does: servers are tied to it.
///
/// # Errors
///
/// If the comparison as a whole is impossible here. Failures of a model are in its row.
pub fn run(comparison: &Comparison, watch: &mut dyn FnMut(Step)) -> Result<Report, CompareError> {
    check_descriptors(comparison.workload.connections)?;
    let machine = Machine::read();
    let servers = comparison.workers * comparison.processes;
    let mut campaign = Campaign {
        comparison,
        placement: Placement::on(&machine, servers),
        subjects: subjects(comparison),
        started: Instant::now(),
        window_min: comparison.budget.window,
        rounds: 0,
        is_out_of_time: false,
    };
    campaign.run(watch)?;
    Ok(campaign.report(machine))
}

fn check_descriptors(connections: usize) -> Result<(), CompareError> {
    let needed = connections as u64 + DESCRIPTORS_SPARE;
    match process::raise_descriptor_limit().soft {
        Some(limit) if limit < needed => Err(CompareError::Descriptors { needed, limit }),
        _ => Ok(()),
    }
}

/// The subjects: each model, twice if it is measured with and without spinning.
fn subjects(comparison: &Comparison) -> Vec<Subject> {
    let variants = |&model: &&'static str| {
        let spins = comparison.spin.variants(model).iter();
        spins.map(move |&spin_us| subject(comparison, model, spin_us))
    };
    comparison.models.iter().flat_map(variants).collect()
}

fn subject(comparison: &Comparison, model: &'static str, spin_us: Option<u64>) -> Subject {
    let asked = comparison.workload.connections;
    let mut notes = Vec::new();
    let mut connections = asked;
    if model == "blocking" && asked > comparison.processes {
        connections = comparison.processes.max(1);
        let plural = if connections == 1 { "" } else { "s" };
        notes.push(format!(
            "serves one connection at a time in each process, so it was given {connections} \
             connection{plural}, not {asked}; its figures are of that"
        ));
    }
    let unavailable = (model == "select" && asked + 16 > SELECT_MAX * comparison.processes)
        .then(|| format!("select(2) knows descriptors below {SELECT_MAX} only"));
    Subject {
        model,
        takes: None,
        spin_us,
        connections,
        samples: Vec::new(),
        failures: Failures::default(),
        unavailable,
        notes,
    }
}

/// A comparison in progress.
struct Campaign<'a> {
    comparison: &'a Comparison,
    placement: Placement,
    subjects: Vec<Subject>,
    started: Instant,
    window_min: Duration,
    rounds: usize,
    is_out_of_time: bool,
}

impl Campaign<'_> {
    fn run(&mut self, watch: &mut dyn FnMut(Step)) -> Result<(), CompareError> {
        let (count, rounds) = (self.subjects.len(), self.comparison.rounds);
        let total = count * rounds;
        for round in 0..rounds {
            let order = order(count, self.comparison.workload.seed, round);
            for (place, at) in order.into_iter().enumerate() {
                let done = round * count + place;
                let model = Some(self.subjects[at].model);
                watch(Step { round, model, done, total });
                let sample = match self.is_worth_trying(at) {
                    true => self.sample(at, total - done)?,
                    false => None,
                };
                self.subjects[at].samples.push(sample);
            }
            if self.is_out_of_time || self.is_interrupted() {
                break;
            }
            self.rounds += 1;
        }
        let done = if self.is_interrupted() { self.rounds * count } else { total };
        watch(Step { round: self.rounds, model: None, done, total });
        Ok(())
    }

    fn is_interrupted(&self) -> bool {
        self.comparison.interrupt.load(Ordering::Relaxed)
    }

    fn is_worth_trying(&self, at: usize) -> bool {
        let subject = &self.subjects[at];
        let has_failed = subject.failures.total() > 0 && !self.comparison.keep_going;
        let is_over = self.is_out_of_time || self.is_interrupted();
        subject.unavailable.is_none() && !has_failed && !is_over
    }

    /// Takes one sample; `None` if there is no clean one.
    fn sample(&mut self, at: usize, left: usize) -> Result<Option<Sample>, CompareError> {
        let Some(window) = self.comparison.budget.window(self.started.elapsed(), left) else {
            self.is_out_of_time = true;
            return Ok(None);
        };
        self.window_min = self.window_min.min(window);
        let server = match Server::start(&self.launch(at)) {
            Ok(server) => server,
            Err(_) if self.is_interrupted() => return Ok(None),
            Err(error) => {
                self.not_started(at, error.reason, error.is_refusal);
                return Ok(None);
            }
        };
        let (outcome, observed) = self.load(at, &server, window)?;
        if self.is_interrupted() {
            // The server is ended by its drop, and its work until now was cut short by the
            // interrupt.
            return Ok(None);
        }
        let subject = &mut self.subjects[at];
        if subject.model == "auto" && subject.takes.is_none() {
            subject.takes = server.takes().map(str::to_owned);
        }
        let mut failures = outcome.failures;
        if let Err(problem) = server.stop(self.comparison.limits.stop) {
            failures.count(Failure::Server);
            let note = format!("the server {problem}");
            if !subject.notes.contains(&note) {
                subject.notes.push(note);
            }
        }
        subject.failures.add(&failures);
        let is_clean = failures.total() == 0;
        Ok(is_clean.then(|| sample_of(&outcome, &observed, subject.connections)).flatten())
    }

    /// A model that never ran cannot run here; one that ran before has failed.
    fn not_started(&mut self, at: usize, reason: String, is_refusal: bool) {
        let subject = &mut self.subjects[at];
        let has_run = subject.samples.iter().any(Option::is_some);
        if has_run {
            subject.failures.count(Failure::Server);
            subject.notes.push(format!("the server did not start again: {reason}"));
            return;
        }
        if !is_refusal {
            subject.failures.count(Failure::Server);
        }
        subject.unavailable = Some(reason);
    }

    fn launch(&self, at: usize) -> Launch {
        let (comparison, subject) = (self.comparison, &self.subjects[at]);
        let mut args: Vec<OsString> = ["serve", "--bind", "127.0.0.1:0"].map(OsString::from).into();
        let mut option = |name: &str, value: String| args.extend([name.into(), value.into()]);
        option("--service", comparison.workload.service.to_string());
        option("--model", subject.model.to_owned());
        option("--workers", comparison.workers.to_string());
        option("--processes", comparison.processes.to_string());
        if let Some(limit) = subject.spin_us {
            option("--spin", limit.to_string());
        }
        if subject.model == "pool" {
            // A thread serves its connection to the end: with fewer threads the rest would wait.
            option("--pool", subject.connections.to_string());
        }
        Launch {
            program: comparison.program.clone(),
            args,
            cpus: self.placement.server.clone(),
            has_children: comparison.processes > 1,
            start_limit: comparison.limits.start,
            interrupt: Arc::clone(&comparison.interrupt),
        }
    }

    /// Runs the generator on its own processor, and reads the server's counters at the run's
    /// moments.
    fn load(
        &self,
        at: usize,
        server: &Server,
        window: Duration,
    ) -> Result<(Outcome, Observed), CompareError> {
        let comparison = self.comparison;
        let connections = self.subjects[at].connections;
        let workload = Workload { connections, ..comparison.workload.clone() };
        let limits = &comparison.limits;
        let plan = Plan {
            address: server.address(),
            workload: &workload,
            warm_up: comparison.warm_up,
            window,
            limits: Limits { connect: limits.connect, request: limits.request },
            interrupt: &comparison.interrupt,
        };
        let (pid, mut observed) = (server.pid(), Observed::default());
        // A separate thread, so that its processor affinity affects nothing else.
        let outcome = thread::scope(|scope| {
            let generator = scope.spawn(|| {
                // Fails if processors were taken away in the meantime: then it runs anywhere.
                let _ = process::set_affinity(&self.placement.generator);
                load::run(&plan, &mut |moment| observed.look(pid, moment))
            });
            generator.join()
        });
        let died = || io::Error::other("its thread panicked");
        let outcome = outcome.unwrap_or_else(|_| Err(died())).map_err(CompareError::Generator)?;
        Ok((outcome, observed))
    }

    fn report(self, machine: Machine) -> Report {
        let comparison = self.comparison;
        let mut notes = Vec::new();
        let (done, planned) = (self.rounds, comparison.rounds);
        if self.is_interrupted() {
            notes.push(format!("Interrupted: {done} of {planned} rounds complete."));
        } else if self.is_out_of_time {
            notes.push(format!("The time limit was reached: {done} of {planned} rounds complete."));
        } else if self.window_min < comparison.budget.window {
            let seconds = self.window_min.as_secs_f64();
            notes.push(format!("The run was late: some windows were only {seconds:.2} s long."));
        }
        let seconds = |duration: Duration| rounded(duration.as_secs_f64(), 3);
        Report {
            schema: SCHEMA,
            command: comparison.command.clone(),
            seed: comparison.workload.seed,
            machine,
            placement: self.placement,
            workload: comparison.workload.clone(),
            rounds: done,
            complete: done == planned,
            method: Method {
                workers: comparison.workers,
                processes: comparison.processes,
                spin: comparison.spin,
                rounds_planned: planned,
                window_seconds: seconds(comparison.budget.window),
                window_seconds_min: seconds(self.window_min),
                warm_up_seconds: seconds(comparison.warm_up),
            },
            notes,
            rows: rows(&comparison.workload, done, &self.subjects),
        }
    }
}

/// The server's counters at the moments of a run.
#[derive(Debug, Default)]
struct Observed {
    processes: Vec<process::Pid>,
    resident_with_first: u64,
    resident_with_all: u64,
    cpu_ns_before: u64,
    cpu_ns_after: u64,
}

impl Observed {
    fn look(&mut self, server: process::Pid, moment: Moment) {
        match moment {
            Moment::FirstConnected => {
                let processes = family_of(server);
                settle(&processes);
                self.resident_with_first = resident_bytes(&processes);
            }
            Moment::AllConnected => {
                self.processes = family_of(server);
                settle(&self.processes);
                self.resident_with_all = resident_bytes(&self.processes);
            }
            Moment::WindowStarts => self.cpu_ns_before = cpu_ns(&self.processes),
            Moment::WindowEnds => self.cpu_ns_after = cpu_ns(&self.processes),
        }
    }
}

/// Waits until the processes are idle, for 20 ms at most: a server continues for a moment after its
/// last reply, and one of the models never idles.
fn settle(processes: &[process::Pid]) {
    let mut before = cpu_ns(processes);
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(2));
        let after = cpu_ns(processes);
        if after == before {
            return;
        }
        before = after;
    }
}

fn sample_of(outcome: &Outcome, observed: &Observed, connections: usize) -> Option<Sample> {
    // The first connection accounts for one-time allocations, so it is not counted.
    let growth = observed.resident_with_all.saturating_sub(observed.resident_with_first);
    let rss = (connections > 1).then(|| growth as f64 / (connections - 1) as f64);
    Some(Sample {
        requests: outcome.requests,
        window_ns: outcome.window.as_nanos() as u64,
        server_cpu_ns: observed.cpu_ns_after.saturating_sub(observed.cpu_ns_before),
        generator_cpu_ns: outcome.generator_cpu.as_nanos() as u64,
        latency: outcome.latency?,
        rss_bytes_per_connection: rss,
    })
}
