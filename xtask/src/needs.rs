//! Programs that the tests talk to: real clients that know nothing of Fiveways, and a tracer.
//!
//! What is missing is installed where that needs no question (root, with apt-get). Elsewhere it is
//! said aloud, and in CI it is a failure: a test that is skipped in silence proves nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::step::{Outcome, exit_of};

/// A program and the Debian package that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    program: &'static str,
    package: &'static str,
}

const NEEDS: [Need; 4] = [
    Need { program: "python3", package: "python3-minimal" },
    Need { program: "socat", package: "socat" },
    Need { program: "nc", package: "netcat-openbsd" },
    Need { program: "strace", package: "strace" },
];

/// Makes the programs available, or says which are not.
pub(crate) fn prepare() -> Outcome {
    let missing = missing_from(&search_path());
    if missing.is_empty() {
        return Outcome::Passed;
    }
    if may_install()
        && let Outcome::Failed(why) = install(&missing)
    {
        eprintln!("notice: installing failed: {why}");
    }
    verdict(&missing_from(&search_path()), in_ci())
}

fn verdict(missing: &[Need], in_ci: bool) -> Outcome {
    if missing.is_empty() {
        return Outcome::Passed;
    }
    let names = missing.iter().map(|need| need.program).collect::<Vec<_>>().join(", ");
    let packages = missing.iter().map(|need| need.package).collect::<Vec<_>>().join(" ");
    eprintln!("notice: missing: {names}; tests with these clients will skip or fail");
    eprintln!("hint: apt-get install {packages}");
    let why = format!("missing {names}");
    if in_ci { Outcome::Failed(why) } else { Outcome::Skipped(why) }
}

fn missing_from(path: &[PathBuf]) -> Vec<Need> {
    let is_missing = |need: &Need| !path.iter().any(|dir| dir.join(need.program).is_file());
    NEEDS.into_iter().filter(is_missing).collect()
}

fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true" || value == "1")
}

fn may_install() -> bool {
    let id = Command::new("id").arg("-u").output();
    let is_root = id.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    is_root && search_path().iter().any(|dir: &PathBuf| is_apt(dir))
}

fn is_apt(dir: &Path) -> bool {
    dir.join("apt-get").is_file()
}

fn install(missing: &[Need]) -> Outcome {
    let update = exit_of(apt_get().args(["update", "-qq"]));
    if update != Outcome::Passed {
        return update;
    }
    let packages = missing.iter().map(|need| need.package);
    exit_of(apt_get().args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // Its progress is noise; what goes wrong comes on the other stream.
    command.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_search_path_misses_everything() {
        assert_eq!(missing_from(&[]), NEEDS);
    }

    #[test]
    fn a_missing_program_fails_in_ci_and_is_a_notice_elsewhere() {
        assert_eq!(verdict(&NEEDS[1..2], true), Outcome::Failed("missing socat".into()));
        assert_eq!(verdict(&NEEDS[1..2], false), Outcome::Skipped("missing socat".into()));
        assert_eq!(verdict(&[], true), Outcome::Passed);
    }
}
