//! The project's own chores, run as `cargo xtask <command>`.
//!
//! `check` is what a commit must pass, `test` is every test there is, `tidy` is the house style as
//! a program. `.ci/run` calls `check` and `test`, nothing else. Commands print one headline per
//! step and a summary at the end; a failed step does not hide those after it.

mod check;
mod test;
mod peers;
mod loom;
mod mutants;
mod tsan;
mod asan;
mod runner;
mod needs;
mod step;
mod tidy;
mod defects;
mod repository;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Format, lint, tidy and documentation: what a commit must pass.
    Check,
    /// The house style: layers, module order, sizes, unsafe code, leftovers, links, names.
    Tidy(TidyFlags),
    /// All tests: unit, conformance, examples, documentation, loom, sanitizers.
    Test(TestFlags),
    /// The tests of the crates that handle raw memory, under AddressSanitizer.
    Asan(AsanFlags),
    /// The waiting protocols in every order of their steps.
    Loom(LoomFlags),
    /// Puts defects back one by one in a copy: the named test must see each.
    Mutants(MutantsFlags),
    /// Storms over tasks, locks, channels and queues, under ThreadSanitizer.
    Tsan,
    /// Builds the rival runtimes and our release binaries, then compares them.
    Peers(PeersFlags),
    /// Prints how many unsafe sites each crate holds.
    UnsafeMap,
}

#[derive(Args)]
struct TidyFlags {
    /// Print the table of unsafe sites per crate instead of checking.
    #[arg(long)]
    unsafe_map: bool,
    /// Print the rules and their remedies instead of checking.
    #[arg(long, conflicts_with = "unsafe_map")]
    rules: bool,
    /// Wrap comments that are longer than a line may be, in place, instead of checking.
    #[arg(long, conflicts_with_all = ["unsafe_map", "rules"])]
    wrap: bool,
}

#[derive(Args)]
struct TestFlags {
    /// Skip the slow steps: the sanitizers, and tests with `heavy` in their name.
    #[arg(long)]
    quick: bool,
    /// Passed to the test runner; with any of these only the runner is called.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

#[derive(Args)]
struct AsanFlags {
    /// Passed to the test runner.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

#[derive(Args)]
struct LoomFlags {
    /// Make mistakes on purpose, and expect that the models find them.
    #[arg(long)]
    mistakes: bool,
    /// Passed to `cargo test`; with `--mistakes`, only those for models with these words.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

#[derive(Args)]
struct MutantsFlags {
    /// Only those whose ids begin with one of these words, such as D30.
    ids: Vec<String>,
}

#[derive(Args)]
struct PeersFlags {
    /// Passed to the comparison program; `--help` lists its flags.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

fn main() -> ExitCode {
    let root = repository::root();
    match Cli::parse().command {
        Command::Check => check::run(&root),
        Command::Tidy(flags) if flags.rules => tidy::print_rules(),
        Command::Tidy(flags) if flags.unsafe_map => tidy::print_unsafe_map(&root),
        Command::Tidy(flags) if flags.wrap => tidy::wrap_comments(&root),
        Command::Tidy(_) => tidy::run(&root),
        Command::Test(flags) => test::run(&root, flags.quick, &flags.rest),
        Command::Asan(flags) => asan::run(&root, &flags.rest),
        Command::Loom(flags) => loom::run(&root, flags.mistakes, &flags.rest),
        Command::Mutants(flags) => mutants::run(&root, &flags.ids),
        Command::Tsan => tsan::run(&root),
        Command::Peers(flags) => peers::run(&root, &flags.rest),
        Command::UnsafeMap => tidy::print_unsafe_map(&root),
    }
}
