//! `cargo xtask asan`: the crates that handle raw memory, under AddressSanitizer.
//!
//! A task's stack is memory that the kernel writes into while the task waits; a mistake there is a
//! write after free, which only a sanitizer sees. The sanitizer is part of every toolchain, but its
//! flag is not stable: `RUSTC_BOOTSTRAP` opens it for this one build, in a build directory of its
//! own so that the others are not rebuilt afterwards.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::repository;
use crate::runner::{Extent, Runner};
use crate::step::Steps;

/// Folders of the packages whose tests run.
const PACKAGES: [&str; 4] = ["crates/coro", "crates/driver", "crates/runtime", "crates/fiveways"];
/// Of the tests of the whole, those that cancel at every suspension point.
const WHOLE: &str = "tests";
const CANCEL: &str = "cancel";
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The feature by which a crate tells the sanitizer of its stack switches.
const FEATURE: &str = "sanitizer";

/// Runs the sanitizer alone.
pub(crate) fn run(root: &Path, rest: &[String]) -> ExitCode {
    let mut steps = Steps::new("asan");
    step(&mut steps, root, Runner::find(root), rest);
    steps.finish()
}

/// Runs the sanitizer as a step of a longer chore.
pub(crate) fn step(steps: &mut Steps, root: &Path, runner: Runner, rest: &[String]) {
    if !cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
        return steps.skip("asan", "only set up for x86-64 with glibc");
    }
    steps.command("asan", &mut command(root, runner, &PACKAGES, &["--lib", "--tests"], rest));
    steps.command("asan: cancel", &mut command(root, runner, &[WHOLE], &["--test", CANCEL], rest));
}

fn command(
    root: &Path,
    runner: Runner,
    packages: &[&str],
    targets: &[&str],
    rest: &[String],
) -> Command {
    let mut selection: Vec<String> = Vec::new();
    let mut features: Vec<String> = Vec::new();
    for dir in packages {
        let manifest = fs::read_to_string(root.join(dir).join("Cargo.toml"));
        let Some(package) = manifest.ok().and_then(|text| Package::read(&text)) else { continue };
        if package.has_feature {
            features.push(format!("{}/{FEATURE}", package.name));
        }
        selection.extend(["-p".to_owned(), package.name]);
    }
    if !features.is_empty() {
        selection.extend(["--features".to_owned(), features.join(",")]);
    }
    selection.extend(targets.iter().chain(&["--target", TARGET]).map(|word| (*word).to_owned()));
    // Heavy tests count connections by the thousand; the sanitizer makes them hours, not safer.
    let mut command = runner.command(root, &selection, Extent::NoHeavy, rest);
    command
        .env("CARGO_TARGET_DIR", repository::target_dir(root).join("asan"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        // Pooled stacks are no roots to the leak checker, so all that tasks own would be "lost";
        // and fake stacks do not follow a switch of stacks.
        .env("ASAN_OPTIONS", "detect_leaks=0:detect_stack_use_after_return=0");
    command
}

/// What the sanitizer's run must know of a package.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    has_feature: bool,
}

impl Package {
    fn read(manifest: &str) -> Option<Self> {
        let manifest: toml::Table = manifest.parse().ok()?;
        let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
        let has_feature =
            manifest.get("features").is_some_and(|features| features.get(FEATURE).is_some());
        Some(Self { name, has_feature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_gets_the_feature_where_its_manifest_has_it() {
        let plain = "[package]\nname = \"a\"";
        let with = "[package]\nname = \"b\"\n[features]\nsanitizer = []";
        let package = |name: &str, has_feature| Package { name: name.into(), has_feature };
        assert_eq!(Package::read(plain), Some(package("a", false)));
        assert_eq!(Package::read(with), Some(package("b", true)));
    }

    #[test]
    fn every_crate_of_the_list_is_found() {
        let command = command(&repository::root(), Runner::Cargo, &PACKAGES, &["--lib"], &[]);
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        assert_eq!(args.iter().filter(|arg| *arg == "-p").count(), PACKAGES.len());
    }
}
