//! Rules on words: models have one name each, and nothing names the machine it was written on.

use crate::tidy::finding::{Finding, Rule};
use crate::tidy::tree::Tree;

/// The models: the flag's value, and the variant.
const MODELS: [(&str, &str); 11] = [
    ("blocking", "Blocking"),
    ("threads", "Threads"),
    ("pool", "Pool"),
    ("nonblocking", "Nonblocking"),
    ("select", "Select"),
    ("poll", "Poll"),
    ("epoll", "Epoll"),
    ("epoll-et", "EpollEt"),
    ("signal", "Signal"),
    ("uring", "Uring"),
    ("auto", "Auto"),
];

/// Other names under which models are known, folded (lower case, letters and digits), and ours.
const ALIASES: [(&str, &str); 19] = [
    ("block", "blocking"),
    ("thread", "threads"),
    ("threaded", "threads"),
    ("perconnection", "threads"),
    ("threadpool", "pool"),
    ("nonblock", "nonblocking"),
    ("spin", "nonblocking"),
    ("edge", "epoll-et"),
    ("epolledge", "epoll-et"),
    ("epolledgetriggered", "epoll-et"),
    ("level", "epoll"),
    ("epolllevel", "epoll"),
    ("epolllt", "epoll"),
    ("sigio", "signal"),
    ("signals", "signal"),
    ("signaldriven", "signal"),
    ("iouring", "uring"),
    ("ring", "uring"),
    ("automatic", "auto"),
];

/// What precedes a model's name as a value. In pieces, so that this file does not break its own
/// rule.
const FLAGS: [&str; 6] = [
    concat!("--mo", "del "),
    concat!("--mo", "del="),
    concat!("--mo", "dels "),
    concat!("--mo", "dels="),
    concat!("\"--mo", "del\", "),
    concat!("\"mo", "del\": "),
];
const VARIANT: &str = concat!("Mod", "el::");

/// What is true on one machine only.
const MACHINE: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/tmp/tar", "get-"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// Hosts of package registries: where packages come from is the user's affair.
const REGISTRIES: [&str; 8] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("proxy.golang", ".org"),
    concat!("rubygems", ".org"),
    concat!("repo.maven", ".apache.org"),
];

/// Models have one name.
pub(crate) const MODEL: Rule = Rule {
    id: "model-name",
    says: "models are spelled one way: blocking, threads, pool, nonblocking, select, poll, epoll, \
           epoll-et, signal, uring, auto",
    remedy: "use that spelling, in code the variant of that name",
    check: check_models,
    broken_by: &[("README.md", concat!("serve --mo", "del io_uring"))],
};

/// Nothing is about one machine.
pub(crate) const WORDS: Rule = Rule {
    id: "foreign-word",
    says: "no file names a path of somebody's machine, or the host of a package registry",
    remedy: "use a path relative to the repository; name packages, not where they come from",
    check: check_words,
    broken_by: &[("README.md", concat!("see /wo", "rk/main"))],
};

fn check_models(tree: &Tree, found: &mut Vec<Finding>) {
    for (path, text) in tree.texts() {
        for (at, line) in text.lines().enumerate() {
            // Tests give wrong names on purpose.
            let source = tree.source(path).filter(|source| source.is_test_line(at + 1));
            let values = wrong_values(line).filter(|_| source.is_none());
            for (written, right) in values.chain(wrong_variants(line)) {
                let message = format!("`{written}` is spelled `{right}`");
                found.push(Finding::error(path, at + 1, message));
            }
        }
    }
}

fn wrong_values(line: &str) -> impl Iterator<Item = (&str, &'static str)> {
    let lists = FLAGS.iter().flat_map(|flag| line.split(flag).skip(1));
    let is_end = |c: char| c.is_whitespace() || "\"'`)]|;<>".contains(c);
    let lists =
        lists.filter_map(move |rest| rest.trim_start_matches(['"', '\'']).split(is_end).next());
    lists.flat_map(|list| list.split(',')).filter_map(|value| {
        let value = value.trim_end_matches(['.', ':', '?', '\\']);
        let (right, _) = meant(value)?;
        // `MODEL` in a synopsis and a variable are placeholders.
        let is_value = value.chars().any(char::is_lowercase) || value.contains(['-', '_']);
        (value != right && is_value).then_some((value, right))
    })
}

fn wrong_variants(line: &str) -> impl Iterator<Item = (&str, &'static str)> {
    line.match_indices(VARIANT).filter_map(|(at, _)| {
        let before = line[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            return None;
        }
        let rest = &line[at + VARIANT.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = &rest[..end];
        // Functions start with a small letter, constants have no small letters.
        let is_variant = name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase);
        let (_, right) = meant(name)?;
        (is_variant && name != right).then_some((name, right))
    })
}

/// The model that a name means, however it is spelled: value and variant.
fn meant(name: &str) -> Option<(&'static str, &'static str)> {
    let fold = |name: &str| -> String {
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let folded = fold(name);
    let alias = ALIASES.iter().find(|(alias, _)| *alias == folded).map(|(_, value)| *value);
    MODELS.into_iter().find(|(value, _)| alias == Some(*value) || fold(value) == folded)
}

fn check_words(tree: &Tree, found: &mut Vec<Finding>) {
    for (path, text) in tree.texts() {
        for (at, line) in text.lines().enumerate() {
            for word in foreign_words(line) {
                found.push(Finding::error(path, at + 1, format!("`{word}`")));
            }
        }
    }
}

fn foreign_words(line: &str) -> Vec<&'static str> {
    // A path starts where no other path, name or address leads up to it.
    let starts_path = |at: usize| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-/}*>~".contains(c))
    };
    let is_path = |word: &&str| line.match_indices(*word).any(|(at, _)| starts_path(at));
    let paths = MACHINE.into_iter().filter(|word| is_path(word));
    let hosts = REGISTRIES.into_iter().filter(|host| line.contains(host));
    paths.chain(hosts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::lines;

    fn is_wrong(text: &str) -> bool {
        let text = text.replace('@', concat!("--mo", "del")).replace("Mo::", VARIANT);
        !lines(&MODEL, "docs/a.md", &text).is_empty()
    }

    #[test]
    fn values_of_the_flag_have_one_spelling() {
        for bad in [
            "@ io_uring",
            "@=io-uring",
            "`@ non-blocking`",
            "@s epoll,epoll_et",
            "@ Epoll",
            "@ thread-pool",
            "[\"@\", \"io_uring\"]",
            "@ sigio.",
        ] {
            assert!(is_wrong(bad), "{bad}");
        }
        for good in [
            "@ uring",
            "@=epoll-et,",
            "@ MODEL",
            "@ {model}",
            "@ kqueue",
            "@s epoll,uring",
            "@ EPOLL",
            "io_uring is Linux's",
            "@ <MODEL>",
            "`@`",
        ] {
            assert!(!is_wrong(good), "{good}");
        }
    }

    #[test]
    fn tests_may_give_wrong_values() {
        let text = format!("fn f() {{ run(\"{}io_uring\") }}", FLAGS[0]);
        assert_eq!(lines(&MODEL, "crates/x/src/a.rs", &text), [1]);
        assert_eq!(lines(&MODEL, "crates/x/tests/a.rs", &text), [0; 0]);
    }

    #[test]
    fn variants_have_one_spelling() {
        for bad in ["Mo::IoUring", "x(Mo::NonBlocking)", "Mo::EpollET", "a::Mo::Sigio"] {
            assert!(is_wrong(bad), "{bad}");
        }
        for good in [
            "Mo::Uring",
            "Mo::EpollEt",
            "Mo::ALL",
            "Mo::from_str",
            "Mo::SELECT",
            "OtherMo::IoUring",
        ] {
            assert!(!is_wrong(good), "{good}");
        }
    }

    #[test]
    fn every_model_means_itself_and_every_alias_a_model() {
        for (value, variant) in MODELS {
            assert_eq!(meant(value), Some((value, variant)));
            assert_eq!(meant(variant), Some((value, variant)));
        }
        for (alias, value) in ALIASES {
            assert_eq!(meant(alias).map(|(value, _)| value), Some(value), "{alias}");
        }
    }

    #[test]
    fn paths_of_a_machine_and_registries_are_found() {
        for bad in MACHINE.iter().chain(&REGISTRIES) {
            assert_eq!(lines(&WORDS, "docs/a.md", &format!("see `{bad}x`")), [1], "{bad}");
        }
    }

    #[test]
    fn paths_that_only_end_alike_are_fine() {
        for good in MACHINE {
            assert_eq!(
                lines(&WORDS, "docs/a.md", &format!("net{good} ./a{good}")),
                [0; 0],
                "{good}"
            );
        }
    }
}
