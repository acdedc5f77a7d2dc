//! A deadlock as plain data: the waits, their places, and the members that would have to end them.

use std::fmt;
use std::panic::Location;

use crate::identity::Identity;

/// Tasks and threads none of which can go on before another of them does. It is the payload of the
/// panic that ends one of the waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    links: Vec<Link>,
    /// The description in one line.
    text: String,
}

/// One wait of a deadlock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// The waiter.
    pub who: Identity,
    /// The waiter's name; empty if it has none.
    pub name: String,
    /// What it waits for: `mutex`, `join`, `receive from channel`.
    pub what: &'static str,
    /// The place of the wait in the source.
    pub place: &'static Location<'static>,
    /// The members that could end the wait: one, or several any of which would do. All of them
    /// wait, too.
    pub waits_on: Vec<Identity>,
}

impl Deadlock {
    pub(crate) fn new(links: Vec<Link>) -> Deadlock {
        let waits: Vec<_> = links.iter().map(Link::to_string).collect();
        let text = format!("deadlock: {}", waits.join("; "));
        Deadlock { links, text }
    }

    /// Returns the tasks and threads; the first is the one that found the deadlock. In a plain
    /// circle each waits for the next, and the last for the first.
    pub fn members(&self) -> impl Iterator<Item = Identity> + '_ {
        self.links.iter().map(|link| link.who)
    }

    /// Returns the waits, in the same order.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Returns `true` if each member waits for the next, and the last for the first.
    pub fn is_circle(&self) -> bool {
        let nexts = self.links.iter().skip(1).chain(self.links.first());
        let mut pairs = self.links.iter().zip(nexts);
        pairs.all(|(link, next)| link.waits_on == [next.who])
    }

    /// Returns the description in one line.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Deadlock {}

/// Writes `task 1.3 waits for mutex of task 1.2 at src/main.rs:7:5`, or a list of the members that
/// could end the wait.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Link { who, what, place, .. } = self;
        match &self.waits_on[..] {
            [holder] => {
                write!(f, "{who} waits for {what} of {holder} at {place}")
            }
            holders => {
                write!(f, "{who} waits for {what} at {place}, could be ended by {}", list(holders))
            }
        }
    }
}

/// `task 1.2, task 1.3`.
pub(crate) fn list(all: &[Identity]) -> String {
    all.iter().map(Identity::to_string).collect::<Vec<_>>().join(", ")
}
