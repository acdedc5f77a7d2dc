//! The rule on functions: short, and the long ones rare.
//!
//! The length is that of the code, from `fn` to the closing brace, comments included.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use crate::tidy::finding::{Finding, Rule};
use crate::tidy::source::Source;
use crate::tidy::tree::Tree;

const LINES_SOFT: usize = 40;
const LINES_HARD: usize = 70;
/// One function in so many may be longer than the soft limit.
const LONG_SHARE: usize = 20;

/// Functions are short.
pub(crate) const FUNCTION_SIZE: Rule = Rule {
    id: "function-size",
    says: "a function has at most 70 lines, and in each crate 95 % have under 40",
    remedy: "let the parent decide and leaves compute; never split only to please a counter",
    check,
    broken_by: &[("crates/x/src/lib.rs", TOO_LONG)],
};

/// A function that is longer than any may be.
const TOO_LONG: &str = {
    const START: &[u8] = b"fn f() {";
    const BODY: [u8; START.len() + LINES_HARD + 1] = {
        let mut body = [b'\n'; START.len() + LINES_HARD + 1];
        body.split_at_mut(START.len()).0.copy_from_slice(START);
        body[START.len() + LINES_HARD] = b'}';
        body
    };
    match std::str::from_utf8(&BODY) {
        Ok(text) => text,
        Err(_) => "",
    }
};

/// Lengths of the functions of one part of the repository, tests left out.
#[derive(Debug, Default)]
pub(crate) struct Lengths(Vec<usize>);

impl Lengths {
    /// How many functions there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The length in the middle.
    pub(crate) fn median(&self) -> usize {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    /// How many are not under the soft limit.
    pub(crate) fn long(&self) -> usize {
        self.0.iter().filter(|&&lines| lines >= LINES_SOFT).count()
    }

    /// The longest.
    pub(crate) fn longest(&self) -> usize {
        self.0.iter().copied().max().unwrap_or_default()
    }

    fn has_too_many_long(&self) -> bool {
        self.long() > (self.count() / LONG_SHARE).max(1)
    }
}

/// The lengths of all functions by part of the repository.
pub(crate) fn lengths(tree: &Tree) -> BTreeMap<&str, Lengths> {
    let mut parts: BTreeMap<&str, Lengths> = BTreeMap::new();
    for source in tree.own_sources() {
        let counted = functions(source).into_iter().filter(|f| !source.is_test_line(f.line));
        parts.entry(source.part()).or_default().0.extend(counted.map(|f| f.lines));
    }
    parts
}

fn check(tree: &Tree, found: &mut Vec<Finding>) {
    for source in tree.own_sources() {
        for function in functions(source).iter().filter(|function| function.lines > LINES_HARD) {
            let message = format!("`{}` has {} lines", function.name, function.lines);
            found.push(Finding::error(&source.path, function.line, message));
        }
    }
    for (part, lengths) in lengths(tree) {
        if lengths.has_too_many_long() {
            report_long(tree, part, &lengths, found);
        }
    }
}

/// Says that there are too many, and names them.
fn report_long(tree: &Tree, part: &str, lengths: &Lengths, found: &mut Vec<Finding>) {
    for source in tree.own_sources().filter(|source| source.part() == part) {
        let functions = functions(source);
        let long =
            functions.iter().filter(|f| f.lines >= LINES_SOFT && !source.is_test_line(f.line));
        for function in long {
            let message = format!(
                "`{}` has {} lines, and {} of {} functions of `{part}` are that long",
                function.name,
                function.lines,
                lengths.long(),
                lengths.count(),
            );
            found.push(Finding::error(&source.path, function.line, message));
        }
    }
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

fn functions(source: &Source) -> Vec<Function> {
    let mut finder = Finder(Vec::new());
    if let Ok(syntax) = &source.syntax {
        finder.visit_file(syntax);
    }
    finder.0
}

struct Finder(Vec<Function>);

impl Finder {
    fn note(&mut self, signature: &Signature, body: &Block) {
        let line = signature.fn_token.span.start().line;
        let lines = body.brace_token.span.close().end().line + 1 - line;
        self.0.push(Function { name: signature.ident.to_string(), line, lines });
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.note(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.note(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(body) = &item.default {
            self.note(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::lines;

    const PATH: &str = "crates/x/src/a.rs";

    /// A function of so many lines.
    fn function(lines: usize) -> String {
        format!("fn f() {{{}}}\n", "\n".repeat(lines - 1))
    }

    #[test]
    fn the_hard_limit_holds_wherever_a_function_stands() {
        assert_eq!(lines(&FUNCTION_SIZE, PATH, &function(LINES_HARD)), [0; 0]);
        let long = function(LINES_HARD + 1);
        for place in ["{}", "impl X {{}}", "trait X {{}}", "#[cfg(test)] mod t {{}}", "fn g() {{}}"]
        {
            let text = place.replace("{}", &long).replace("{fn", "{ fn");
            assert!(lines(&FUNCTION_SIZE, PATH, &text).contains(&1), "{place}");
        }
    }

    #[test]
    fn one_function_in_twenty_may_be_long() {
        let short = function(3).repeat(38);
        let two = format!("{short}{}", function(LINES_SOFT).repeat(2));
        assert_eq!(lines(&FUNCTION_SIZE, PATH, &two), [0; 0]);
        let three = format!("{short}{}", function(LINES_SOFT).repeat(3));
        assert_eq!(lines(&FUNCTION_SIZE, PATH, &three).len(), 3);
    }

    #[test]
    fn lengths_count_from_the_keyword_to_the_brace_without_tests() {
        let text =
            "/// Doc.\n#[inline]\nfn f()\n{\n}\n#[cfg(test)]\nmod t { fn g() {} }\nfn h() {}";
        let tree = Tree::of(&[(PATH, text)]);
        let lengths = &lengths(&tree)["x"];
        assert_eq!((lengths.count(), lengths.longest(), lengths.median()), (2, 3, 3));
    }
}
