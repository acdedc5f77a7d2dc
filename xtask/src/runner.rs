//! The program that runs tests: cargo-nextest where it is installed, else `cargo test`.
//!
//! Tests count descriptors and stacks of their process, so they may not share one with others at
//! work: nextest gives each test a process; `cargo test` gets one thread.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::step::cargo;

/// Which tests a run leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Nothing.
    All,
    /// Tests with `heavy` in their name.
    NoHeavy,
}

/// A runner of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// cargo-nextest: a process per test, in parallel.
    Nextest,
    /// cargo's own: one process per target, one thread.
    Cargo,
}

impl Runner {
    /// Finds the best runner of this machine.
    pub(crate) fn find(root: &Path) -> Self {
        let probe = cargo(root)
            .args(["nextest", "--version"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if probe.is_ok_and(|status| status.success()) { Self::Nextest } else { Self::Cargo }
    }

    /// The command that runs the tests of `selection` (cargo's flags for packages and targets).
    pub(crate) fn command(
        self,
        root: &Path,
        selection: &[String],
        extent: Extent,
        rest: &[String],
    ) -> Command {
        let mut command = cargo(root);
        match self {
            Self::Nextest => command.args(["nextest", "run"]).args(selection),
            Self::Cargo => command.arg("test").args(selection),
        };
        self.add_tail(&mut command, extent, rest);
        command
    }

    /// Appends what comes after the selection: the runner's own flags and the caller's.
    fn add_tail(self, command: &mut Command, extent: Extent, rest: &[String]) {
        let skip = extent == Extent::NoHeavy;
        match self {
            Self::Nextest => {
                if skip {
                    command.args(["-E", "not test(/heavy/)"]);
                }
                command.args(rest);
            }
            Self::Cargo => {
                let split = rest.iter().position(|arg| arg == "--").unwrap_or(rest.len());
                command.args(&rest[..split]).args(["--", "--test-threads=1"]);
                if skip {
                    command.args(["--skip", "heavy"]);
                }
                command.args(rest.iter().skip(split + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(runner: Runner, extent: Extent, rest: &[&str]) -> Vec<String> {
        let rest: Vec<String> = rest.iter().map(|&arg| arg.to_owned()).collect();
        let command = runner.command(Path::new("/"), &["--workspace".to_owned()], extent, &rest);
        command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn nextest_leaves_out_what_is_too_big_by_a_filter() {
        let expected = ["nextest", "run", "--workspace", "-E", "not test(/heavy/)"];
        assert_eq!(args(Runner::Nextest, Extent::NoHeavy, &[]), expected);
        assert_eq!(args(Runner::Nextest, Extent::All, &["x"])[2..], ["--workspace", "x"]);
    }

    #[test]
    fn cargo_runs_on_one_thread_and_takes_flags_on_both_sides_of_the_dashes() {
        let expected =
            ["test", "--workspace", "name", "--", "--test-threads=1", "--skip", "heavy", "--exact"];
        assert_eq!(args(Runner::Cargo, Extent::NoHeavy, &["name", "--", "--exact"]), expected);
        let plain = ["test", "--workspace", "--", "--test-threads=1"];
        assert_eq!(args(Runner::Cargo, Extent::All, &[]), plain);
    }
}
