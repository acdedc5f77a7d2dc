//! `cargo xtask tsan`: storms over the runtime, its locks, channels and queues, under
//! ThreadSanitizer.
//!
//! The storms are a program of their own, `tests/tsan`: a test harness is full of what the
//! sanitizer cannot see. Tasks are in them: the build's `--cfg fiveways_tsan` has `coro` tell of
//! every switch of stacks. Std comes compiled without the sanitizer; the program's build script
//! says how its reports stay true all the same. A run that reports nothing proves something only
//! where a race is reported, so some are made first; and one between tasks of one worker, which is
//! none.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::repository;
use crate::step::{Outcome, Steps, cargo, exit_of};

const PLACE: &str = "tests/tsan";
/// What is not reported, each with its reason.
const SUPPRESSIONS: &str = "suppressions.txt";
const TARGET: &str = "x86_64-unknown-linux-gnu";
const FLAGS: &str = "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg fiveways_tsan";

/// What the program does with two threads, or tasks, and a number; and whether it is a race.
const PROBES: [(&str, bool); 3] = [("race", true), ("race-of-tasks", true), ("neighbours", false)];

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
        .env("RUSTFLAGS", FLAGS);
    if !steps.command("tsan: build", &mut build) {
        return;
    }
    let program = target.join(TARGET).join("debug/fiveways-tsan");
    for (probe, is_race) in PROBES {
        let expected = if is_race { "a race that must be reported" } else { "no race" };
        let step = format!("tsan: {probe}");
        let mut command = storms(root, &program);
        command.arg(probe);
        steps.perform(&step, expected, || check(command, is_race));
    }
    steps.command("tsan", &mut storms(root, &program));
}

fn storms(root: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    let options = format!("exitcode={REPORTED}:history_size=4:suppressions={SUPPRESSIONS}");
    command.current_dir(root.join(PLACE)).env("TSAN_OPTIONS", options);
    command
}

fn check(mut command: Command, is_race: bool) -> Outcome {
    command.stdout(Stdio::null());
    if is_race {
        command.stderr(Stdio::null());
    }
    match command.status().ok().and_then(|status| status.code()) {
        Some(REPORTED) if is_race => Outcome::Passed,
        Some(0) if !is_race => Outcome::Passed,
        Some(REPORTED) => Outcome::Failed("a race was reported where there is none".to_owned()),
        Some(code) => Outcome::Failed(format!("no race was reported; it ended with {code}")),
        None => exit_of(&mut command),
    }
}
