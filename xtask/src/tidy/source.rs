//! One Rust file: its lines, its syntax, and its tokens with the lines they stand on.
//!
//! Rules that need structure use the syntax; rules that must also see inside macros use the tokens,
//! which hold no comments. Doc comments arrive there as literals and so are never taken for code.

use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A Rust file.
pub(crate) struct Source {
    /// Path from the root of the repository.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
    /// The syntax, or where and why there is none.
    pub(crate) syntax: Result<syn::File, (usize, String)>,
    /// All tokens in order.
    pub(crate) tokens: Vec<Token>,
    /// Lines of literals that span several lines.
    literals: Vec<RangeInclusive<usize>>,
    /// Lines of code that exists only in tests.
    tests: Vec<RangeInclusive<usize>>,
}

/// What sort of token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or keyword.
    Word,
    /// Punctuation; `::` is one mark.
    Mark,
    /// A literal.
    Literal,
    /// An opening bracket; the number is the index of its partner.
    Open(usize),
    /// A closing bracket.
    Close,
}

/// A token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// What sort it is.
    pub(crate) kind: Kind,
    /// The token as written.
    pub(crate) text: String,
    /// The line it starts on, from 1.
    pub(crate) line: usize,
    /// Whether it exists only in tests.
    pub(crate) test: bool,
}

/// An attribute and what it applies to.
pub(crate) struct Attribute<'a> {
    /// What stands between its brackets.
    pub(crate) inside: &'a [Token],
    /// The lines of its item, of the module around it, or of the whole file.
    pub(crate) applies_to: RangeInclusive<usize>,
    /// The tokens of these lines.
    tokens: RangeInclusive<usize>,
}

impl Token {
    /// Whether this is that word.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    /// Whether this is that mark or bracket.
    pub(crate) fn is(&self, mark: &str) -> bool {
        !matches!(self.kind, Kind::Word | Kind::Literal) && self.text == mark
    }
}

impl Source {
    /// Reads the text of a file.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut source = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            syntax: syn::parse_file(text).map_err(|e| (e.span().start().line, e.to_string())),
            tokens: Vec::new(),
            literals: Vec::new(),
            tests: Vec::new(),
        };
        if let Ok(stream) = text.parse::<TokenStream>() {
            source.flatten(stream);
            source.mark_tests();
        }
        if source.is_test_path() {
            source.make_test();
        }
        source
    }

    /// The crate this file belongs to, where it lies under `crates/`.
    pub(crate) fn crate_dir(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// The part of the repository this file belongs to: a crate's folder, or the top folder.
    pub(crate) fn part(&self) -> &str {
        self.crate_dir().unwrap_or_else(|| self.path.split('/').next().unwrap_or_default())
    }

    /// Whether this belongs to a rival.
    pub(crate) fn is_peer(&self) -> bool {
        self.path.starts_with("peers/")
    }

    /// Whether this is an integration test, an example, a benchmark or a build script.
    pub(crate) fn is_dev(&self) -> bool {
        let mut folders = self.path.split('/');
        self.crate_dir().is_none()
            || folders.any(|name| matches!(name, "tests" | "examples" | "benches" | "build.rs"))
    }

    /// Whether this is a program rather than a part of a library.
    pub(crate) fn is_program(&self) -> bool {
        self.path.ends_with("/src/main.rs") || self.path.contains("/src/bin/")
    }

    /// Lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// Every attribute, also inside macros.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        (0..self.tokens.len()).filter_map(|at| self.attribute(at))
    }

    /// The attribute that starts at a token.
    fn attribute(&self, at: usize) -> Option<Attribute<'_>> {
        if !self.tokens[at].is("#") {
            return None;
        }
        let is_inner = self.tokens.get(at + 1)?.is("!");
        let open = at + 1 + usize::from(is_inner);
        let Kind::Open(close) = self.tokens.get(open)?.kind else { return None };
        let tokens = if is_inner { self.around(at) } else { at..=self.end_of_item(close + 1) };
        let line = |at: usize| self.tokens[at].line;
        let is_whole = *tokens.start() == 0 && is_inner;
        let first = if is_whole { 1 } else { line(*tokens.start()) };
        let last = if is_whole { usize::MAX } else { line(*tokens.end()) };
        let inside = self.tokens.get(open + 1..close)?;
        Some(Attribute { inside, applies_to: first..=last, tokens })
    }

    /// The brackets around a token, or the whole file.
    fn around(&self, at: usize) -> RangeInclusive<usize> {
        let holds = |open: &usize| match self.tokens[*open].kind {
            Kind::Open(close) => close > at,
            _ => false,
        };
        let innermost = (0..at).rev().find(holds);
        match innermost.map(|open| (open, self.tokens[open].kind)) {
            Some((open, Kind::Open(close))) => open..=close,
            _ => 0..=self.tokens.len() - 1,
        }
    }

    /// Whether a line exists only in tests.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&line))
    }

    /// Whether a line lies within a literal that spans several lines.
    pub(crate) fn is_literal_line(&self, line: usize) -> bool {
        self.literals.iter().any(|range| range.contains(&line))
    }

    /// Declares the whole file to be test code.
    pub(crate) fn make_test(&mut self) {
        self.tests = vec![1..=usize::MAX];
        for token in &mut self.tokens {
            token.test = true;
        }
    }

    /// Paths, without ending, of the files that this one declares for tests only.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for window in self.tokens.windows(3) {
            let [keyword, name, end] = window else { continue };
            if keyword.is_word("mod") && end.is(";") && keyword.test {
                paths.push(format!("{}/{}", self.module_dir(), name.text));
            }
        }
        paths
    }

    /// The folder in which this file's child modules lie.
    pub(crate) fn module_dir(&self) -> &str {
        let (dir, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        match name {
            "mod.rs" | "lib.rs" | "main.rs" => dir,
            _ if self.is_crate_root() => dir,
            _ => self.path.trim_end_matches(".rs"),
        }
    }

    /// Whether cargo takes this file for the root of a crate, by its place.
    pub(crate) fn is_crate_root(&self) -> bool {
        let parts: Vec<&str> = self.path.split('/').collect();
        match parts.as_slice() {
            [.., "src", "lib.rs" | "main.rs"] => true,
            [.., "src", "bin", _] | [.., "src", "bin", _, "main.rs"] => true,
            [.., "tests" | "examples" | "benches" | "fuzz_targets", file] => *file != "mod.rs",
            [.., "tests" | "examples" | "benches", _, "main.rs"] => true,
            _ => false,
        }
    }

    fn is_test_path(&self) -> bool {
        self.path.split('/').any(|name| matches!(name, "tests" | "benches"))
    }

    fn flatten(&mut self, stream: TokenStream) {
        let mut colon_at = None;
        for tree in stream {
            let line = tree.span().start().line;
            match tree {
                TokenTree::Group(group) => self.flatten_group(&group),
                TokenTree::Ident(ident) => self.push(Kind::Word, &ident.to_string(), line),
                TokenTree::Literal(literal) => {
                    let end = literal.span().end().line;
                    if end > line {
                        self.literals.push(line..=end);
                    }
                    self.push(Kind::Literal, &literal.to_string(), line);
                }
                TokenTree::Punct(mark) => {
                    let is_second = mark.as_char() == ':' && colon_at == Some(self.tokens.len());
                    if is_second && let Some(first) = self.tokens.last_mut() {
                        "::".clone_into(&mut first.text);
                        colon_at = None;
                        continue;
                    }
                    self.push(Kind::Mark, &mark.to_string(), line);
                    let is_joint = mark.spacing() == proc_macro2::Spacing::Joint;
                    colon_at = (mark.as_char() == ':' && is_joint).then_some(self.tokens.len());
                }
            }
        }
    }

    fn flatten_group(&mut self, group: &proc_macro2::Group) {
        let (open, close) = match group.delimiter() {
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::None => return self.flatten(group.stream()),
        };
        let at = self.tokens.len();
        self.push(Kind::Open(at), open, group.span_open().start().line);
        self.flatten(group.stream());
        let partner = self.tokens.len();
        self.push(Kind::Close, close, group.span_close().start().line);
        self.tokens[at].kind = Kind::Open(partner);
    }

    fn push(&mut self, kind: Kind, text: &str, line: usize) {
        self.tokens.push(Token { kind, text: text.to_owned(), line, test: false });
    }

    /// Finds `#[test]` and `#[cfg(test)]` and marks what they apply to.
    fn mark_tests(&mut self) {
        let marks = self.attributes().filter(|attribute| is_test_attribute(attribute.inside));
        let marks: Vec<_> = marks.map(|mark| (mark.tokens, mark.applies_to)).collect();
        for (tokens, lines) in marks {
            for token in &mut self.tokens[tokens] {
                token.test = true;
            }
            self.tests.push(lines);
        }
    }

    /// The last token of the item that starts here.
    fn end_of_item(&self, start: usize) -> usize {
        let mut at = start;
        while let Some(token) = self.tokens.get(at) {
            match token.kind {
                Kind::Open(close) if token.text == "{" => return close,
                Kind::Open(close) => at = close + 1,
                Kind::Close => return at.saturating_sub(1),
                _ if token.is(";") => return at,
                _ => at += 1,
            }
        }
        self.tokens.len() - 1
    }
}

fn is_test_attribute(inside: &[Token]) -> bool {
    let has = |word: &str| inside.iter().any(|token| token.is_word(word));
    match inside.first() {
        Some(first) if first.is_word("test") => inside.len() == 1,
        Some(first) if first.is_word("cfg") => has("test") && !has("not"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("crates/x/src/a.rs", text)
    }

    #[test]
    fn double_colons_are_one_mark_and_single_ones_are_not() {
        let source = source("fn f(a: ::b::C) {}");
        let marks: Vec<_> = source.tokens.iter().filter(|token| token.kind == Kind::Mark).collect();
        let texts: Vec<_> = marks.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(texts, [":", "::", "::"]);
    }

    #[test]
    fn what_stands_under_cfg_test_is_test_code_and_what_follows_is_not() {
        let source = source(
            "#[cfg(test)]\nmod tests {\n fn f() {}\n}\nfn g() {}\n#[cfg(not(test))]\nfn h() {}\n\
             #[test]\n#[ignore = \"slow\"]\nfn t() {\n}\nfn u() {}",
        );
        let test: Vec<_> = (1..=12).filter(|&line| source.is_test_line(line)).collect();
        assert_eq!(test, [1, 2, 3, 4, 8, 9, 10, 11]);
    }

    #[test]
    fn child_modules_lie_beside_roots_and_below_others() {
        let dir = |path| Source::new(path, "").module_dir().to_owned();
        assert_eq!(dir("crates/x/src/lib.rs"), "crates/x/src");
        assert_eq!(dir("crates/x/src/a/mod.rs"), "crates/x/src/a");
        assert_eq!(dir("crates/x/src/a.rs"), "crates/x/src/a");
        assert_eq!(dir("crates/x/tests/a.rs"), "crates/x/tests");
        assert_eq!(dir("crates/x/src/bin/a.rs"), "crates/x/src/bin");
    }

    #[test]
    fn comments_are_no_tokens_and_long_literals_are_known() {
        let source = source("// unsafe\nfn f() {\n    g(\"a\nb\");\n}\n/// unsafe\nfn h() {}");
        assert!(!source.tokens.iter().any(|token| token.is_word("unsafe")));
        assert!(source.is_literal_line(4) && !source.is_literal_line(5));
    }
}
