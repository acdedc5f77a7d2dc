//! The program `fiveways`: serve, connect, compare; inspect running programs; short demonstrations.
//!
//! Data goes to stdout, everything else to stderr. Exit status: 0 for success, 1 when a check
//! failed, 2 for wrong usage or an environment that lacks something.

mod compare;
mod connect;
mod demo;
mod serve;
mod top;
mod dump;
mod error;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// One handler on every network I/O model: serve, connect, and compare the models on this machine
///
/// Start with `fiveways compare`: it runs an echo service under every model that this machine has,
/// and reports which is best, by how much, and at what cost.
#[derive(Parser, Debug)]
#[command(name = "fiveways", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(serve::ServeArgs),
    Connect(connect::ConnectArgs),
    Compare(compare::CompareArgs),
    Demo(demo::DemoArgs),
    Dump(dump::DumpArgs),
    Top(top::TopArgs),
}

fn main() -> ExitCode {
    // A process started by a pool of this program runs that pool's work.
    fiveways::executor::serve_if_worker();
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Connect(args) => connect::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Top(args) => top::run(&args),
    };
    result.unwrap_or_else(|error| error.report())
}
