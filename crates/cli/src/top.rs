//! `fiveways top`: a table of a running program's workers and tasks, kept up to date.
//!
//! Every update is a dump of the tasks that have waited longest; rates are differences of two
//! updates.

mod table;
mod screen;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use humantime::Duration as Span;

use crate::dump::{only_process, print, take};
use crate::error::CliError;
use crate::top::screen::Screen;
use crate::top::table::{Look, draw};

/// Shows the workers and tasks of a running program, refreshed
///
/// Tasks by state, the longest waits, the load of each worker. Ctrl-C ends it. Without a PID: the
/// only program on this machine that listens, see `fiveways dump --help`.
#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Id of the process
    pid: Option<u32>,

    /// Show it once; the default if stdout is not a terminal
    #[arg(long)]
    once: bool,

    /// Time between two updates
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: Span,
}

/// Tasks requested from each worker: more than a screen has lines.
const TASKS: usize = 200;

/// Between the two samples of `--once`, if no interval is given.
const ONCE: Duration = Duration::from_millis(300);

/// Runs the command.
pub(crate) fn run(args: &TopArgs) -> Result<ExitCode, CliError> {
    let process = args.pid.map_or_else(only_process, Ok)?;
    let screen = if args.once { None } else { Screen::open() };
    let interval = Duration::from(args.interval).max(Duration::from_millis(50));
    let mut before = look(process)?;
    let Some(screen) = screen else {
        thread::sleep(interval.min(ONCE));
        let now = look(process)?;
        print(&draw(&before, &now, None))?;
        return Ok(ExitCode::SUCCESS);
    };
    loop {
        let next = Instant::now() + interval;
        while !screen.is_ended() && Instant::now() < next {
            thread::sleep(Duration::from_millis(20));
        }
        if screen.is_ended() {
            return Ok(ExitCode::SUCCESS);
        }
        let now = look(process)?;
        screen.show(&draw(&before, &now, Some(screen.size())))?;
        before = now;
    }
}

fn look(process: u32) -> Result<Look, CliError> {
    let dump = take(process, false, Some(TASKS))?;
    Ok(Look::new(dump, Instant::now()))
}
