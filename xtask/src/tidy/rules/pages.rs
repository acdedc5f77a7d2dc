//! Rules on pages: links lead somewhere, change logs have an open section.

use crate::tidy::finding::{Finding, Rule};
use crate::tidy::markdown::{anchors, links};
use crate::tidy::tree::{Tree, join};

/// Links lead somewhere.
pub(crate) const LINK: Rule = Rule {
    id: "dead-link",
    says: "relative links in pages lead to a file, a folder or a heading that exists",
    remedy: "correct the target; paths start at the page, anchors are headings in lower case",
    check: check_links,
    broken_by: &[("docs/a.md", "[b](b.md)")],
};

/// Change logs are open.
pub(crate) const CHANGELOG: Rule = Rule {
    id: "changelog",
    says: "there is a CHANGELOG.md, and each one has an `Unreleased` section",
    remedy: "add `## Unreleased` at its top",
    check: check_changelogs,
    broken_by: &[("CHANGELOG.md", "# Changes\n\n## 0.1.0\n")],
};

fn check_links(tree: &Tree, found: &mut Vec<Finding>) {
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".md")) {
        for link in links(text) {
            if let Err(why) = follow(tree, path, &link.target) {
                found.push(Finding::error(path, link.line, format!("`{}`: {why}", link.target)));
            }
        }
    }
}

fn follow(tree: &Tree, page: &str, target: &str) -> Result<(), String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match file.strip_prefix('/') {
        _ if file.is_empty() => Some(page.to_owned()),
        Some(from_root) => join("", from_root),
        None => join(page.rsplit_once('/').map_or("", |(dir, _)| dir), file),
    };
    let path = path.ok_or("leads out of the repository")?;
    if !tree.exists(&path) {
        return Err(format!("there is no {path}"));
    }
    let has_anchor = |text: &str| match anchor.strip_prefix('L').map(str::parse::<usize>) {
        Some(Ok(line)) if !path.ends_with(".md") => line <= text.lines().count(),
        _ => anchors(text).contains(anchor),
    };
    if anchor.is_empty() || tree.text(&path).is_some_and(has_anchor) {
        Ok(())
    } else {
        Err(format!("{path} has no `#{anchor}`"))
    }
}

fn check_changelogs(tree: &Tree, found: &mut Vec<Finding>) {
    if !tree.exists("CHANGELOG.md") {
        found.push(Finding::error("CHANGELOG.md", 0, "there is none"));
    }
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with("CHANGELOG.md")) {
        let is_open = |line: &str| {
            let title = line.strip_prefix("## ").unwrap_or_default();
            title.trim_start_matches('[').starts_with("Unreleased")
        };
        if !text.lines().any(is_open) {
            found.push(Finding::error(path, 0, "no `## Unreleased` section"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::{findings, lines};

    fn dead(target: &str) -> bool {
        let page = format!("# Top\n\n[x]({target})");
        let files = [
            ("docs/a.md", page.as_str()),
            ("docs/b.md", "# Some heading"),
            ("src/x.rs", "1\n2\n3"),
            ("README.md", ""),
        ];
        !findings(&LINK, &files).is_empty()
    }

    #[test]
    fn relative_links_are_followed_to_file_folder_and_heading() {
        for good in [
            "b.md",
            "b.md#some-heading",
            "#top",
            "../README.md",
            "../src",
            "/docs/b.md",
            "../src/x.rs#L3",
            "https://x.example/none",
            "mailto:a@b.example",
        ] {
            assert!(!dead(good), "{good}");
        }
        for bad in ["c.md", "b.md#other", "#bottom", "../../x", "../src/x.rs#L4", "/b.md"] {
            assert!(dead(bad), "{bad}");
        }
    }

    #[test]
    fn a_changelog_is_needed_and_open() {
        assert_eq!(lines(&CHANGELOG, "README.md", ""), [0]);
        assert_eq!(lines(&CHANGELOG, "CHANGELOG.md", "## [Unreleased]"), [0; 0]);
        assert_eq!(lines(&CHANGELOG, "CHANGELOG.md", "Unreleased"), [0]);
    }
}
