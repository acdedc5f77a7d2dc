//! `cargo xtask mutants`: defects are put back one by one, and a test must see each.
//!
//! A test that cannot fail proves nothing. Each entry of `tests/mutants.toml` is a replacement of
//! text with the test that must be red with it, and green without. They are made in a copy of the
//! checkout: in the directory for temporary files, at a place that stays the same, and built in
//! `target/mutants`, so that a second run builds only what changed. A test that hangs is red.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::defects::{Defect, PLACE};
use crate::repository;
use crate::step::{Outcome, Steps, cargo, exit_of};

/// A test that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(240);

/// Puts back the defects whose ids begin with one of `words`; without words, all.
pub(crate) fn run(root: &Path, words: &[String]) -> ExitCode {
    let mut steps = Steps::new("mutants");
    let mut list = Vec::new();
    steps.perform("list", PLACE, || match read(root) {
        Ok(defects) => {
            list = defects.into_iter().filter(|defect| defect.is_asked(words)).collect();
            if list.is_empty() {
                Outcome::Failed("none is asked for".into())
            } else {
                Outcome::Passed
            }
        }
        Err(why) => Outcome::Failed(why),
    });
    let copy = Copy::place(root);
    let copied =
        steps.perform("copy", &copy.tree.display().to_string(), || match copy.renew(root) {
            Ok(()) => Outcome::Passed,
            Err(error) => Outcome::Failed(error.to_string()),
        });
    if copied {
        for defect in &list {
            let test = format!("{} {}", defect.test, defect.filter);
            steps.perform(&format!("{} without", defect.id), &test, || copy.is_green(defect));
        }
        for defect in &list {
            let what = format!("{}: {}", defect.file, first_line(&defect.replace));
            steps.perform(&format!("{} with", defect.id), &what, || copy.is_red(defect));
        }
    }
    steps.finish()
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or("nothing")
}

fn read(root: &Path) -> Result<Vec<Defect>, String> {
    let text = fs::read_to_string(root.join(PLACE)).map_err(|error| format!("{PLACE}: {error}"))?;
    let defects = Defect::read(&text)?;
    for defect in &defects {
        let file = fs::read_to_string(root.join(&defect.file));
        let file = file.map_err(|error| format!("{}: {}: {error}", defect.id, defect.file))?;
        defect.put_into(&file)?;
    }
    Ok(defects)
}

/// A copy of the checkout.
struct Copy {
    tree: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn place(root: &Path) -> Copy {
        let mut hasher = DefaultHasher::new();
        root.hash(&mut hasher);
        let name = format!("fiveways-mutants-{:016x}", hasher.finish());
        let target = repository::target_dir(root).join("mutants");
        Copy { tree: std::env::temp_dir().join(name), target }
    }

    /// Makes it equal to the checkout, touching only what differs.
    fn renew(&self, root: &Path) -> io::Result<()> {
        let mut command = Command::new("git");
        command.current_dir(root).args(["ls-files", "-z", "--cached", "--others"]);
        let listed = command.arg("--exclude-standard").output()?.stdout;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let names = listed.split('\0').filter(|name| root.join(name).is_file());
        let names: BTreeSet<PathBuf> = names.map(PathBuf::from).collect();
        for name in &names {
            let (from, to) = (fs::read(root.join(name))?, self.tree.join(name));
            if fs::read(&to).is_ok_and(|there| there == from) {
                continue;
            }
            if let Some(dir) = to.parent() {
                fs::create_dir_all(dir)?;
            }
            fs::write(to, from)?;
        }
        self.remove_others(&self.tree, &names)?;
        fs::create_dir_all(&self.target)
    }

    fn remove_others(&self, dir: &Path, names: &BTreeSet<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                self.remove_others(&path, names)?;
            } else if !path.strip_prefix(&self.tree).is_ok_and(|name| names.contains(name)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Does the test pass as things are?
    fn is_green(&self, defect: &Defect) -> Outcome {
        let built = exit_of(&mut self.build(defect));
        if built != Outcome::Passed {
            return built;
        }
        match self.end_of(defect) {
            Ok(Ending::Passed(0)) => {
                Outcome::Failed(format!("no test is called {}", defect.filter))
            }
            Ok(Ending::Passed(_)) => Outcome::Passed,
            Ok(ending) => {
                let log = self.log(defect);
                Outcome::Failed(format!("{ending:?}: see {}", log.display()))
            }
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    /// Does the test fail with the defect? It is taken out again whatever happens.
    fn is_red(&self, defect: &Defect) -> Outcome {
        let path = self.tree.join(&defect.file);
        let made = fs::read_to_string(&path).map_err(|error| error.to_string()).and_then(|text| {
            let broken = defect.put_into(&text)?;
            fs::write(&path, broken).map_err(|error| error.to_string())?;
            Ok(text)
        });
        let text = match made {
            Ok(text) => text,
            Err(why) => return Outcome::Failed(why),
        };
        let built = exit_of(&mut self.build(defect));
        let ending = (built == Outcome::Passed).then(|| self.end_of(defect));
        if let Err(error) = fs::write(&path, text) {
            return Outcome::Failed(error.to_string());
        }
        match ending {
            None => Outcome::Failed("it cannot be built with the defect".into()),
            Some(Ok(Ending::Passed(_))) => Outcome::Failed("the test did not notice".into()),
            Some(Ok(Ending::Failed | Ending::Hung)) => Outcome::Passed,
            Some(Err(error)) => Outcome::Failed(error.to_string()),
        }
    }

    /// Builds what the test needs, and runs nothing.
    fn build(&self, defect: &Defect) -> Command {
        match defect.place() {
            // cargo builds no examples of the documentation without running them.
            (package, "doc") => self.cargo("build", package),
            _ => {
                let mut command = self.test(defect);
                command.arg("--no-run");
                command
            }
        }
    }

    fn test(&self, defect: &Defect) -> Command {
        let (package, binary) = defect.place();
        let mut command = self.cargo("test", package);
        match binary {
            "lib" | "doc" => command.arg(format!("--{binary}")),
            _ => command.args(["--test", binary]),
        };
        command
    }

    fn cargo(&self, verb: &str, package: &str) -> Command {
        let mut command = cargo(&self.tree);
        command.args([verb, "--quiet", "--package", package]);
        command
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// What the test said last: whether it is red for the right reason is for a reader to judge.
    fn log(&self, defect: &Defect) -> PathBuf {
        self.target.join(format!("{} {}.log", defect.id, defect.test))
    }

    /// Runs the test that was built, and ends it when it hangs.
    fn end_of(&self, defect: &Defect) -> io::Result<Ending> {
        let log = File::create(self.log(defect))?;
        let mut command = self.test(defect);
        command.arg("--").args(defect.filter.split_whitespace()).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).process_group(0);
        let mut child = command.spawn()?;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > LIMIT {
                end_group(&child)?;
                child.wait()?;
                return Ok(Ending::Hung);
            }
            thread::sleep(Duration::from_millis(20));
        };
        // A defect may have left processes behind.
        end_group(&child)?;
        let text = String::from_utf8_lossy(&fs::read(self.log(defect))?).into_owned();
        Ok(if status.success() { Ending::Passed(passed(&text)) } else { Ending::Failed })
    }
}

/// Ends every process of a child's group; there may be none any more.
fn end_group(child: &Child) -> io::Result<()> {
    let group = format!("-{}", child.id());
    let mut command = Command::new("kill");
    command.args(["-KILL", "--", &group]).stderr(Stdio::null()).status().map(drop)
}

/// How a test ended.
#[derive(Debug)]
enum Ending {
    /// With so many tests.
    Passed(usize),
    Failed,
    Hung,
}

/// How many tests passed, in the harness's words.
fn passed(text: &str) -> usize {
    let counts = text.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix("test result: ok. ")?;
        rest.split_whitespace().next()?.parse::<usize>().ok()
    });
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_passed_are_counted() {
        let text = "\ntest result: ok. 3 passed; 0 failed\n\ntest result: ok. 0 passed; 0 failed";
        assert_eq!(passed(text), 3);
    }

    #[test]
    fn a_copy_is_renewed_where_it_differs() {
        let scratch = std::env::temp_dir().join(format!("fiveways-copy-{}", std::process::id()));
        let copy = Copy { tree: scratch.join("tree"), target: scratch.join("target") };
        copy.renew(&repository::root()).expect("copied");
        let (own, other) = (copy.tree.join("xtask/src/mutants.rs"), copy.tree.join("xtask/other"));
        let before = fs::metadata(&own).and_then(|data| data.modified()).expect("it is there");
        fs::write(&other, "not ours").expect("written");
        fs::write(copy.tree.join("README.md"), "changed").expect("written");
        copy.renew(&repository::root()).expect("copied again");
        let after = fs::metadata(&own).and_then(|data| data.modified()).expect("it is there");
        assert_eq!(before, after, "what is the same is not touched");
        assert!(!other.exists());
        let text = fs::read_to_string(copy.tree.join("README.md")).expect("it is there");
        assert_ne!(text, "changed");
        fs::remove_dir_all(scratch).expect("ours");
    }
}
