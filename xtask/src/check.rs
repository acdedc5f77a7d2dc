//! `cargo xtask check`: what a commit must pass.

use std::path::Path;
use std::process::ExitCode;

use crate::step::{Outcome, Steps, cargo};
use crate::tidy;

/// Formats, lints, tidies and documents the workspace, changing nothing.
pub(crate) fn run(root: &Path) -> ExitCode {
    let mut steps = Steps::new("check");
    steps.command("fmt", cargo(root).args(["fmt", "--all", "--check"]));
    // Workspaces of their own.
    for dir in ["peers", "tests/loom", "tests/tsan"] {
        let step = format!("fmt {dir}");
        steps.command(&step, cargo(&root.join(dir)).args(["fmt", "--all", "--check"]));
    }
    // Before clippy, which takes minutes: what tidy finds is worth seeing first.
    steps.perform("tidy", "the house style", || {
        if tidy::passes(root) { Outcome::Passed } else { Outcome::Failed("see above".into()) }
    });
    let lints = ["clippy", "--workspace", "--all-targets", "--keep-going", "--", "-D", "warnings"];
    steps.command("clippy", cargo(root).args(lints));
    // Libraries only: the program `fiveways` and the library of that name share one output file.
    let doc = ["doc", "--workspace", "--no-deps", "--lib", "--keep-going"];
    steps.command("doc", cargo(root).args(doc).env("RUSTDOCFLAGS", "-D warnings"));
    steps.finish()
}
