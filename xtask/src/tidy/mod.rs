//! The house style as a program: `cargo xtask tidy`.
//!
//! Each rule is a value ([`finding::Rule`]): a name, what it says, what to do about a finding, the
//! function that looks, and an example that breaks it. A run prints every finding as place, rule,
//! message and remedy, then how long functions are and how much unsafe code there is.

mod wrap;
mod rules;
mod imports;
mod graph;
mod markdown;
mod finding;
mod tree;
mod source;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use finding::{Finding, Level, Rule};
use rules::RULES;
use tree::Tree;

/// Checks the checkout and tells what it found.
pub(crate) fn run(root: &Path) -> ExitCode {
    if passes(root) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks the checkout; false when there is an error.
pub(crate) fn passes(root: &Path) -> bool {
    let Some(tree) = read(root) else { return false };
    let findings = check(&tree);
    let mut out = String::new();
    for group in findings.chunk_by(|(a, x), (b, y)| a.id == b.id && x.level == y.level) {
        out += &group_text(group);
    }
    out += &lengths_text(&tree);
    let count = |level| findings.iter().filter(|(_, finding)| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    let files = tree.texts().count();
    out += &format!("tidy: {errors} errors, {warnings} warnings in {files} files\n");
    show(&out);
    errors == 0
}

/// Prints the rules with their remedies, each with an example that breaks it.
pub(crate) fn print_rules() -> ExitCode {
    let mut out = String::new();
    for rule in &RULES {
        out += &format!("{}\n    {}\n    remedy: {}\n", rule.id, rule.says, rule.remedy);
        for (path, text) in rule.broken_by.iter().filter(|(_, text)| !text.trim().is_empty()) {
            let start = text.lines().next().unwrap_or_default();
            let rest = if start == *text { "" } else { " …" };
            out += &format!("    broken by {path}: {start:.60}{rest}\n");
        }
    }
    show(&out);
    ExitCode::SUCCESS
}

/// Prints how much unsafe code each part holds.
pub(crate) fn print_unsafe_map(root: &Path) -> ExitCode {
    let Some(tree) = read(root) else { return ExitCode::FAILURE };
    let mut out = row(["part", "files", "blocks", "impls", "fns", "foreign"]);
    for (part, census) in rules::unsafety::map(&tree) {
        let rules::unsafety::Census { files, blocks, impls, functions, foreign } = census;
        let counts = [files, blocks, impls, functions, foreign].map(|count| count.to_string());
        let [files, blocks, impls, functions, foreign] = &counts;
        out += &row([part, files, blocks, impls, functions, foreign]);
    }
    show(&out);
    ExitCode::SUCCESS
}

/// Wraps comments that are too long, in place.
pub(crate) fn wrap_comments(root: &Path) -> ExitCode {
    let Some(tree) = read(root) else { return ExitCode::FAILURE };
    for source in tree.sources() {
        let wrapped = wrap::wrap(source);
        if wrapped == source.text {
            continue;
        }
        show(&format!("wrapped {}\n", source.path));
        if let Err(error) = fs::write(root.join(&source.path), wrapped) {
            eprintln!("error: cannot write {}: {error}", source.path);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn read(root: &Path) -> Option<Tree> {
    let tree = Tree::read(root);
    tree.inspect_err(|error| eprintln!("error: cannot read the checkout: {error}")).ok()
}

/// All findings, the worst last; then by rule and by place.
fn check(tree: &Tree) -> Vec<(&'static Rule, Finding)> {
    let mut all = Vec::new();
    for rule in &RULES {
        let mut found = Vec::new();
        (rule.check)(tree, &mut found);
        all.extend(found.into_iter().map(|finding| (rule, finding)));
    }
    all.sort_by_key(|(_, finding)| finding.level);
    all
}

/// The findings of one rule and level, with the remedy once.
fn group_text(group: &[(&Rule, Finding)]) -> String {
    let mut out = String::new();
    for (rule, finding) in group {
        let level = match finding.level {
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        out += &format!("{level}[{}] {}: {}\n", rule.id, finding.place(), finding.message);
    }
    match group.last() {
        Some((rule, finding)) if finding.level > Level::Note => {
            out + &format!("    remedy: {}\n", rule.remedy)
        }
        _ => out,
    }
}

fn lengths_text(tree: &Tree) -> String {
    let mut out = String::from("\n");
    out += &row(["functions", "count", "median", "<40", "longest", ""]);
    for (part, lengths) in rules::functions::lengths(tree) {
        let count = lengths.count();
        let short = format!("{} %", (count - lengths.long()) * 100 / count.max(1));
        let numbers = [count, lengths.median(), lengths.longest()].map(|number| number.to_string());
        let [count, median, longest] = &numbers;
        out += &row([part, count, median, &short, longest, ""]);
    }
    out + "\n"
}

/// One line of a table: a name and five columns.
fn row(cells: [&str; 6]) -> String {
    let [name, a, b, c, d, e] = cells;
    let line = format!("{name:<12} {a:>8} {b:>8} {c:>8} {d:>8} {e:>8}");
    line.trim_end().to_owned() + "\n"
}

/// Writes to standard output; a reader that went away is no error.
fn show(text: &str) {
    let written = io::stdout().lock().write_all(text.as_bytes());
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!("error: cannot write: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_can_fail() {
        for rule in &RULES {
            let found = finding::findings(rule, rule.broken_by);
            let has_error = found.iter().any(|finding| finding.level == Level::Error);
            assert!(has_error, "{} passes what it says it forbids", rule.id);
        }
    }

    #[test]
    fn rules_have_names_of_their_own() {
        let ids: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), RULES.len());
    }

    #[test]
    fn findings_say_rule_place_and_message_and_end_with_the_remedy() {
        let finding = |line| (&rules::pages::LINK, Finding::error("a.md", line, "no `b`"));
        let expected = format!(
            "error[dead-link] a.md:1: no `b`\nerror[dead-link] a.md:2: no `b`\n    remedy: {}\n",
            rules::pages::LINK.remedy,
        );
        assert_eq!(group_text(&[finding(1), finding(2)]), expected);
    }

    #[test]
    fn a_tidy_repository_has_no_findings() {
        let tree = Tree::of(&[
            ("CHANGELOG.md", "# Changes\n\n## Unreleased\n"),
            ("README.md", "[changes](CHANGELOG.md)"),
            ("Cargo.toml", "[workspace.dependencies]\n# Why.\nlibc = \"1\"\n"),
            (
                "crates/sys/Cargo.toml",
                "[package]\nname = \"fiveways-sys\"\n[lints]\nworkspace = true\n\
                 [dependencies]\nlibc.workspace = true",
            ),
            ("crates/sys/src/lib.rs", "//! What this is.\nmod a;\nmod b;\n"),
            ("crates/sys/src/a.rs", "//! What this is.\nuse crate::b::X;\n"),
            ("crates/sys/src/b.rs", "//! What this is.\nfn f() { libc::g() }\n"),
        ]);
        let found: Vec<_> = check(&tree).into_iter().map(|(_, finding)| finding).collect();
        assert_eq!(found, []);
    }
}
