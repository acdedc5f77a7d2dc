//! `fiveways dump`: what every task of a running program waits for.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Args;
use fiveways::inspect::{self, Dump};

use crate::error::CliError;

/// Tells what every task of a running program waits for, and where it stands
///
/// Of programs that listen for it, as `fiveways serve` does (in code: `inspect::listen()`), and of
/// the same user. Without a PID: of the only one there is.
#[derive(Args, Debug)]
pub(crate) struct DumpArgs {
    /// The process
    pid: Option<u32>,

    /// How the dump is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Leave out where tasks stand: some twenty times as fast
    #[arg(long)]
    no_backtraces: bool,

    /// Only the tasks that have waited longest, so many of each worker
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// How a dump is written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Runs the command.
pub(crate) fn run(args: &DumpArgs) -> Result<ExitCode, CliError> {
    let process = args.pid.map_or_else(only_process, Ok)?;
    let dump = take(process, !args.no_backtraces, args.limit)?;
    let text = match args.format {
        Format::Text => dump.to_string(),
        Format::Json => {
            let json = serde_json::to_string_pretty(&dump);
            json.map_err(|error| CliError::usage(format!("cannot write JSON: {error}")))? + "\n"
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to stdout; that nobody reads it is no error.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::usage(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Takes a dump of a process.
pub(crate) fn take(process: u32, backtraces: bool, limit: Option<usize>) -> Result<Dump, CliError> {
    inspect::of_process(process, backtraces, limit).map_err(|error| cannot_take(process, &error))
}

/// The process, if only one listens.
pub(crate) fn only_process() -> Result<u32, CliError> {
    let all = inspect::processes()
        .map_err(|error| CliError::usage(format!("cannot list processes: {error}")))?;
    match all[..] {
        [only] => Ok(only),
        [] => Err(CliError::usage("no process here listens").hint(HOW_TO_LISTEN)),
        _ => {
            let all: Vec<_> = all.iter().map(u32::to_string).collect();
            let hint = format!("name one of them: {}", all.join(", "));
            Err(CliError::usage("several processes listen").hint(hint))
        }
    }
}

const HOW_TO_LISTEN: &str =
    "`fiveways serve` listens; another program does if it calls `inspect::listen()`";

fn cannot_take(process: u32, error: &io::Error) -> CliError {
    let failed = CliError::usage(format!("cannot look into process {process}: {error}"));
    match error.kind() {
        ErrorKind::ConnectionRefused => match children(process)[..] {
            [] => failed.hint(format!("is it there? {HOW_TO_LISTEN}")),
            ref children => failed.hint(format!("its children listen: {}", children.join(", "))),
        },
        ErrorKind::PermissionDenied => failed.hint("only the same user may, and root"),
        ErrorKind::WouldBlock => failed.hint("it does not answer: is it stopped?"),
        _ => failed,
    }
}

/// The children of a process that listen.
fn children(process: u32) -> Vec<String> {
    let path = format!("/proc/{process}/task/{process}/children");
    let listening = inspect::processes().unwrap_or_default();
    let list = std::fs::read_to_string(path).unwrap_or_default();
    let ids = list
        .split_whitespace()
        .filter(|id| id.parse().is_ok_and(|id: u32| listening.contains(&id)));
    ids.map(str::to_owned).collect()
}
