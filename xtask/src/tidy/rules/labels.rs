//! The rule on labels: `D42` in a test leads to a line of the ledger.

use crate::tidy::finding::{Finding, Rule};
use crate::tidy::tree::Tree;

const LEDGER: &str = "docs/ledger.md";

/// Labels resolve inside the repository.
pub(crate) const LABEL: Rule = Rule {
    id: "label",
    says: "a label such as C07, D42 or S004-01 has its row in docs/ledger.md, and is not public",
    remedy: "add the row, or write what is meant",
    check,
    broken_by: &[
        (LEDGER, "| D01 | x |"),
        ("crates/x/tests/a.rs", concat!("//! The defect D", "02.")),
    ],
};

fn check(tree: &Tree, found: &mut Vec<Finding>) {
    let ledger = tree.text(LEDGER).unwrap_or_default();
    for source in tree.own_sources().filter(|source| !source.path.starts_with("xtask/")) {
        let is_public = |line: usize| source.path.contains("/src/") && !source.is_test_line(line);
        for (number, line) in source.lines() {
            for label in labels(line) {
                if !ledger.contains(&format!("| {label} |")) {
                    let message = format!("`{label}` has no row in {LEDGER}");
                    found.push(Finding::error(&source.path, number, message));
                }
                if line.trim_start().starts_with("///") && is_public(number) {
                    let message = format!("`{label}` in documentation");
                    found.push(Finding::error(&source.path, number, message));
                }
            }
        }
    }
}

/// The labels in the comment of a line.
fn labels(line: &str) -> impl Iterator<Item = &str> {
    let comment = line.split_once("//").map_or("", |(_, comment)| comment);
    let words = comment.split(|c: char| !c.is_alphanumeric() && c != '-');
    words.filter(|word| is_label(word))
}

fn is_label(word: &str) -> bool {
    let are_digits =
        |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    match word.split_at_checked(1) {
        Some(("C" | "D" | "G", number)) => are_digits(number, 2),
        Some(("S", rest)) => rest
            .split_once('-')
            .is_some_and(|(document, number)| are_digits(document, 3) && are_digits(number, 2)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_in_comments() {
        let line =
            concat!("let d = D", "43; // C0", "7, S004", "-01 and (D", "42): UTF-8, C1, D123");
        let found: Vec<_> = labels(line).collect();
        assert_eq!(found, [concat!("C0", "7"), concat!("S004", "-01"), concat!("D", "42")]);
    }
}
