//! Reads the imports of a file: every path that starts at `crate`, `self` or `super`.
//!
//! Not only `use` declarations: a path in an expression is an import as well, and so is one in a
//! macro. So this reads tokens, and keeps count of the modules written inside the file.

use super::graph::{ModulePath, absolute};
use super::source::{Kind, Token};

/// A path in the code that starts at `crate`, `self` or `super`.
#[derive(Debug)]
pub(crate) struct Reference {
    /// The line it ends on.
    pub(crate) line: usize,
    /// Whether it exists only in tests.
    pub(crate) is_test: bool,
    /// The module it stands in.
    pub(crate) from: ModulePath,
    /// What it spells, from the root of the crate.
    pub(crate) names: ModulePath,
}

/// The imports of a file that holds this module.
pub(crate) fn references(tokens: &[Token], file_module: &[String]) -> Vec<Reference> {
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

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let source = Source::new("crates/x/src/a.rs", text);
        let at = ["a".to_owned()];
        references(&source.tokens, &at).into_iter().map(|found| found.names.join("::")).collect()
    }

    #[test]
    fn each_leaf_of_a_tree_is_an_import() {
        let found = names("use crate::{b, c::{self, D as E}, f::*};");
        assert_eq!(found, ["b", "c", "c::D", "f"]);
    }

    #[test]
    fn paths_in_code_start_where_they_are_written() {
        assert_eq!(names("mod m { mod n { fn f() { super::g::<u8>() } } }"), ["a::m::g"]);
        assert_eq!(names("mod m {} fn f() { self::g() }"), ["a::g"]);
        assert_eq!(names("fn f() { x::y(); Self::z() }"), [""; 0]);
    }
}
