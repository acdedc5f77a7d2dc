//! `fiveways connect`: an interactive line client, and simple loads of exchanges.
//!
//! ```text
//!   args ─▶ run ─┬─ no message: interactive   one poll(2) over stdin, the server and Ctrl-C
//!                └─ load: connections on threads or in tasks, each of which runs
//!                     exchange   connect, send and receive by the rules of the mode
//!                   and ends in a tally; summary tells them all
//! ```
//!
//! Data is bytes everywhere; it is converted to text only for display (D17).

mod interactive;
mod load;
mod summary;
mod exchange;
mod inbox;
mod tally;
mod display;
mod text;
mod dial;
mod interrupt;
mod reason;
mod args;
mod connection;

use std::process::ExitCode;

use crate::error::CliError;

pub(crate) use args::ConnectArgs;

use interrupt::Interrupt;

/// Exit status after Ctrl-C, by the shells' convention: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Runs the command.
pub(crate) fn run(args: ConnectArgs) -> Result<ExitCode, CliError> {
    let interrupt = Interrupt::new()
        .map_err(|error| CliError::usage(format!("cannot handle Ctrl-C: {error}")))?;
    if args.is_load() { load::run(&args, &interrupt) } else { interactive::run(&args, &interrupt) }
}
