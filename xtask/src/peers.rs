//! `cargo xtask peers`: our models beside rival runtimes, in one run.
//!
//! The rivals live in a workspace of their own, so no other chore ever builds them. All is built
//! before anything is measured: a compiler at work beside a benchmark is noise.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::repository;
use crate::step::{Steps, cargo};

/// Builds rivals, our program and our benches, and runs the comparison with `rest`.
pub(crate) fn run(root: &Path, rest: &[String]) -> ExitCode {
    let mut steps = Steps::new("peers");
    if !root.join("peers/Cargo.toml").exists() {
        eprintln!("error: there is no peers/Cargo.toml\n\nhint: this checkout has no rivals");
        return ExitCode::from(2);
    }
    let peers_target = root.join("peers/target");
    let mut rivals = cargo(&root.join("peers"));
    rivals.args(["build", "--release", "--workspace", "--locked"]);
    rivals.env("CARGO_TARGET_DIR", &peers_target);
    let mut ours = cargo(root);
    ours.args(["build", "--release", "--workspace", "--exclude", "xtask"]);
    ours.args(["--bins", "--bench=micro", "--bench=channel_speed"]);
    if steps.command("rivals", &mut rivals) && steps.command("ours", &mut ours) {
        if let ["--fairness", rest @ ..] = &*rest.iter().map(String::as_str).collect::<Vec<_>>() {
            let mut compare = Command::new(peers_target.join("release/compare-fairness"));
            steps.command("fairness", compare.current_dir(root).args(rest));
            return steps.finish();
        }
        let mut compare = Command::new(peers_target.join("release/compare-peers"));
        compare.current_dir(root).args(rest);
        if !rest.iter().any(|arg| arg.starts_with("--fiveways")) {
            compare.arg("--fiveways").arg(repository::target_dir(root).join("release"));
        }
        steps.command("compare", &mut compare);
    }
    steps.finish()
}
