//! Rules on modules: imports go down the list, every file is declared, names say what is inside.
//!
//! A module may import from itself, from its ancestors, from its descendants and from siblings (its
//! own or an ancestor's) that are declared later. So imports between modules cannot form a cycle.

use std::collections::BTreeSet;

use super::manifest::{owner, packages};
use crate::tidy::finding::{Finding, Rule};
use crate::tidy::graph::{Graph, ModulePath, roots};
use crate::tidy::imports::references;
use crate::tidy::source::Source;
use crate::tidy::tree::Tree;

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
    for package in packages(tree) {
        for root in roots(tree, &package.dir) {
            check_crate(tree, &Graph::of(tree, root), found);
        }
    }
}

fn check_crate(tree: &Tree, graph: &Graph, found: &mut Vec<Finding>) {
    let sources = graph.files.iter().filter_map(|(file, at)| Some((tree.source(file)?, at)));
    let edges: Vec<Edge> = sources.flat_map(|(source, at)| edges(graph, source, at)).collect();
    let mut disordered: BTreeSet<&ModulePath> = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for edge in edges.iter().filter(|edge| edge.is_upward(graph)) {
        let finding = Finding::error(edge.file, edge.line, edge.message.clone());
        if seen.insert((edge.file, edge.line, &edge.message)) && !found.contains(&finding) {
            disordered.insert(&edge.parent);
            found.push(finding);
        }
    }
    for parent in disordered {
        let within = edges.iter().filter(|edge| edge.parent == *parent);
        let pairs = within.map(|edge| (edge.from.as_str(), edge.to.as_str())).collect();
        let Some(module) = graph.modules.get(parent) else { continue };
        let advice = match sorted(&module.children, &pairs) {
            Ok(order) => format!("an order that works: {}", order.join(", ")),
            Err(cycle) => format!("no order works, these import each other: {}", cycle.join(", ")),
        };
        found.push(Finding::note(&graph.file_of(parent), 0, advice));
    }
}

/// An import of one child of a module from another.
struct Edge<'a> {
    file: &'a str,
    line: usize,
    parent: ModulePath,
    from: String,
    to: String,
    message: String,
}

impl Edge<'_> {
    fn is_upward(&self, graph: &Graph) -> bool {
        let Some(parent) = graph.modules.get(&self.parent) else { return false };
        let position = |name: &String| parent.children.iter().position(|child| child == name);
        position(&self.to) < position(&self.from)
    }
}

fn edges<'a>(graph: &Graph, source: &'a Source, module: &ModulePath) -> Vec<Edge<'a>> {
    let mut found = Vec::new();
    for reference in references(&source.tokens, module).into_iter().filter(|r| !r.is_test) {
        for target in graph.resolve(&reference.names) {
            let depth = common_depth(&reference.from, &target);
            let (Some(from), Some(to)) = (reference.from.get(depth), target.get(depth)) else {
                continue;
            };
            let message = format!(
                "`{}` imports `{}`, but `{to}` is declared before `{from}`",
                spelled(&reference.from),
                spelled(&target),
            );
            let (parent, line) = (reference.from[..depth].to_vec(), reference.line);
            let (from, to) = (from.clone(), to.clone());
            found.push(Edge { file: &source.path, line, parent, from, to, message });
        }
    }
    found
}

/// The children in an order in which all imports go down, as close to the present one as it gets;
/// `Err` holds those that are left when nobody can come next.
fn sorted<'a>(
    children: &'a [String],
    imports: &BTreeSet<(&str, &str)>,
) -> Result<Vec<&'a str>, Vec<&'a str>> {
    let mut left: Vec<&str> = children.iter().map(String::as_str).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let is_free = |name: &&str| !left.iter().any(|other| imports.contains(&(other, name)));
        let Some(at) = left.iter().position(is_free) else { return Err(tangled(left, imports)) };
        order.push(left.remove(at));
    }
    Ok(order)
}

/// Those of a set that import others of it, and so on: what hangs below a cycle is dropped.
fn tangled<'a>(mut names: Vec<&'a str>, imports: &BTreeSet<(&str, &str)>) -> Vec<&'a str> {
    let is_leaf = |names: &[&str], name: &str| {
        !names.iter().any(|other| *other != name && imports.contains(&(name, other)))
    };
    while let Some(at) = names.iter().position(|name| is_leaf(&names, name)) {
        names.remove(at);
    }
    names
}

fn common_depth(a: &[String], b: &[String]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn spelled(path: &[String]) -> String {
    ["crate".to_owned()].iter().chain(path).cloned().collect::<Vec<_>>().join("::")
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
    use super::*;
    use crate::tidy::finding::{Level, findings};

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
        let found = findings(&ORDER, &files).into_iter();
        found.filter(|finding| finding.level == Level::Error).map(|finding| finding.line).collect()
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
        assert_eq!(found[0].path, "crates/x/src/b/e.rs");
        assert_eq!(found[1].place(), "crates/x/src/b/mod.rs");
        assert_eq!(found[1].message, "no order works, these import each other: d, e");
    }

    #[test]
    fn an_order_that_works_is_close_to_the_present_one() {
        let children = ["a", "b", "c", "d"].map(str::to_owned);
        let order = |pairs: &[_]| sorted(&children, &pairs.iter().copied().collect());
        assert_eq!(order(&[("c", "a")]), Ok(vec!["b", "c", "a", "d"]));
        assert_eq!(order(&[("d", "a"), ("a", "b")]), Ok(vec!["c", "d", "a", "b"]));
        assert_eq!(order(&[("c", "b"), ("b", "c"), ("c", "d")]), Err(vec!["b", "c"]));
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
