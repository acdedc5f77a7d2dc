//! Rules on what is left lying about: debugging, reminders, dead code, tests switched off, globs.

use syn::{Item, UseTree, Visibility};

use crate::tidy::finding::{Finding, Rule};
use crate::tidy::source::{Kind, Source};
use crate::tidy::tree::Tree;

const MACROS: [&str; 3] = ["dbg", "todo", "unimplemented"];
const PRINTERS: [&str; 2] = ["println", "print"];
/// Spelled in pieces, so that this file does not break its own rule.
const REMINDERS: [&str; 3] = [concat!("FIX", "ME"), concat!("X", "XX"), concat!("TO", "DO")];
/// Crates that are programs: they own their standard output.
const PROGRAMS: [&str; 1] = ["cli"];

/// Nothing is left lying about.
pub(crate) const LEFTOVER: Rule = Rule {
    id: "leftover",
    says: "no debugging macros, reminders or commented-out code; libraries print nothing",
    remedy: "finish it, delete it, or open an issue",
    check: check_leftovers,
    broken_by: &[("crates/x/src/lib.rs", "fn f() { dbg!(1) }")],
};

/// A test is switched off only with a reason.
pub(crate) const IGNORED: Rule = Rule {
    id: "ignored-test",
    says: "`#[ignore]` gives its reason, and all of them are listed",
    remedy: "write `#[ignore = \"why\"]`, or make the test pass",
    check: check_ignored,
    broken_by: &[("crates/x/src/lib.rs", "#[test]\n#[ignore]\nfn f() {}")],
};

/// An example that must not compile says with which error.
pub(crate) const UNCODED: Rule = Rule {
    id: "compile-fail-code",
    says: "`compile_fail` names the error (`compile_fail,E0277`): else any mistake satisfies it",
    remedy: "name the error, and show beside it that the example compiles without what is wrong; \
             a lint has no code: expect it, with `#![deny(unfulfilled_lint_expectations)]`",
    check: check_codes,
    broken_by: &[("crates/x/src/lib.rs", "/// ```compile_fail\n/// x\n/// ```\nfn f() {}")],
};

/// One path per name.
pub(crate) const GLOB: Rule = Rule {
    id: "glob-re-export",
    says: "nothing is re-exported by `pub use …::*`: each name has one path, which one can find",
    remedy: "list the names",
    check: check_globs,
    broken_by: &[("crates/x/src/lib.rs", "mod a;\npub use a::*;")],
};

fn check_leftovers(tree: &Tree, found: &mut Vec<Finding>) {
    for source in tree.sources() {
        check_macros(source, found);
        for (number, line) in source.lines() {
            for word in REMINDERS.iter().filter(|word| has_word(line, word)) {
                found.push(Finding::error(&source.path, number, format!("a reminder: {word}")));
            }
            if !source.is_literal_line(number) && is_dead_code(line) {
                found.push(Finding::error(&source.path, number, "commented-out code"));
            }
        }
    }
}

fn check_codes(tree: &Tree, found: &mut Vec<Finding>) {
    for source in tree.sources() {
        for (number, line) in source.lines() {
            let text = line.trim_start().trim_start_matches(['/', '!']).trim_start();
            let Some(fence) = text.strip_prefix("```") else { continue };
            if fence.contains("compile_fail") && !fence.contains(",E0") {
                found.push(Finding::error(&source.path, number, "an error without its code"));
            }
        }
    }
}

fn check_macros(source: &Source, found: &mut Vec<Finding>) {
    let is_library = source.crate_dir().is_some_and(|name| !PROGRAMS.contains(&name))
        && !source.is_dev()
        && !source.is_program();
    for window in source.tokens.windows(3) {
        let [name, mark, open] = window else { continue };
        if name.kind != Kind::Word || !mark.is("!") || !matches!(open.kind, Kind::Open(_)) {
            continue;
        }
        let prints = PRINTERS.contains(&name.text.as_str()) && is_library && !name.test;
        if prints || MACROS.contains(&name.text.as_str()) {
            found.push(Finding::error(&source.path, name.line, format!("`{}!`", name.text)));
        }
    }
}

/// Whether a word stands in a line by itself, not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let is_edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        is_edge(line[..at].chars().next_back()) && is_edge(line[at + word.len()..].chars().next())
    })
}

/// Whether a line is a comment that would be a statement without its slashes.
///
/// Prose hardly ever parses; what does, such as `poll(2);`, needs a sign of code as well.
fn is_dead_code(line: &str) -> bool {
    let Some(body) = line.trim_start().strip_prefix("//").map(str::trim) else { return false };
    if body.starts_with(['/', '!']) {
        return false;
    }
    let (code, is_open) = match body.strip_suffix('{') {
        Some(_) => (format!("{body} }}"), true),
        None => (body.to_owned(), false),
    };
    let has_sign =
        is_open || ["=", "::", "&", "self.", "()", "?;", "\""].iter().any(|s| body.contains(s));
    let is_statement = body.ends_with(';') || is_open;
    is_statement && has_sign && syn::parse_str::<Statements>(&code).is_ok()
}

/// One or more statements.
struct Statements;

impl syn::parse::Parse for Statements {
    fn parse(input: syn::parse::ParseStream<'_>) -> syn::Result<Self> {
        syn::Block::parse_within(input).map(|_| Self)
    }
}

fn check_ignored(tree: &Tree, found: &mut Vec<Finding>) {
    for source in tree.own_sources() {
        for attribute in source.attributes().map(|attribute| attribute.inside) {
            let is_ignore = |at: usize| {
                attribute[at].is_word("ignore") && (at == 0 || attribute[at - 1].is(","))
            };
            let Some(at) = (0..attribute.len()).find(|&at| is_ignore(at)) else { continue };
            let line = attribute[at].line;
            found.push(match attribute.get(at + 1..) {
                Some([equals, reason, ..]) if equals.is("=") => {
                    Finding::note(&source.path, line, format!("ignored: {}", reason.text))
                }
                _ => Finding::error(&source.path, line, "ignored without a reason"),
            });
        }
    }
}

fn check_globs(tree: &Tree, found: &mut Vec<Finding>) {
    for source in tree.own_sources() {
        if let Ok(syntax) = &source.syntax {
            check_items(source, &syntax.items, found);
        }
    }
}

fn check_items(source: &Source, items: &[Item], found: &mut Vec<Finding>) {
    for item in items {
        match item {
            Item::Use(item) => {
                let is_exported = !matches!(item.vis, Visibility::Inherited);
                if is_exported && has_glob(&item.tree) {
                    let line = item.use_token.span.start().line;
                    found.push(Finding::error(&source.path, line, "a glob re-export"));
                }
            }
            Item::Mod(item) => {
                if let Some((_, items)) = &item.content {
                    check_items(source, items, found);
                }
            }
            _ => {}
        }
    }
}

fn has_glob(tree: &UseTree) -> bool {
    match tree {
        UseTree::Glob(_) => true,
        UseTree::Path(path) => has_glob(&path.tree),
        UseTree::Group(group) => group.items.iter().any(has_glob),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::{Level, findings, lines};

    const PATH: &str = "crates/x/src/a.rs";

    #[test]
    fn debugging_macros_are_found_everywhere_and_printing_in_libraries() {
        for name in MACROS {
            let text = format!("fn f() {{ {name}!() }}");
            assert_eq!(lines(&LEFTOVER, PATH, &text), [1], "{name}");
            assert_eq!(lines(&LEFTOVER, "peers/x/src/main.rs", &text), [1], "{name}");
        }
        let print = "fn f() { println!(\"\") }";
        assert_eq!(lines(&LEFTOVER, PATH, print), [1]);
        for good in [
            "crates/cli/src/a.rs",
            "crates/x/examples/a.rs",
            "crates/x/src/bin/a.rs",
            "crates/x/tests/a.rs",
            "xtask/src/a.rs",
            "crates/x/src/main.rs",
        ] {
            assert_eq!(lines(&LEFTOVER, good, print), [0; 0], "{good}");
        }
        assert_eq!(lines(&LEFTOVER, PATH, &format!("#[cfg(test)]\nmod t {{ {print} }}")), [0; 0]);
        assert_eq!(lines(&LEFTOVER, PATH, "/// dbg!(1)\nfn f() {}"), [0; 0]);
    }

    #[test]
    fn reminders_are_found_as_words() {
        for word in REMINDERS {
            assert_eq!(lines(&LEFTOVER, PATH, &format!("// {word}: later")), [1], "{word}");
            assert_eq!(lines(&LEFTOVER, PATH, &format!("// {word}X")), [0; 0], "{word}");
        }
    }

    #[test]
    fn commented_out_code_is_found_and_prose_is_not() {
        for bad in ["// let x = 1;", "//foo.bar(&mut x);", "  // if x == 1 {", "// self.run()?;"] {
            assert_eq!(lines(&LEFTOVER, PATH, bad), [1], "{bad}");
        }
        for good in [
            "// see poll(2);",
            "// poll(2);",
            "// the ring is full;",
            "/// let x = 1;",
            "// a = b",
            "//! use x::y;",
            "// SAFETY: `x = 1`;",
            "// where x holds {",
            "const A: &str = \"\n// a = b;\n\";",
        ] {
            assert_eq!(lines(&LEFTOVER, PATH, good), [0; 0], "{good}");
        }
    }

    #[test]
    fn ignored_tests_are_errors_without_a_reason_and_notes_with_one() {
        let level = |text| findings(&IGNORED, &[(PATH, text)]).first().map(|found| found.level);
        assert_eq!(level("#[ignore]\nfn f() {}"), Some(Level::Error));
        assert_eq!(level("#[cfg_attr(miri, ignore)]\nfn f() {}"), Some(Level::Error));
        assert_eq!(level("#[ignore = \"slow\"]\nfn f() {}"), Some(Level::Note));
        assert_eq!(level("fn ignore(ignore: u8) { f(ignore, ignore) }"), None);
    }

    #[test]
    fn globs_may_be_imported_and_not_re_exported() {
        assert_eq!(lines(&GLOB, PATH, "use a::*;"), [0; 0]);
        assert_eq!(lines(&GLOB, PATH, "pub(crate) use a::*;"), [1]);
        assert_eq!(lines(&GLOB, PATH, "mod b {\npub use a::{c, d::*};\n}"), [2]);
    }
}
