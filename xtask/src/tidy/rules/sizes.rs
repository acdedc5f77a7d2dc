//! Rules on files and lines: a header, at most 800 lines, at most 100 columns.

use std::collections::BTreeMap;

use crate::tidy::finding::{Finding, Rule};
use crate::tidy::source::Source;
use crate::tidy::tree::Tree;

const FOLDER_FILES: usize = 15;
const FILE_LINES_SOFT: usize = 500;
const FILE_LINES_HARD: usize = 800;
/// Columns that a line may have.
pub(crate) const LINE_COLUMNS: usize = 100;
/// Starts the comment that gives the reason for long lines.
const LONG_REASON: &str = "// LONG:";

/// Every file parses and starts with a header.
pub(crate) const HEADER: Rule = Rule {
    id: "header",
    says: "every Rust file parses, and its first line is a `//!` sentence on what the file is",
    remedy: "start the file with `//! What this is.`",
    check: check_headers,
    broken_by: &[("crates/x/src/lib.rs", "fn f() {}")],
};

/// Files are short.
pub(crate) const FILE_SIZE: Rule = Rule {
    id: "file-size",
    says: "a file has at most 500 lines, 800 at the very most; a folder at most fifteen files",
    remedy: "split it where its parts do not need each other's private items; make a folder of \
             files that belong together",
    check: check_files,
    broken_by: &[("crates/x/src/lib.rs", TOO_LONG)],
};

/// Lines fit.
pub(crate) const LINE_LENGTH: Rule = Rule {
    id: "line-length",
    says: "a line has at most 100 columns; addresses may be longer, and tables with a reason",
    remedy: "wrap it (`tidy --wrap` wraps comments), or put `// LONG: reason` above the block",
    check: check_lines,
    broken_by: &[("crates/x/src/lib.rs", TOO_WIDE)],
};

/// More lines than a file may have.
const TOO_LONG: &str = {
    const LINES: [u8; FILE_LINES_HARD + 1] = [b'\n'; FILE_LINES_HARD + 1];
    match std::str::from_utf8(&LINES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

/// A line with more columns than it may have.
const TOO_WIDE: &str = {
    const COLUMNS: [u8; LINE_COLUMNS + 1] = [b'/'; LINE_COLUMNS + 1];
    match std::str::from_utf8(&COLUMNS) {
        Ok(text) => text,
        Err(_) => "",
    }
};

fn check_folders(tree: &Tree, found: &mut Vec<Finding>) {
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for source in tree.own_sources() {
        let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        *folders.entry(folder).or_default() += 1;
    }
    for (folder, count) in folders.into_iter().filter(|(_, count)| *count > FOLDER_FILES) {
        found.push(Finding::warning(folder, 0, format!("{count} files")));
    }
}

fn check_headers(tree: &Tree, found: &mut Vec<Finding>) {
    for source in tree.sources() {
        if let Err((line, why)) = &source.syntax {
            found.push(Finding::error(&source.path, *line, format!("does not parse: {why}")));
        }
        let first = source.text.lines().next().unwrap_or_default();
        if first.strip_prefix("//! ").is_none_or(|header| header.len() < 10) {
            found.push(Finding::error(&source.path, 1, "no `//!` header"));
        }
    }
}

fn check_files(tree: &Tree, found: &mut Vec<Finding>) {
    check_folders(tree, found);
    for source in tree.own_sources() {
        let lines = source.text.lines().count();
        let message = format!("{lines} lines");
        if lines > FILE_LINES_HARD {
            found.push(Finding::error(&source.path, 0, message));
        } else if lines > FILE_LINES_SOFT {
            found.push(Finding::warning(&source.path, 0, message));
        }
    }
}

fn check_lines(tree: &Tree, found: &mut Vec<Finding>) {
    for source in tree.sources() {
        for (number, line) in source.lines() {
            let columns = line.chars().count();
            if columns > LINE_COLUMNS && !line.contains("://") && !has_reason(source, number) {
                found.push(Finding::error(&source.path, number, format!("{columns} columns")));
            }
        }
    }
}

/// Whether a reason stands above this line, in the same block (no empty line between).
fn has_reason(source: &Source, number: usize) -> bool {
    let above: Vec<&str> = source.text.lines().take(number).collect();
    let block = above.iter().rev().take_while(|line| !line.trim().is_empty());
    block.filter_map(|line| line.trim_start().strip_prefix(LONG_REASON)).any(|why| !why.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::{Level, findings, lines};

    const PATH: &str = "crates/x/src/a.rs";

    #[test]
    fn a_header_is_the_first_line_and_says_something() {
        assert_eq!(lines(&HEADER, PATH, "//! What this is.\n"), [0; 0]);
        assert_eq!(lines(&HEADER, PATH, "//!\n//! What this is.\n"), [1]);
        assert_eq!(lines(&HEADER, PATH, "\n//! What this is.\n"), [1]);
        assert_eq!(lines(&HEADER, "peers/x/src/main.rs", "fn main() {}"), [1]);
    }

    #[test]
    fn a_file_that_does_not_parse_is_found_on_its_line() {
        assert_eq!(lines(&HEADER, PATH, "//! What this is.\nfn f( {}\n"), [2]);
    }

    #[test]
    fn files_between_soft_and_hard_limit_are_warned_about() {
        let text = "\n".repeat(FILE_LINES_SOFT + 1);
        let levels: Vec<_> =
            findings(&FILE_SIZE, &[(PATH, &text)]).iter().map(|f| f.level).collect();
        assert_eq!(levels, [Level::Warning]);
        let levels: Vec<_> =
            findings(&FILE_SIZE, &[(PATH, TOO_LONG)]).iter().map(|f| f.level).collect();
        assert_eq!(levels, [Level::Error]);
        assert_eq!(lines(&FILE_SIZE, PATH, &"\n".repeat(FILE_LINES_SOFT)), [0; 0]);
    }

    #[test]
    fn long_lines_need_a_reason_in_their_block() {
        let wide = "é".repeat(LINE_COLUMNS + 1);
        assert_eq!(lines(&LINE_LENGTH, PATH, &"é".repeat(LINE_COLUMNS)), [0; 0]);
        assert_eq!(lines(&LINE_LENGTH, PATH, &wide), [1]);
        assert_eq!(lines(&LINE_LENGTH, PATH, &format!("// https://x.example/{wide}")), [0; 0]);
        assert_eq!(lines(&LINE_LENGTH, PATH, &format!("// LONG: a table\n{wide}\n{wide}")), [0; 0]);
        assert_eq!(lines(&LINE_LENGTH, PATH, &format!("// LONG: a table\n\n{wide}")), [3]);
        assert_eq!(lines(&LINE_LENGTH, PATH, &format!("// LONG:\n{wide}")), [2]);
    }
}
