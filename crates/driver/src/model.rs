//! The models by name: how a connection's waiting is done.
//!
//! One spelling everywhere: the flag value, the column, the report and [`Display`] are the same
//! word.
//!
//! [`Display`]: std::fmt::Display

use std::fmt;
use std::str::FromStr;

/// A model: how a connection's waiting is done (Stevens' five, and the useful kinds of each).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Model {
    /// One connection at a time, waiting in the kernel.
    Blocking,
    /// A thread for each connection.
    Threads,
    /// A fixed number of threads, each serving one connection at a time.
    Pool,
    /// Coroutines; every waiting operation is tried again and again. Burns a core.
    Nonblocking,
    /// Coroutines over select(2).
    Select,
    /// Coroutines over poll(2).
    Poll,
    /// Coroutines over level-triggered epoll(7).
    Epoll,
    /// Coroutines over edge-triggered epoll(7).
    EpollEt,
    /// Coroutines over real-time signals (`F_SETSIG`).
    Signal,
    /// Coroutines over completions of io_uring(7).
    Uring,
    /// The best of these that this machine has.
    Auto,
}

impl Model {
    /// Every model, in the order of reports.
    pub const ALL: [Model; 11] = [
        Model::Blocking,
        Model::Threads,
        Model::Pool,
        Model::Nonblocking,
        Model::Select,
        Model::Poll,
        Model::Epoll,
        Model::EpollEt,
        Model::Signal,
        Model::Uring,
        Model::Auto,
    ];

    /// Returns the one spelling of its name.
    pub const fn name(self) -> &'static str {
        match self {
            Model::Blocking => "blocking",
            Model::Threads => "threads",
            Model::Pool => "pool",
            Model::Nonblocking => "nonblocking",
            Model::Select => "select",
            Model::Poll => "poll",
            Model::Epoll => "epoll",
            Model::EpollEt => "epoll-et",
            Model::Signal => "signal",
            Model::Uring => "uring",
            Model::Auto => "auto",
        }
    }

    /// Returns `true` if its handlers run on coroutines (rather than on threads).
    pub const fn is_cooperative(self) -> bool {
        !matches!(self, Model::Blocking | Model::Threads | Model::Pool)
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error for a word that names no model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseModelError(String);

impl fmt::Display for ParseModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown model '{}' (known:", self.0)?;
        for model in Model::ALL {
            write!(f, " {model}")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for ParseModelError {}

impl FromStr for Model {
    type Err = ParseModelError;

    fn from_str(word: &str) -> Result<Model, ParseModelError> {
        let found = Model::ALL.into_iter().find(|model| model.name() == word);
        found.ok_or_else(|| ParseModelError(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_words_agree() {
        for model in Model::ALL {
            assert_eq!(model.name().parse(), Ok(model));
        }
        let error = "io_uring".parse::<Model>().expect_err("not a model");
        assert!(error.to_string().starts_with("unknown model 'io_uring' (known: blocking"));
    }
}
