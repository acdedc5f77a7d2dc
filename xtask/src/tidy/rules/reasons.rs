//! Rules on manifests: a reason beside each dependency, one place for versions, inherited lints.

use toml::{Table, Value};

use super::manifest::{self, Package, packages};
use crate::tidy::finding::{Finding, Rule};
use crate::tidy::tree::Tree;

/// A dependency has its reason.
pub(crate) const REASON: Rule = Rule {
    id: "dependency-reason",
    says: "each outside dependency has its reason in a comment on the line above",
    remedy: "say in one line why it is worth depending on",
    check: check_reasons,
    broken_by: &[("Cargo.toml", "[workspace.dependencies]\nlibc = \"1\"")],
};

/// Versions stand in one place.
pub(crate) const INHERIT: Rule = Rule {
    id: "manifest",
    says: "packages take dependencies and lints from the workspace",
    remedy: "write `name.workspace = true`, and `workspace = true` under `[lints]`",
    check: check_inheritance,
    broken_by: &[("crates/x/Cargo.toml", "[package]\nname = \"x\"\n[dependencies]\nlibc = \"1\"")],
};

fn check_reasons(tree: &Tree, found: &mut Vec<Finding>) {
    let Some(text) = tree.text("Cargo.toml") else { return };
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return found.push(Finding::error("Cargo.toml", 0, error.to_string())),
    };
    let workspace = table.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let lines: Vec<&str> = text.lines().collect();
    for (key, value) in workspace.and_then(Value::as_table).into_iter().flatten() {
        let line = manifest::line_of(text, "workspace.dependencies", key);
        let above = line.checked_sub(2).and_then(|at| lines.get(at));
        let has_reason = above.is_some_and(|above| above.trim_start().starts_with('#'));
        if !manifest::read(key, value, false).is_path && !has_reason {
            found.push(Finding::error("Cargo.toml", line, format!("`{key}` has no reason")));
        }
    }
}

fn check_inheritance(tree: &Tree, found: &mut Vec<Finding>) {
    // A package that is a workspace of its own has nothing to inherit.
    let inherits = |package: &&Package| {
        !package.table.contains_key("workspace") && !package.dir.starts_with("fuzz")
    };
    for package in packages(tree).iter().filter(inherits) {
        let text = tree.text(&package.path).unwrap_or_default();
        for dependency in package.dependencies() {
            if !dependency.is_inherited {
                let line = manifest::line_of(text, "dependencies", &dependency.key);
                let message = format!("`{}` does not come from the workspace", dependency.key);
                found.push(Finding::error(&package.path, line, message));
            }
        }
        let lints = package.table.get("lints").and_then(|lints| lints.get("workspace"));
        if lints.and_then(Value::as_bool) != Some(true) {
            let message = "the workspace's lints are not inherited";
            found.push(Finding::error(&package.path, 0, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::lines;

    #[test]
    fn a_reason_is_a_comment_directly_above_and_our_own_crates_need_none() {
        let text = "[workspace.dependencies]\nours = { path = \"a\" }\n# Why.\nsyn = \"3\"\n\n\
                    bad = \"1\"\n# Why.\n\nworse = \"1\"";
        assert_eq!(lines(&REASON, "Cargo.toml", text), [6, 9]);
    }

    #[test]
    fn lints_and_versions_come_from_the_workspace() {
        let path = "crates/x/Cargo.toml";
        let good = "[package]\nname = \"x\"\n[lints]\nworkspace = true\n[dependencies]\n\
                    a.workspace = true";
        assert_eq!(lines(&INHERIT, path, good), [0; 0]);
        assert_eq!(lines(&INHERIT, path, "[package]\nname = \"x\""), [0]);
        assert_eq!(lines(&INHERIT, "peers/x/Cargo.toml", "[package]\nname = \"x\""), [0; 0]);
    }
}
