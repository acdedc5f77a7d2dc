//! `cargo xtask test`: every test there is.

use std::path::Path;
use std::process::ExitCode;

use crate::runner::{Extent, Runner};
use crate::step::{Steps, cargo};
use crate::{asan, loom, needs, tsan};

/// The targets whose tests run; those of the documentation are a step of their own.
const TARGETS: [&str; 5] = ["--workspace", "--lib", "--bins", "--tests", "--examples"];

/// Prepares what tests need and runs all of them; with `rest`, only the runner with these words.
pub(crate) fn run(root: &Path, quick: bool, rest: &[String]) -> ExitCode {
    let mut steps = Steps::new("test");
    let extent = if quick { Extent::NoHeavy } else { Extent::All };
    steps.perform("clients", "python3, socat, nc", needs::prepare);
    // First, because tests start examples as programs.
    steps.command("examples", cargo(root).args(["build", "--workspace", "--bins", "--examples"]));
    let targets = TARGETS.map(str::to_owned);
    let runner = Runner::find(root);
    steps.command("tests", &mut runner.command(root, &targets, extent, rest));
    if rest.is_empty() {
        steps.command("doc tests", cargo(root).args(["test", "--workspace", "--doc"]));
        loom::step(&mut steps, root);
        if quick {
            steps.skip("asan", "--quick");
            steps.skip("tsan", "--quick");
        } else {
            asan::step(&mut steps, root, runner, rest);
            tsan::step(&mut steps, root);
        }
    }
    steps.finish()
}
