//! `cargo xtask tsan`: a storm over locks, channels and queues, under ThreadSanitizer.
//!
//! The storm is a program of its own, `tests/tsan`, on plain threads: a test harness is full of
//! what the sanitizer cannot see, and it does not follow a switch of stacks. Std comes compiled
//! without the sanitizer; the program's build script says how its reports stay true all the same. A
//! run that reports nothing proves something only where a race is reported, so one is made first.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::repository;
use crate::step::{Outcome, Steps, cargo, exit_of};

const PLACE: &str = "tests/tsan";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What the program ends with when something was reported.
const REPORTED: i32 = 66;

/// Runs the sanitizer alone.
pub(crate) fn run(root: &Path) -> ExitCode {
    let mut steps = Steps::new("tsan");
    step(&mut steps, root);
    steps.finish()
}

/// Runs the sanitizer as a step of a longer chore.
pub(crate) fn step(steps: &mut Steps, root: &Path) {
    if !cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
        return steps.skip("tsan", "only set up for x86-64 with glibc");
    }
    let target = repository::target_dir(root).join("tsan");
    let mut build = cargo(&root.join(PLACE));
    build
        .args(["build", "--target", TARGET])
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTC_BOOTSTRAP", "1")
        // Std is not built with the sanitizer, and is not to be.
        .env("RUSTFLAGS", "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer");
    if !steps.command("tsan: build", &mut build) {
        return;
    }
    let program = target.join(TARGET).join("debug/fiveways-tsan");
    steps.perform("tsan: race", "one made on purpose must be reported", || race(&program));
    steps.command("tsan", &mut storm(&program));
}

fn storm(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("TSAN_OPTIONS", format!("exitcode={REPORTED}:history_size=4"));
    command
}

fn race(program: &Path) -> Outcome {
    let mut command = storm(program);
    command.arg("race").stdout(Stdio::null()).stderr(Stdio::null());
    match command.status().ok().and_then(|status| status.code()) {
        Some(REPORTED) => Outcome::Passed,
        Some(code) => Outcome::Failed(format!("no race was reported; it ended with {code}")),
        None => exit_of(&mut command),
    }
}
