//! `cargo xtask peers`: our models beside rival runtimes, in one run.
//!
//! The rivals live in a workspace of their own, so no other chore ever builds them. All is built
//! before anything is measured: a compiler at work beside a benchmark is noise.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::repository;
use crate::step::{Steps, cargo};

/// Builds rivals, our programs and our examples, and runs the comparison with `rest`.
pub(crate) fn run(root: &Path, rest: &[String]) -> ExitCode {
    let mut steps = Steps::new("peers");
    if !root.join("peers/Cargo.toml").exists() {
        eprintln!("error: there is no peers/Cargo.toml\n\nhint: this checkout has no rivals");
        return ExitCode::from(2);
    }
    let peers_target = root.join("peers/target");
    let built = steps.command(
        "rivals",
        cargo(&root.join("peers"))
            .args(["build", "--release", "--workspace"])
            .env("CARGO_TARGET_DIR", &peers_target),
    ) && steps.command(
        "ours",
        cargo(root).args([
            "build",
            "--release",
            "--workspace",
            "--exclude",
            "xtask",
            "--bins",
            "--examples",
        ]),
    );
    if built {
        // Where our programs lie, for a build directory that is not the usual one.
        let ours = repository::target_dir(root).join("release");
        let mut compare = Command::new(peers_target.join("release/compare-peers"));
        compare.current_dir(root).env("FIVEWAYS_BIN_DIR", ours).args(rest);
        steps.command("compare", &mut compare);
    }
    steps.finish()
}
