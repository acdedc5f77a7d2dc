//! `fiveways dump`: what every task of a running program waits for.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Args;
use fiveways::inspect::{self, Dump};

use crate::error::CliError;

/// Shows what every task of a running program waits for, with backtraces
///
/// The program must listen for it, as `fiveways serve` does (in code: `inspect::listen()`), and
/// belong to the same user. Without a PID: the only such program on this machine.
#[derive(Args, Debug)]
pub(crate) struct DumpArgs {
    /// Id of the process
    pid: Option<u32>,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Omit backtraces (about 20× faster)
    #[arg(long)]
    no_backtraces: bool,

    /// Only this many tasks per worker, those that have waited longest
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// The format of a dump.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// Text
    Text,
    /// JSON
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

/// Writes to stdout; a closed pipe is no error.
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

/// Returns the process, if only one listens.
pub(crate) fn only_process() -> Result<u32, CliError> {
    let all = inspect::processes()
        .map_err(|error| CliError::usage(format!("cannot list processes: {error}")))?;
    match all[..] {
        [only] => Ok(only),
        [] => Err(CliError::usage("no process on this machine listens").hint(HOW_TO_LISTEN)),
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
    let failed = CliError::usage(format!("cannot inspect process {process}: {error}"));
    match error.kind() {
        ErrorKind::ConnectionRefused => match children(process)[..] {
            [] => failed.hint(format!("does it exist? {HOW_TO_LISTEN}")),
            ref children => failed.hint(format!("its children listen: {}", children.join(", "))),
        },
        ErrorKind::PermissionDenied => failed.hint("only the same user and root may inspect it"),
        ErrorKind::WouldBlock => failed.hint("it does not answer: is it stopped?"),
        _ => failed,
    }
}

/// The listening children of a process.
fn children(process: u32) -> Vec<String> {
    let path = format!("/proc/{process}/task/{process}/children");
    let listening = inspect::processes().unwrap_or_default();
    let list = std::fs::read_to_string(path).unwrap_or_default();
    let ids = list
        .split_whitespace()
        .filter(|id| id.parse().is_ok_and(|id: u32| listening.contains(&id)));
    ids.map(str::to_owned).collect()
}
