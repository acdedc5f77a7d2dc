//! `cargo xtask loom`: the waiting protocols in every order of their steps.
//!
//! The models are a workspace of their own in `tests/loom`, so no other build knows of loom. With
//! `--mistakes` it is the models that are tested: each mistake of `mistakes.toml` is made in a copy
//! of the product, and its model must fail.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::repository;
use crate::step::{Outcome, Steps, cargo, exit_of};

const PLACE: &str = "tests/loom";

/// Runs the models alone, or, with `mistakes`, tests them.
pub(crate) fn run(root: &Path, mistakes: bool, rest: &[String]) -> ExitCode {
    let mut steps = Steps::new("loom");
    if mistakes {
        make_all(&mut steps, root, rest);
    } else {
        steps.command("loom", models(root).args(["--no-fail-fast", "--quiet"]).args(rest));
    }
    steps.finish()
}

/// Runs the models as a step of a longer chore.
pub(crate) fn step(steps: &mut Steps, root: &Path) {
    steps.command("loom", models(root).args(["--no-fail-fast", "--quiet"]));
}

fn models(root: &Path) -> Command {
    let mut command = cargo(&root.join(PLACE));
    command
        .args(["test", "--release", "--locked"])
        .env("CARGO_TARGET_DIR", repository::target_dir(root).join("loom"));
    command
}

/// A mistake, and the model that must find it.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    file: String,
    find: String,
    make: String,
    /// `file::test`.
    model: String,
}

/// Makes the mistakes whose models have one of `words` in their names; without words, all.
fn make_all(steps: &mut Steps, root: &Path, words: &[String]) {
    let text = fs::read_to_string(root.join(PLACE).join("mistakes.toml")).unwrap_or_default();
    let mistakes = Mistake::read(&text);
    let is_asked = |model: &str| words.is_empty() || words.iter().any(|word| model.contains(word));
    for mistake in mistakes.iter().flatten().filter(|mistake| is_asked(&mistake.model)) {
        let what = format!("{}: {}", mistake.file, mistake.make.trim());
        steps.perform(&mistake.model, &what, || mistake.make(root));
    }
    let count = mistakes.map_or(0, |mistakes| mistakes.len());
    steps.perform("mistakes", &format!("{count} are listed"), || match count {
        0 => Outcome::Failed(format!("{PLACE}/mistakes.toml cannot be read")),
        _ => Outcome::Passed,
    });
}

impl Mistake {
    fn read(text: &str) -> Option<Vec<Mistake>> {
        let table: toml::Table = text.parse().ok()?;
        let one = |entry: &toml::Value| {
            let word = |key| entry.get(key)?.as_str().map(str::to_owned);
            let (file, find) = (word("file")?, word("find")?);
            Some(Mistake { file, find, make: word("make")?, model: word("model")? })
        };
        table.get("mistake")?.as_array()?.iter().map(one).collect()
    }

    fn make(&self, root: &Path) -> Outcome {
        let Some((file, test)) = self.model.split_once("::") else {
            return Outcome::Failed(format!("{} is no `file::test`", self.model));
        };
        let mistake = [&*self.file, &self.find, &self.make].join("\n---\n");
        let command = |last: &[&str]| {
            let mut command = models(root);
            command.args(["--quiet", "--test", file]).args(last);
            command.env("FIVEWAYS_LOOM_MISTAKE", &mistake).env("RUST_BACKTRACE", "0");
            command
        };
        let built = exit_of(&mut command(&["--no-run"]));
        if built != Outcome::Passed {
            return built;
        }
        let mut found = command(&["--", "--exact", test]);
        match exit_of(found.stdout(Stdio::null()).stderr(Stdio::null())) {
            Outcome::Failed(_) => Outcome::Passed,
            _ => Outcome::Failed("the model did not notice".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_in_its_file_and_its_model_is_there() {
        let root = repository::root();
        let place = root.join(PLACE);
        let text = fs::read_to_string(place.join("mistakes.toml")).expect("it is there");
        for mistake in Mistake::read(&text).expect("it is well formed") {
            let source = fs::read_to_string(root.join("crates").join(&mistake.file));
            assert!(source.expect("the file is there").contains(&mistake.find), "{mistake:?}");
            let (file, test) = mistake.model.split_once("::").expect("a file and a test");
            let models = fs::read_to_string(place.join(format!("tests/{file}.rs")));
            assert!(models.expect("the models are there").contains(&format!("fn {test}()")));
        }
    }
}
