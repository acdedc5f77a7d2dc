//! The house style as a program: `cargo xtask tidy`.
//!
//! Each rule is a value ([`finding::Rule`]): a name, what it says, what to do about a finding, the
//! function that looks, and an example that breaks it. A run prints every finding as place, rule,
//! message and remedy, then how long functions are and how much unsafe code there is.

mod finding;
mod functions;
mod graph;
mod layers;
mod leftovers;
mod manifest;
mod markdown;
mod order;
mod pages;
mod reasons;
mod sizes;
mod source;
mod spelling;
mod tree;
mod unsafety;

use std::path::Path;
use std::process::ExitCode;

use finding::{Finding, Level, Rule};
use tree::Tree;

/// Every rule, in the order of the report.
static RULES: [Rule; 20] = [
    layers::LAYER,
    layers::KERNEL,
    order::ORDER,
    order::ORPHANS,
    order::NAMES,
    reasons::REASON,
    reasons::INHERIT,
    sizes::HEADER,
    sizes::FILE_SIZE,
    sizes::LINE_LENGTH,
    functions::FUNCTION_SIZE,
    unsafety::OPENED,
    unsafety::SAFETY,
    leftovers::LEFTOVER,
    leftovers::IGNORED,
    leftovers::GLOB,
    pages::LINK,
    pages::CHANGELOG,
    spelling::MODEL,
    spelling::WORDS,
];

/// Checks the checkout and tells what it found.
pub(crate) fn run(root: &Path) -> ExitCode {
    if passes(root) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks the checkout; false when there is an error.
pub(crate) fn passes(root: &Path) -> bool {
    let Some(tree) = read(root) else { return false };
    let findings = check(&tree);
    for (rule, finding) in &findings {
        print_finding(rule, finding);
    }
    print_lengths(&tree);
    let count = |level| findings.iter().filter(|(_, finding)| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    println!("tidy: {errors} errors, {warnings} warnings in {} files", tree.texts().count());
    errors == 0
}

/// Prints the rules with their remedies, each with an example that breaks it.
pub(crate) fn print_rules() -> ExitCode {
    for rule in &RULES {
        println!("{}\n    {}\n    remedy: {}", rule.id, rule.says, rule.remedy);
        for (path, text) in rule.broken_by.iter().filter(|(_, text)| !text.is_empty()) {
            let start = text.lines().next().unwrap_or_default();
            println!("    broken by {path}: {start:.60}{}", if start == *text { "" } else { " …" });
        }
    }
    ExitCode::SUCCESS
}

/// Prints how much unsafe code each part holds.
pub(crate) fn print_unsafe_map(root: &Path) -> ExitCode {
    let Some(tree) = read(root) else { return ExitCode::FAILURE };
    println!(
        "{:<12} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "part", "files", "blocks", "impls", "fns", "foreign"
    );
    for (part, census) in unsafety::map(&tree) {
        println!(
            "{part:<12} {:>7} {:>7} {:>7} {:>7} {:>7}",
            census.files, census.blocks, census.impls, census.functions, census.foreign,
        );
    }
    ExitCode::SUCCESS
}

fn read(root: &Path) -> Option<Tree> {
    let tree = Tree::read(root);
    tree.inspect_err(|error| eprintln!("error: cannot read the checkout: {error}")).ok()
}

/// All findings by severity, then by rule, then by place.
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

fn print_finding(rule: &Rule, finding: &Finding) {
    let level = match finding.level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    println!("{level}[{}] {}: {}", rule.id, finding.place(), finding.message);
    if finding.level > Level::Note {
        println!("    remedy: {}", rule.remedy);
    }
}

fn print_lengths(tree: &Tree) {
    println!(
        "\n{:<12} {:>9} {:>7} {:>9} {:>8}",
        "functions", "count", "median", "under 40", "longest"
    );
    for (part, lengths) in functions::lengths(tree) {
        let count = lengths.count();
        let short = (count - lengths.long()) * 100 / count.max(1);
        let (median, longest) = (lengths.median(), lengths.longest());
        println!("{part:<12} {count:>9} {median:>7} {short:>8}% {longest:>8}");
    }
    println!();
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
