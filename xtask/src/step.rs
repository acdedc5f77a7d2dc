//! Steps of a chore: one headline each, one summary at the end.
//!
//! A failed step does not stop the next: one run shows all that is wrong. The exit code is 1 when
//! any step failed.

use std::fmt::{self, Display};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How one step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it should.
    Passed,
    /// It found something, or could not run; with a word on why.
    Failed(String),
    /// It was left out, with the reason.
    Skipped(String),
}

impl Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => out.write_str("ok"),
            Self::Failed(why) => write!(out, "FAILED: {why}"),
            Self::Skipped(why) => write!(out, "skipped: {why}"),
        }
    }
}

/// The steps of one chore so far.
pub(crate) struct Steps {
    chore: &'static str,
    done: Vec<(String, Outcome, Duration)>,
}

impl Steps {
    /// Starts a chore.
    pub(crate) fn new(chore: &'static str) -> Self {
        Self { chore, done: Vec::new() }
    }

    /// Runs a program as a step; it passes when the program exits with 0.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) -> bool {
        self.perform(name, &spelled(command), || exit_of(command))
    }

    /// Runs a function as a step.
    pub(crate) fn perform(
        &mut self,
        name: &str,
        detail: &str,
        body: impl FnOnce() -> Outcome,
    ) -> bool {
        eprintln!("\n==> {name}: {detail}");
        let started = Instant::now();
        let outcome = body();
        let passed = !matches!(outcome, Outcome::Failed(_));
        if !passed {
            eprintln!("==> {name}: {outcome}");
        }
        self.done.push((name.to_owned(), outcome, started.elapsed()));
        passed
    }

    /// Notes a step that is not run.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        eprintln!("\n==> {name}: skipped: {why}");
        let outcome = Outcome::Skipped(why.to_owned());
        self.done.push((name.to_owned(), outcome, Duration::ZERO));
    }

    /// Prints the summary; the code is the chore's own.
    pub(crate) fn finish(self) -> ExitCode {
        eprintln!("\n==> {}: summary", self.chore);
        for (name, outcome, took) in &self.done {
            eprintln!("    {name:<14} {:>7.1} s  {outcome}", took.as_secs_f64());
        }
        if self.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn has_failed(&self) -> bool {
        self.done.iter().any(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_)))
    }
}

/// The cargo that called us, in the repository's root.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    // What `cargo run` tells about xtask would reach the build scripts of other packages.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}

/// Runs a program to its end.
pub(crate) fn exit_of(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("{} ended with {status}", program(command))),
        Err(error) => Outcome::Failed(format!("could not start {}: {error}", program(command))),
    }
}

fn program(command: &Command) -> String {
    let path = Path::new(command.get_program());
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The command as one would type it, with the variables that it sets.
fn spelled(command: &Command) -> String {
    let set = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={:?}", name.to_string_lossy(), value?)));
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    set.chain([program(command)]).chain(args).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_does_not_stop_the_next_and_fails_the_chore() {
        let mut steps = Steps::new("test");
        assert!(!steps.command("one", &mut Command::new("false")));
        assert!(steps.command("two", &mut Command::new("true")));
        assert_eq!(steps.done.len(), 2);
        assert!(steps.has_failed());
        assert_eq!(steps.finish(), ExitCode::FAILURE);
    }

    #[test]
    fn a_program_that_is_missing_is_a_failed_step() {
        let mut steps = Steps::new("test");
        assert!(!steps.command("one", &mut Command::new("no-such-program-anywhere")));
    }

    #[test]
    fn a_skipped_step_is_named_and_does_not_fail() {
        let mut steps = Steps::new("test");
        steps.skip("one", "too slow");
        assert_eq!(steps.done[0].1.to_string(), "skipped: too slow");
        assert!(!steps.has_failed());
    }

    #[test]
    fn a_command_is_spelled_as_one_would_type_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(spelled(&command), "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps");
    }
}
