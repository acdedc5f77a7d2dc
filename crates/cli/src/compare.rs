//! `fiveways compare`: one service under every model, measured on this machine.
//!
//! The measurements are `fiveways_lab`'s; this file has the options, the progress bar and the
//! output. The servers are this same program (`fiveways serve`), each model in a process of its
//! own.

mod interrupts;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use fiveways_lab::compare::{CompareError, Comparison, Step, StepLimits, run as run_comparison};
use fiveways_lab::report::Report;
use fiveways_lab::schedule::{Budget, fresh_seed};
use fiveways_lab::table::{Colour, text};
use fiveways_lab::workload::{MODELS, MessageSize, Service, Spin, Workload, model};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::compare::interrupts::Interrupts;
use crate::error::CliError;

/// Measures a service under every model and reports which is best on this machine
///
/// Each model is served by a process of its own and driven by a load generator on another
/// processor, which checks every byte of every reply. Models take turns in rounds, in a random
/// order, and are compared within a round, so that changes of the machine's speed affect all alike.
///
/// A model that cannot run here gets a row with the reason. The exit status is 1 if a model
/// answered wrongly, lost connections or failed, and 2 if nothing could be measured.
///
/// Ctrl-C ends the measurement: the report has what was measured until then (marked as not
/// complete), and the exit status is 130. A second one ends the program at once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fiveways compare --quick
  fiveways compare --models epoll,uring --connections 1000 --size 4K --rounds 9
  fiveways compare --connections 1 --spin both
  fiveways compare -o report.json

The default run takes up to a minute and a half, a quick one up to half a minute; with --spin both
it is half as long again.")]
pub(crate) struct CompareArgs {
    /// The service: echo, upper, greet (`ok` once and for each line), sink (answers nothing)
    #[arg(long, default_value = "echo")]
    service: Service,

    /// Connections open at once, each with one message in flight
    #[arg(long, default_value_t = 64, value_name = "N")]
    connections: usize,

    /// Size of a message in bytes, such as 64, 4K or 64K
    #[arg(long, default_value = "64", value_name = "SIZE")]
    size: MessageSize,

    /// Models to compare, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_parser = model, value_name = "MODEL,…")]
    models: Vec<&'static str>,

    /// Number of rounds; each measures every model once [default: 5, or 3 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,

    /// Duration of each measurement in seconds [default: 1, or 0.45 with --quick]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,

    /// Measure less: a first impression in under 30 seconds
    #[arg(long)]
    quick: bool,

    /// Worker threads of each server, for models with coroutines
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,

    /// Whether workers spin briefly before they sleep, as they do under `serve`
    ///
    /// This matters with few connections; models on threads cannot spin.
    #[arg(long, value_enum, default_value_t = SpinArg::Off)]
    spin: SpinArg,

    /// Processes of each server
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    processes: u16,

    /// Seed of payloads and orders; random by default, and reported
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Output format
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// Also write the report to this file, as JSON unless --format is text
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Measure a model in later rounds even after it has failed
    #[arg(long)]
    keep_going: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Text,
    /// JSON, described in docs/compare-json.md
    Json,
}

/// Whether workers spin before they sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SpinArg {
    /// Workers sleep at once, as threads do
    Off,
    /// Workers spin first
    On,
    /// Two rows, without and with spinning, for each model that can spin
    Both,
}

impl From<SpinArg> for Spin {
    fn from(arg: SpinArg) -> Spin {
        match arg {
            SpinArg::Off => Spin::Off,
            SpinArg::On => Spin::On,
            SpinArg::Both => Spin::Both,
        }
    }
}

fn seconds(word: &str) -> Result<Duration, String> {
    let seconds: f64 = word.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match (0.05..=600.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("from 0.05 to 600 seconds".to_owned()),
    }
}

/// Runs the command.
pub(crate) fn run(args: CompareArgs) -> Result<ExitCode, CliError> {
    let interrupts = Interrupts::handled()
        .map_err(|error| CliError::usage(format!("cannot handle Ctrl-C: {error}")))?;
    let comparison = comparison(&args, &interrupts)?;
    if let Some(path) = &args.output {
        check_writable(path)?;
    }
    let progress = Progress::new();
    let report = run_comparison(&comparison, &mut |step| progress.show(step));
    progress.end();
    let report = report.map_err(|error| impossible(&error))?;
    if let Some(path) = &args.output {
        let format = args.format.unwrap_or(Format::Json);
        let content = rendered(&report, format, Colour::Never)?;
        write_atomically(path, &content).map_err(|error| not_written(path, &error))?;
    }
    // With a file for the data, the terminal gets the table.
    let format = if args.output.is_some() { None } else { args.format };
    let content = rendered(&report, format.unwrap_or(Format::Text), colour())?;
    print(&content)?;
    match interrupts.status() {
        Some(status) => Ok(status),
        None => judge(&report),
    }
}

/// The time limits of a run without a total: generous, for busy machines.
const PATIENT: StepLimits = StepLimits {
    start: Duration::from_secs(20),
    connect: Duration::from_secs(20),
    request: Duration::from_secs(10),
    stop: Duration::from_secs(20),
};

/// How much is measured, and how long each step may take, to keep within the total time.
struct Effort {
    rounds: usize,
    window: Duration,
    warm_up: Duration,
    total: Duration,
    limits: StepLimits,
}

impl Effort {
    /// 11 models × 5 rounds × 1.3 s = 72 s; the last step may add its limits: under 90 s.
    fn full() -> Effort {
        Effort {
            rounds: 5,
            window: Duration::from_secs(1),
            warm_up: Duration::from_millis(200),
            total: Duration::from_secs(78),
            limits: StepLimits {
                start: Duration::from_secs(4),
                connect: Duration::from_secs(4),
                request: Duration::from_secs(2),
                stop: Duration::from_secs(2),
            },
        }
    }

    /// 11 models × 3 rounds × 0.65 s = 21 s; the last step may add its limits: under 30 s.
    fn quick() -> Effort {
        Effort {
            rounds: 3,
            window: Duration::from_millis(450),
            warm_up: Duration::from_millis(100),
            total: Duration::from_secs(24),
            limits: StepLimits {
                start: Duration::from_secs(2),
                connect: Duration::from_secs(2),
                request: Duration::from_secs(1),
                stop: Duration::from_secs(1),
            },
        }
    }
}

fn comparison(args: &CompareArgs, interrupts: &Interrupts) -> Result<Comparison, CliError> {
    let effort = if args.quick { Effort::quick() } else { Effort::full() };
    let workload = Workload {
        service: args.service,
        connections: args.connections,
        size: args.size,
        seed: args.seed.unwrap_or_else(fresh_seed),
    };
    workload.validate().map_err(|error| CliError::usage(error.to_string()))?;
    let program = env::current_exe()
        .map_err(|error| CliError::usage(format!("cannot find this program itself: {error}")))?;
    // If rounds or seconds are given, the user has chosen the total time.
    let is_custom = args.rounds.is_some() || args.seconds.is_some();
    let (models, spin) = (models(&args.models), Spin::from(args.spin));
    let rows: usize = models.iter().map(|model| spin.variants(model).len()).sum();
    // The total assumes one row per model: more rows take longer, fewer leave time over.
    let scale = (rows as f64 / MODELS.len() as f64).max(1.0);
    let budget = Budget {
        total: (!is_custom).then_some(effort.total.mul_f64(scale)),
        window: args.seconds.unwrap_or(effort.window),
        beside: effort.warm_up + Duration::from_millis(120),
    };
    Ok(Comparison {
        program,
        models,
        workload,
        rounds: args.rounds.map_or(effort.rounds, usize::from),
        warm_up: effort.warm_up,
        budget,
        limits: if is_custom { PATIENT } else { effort.limits },
        workers: usize::from(args.workers),
        processes: usize::from(args.processes),
        spin,
        interrupt: Arc::clone(&interrupts.any),
        keep_going: args.keep_going,
        command: command_line(env::args_os()),
    })
}

/// The models given, each once; all if none is given.
fn models(asked: &[&'static str]) -> Vec<&'static str> {
    let is_asked = |name: &&str| asked.is_empty() || asked.contains(name);
    MODELS.into_iter().filter(is_asked).collect()
}

/// The command in a form that can be typed again.
fn command_line(args: impl Iterator<Item = OsString>) -> String {
    let quoted = args.enumerate().map(|(at, arg)| {
        let text = arg.to_string_lossy().into_owned();
        let text = match Path::new(&text).file_name() {
            Some(name) if at == 0 => name.to_string_lossy().into_owned(),
            _ => text,
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%".contains(c);
        match !text.is_empty() && text.chars().all(is_plain) {
            true => text,
            false => format!("'{}'", text.replace('\'', r"'\''")),
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn impossible(error: &CompareError) -> CliError {
    let hint = match error {
        CompareError::Descriptors { .. } => {
            "use fewer --connections, or raise the limit with `ulimit -n`"
        }
        _ => "make sure that this machine has free descriptors and memory, and try again",
    };
    CliError::usage(error.to_string()).hint(hint)
}

/// The progress bar on stderr, only on a terminal: nothing is drawn while a window is measured.
struct Progress(ProgressBar);

impl Progress {
    fn new() -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if io::stderr().is_terminal() {
            let template = "{wide_bar} {pos}/{len} {msg:>16} {eta:>4} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Progress(bar)
    }

    fn show(&self, step: Step) {
        self.0.set_length(step.total as u64);
        self.0.set_position(step.done as u64);
        self.0.set_message(step.model.unwrap_or(""));
        self.0.tick();
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// Colours only if stdout is a terminal and NO_COLOR is not set (no-color.org).
fn colour() -> Colour {
    let is_unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|value| value == "dumb");
    match io::stdout().is_terminal() && !is_unwanted {
        true => Colour::Always,
        false => Colour::Never,
    }
}

fn rendered(report: &Report, format: Format, colour: Colour) -> Result<String, CliError> {
    match format {
        Format::Text => Ok(text(report, colour)),
        Format::Json => {
            report.to_json().map_err(|error| CliError::usage(format!("cannot write JSON: {error}")))
        }
    }
}

/// Prints on stdout; a closed pipe is no error.
fn print(content: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(content.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::usage(format!("cannot print the report: {error}")))
        }
        _ => Ok(()),
    }
}

fn judge(report: &Report) -> Result<ExitCode, CliError> {
    if report.has_errors() {
        let failed = report.rows.iter().filter(|row| row.errors > 0);
        let failed: Vec<String> = failed.map(|row| row.label()).collect();
        return Err(CliError::failed(format!("errors under {}", failed.join(", ")))
            .hint("the report counts them by kind; the figures are of clean rounds only"));
    }
    if !report.is_measured() {
        return Err(CliError::usage("no model could be measured")
            .hint("the report has the reason for each; --models auto takes what is available"));
    }
    Ok(ExitCode::SUCCESS)
}

fn not_written(path: &Path, error: &io::Error) -> CliError {
    CliError::usage(format!("cannot write '{}': {error}", path.display()))
        .hint("choose a file in a directory that you may write to")
}

/// Checks this before measuring for a minute.
fn check_writable(path: &Path) -> Result<(), CliError> {
    if is_special(path) {
        return Ok(());
    }
    let probe = beside(path);
    let made = match path.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => fs::File::create_new(&probe).and_then(|_| fs::remove_file(&probe)),
    };
    made.map_err(|error| not_written(path, &error))
}

/// Writes the whole file or leaves the old one: a new file replaces it.
fn write_atomically(path: &Path, content: &str) -> io::Result<()> {
    if is_special(path) {
        return fs::OpenOptions::new().write(true).open(path)?.write_all(content.as_bytes());
    }
    let new = beside(path);
    let written = fs::File::create_new(&new)
        .and_then(|mut file| {
            file.write_all(content.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Returns `true` for files such as `/dev/null` or a pipe, which must not be replaced.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// A name in the same directory, so that the rename stays within one file system.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_typed_again() {
        let args = ["/some/where/fiveways", "compare", "--size", "4K", "-o", "it's here"];
        let command = command_line(args.into_iter().map(OsString::from));
        assert_eq!(command, r"fiveways compare --size 4K -o 'it'\''s here'");
    }

    #[test]
    fn models_keep_the_order_of_reports_and_appear_once() {
        assert_eq!(models(&[]), MODELS);
        assert_eq!(models(&["uring", "epoll", "uring"]), ["epoll", "uring"]);
    }

    #[test]
    fn the_models_of_the_instrument_are_those_of_the_product() {
        assert_eq!(MODELS.to_vec(), fiveways::Model::ALL.map(fiveways::Model::name).to_vec());
    }

    #[test]
    fn the_services_of_the_instrument_are_those_of_the_product() {
        let known = fiveways::service::Service::ALL.map(fiveways::service::Service::name);
        assert_eq!(Service::ALL.map(Service::name).to_vec(), known.to_vec());
    }

    #[test]
    fn a_report_takes_the_old_ones_place_as_a_whole() {
        let dir = env::temp_dir().join(format!("fiveways-compare-{}", process::id()));
        fs::create_dir_all(&dir).expect("a directory of our own");
        let path = dir.join("report.json");
        assert!(check_writable(&path).is_ok());
        for content in ["first", "second"] {
            write_atomically(&path, content).expect("it is writable");
            assert_eq!(fs::read_to_string(&path).expect("it was written"), content);
        }
        let names = fs::read_dir(&dir).expect("it is there").count();
        assert_eq!(names, 1, "nothing is left beside it");
        assert!(check_writable(&dir).is_err(), "a directory is no file");
        assert!(check_writable(&dir.join("none/report.json")).is_err());
        assert!(write_atomically(Path::new("/dev/null"), "x").is_ok());
        fs::remove_dir_all(&dir).expect("it is ours");
    }

    #[test]
    fn seconds_are_within_reason() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for word in ["0", "-1", "601", "NaN", "inf", "1s", ""] {
            assert!(seconds(word).is_err(), "{word:?}");
        }
    }
}
