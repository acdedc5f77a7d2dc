//! `compare-peers`: Fiveways beside its rivals, in one run, on one machine.
//!
//! The server runs on one processor, the load generator in this process on another. Servers take
//! turns in rounds whose order is shuffled by a seed; every ratio is formed inside one round, where
//! both sides saw the same machine, and then the median over the rounds is taken.
//!
//! Modules in reading order: a module uses only modules listed after it.

mod options;

mod compare;
mod idle;
mod memory;
mod micro;

mod report;
mod table;

mod load;
mod server;

mod cell;
mod clock;
mod machine;
mod pattern;
mod peer;
mod processor;
mod socket;
mod stats;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use options::{Mode, Options};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    socket::raise_descriptor_limit().map_err(|error| format!("descriptor limit: {error}"))?;
    let plan = options.plan()?;
    let text = match options.mode() {
        Mode::Compare => compare::run(&plan)?,
        Mode::Memory => memory::run(&plan)?,
        Mode::Idle => idle::run(&plan)?,
        Mode::Micro => micro::run(&plan)?,
    };
    println!("{}", text.text);
    write(options.json.as_deref(), &text.json)?;
    write(options.markdown.as_deref(), &text.markdown)
}

fn write(path: Option<&std::path::Path>, contents: &str) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, contents).map_err(|error| format!("{}: {error}", path.display()))
}
