//! Rules on seams: one place reads the clock, one draws random numbers.

use crate::tidy::finding::{Finding, Rule};
use crate::tidy::source::{Source, Token};
use crate::tidy::tree::Tree;

/// The crates that go by the clock of a driver.
const CRATES: [&str; 2] = ["runtime", "fiveways"];

/// One place reads the clock.
pub(crate) const CLOCK: Rule = Rule {
    id: "clock",
    says: "only `clock.rs` asks for the time, in the runtime and in what is built on it: a driver \
           may own it",
    remedy: "use `clock::now()`; for what blocks a thread, or is compared between threads, \
             `clock::machine()`",
    check: check_clock,
    broken_by: &[("crates/runtime/src/park.rs", "fn f() { Instant::now(); }")],
};

/// One place draws random numbers.
pub(crate) const RANDOM: Rule = Rule {
    id: "random",
    says: "only `random.rs` draws random numbers, in the runtime and in what is built on it: a \
           driver may repeat them",
    remedy: "use `random()`",
    check: check_random,
    broken_by: &[("crates/fiveways/src/a.rs", "use std::hash::RandomState;")],
};

fn check_clock(tree: &Tree, found: &mut Vec<Finding>) {
    for source in sources(tree, "crates/runtime/src/clock.rs") {
        for (at, token) in source.tokens.iter().enumerate().filter(|(_, token)| !token.test) {
            let next = |word| is_path(&source.tokens[at..], word);
            let reads = (token.is_word("Instant") || token.is_word("SystemTime")) && next("now");
            let coarse = token.is_word("clock") && next("coarse");
            if reads || coarse || is_elapsed(&source.tokens[at..]) {
                found.push(Finding::error(&source.path, token.line, "a clock that is read"));
            }
        }
    }
}

/// Whether this is a path of two words, of which the second is this.
fn is_path(tokens: &[Token], second: &str) -> bool {
    matches!(tokens, [_, colons, next, ..] if colons.is("::") && next.is_word(second))
}

/// Whether this is a call of `elapsed`, which reads the machine's clock.
fn is_elapsed(tokens: &[Token]) -> bool {
    matches!(tokens, [dot, name, ..] if dot.is(".") && name.is_word("elapsed"))
}

fn check_random(tree: &Tree, found: &mut Vec<Finding>) {
    for source in sources(tree, "crates/runtime/src/random.rs") {
        for token in source.tokens.iter().filter(|token| !token.test) {
            if ["RandomState", "fastrand", "getrandom", "rand"].iter().any(|&w| token.is_word(w)) {
                let message = format!("random numbers of its own: `{}`", token.text);
                found.push(Finding::error(&source.path, token.line, message));
            }
        }
    }
}

/// The files of these crates that users run, but for the one that may.
fn sources<'a>(tree: &'a Tree, but: &'a str) -> impl Iterator<Item = &'a Source> {
    tree.sources().iter().filter(move |source| {
        let is_ours = source.crate_dir().is_some_and(|name| CRATES.contains(&name));
        is_ours && !source.is_dev() && source.path != but
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::lines;

    #[test]
    fn the_clock_is_read_in_one_place_of_two_crates() {
        let bad = [
            "fn f() { std::time::Instant::now(); }",
            "fn f() { x.then(Instant::now); }",
            "fn f() { SystemTime::now(); }",
            "fn f() { fiveways_sys::clock::coarse(); }",
            "fn f(at: Instant) { at.elapsed(); }",
        ];
        for text in bad {
            assert_eq!(lines(&CLOCK, "crates/runtime/src/a.rs", text), [1], "{text}");
            assert_eq!(lines(&CLOCK, "crates/fiveways/src/net/a.rs", text), [1], "{text}");
            for good in
                ["crates/runtime/src/clock.rs", "crates/runtime/tests/a.rs", "crates/lab/src/a.rs"]
            {
                assert_eq!(lines(&CLOCK, good, text), [0; 0], "{good}");
            }
            let test = format!("#[cfg(test)]\nmod t {{ {text} }}");
            assert_eq!(lines(&CLOCK, "crates/runtime/src/a.rs", &test), [0; 0]);
        }
        let good = "/// Instant::now()\nfn f() { clock::now(); clock::machine() }";
        assert_eq!(lines(&CLOCK, "crates/runtime/src/a.rs", good), [0; 0]);
    }

    #[test]
    fn random_numbers_are_drawn_in_one_place_of_two_crates() {
        let bad = "fn f() { fastrand::u64(..); }";
        assert_eq!(lines(&RANDOM, "crates/fiveways/src/a.rs", bad), [1]);
        assert_eq!(lines(&RANDOM, "crates/runtime/src/random.rs", bad), [0; 0]);
        let test = format!("#[cfg(test)]\nmod t {{ {bad} }}");
        assert_eq!(lines(&RANDOM, "crates/fiveways/src/a.rs", &test), [0; 0]);
        assert_eq!(lines(&RANDOM, "crates/fiveways/src/a.rs", "fn random() {}"), [0; 0]);
    }
}
