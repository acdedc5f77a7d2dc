//! Rules on unsafe code, and the map of it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::tidy::finding::{Finding, Rule};
use crate::tidy::source::{Kind, Source, Token};
use crate::tidy::tree::Tree;

/// Unsafe code is opened where it stands.
pub(crate) const OPENED: Rule = Rule {
    id: "unsafe-file",
    says: "unsafe code stands only in files, or items, that open `unsafe_code` with a reason; what \
           a parent module opens does not count",
    remedy: "use a safe call of a lower layer, or `#![expect(unsafe_code, reason = \"…\")]`",
    check: check_opened,
    broken_by: &[("crates/x/src/lib.rs", "fn f() { unsafe { g() } }")],
};

/// Unsafe code says why it is sound.
pub(crate) const SAFETY: Rule = Rule {
    id: "unsafe-safety",
    says: "each unsafe block and unsafe impl has a `// SAFETY:` comment above it",
    remedy: "name what is required, and why it holds here",
    check: check_safety,
    broken_by: &[("crates/x/src/lib.rs", "fn f() {\n    unsafe { g() }\n}")],
};

/// What an `unsafe` keyword opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    Block,
    Impl,
    Function,
    Extern,
    Attribute,
}

/// How many unsafe sites a part of the repository has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Files with any.
    pub(crate) files: usize,
    /// `unsafe { … }`.
    pub(crate) blocks: usize,
    /// `unsafe impl`.
    pub(crate) impls: usize,
    /// `unsafe fn` and `unsafe trait`.
    pub(crate) functions: usize,
    /// `unsafe extern` and unsafe attributes.
    pub(crate) foreign: usize,
}

/// The map of unsafe sites by part of the repository, tests included.
pub(crate) fn map(tree: &Tree) -> BTreeMap<&str, Census> {
    let mut parts: BTreeMap<&str, Census> = BTreeMap::new();
    for source in tree.own_sources() {
        let census = parts.entry(source.part()).or_default();
        let sites = sites(source);
        census.files += usize::from(!sites.is_empty());
        for (_, site) in sites {
            match site {
                Site::Block => census.blocks += 1,
                Site::Impl => census.impls += 1,
                Site::Function => census.functions += 1,
                Site::Extern | Site::Attribute => census.foreign += 1,
            }
        }
    }
    parts
}

fn sites(source: &Source) -> Vec<(usize, Site)> {
    let mut found = Vec::new();
    for pair in source.tokens.windows(2) {
        if pair[0].is_word("unsafe")
            && let Some(site) = site_before(&pair[1])
        {
            found.push((pair[0].line, site));
        }
    }
    found
}

/// What the keyword means, by the token after it; `None` in `unsafe fn()` types is never reached,
/// because there too a function is meant.
fn site_before(next: &Token) -> Option<Site> {
    match (next.kind, next.text.as_str()) {
        (Kind::Open(_), "{") => Some(Site::Block),
        (Kind::Open(_), "(") => Some(Site::Attribute),
        (Kind::Word, "impl") => Some(Site::Impl),
        (Kind::Word, "fn" | "trait") => Some(Site::Function),
        (Kind::Word, "extern") => Some(Site::Extern),
        _ => None,
    }
}

fn check_opened(tree: &Tree, found: &mut Vec<Finding>) {
    for source in tree.own_sources() {
        let openings = openings(source);
        for opening in openings.iter().filter(|opening| !opening.has_reason) {
            let message = "unsafe code is opened without a reason";
            found.push(Finding::error(&source.path, *opening.lines.start(), message));
        }
        let is_open = |line| openings.iter().any(|opening| opening.lines.contains(&line));
        if let Some((line, _)) = sites(source).into_iter().find(|&(line, _)| !is_open(line)) {
            let message = "unsafe code that neither this file nor its item opens";
            found.push(Finding::error(&source.path, line, message));
        }
    }
}

/// An attribute that opens unsafe code, and the lines for which it does.
struct Opening {
    lines: RangeInclusive<usize>,
    has_reason: bool,
}

fn openings(source: &Source) -> Vec<Opening> {
    let mut found = Vec::new();
    for attribute in source.attributes().filter(|attribute| opens_unsafe(attribute.inside)) {
        let has_reason = attribute.inside.iter().any(|token| token.is_word("reason"));
        found.push(Opening { lines: attribute.applies_to, has_reason });
    }
    found
}

fn opens_unsafe(inside: &[Token]) -> bool {
    let is_lint = inside.first().is_some_and(|t| t.is_word("expect") || t.is_word("allow"));
    is_lint && inside.iter().any(|token| token.is_word("unsafe_code"))
}

fn check_safety(tree: &Tree, found: &mut Vec<Finding>) {
    for source in tree.own_sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (line, site) in sites(source) {
            let what = match site {
                Site::Block => "unsafe block",
                Site::Impl => "unsafe impl",
                _ => continue,
            };
            if !is_documented(&lines, line) {
                let message = format!("{what} without a `// SAFETY:` comment");
                found.push(Finding::error(&source.path, line, message));
            }
        }
    }
}

/// Whether a comment above this line, or above the statement it belongs to, says why it is sound.
fn is_documented(lines: &[&str], line: usize) -> bool {
    let Some(above) = lines.get(..line - 1) else { return false };
    let mut in_comment = false;
    for text in above.iter().rev().map(|text| text.trim()) {
        if text.starts_with("//") {
            in_comment = true;
            if text.contains("SAFETY:") {
                return true;
            }
        } else if in_comment || text.is_empty() || text.ends_with([';', '{', '}']) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::lines;

    const PATH: &str = "crates/x/src/a.rs";

    #[test]
    fn a_file_with_unsafe_code_opens_it_with_a_reason() {
        let open = "#![expect(unsafe_code, reason = \"why\")]\n";
        let bare = "#![allow(unsafe_code)]\n";
        for code in
            ["fn f() { unsafe { g() } }", "unsafe impl S for X {}", "unsafe extern \"C\" {}"]
        {
            assert_eq!(lines(&OPENED, PATH, code), [1], "{code}");
            assert_eq!(lines(&OPENED, PATH, &format!("{open}{code}")), [0; 0], "{code}");
            assert_eq!(lines(&OPENED, PATH, &format!("{bare}{code}")), [1], "{code}");
        }
        assert_eq!(lines(&OPENED, PATH, "#[unsafe(no_mangle)]\nfn f() {}"), [1]);
    }

    #[test]
    fn unsafe_code_in_macros_counts_and_the_word_in_text_does_not() {
        assert_eq!(lines(&OPENED, PATH, "macro_rules! m { () => { unsafe { g() } } }"), [1]);
        assert_eq!(lines(&OPENED, PATH, "// unsafe {\nconst S: &str = \"unsafe {\";"), [0; 0]);
    }

    #[test]
    fn opening_one_item_opens_no_other() {
        let open = "#[expect(unsafe_code, reason = \"why\")]\nfn f() {\nunsafe { g() }\n}\n";
        assert_eq!(lines(&OPENED, PATH, open), [0; 0]);
        assert_eq!(lines(&OPENED, PATH, &format!("{open}fn h() {{ unsafe {{ g() }} }}")), [5]);
        let module = format!("mod m {{\n#!{}}}", &open[1..]);
        assert_eq!(lines(&OPENED, PATH, &module), [0; 0]);
        assert_eq!(lines(&OPENED, PATH, &format!("{module}\nunsafe fn h() {{}}")), [7]);
    }

    #[test]
    fn a_safety_comment_stands_above_the_block_or_its_statement() {
        for good in [
            "// SAFETY: yes.\nlet a = unsafe { g() };",
            "// SAFETY: it is long,\n// over two lines.\nunsafe { g() }",
            "// SAFETY: yes.\nlet a =\n    unsafe { g() };",
            "// SAFETY: yes.\n#[inline]\nunsafe { g() }",
        ] {
            let text = format!("fn f() {{\n{good}\n}}");
            assert_eq!(lines(&SAFETY, PATH, &text), [0; 0], "{good}");
        }
        for bad in [
            "unsafe { g() }",
            "// Because.\nunsafe { g() }",
            "// SAFETY: yes.\n\nunsafe { g() }",
            "// SAFETY: yes.\nlet a = 1;\nunsafe { g() }",
            "// SAFETY: yes.\n{\nunsafe { g() }\n}",
        ] {
            assert_eq!(lines(&SAFETY, PATH, &format!("fn f() {{\n{bad}\n}}")).len(), 1, "{bad}");
        }
        assert_eq!(lines(&SAFETY, PATH, "unsafe impl Send for X {}"), [1]);
    }

    #[test]
    fn the_map_counts_sites_per_crate() {
        let text = "unsafe fn f() { unsafe { g() } }\nunsafe impl Send for X {}\n\
                    #[unsafe(no_mangle)] fn h() { unsafe { g() } }";
        let tree = Tree::of(&[(PATH, text)]);
        let census = Census { files: 1, blocks: 2, impls: 1, functions: 1, foreign: 1 };
        assert_eq!(map(&tree)["x"], census);
    }
}
