//! What a rule is, and what it finds.
//!
//! The contract of a rule: it looks at the [`Tree`] and nothing else (no file, no clock, no
//! process), and pushes one [`Finding`] per place that breaks it. It carries an example that breaks
//! it, so that a test can show of every rule that it can fail.

use super::tree::Tree;

/// One rule of the house.
pub(crate) struct Rule {
    /// Short name, shown in brackets.
    pub(crate) id: &'static str,
    /// The rule, as one sentence.
    pub(crate) says: &'static str,
    /// What to do about a finding.
    pub(crate) remedy: &'static str,
    /// Finds the places that break it.
    pub(crate) check: fn(&Tree, &mut Vec<Finding>),
    /// Files, as path and text, that break it.
    pub(crate) broken_by: &'static [(&'static str, &'static str)],
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Allowed, with a reason that is worth reading now and then.
    Note,
    /// Worth a change soon.
    Warning,
    /// Fails the run.
    Error,
}

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Path from the root of the repository.
    pub(crate) path: String,
    /// Line, from 1; 0 where the whole file is meant.
    pub(crate) line: usize,
    /// What is wrong here.
    pub(crate) message: String,
    /// How bad it is.
    pub(crate) level: Level,
}

impl Finding {
    /// Something that fails the run.
    pub(crate) fn error(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into(), level: Level::Error }
    }

    /// Something to change soon.
    pub(crate) fn warning(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(path, line, message) }
    }

    /// Something allowed that is listed.
    pub(crate) fn note(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { level: Level::Note, ..Self::error(path, line, message) }
    }

    /// The place, as editors and terminals understand it.
    pub(crate) fn place(&self) -> String {
        if self.line == 0 { self.path.clone() } else { format!("{}:{}", self.path, self.line) }
    }
}

/// The findings of one rule on files that exist only in a test.
#[cfg(test)]
pub(crate) fn findings(rule: &Rule, files: &[(&str, &str)]) -> Vec<Finding> {
    let mut found = Vec::new();
    (rule.check)(&Tree::of(files), &mut found);
    found
}

/// The lines that a rule complains about in one file that exists only in a test.
#[cfg(test)]
pub(crate) fn lines(rule: &Rule, path: &str, text: &str) -> Vec<usize> {
    findings(rule, &[(path, text)]).into_iter().map(|finding| finding.line).collect()
}
