//! Rules on modules: imports go down the list, every file is declared, names say what is inside.
//!
//! A module may import from itself, from its ancestors, from its descendants and from siblings (its
//! own or an ancestor's) that are declared later. So imports between modules cannot form a cycle.

use std::collections::BTreeSet;

use super::finding::{Finding, Rule};
use super::graph::{Graph, ModulePath, absolute, roots};
use super::manifest::{owner, packages};
use super::source::{Kind, Source, Token};
use super::tree::Tree;

const FORBIDDEN: [&str; 8] =
    ["utils", "common", "helpers", "misc", "base", "types", "core", "prelude"];

/// Imports go down the list.
pub(crate) const ORDER: Rule = Rule {
    id: "module-order",
    says: "a module imports only modules that are declared after it",
    remedy: "move the imported module below in the list of `mod` lines, or turn the import around",
    check: check_order,
    broken_by: &[
        ("crates/x/Cargo.toml", "[package]\nname = \"fiveways-sys\""),
        ("crates/x/src/lib.rs", "mod a;\nmod b;"),
        ("crates/x/src/a.rs", ""),
        ("crates/x/src/b.rs", "use crate::a::X;"),
    ],
};

/// Every file is declared.
pub(crate) const ORPHANS: Rule = Rule {
    id: "orphan-file",
    says: "every Rust file is a crate's root or declared by a `mod`, and every `mod` has a file",
    remedy: "declare it, or delete it",
    check: check_orphans,
    broken_by: &[
        ("crates/x/Cargo.toml", "[package]\nname = \"fiveways-sys\""),
        ("crates/x/src/lib.rs", ""),
        ("crates/x/src/a.rs", ""),
    ],
};

/// Names that say nothing.
pub(crate) const NAMES: Rule = Rule {
    id: "module-name",
    says: "no module is called utils, common, helpers, misc, base, types, core or prelude",
    remedy: "name it after what it holds",
    check: check_names,
    broken_by: &[("crates/x/src/lib.rs", "mod utils { }")],
};

fn check_order(tree: &Tree, found: &mut Vec<Finding>) {
    if tree.text("rustfmt.toml").is_some_and(|text| !text.contains("reorder_modules = false")) {
        let message = "rustfmt would sort `mod` lines by name: set `reorder_modules = false`";
        found.push(Finding::error("rustfmt.toml", 0, message));
    }
    let mut seen = BTreeSet::new();
    for package in packages(tree) {
        for root in roots(tree, &package.dir) {
            let graph = Graph::of(tree, root);
            for (file, module) in &graph.files {
                let Some(source) = tree.source(file) else { continue };
                for finding in upward_imports(&graph, source, module) {
                    if seen.insert((finding.path.clone(), finding.line, finding.message.clone())) {
                        found.push(finding);
                    }
                }
            }
        }
    }
}

fn upward_imports(graph: &Graph, source: &Source, module: &ModulePath) -> Vec<Finding> {
    let mut found = Vec::new();
    for reference in references(&source.tokens, module).iter().filter(|r| !r.is_test) {
        let stops = graph.resolve(&reference.names);
        let Some(target) = stops.iter().find(|stop| !is_downward(graph, &reference.from, stop))
        else {
            continue;
        };
        let depth = common_depth(&reference.from, target);
        let message = format!(
            "`{}` imports `{}`, but `{}` is declared before `{}`",
            spelled(&reference.from),
            spelled(target),
            target[depth],
            reference.from[depth],
        );
        found.push(Finding::error(&source.path, reference.line, message));
    }
    found
}

fn is_downward(graph: &Graph, from: &[String], target: &[String]) -> bool {
    let depth = common_depth(from, target);
    if depth == from.len() || depth == target.len() {
        return true;
    }
    let Some(parent) = graph.modules.get(&from[..depth]) else { return true };
    let position = |name: &String| parent.children.iter().position(|child| child == name);
    position(&target[depth]) > position(&from[depth])
}

fn common_depth(a: &[String], b: &[String]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn spelled(path: &[String]) -> String {
    ["crate".to_owned()].iter().chain(path).cloned().collect::<Vec<_>>().join("::")
}

/// A path in the code that starts at `crate`, `self` or `super`.
#[derive(Debug)]
struct Reference {
    line: usize,
    is_test: bool,
    from: ModulePath,
    names: ModulePath,
}

fn references(tokens: &[Token], file_module: &[String]) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut inline: Vec<(String, usize)> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        while inline.last().is_some_and(|&(_, close)| at > close) {
            inline.pop();
        }
        if let Some(module) = inline_module(tokens, at) {
            inline.push(module);
        }
        let is_start = ["crate", "self", "super"].iter().any(|word| token.is_word(word))
            && tokens.get(at + 1).is_some_and(|next| next.is("::"))
            && !(at > 0 && tokens[at - 1].is("::"));
        if !is_start {
            continue;
        }
        let names = inline.iter().map(|(name, _)| name.clone());
        let from: ModulePath = file_module.iter().cloned().chain(names).collect();
        let mut leaves = Vec::new();
        collect_leaves(tokens, at, Vec::new(), &mut leaves);
        for (line, leaf) in leaves {
            let Some(names) = absolute(&from, &leaf) else { continue };
            found.push(Reference { line, is_test: token.test, from: from.clone(), names });
        }
    }
    found
}

/// The module that opens with the keyword at this place, and where it ends.
fn inline_module(tokens: &[Token], at: usize) -> Option<(String, usize)> {
    let [keyword, name, open, ..] = tokens.get(at..)? else { return None };
    match open.kind {
        Kind::Open(close) if keyword.is_word("mod") && open.is("{") => {
            Some((name.text.clone(), close))
        }
        _ => None,
    }
}

/// Reads a path, or a tree of imports, and notes each of its leaves.
fn collect_leaves(
    tokens: &[Token],
    mut at: usize,
    mut names: Vec<String>,
    leaves: &mut Vec<(usize, Vec<String>)>,
) {
    while let Some(token) = tokens.get(at) {
        match token.kind {
            Kind::Word => names.push(token.text.clone()),
            Kind::Open(close) if token.is("{") => {
                return collect_group(tokens, at + 1..close, &names, leaves);
            }
            _ => return leaves.push((token.line, names)),
        }
        if !tokens.get(at + 1).is_some_and(|next| next.is("::")) {
            return leaves.push((token.line, names));
        }
        at += 2;
    }
}

fn collect_group(
    tokens: &[Token],
    inside: std::ops::Range<usize>,
    names: &[String],
    leaves: &mut Vec<(usize, Vec<String>)>,
) {
    let mut at = inside.start;
    while at < inside.end {
        collect_leaves(tokens, at, names.to_vec(), leaves);
        while at < inside.end && !tokens[at].is(",") {
            at = match tokens[at].kind {
                Kind::Open(close) => close + 1,
                _ => at + 1,
            };
        }
        at += 1;
    }
}

fn check_orphans(tree: &Tree, found: &mut Vec<Finding>) {
    let all = packages(tree);
    for package in &all {
        let mut declared = BTreeSet::new();
        for root in roots(tree, &package.dir) {
            let graph = Graph::of(tree, root);
            declared.extend(graph.files.into_keys());
            for (path, line, name) in graph.missing {
                found.push(Finding::error(&path, line, format!("`mod {name}` has no file")));
            }
        }
        for source in tree.own_sources() {
            let is_ours = owner(&all, &source.path).is_some_and(|owner| owner.dir == package.dir);
            if is_ours && !declared.contains(&source.path) {
                found.push(Finding::error(&source.path, 0, "no `mod` line declares this file"));
            }
        }
    }
}

fn check_names(tree: &Tree, found: &mut Vec<Finding>) {
    for source in tree.own_sources() {
        for pair in source.tokens.windows(2) {
            if pair[0].is_word("mod") && FORBIDDEN.contains(&pair[1].text.as_str()) {
                let message = format!("a module called `{}`", pair[1].text);
                found.push(Finding::error(&source.path, pair[1].line, message));
            }
        }
        let stem = source.path.trim_end_matches(".rs");
        if let Some(name) = stem.split('/').find(|name| FORBIDDEN.contains(name)) {
            let message = format!("a file or folder called `{name}`");
            found.push(Finding::error(&source.path, 0, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::findings;
    use super::*;

    const MANIFEST: (&str, &str) = ("crates/x/Cargo.toml", "[package]\nname = \"fiveways-sys\"");

    /// The lines of `b.rs` that break the order, in a crate of `a`, `b` and `c` (and `b::d`).
    fn upward(root: &str, b: &str) -> Vec<usize> {
        let files = [
            MANIFEST,
            ("crates/x/src/lib.rs", root),
            ("crates/x/src/a.rs", ""),
            ("crates/x/src/b.rs", b),
            ("crates/x/src/c.rs", ""),
        ];
        findings(&ORDER, &files).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn an_import_from_a_module_above_is_found_however_it_is_spelled() {
        let root = "mod a;\nmod b;\nmod c;";
        for bad in [
            "use crate::a;",
            "use super::a::X;",
            "use crate::{c::Y, a::X};",
            "fn f() { crate::a::g() }",
            "macro_rules! m { () => { $crate::a::g() } }",
            "mod d { use super::super::a::X; }",
            "use self::super::a::X;",
        ] {
            assert_eq!(upward(root, bad), [1], "{bad}");
        }
    }

    #[test]
    fn imports_from_below_from_ancestors_and_in_tests_are_fine() {
        let root = "mod a;\nmod b;\nmod c;\npub struct Here;";
        for good in [
            "use crate::c::X;",
            "use crate::Here;",
            "use crate::b::X;",
            "pub(crate) fn f() {}",
            "mod d { use super::e::X; }\nmod e {}",
            "#[cfg(test)]\nmod tests { use crate::a::X; }",
        ] {
            assert_eq!(upward(root, good), [0; 0], "{good}");
        }
    }

    #[test]
    fn a_name_that_the_root_re_exports_counts_as_its_module() {
        let root = "mod a;\nmod b;\nmod c;\npub use a::{X, Z};\npub use c::Y;";
        assert_eq!(upward(root, "\nuse crate::X;"), [2]);
        assert_eq!(upward(root, "use crate::Y;"), [0; 0]);
    }

    #[test]
    fn order_holds_inside_folders_too() {
        let files = [
            MANIFEST,
            ("crates/x/src/lib.rs", "mod b;"),
            ("crates/x/src/b/mod.rs", "mod d;\nmod e;"),
            ("crates/x/src/b/d.rs", "use super::e::X;"),
            ("crates/x/src/b/e.rs", "use super::d::X;"),
        ];
        let found = findings(&ORDER, &files);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "crates/x/src/b/e.rs");
    }

    #[test]
    fn the_formatter_must_leave_the_order_alone() {
        assert_eq!(findings(&ORDER, &[("rustfmt.toml", "max_width = 100")]).len(), 1);
        assert_eq!(findings(&ORDER, &[("rustfmt.toml", "reorder_modules = false")]), []);
    }

    #[test]
    fn roots_by_place_and_by_manifest_are_no_orphans() {
        let manifest = "[package]\nname = \"fiveways-sys\"\n[[bin]]\npath = \"src/odd.rs\"";
        let files = [
            ("crates/x/Cargo.toml", manifest),
            ("crates/x/src/odd.rs", ""),
            ("crates/x/src/lib.rs", "mod gone;"),
            ("crates/x/tests/suite.rs", "mod part;"),
            ("crates/x/tests/part/mod.rs", ""),
            ("crates/x/examples/demo.rs", ""),
            ("crates/x/build.rs", ""),
        ];
        let found = findings(&ORPHANS, &files);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].message, "`mod gone` has no file");
    }

    #[test]
    fn a_folder_with_a_forbidden_name_is_found() {
        assert_eq!(findings(&NAMES, &[("crates/x/tests/common/mod.rs", "")]).len(), 1);
        assert_eq!(findings(&NAMES, &[("crates/x/src/commons.rs", "mod typeset {}")]), []);
    }
}
