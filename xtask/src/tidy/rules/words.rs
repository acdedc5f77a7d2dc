//! Rules on language: the field's word before a private one, and a noun for the subject.

use crate::tidy::finding::{Finding, Rule};
use crate::tidy::source::Kind;
use crate::tidy::tree::Tree;

/// Private names that the code had, and the field's words that replaced them. A name that the field
/// has for something else too (`Line`, `Side`, `Pass`) is not listed.
const REPLACED: [(&str, &str); 40] = [
    ("Aside", "NestedCoroutine"),
    ("EpollEdge", "EpollEt"),
    ("Gate", "Admission"),
    ("Hopeless", "WouldDeadlock"),
    ("Movers", "TimedWaits"),
    ("Neighbour", "LocalJoiner"),
    ("Nudge", "Poll"),
    ("Onlooker", "ServiceThread"),
    ("Pulse", "WorkerStatus"),
    ("Roster", "Members"),
    ("Seat", "ThreadParker"),
    ("ShutDown", "Closed"),
    ("Standing", "SavedLimits"),
    ("Tale", "DeadlockReport"),
    ("Team", "WorkerSet"),
    ("Visit", "Accepted"),
    ("Waited", "WaitResult"),
    ("allow_wait", "assert_may_park"),
    ("atlas", "slab_registry"),
    ("bond", "join_state"),
    ("bury", "retire"),
    ("crew", "tracker, pool_core"),
    ("glance", "peek"),
    ("is_crowd", "overflowed"),
    ("is_mourned", "exit_watched"),
    ("is_news", "is_first_report"),
    ("look_again_and_again", "poll_with_backoff"),
    ("machinery", "__private"),
    ("me_till_my_end", "current_watched"),
    ("onlooker", "service_thread"),
    ("passed_by", "on_direct_handoff"),
    ("roster", "members"),
    ("steadfast", "uninterruptible"),
    ("strangers", "remote_waiters"),
    ("strays", "stale_events"),
    ("survey", "collect"),
    ("team", "worker_set"),
    ("tell_lost", "report_lost_tasks"),
    ("wet", "maybe_ready"),
    ("without_waiting", "no_park_scope"),
];

/// The words before `who` that leave it without a noun.
const BEFORE_WHO: [&str; 26] = [
    "after", "and", "as", "at", "before", "but", "by", "for", "from", "if", "is", "of", "on", "or",
    "so", "tell", "tells", "than", "that", "to", "told", "what", "when", "where", "which", "with",
];

/// The field's word comes first.
pub(crate) const PRIVATE_NAME: Rule = Rule {
    id: "private-name",
    says: "a name has a precedent in std, POSIX, Go, tokio or the kernel, or a row in the glossary",
    remedy: "use the field's word",
    check: check_names,
    broken_by: &[("crates/x/src/lib.rs", concat!("struct Onloo", "ker;"))],
};

/// A sentence has a noun for its subject.
pub(crate) const HEADLESS: Rule = Rule {
    id: "headless-sentence",
    says: "in a comment, `who` refers to a noun",
    remedy: "name the subject: the waiter, the caller, the worker, the task",
    check: check_sentences,
    broken_by: &[("crates/x/src/lib.rs", concat!("// Who", "ever."))],
};

fn check_names(tree: &Tree, found: &mut Vec<Finding>) {
    for source in tree.own_sources().filter(|source| source.crate_dir().is_some()) {
        for token in source.tokens.iter().filter(|token| token.kind == Kind::Word) {
            let replaced = REPLACED.iter().find(|(name, _)| token.text == *name);
            if let Some((name, by)) = replaced {
                let message = format!("`{name}` became `{by}`");
                found.push(Finding::error(&source.path, token.line, message));
            }
        }
    }
}

fn check_sentences(tree: &Tree, found: &mut Vec<Finding>) {
    // The rule's own examples are such sentences.
    for source in tree.own_sources().filter(|source| !source.path.starts_with("xtask/")) {
        for (number, line) in source.lines().filter(|(_, line)| is_headless(line)) {
            let message = format!("`{}`", line.trim());
            found.push(Finding::error(&source.path, number, message));
        }
    }
}

/// Whether a line has a comment with a `who` that refers to no noun.
fn is_headless(line: &str) -> bool {
    let Some((_, comment)) = line.split_once("//") else { return false };
    let mut before = "";
    comment.trim_start_matches(['/', '!', ' ']).split_whitespace().any(|word| {
        let plain = word.trim_matches(|c: char| !c.is_alphanumeric());
        let is_start = before.is_empty() || before.ends_with(['.', ':', ';']);
        let is_bare = is_start || BEFORE_WHO.contains(&before.to_lowercase().as_str());
        before = word;
        plain.eq_ignore_ascii_case("whoever") || (plain.eq_ignore_ascii_case("who") && is_bare)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::lines;

    #[test]
    fn a_who_needs_a_noun() {
        for bad in [
            "/// Who waits is woken.",
            "// It is given to who waits.",
            "x(); // ends: who asks waits",
            concat!("//! Who", "ever comes second frees it."),
        ] {
            assert!(is_headless(bad), "{bad}");
        }
        for good in [
            "/// The task that waits is woken.",
            "/// A client, who waits, is woken.",
            "let who = 1;",
            "/// A man who waits.",
        ] {
            assert!(!is_headless(good), "{good}");
        }
        assert_eq!(lines(&HEADLESS, "crates/x/src/lib.rs", "//! A file.\n// Who waits."), [2]);
    }

    #[test]
    fn private_names_are_found_in_code_only() {
        let text = concat!("//! A team of onloo", "kers.\nstruct Onloo", "ker;");
        assert_eq!(lines(&PRIVATE_NAME, "crates/x/src/lib.rs", text), [2]);
    }
}
