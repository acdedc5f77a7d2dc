//! Selectors by name, and the best one that opens here.

use std::str::FromStr;
use std::{error, fmt, io};

use crate::contract::Selector;
use crate::epoll::Epoll;
use crate::nonblocking::Nonblocking;
use crate::poll::Poll;
use crate::select::Select;
use crate::signal::Signal;

/// A kind of selector, spelled like the model it serves.
///
/// # Examples
///
/// ```
/// use fiveways_selector::{Kind, Selector};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let kind: Kind = "epoll-et".parse()?;
/// assert_eq!(kind, Kind::EpollEt);
/// assert_eq!(kind.open()?.name(), kind.to_string());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `select`: [`Select`]
    Select,
    /// `poll`: [`Poll`]
    Poll,
    /// `epoll`: [`Epoll`] by level
    Epoll,
    /// `epoll-et`: [`Epoll`] by edge
    EpollEt,
    /// `signal`: [`Signal`]
    Signal,
    /// `nonblocking`: [`Nonblocking`]
    Nonblocking,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] =
        [Kind::Select, Kind::Poll, Kind::Epoll, Kind::EpollEt, Kind::Signal, Kind::Nonblocking];

    /// Opens a selector of this kind.
    ///
    /// # Errors
    ///
    /// The error of the system call that opens it: no descriptor is left, as a rule.
    pub fn open(self) -> io::Result<Box<dyn Selector>> {
        Ok(match self {
            Kind::Select => Box::new(Select::new()?),
            Kind::Poll => Box::new(Poll::new()?),
            Kind::Epoll => Box::new(Epoll::new()?),
            Kind::EpollEt => Box::new(Epoll::et()?),
            Kind::Signal => Box::new(Signal::new()?),
            Kind::Nonblocking => Box::new(Nonblocking::new()?),
        })
    }

    /// Returns the kind's name: `epoll-et`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Select => "select",
            Kind::Poll => "poll",
            Kind::Epoll => "epoll",
            Kind::EpollEt => "epoll-et",
            Kind::Signal => "signal",
            Kind::Nonblocking => "nonblocking",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Kind, UnknownKind> {
        let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
        found.ok_or_else(|| UnknownKind { name: name.to_owned() })
    }
}

/// No selector has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownKind {
    /// The unknown name.
    pub name: String,
}

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown selector {:?}, known are", self.name)?;
        let mut separator = " ";
        for kind in Kind::ALL {
            write!(f, "{separator}{kind}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl error::Error for UnknownKind {}

/// Opens the best selector of this machine: epoll, else poll, else select.
///
/// [`Selector::name`] returns which one it is.
///
/// # Errors
///
/// If none of them opens: the kind of the last failure, and a message with every reason.
#[doc(alias = "DefaultSelector")]
pub fn best() -> io::Result<Box<dyn Selector>> {
    first_of(&[Kind::Epoll, Kind::Poll, Kind::Select])
}

/// Opens the first of some kinds that opens.
///
/// # Errors
///
/// If none of them opens: the kind of the last failure, and a message with every reason.
pub fn first_of(kinds: &[Kind]) -> io::Result<Box<dyn Selector>> {
    first_that_opens(kinds, Kind::open)
}

fn first_that_opens<S>(
    kinds: &[Kind],
    mut open: impl FnMut(Kind) -> io::Result<S>,
) -> io::Result<S> {
    let mut reasons = String::from("no selector opens");
    let mut last = io::ErrorKind::InvalidInput;
    for (at, kind) in kinds.iter().enumerate() {
        match open(*kind) {
            Ok(selector) => return Ok(selector),
            Err(error) => {
                last = error.kind();
                let separator = if at == 0 { ": " } else { "; " };
                reasons += &format!("{separator}{kind}: {error}");
            }
        }
    }
    Err(io::Error::new(last, reasons))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusing(refused: &[Kind]) -> impl FnMut(Kind) -> io::Result<Box<dyn Selector>> {
        |kind| match refused.contains(&kind) {
            true => Err(io::Error::new(io::ErrorKind::Unsupported, "refused")),
            false => kind.open(),
        }
    }

    #[test]
    fn the_best_is_epoll_here() {
        assert_eq!(best().expect("a selector").name(), "epoll");
    }

    #[test]
    fn without_epoll_poll_is_opened_and_without_poll_select() {
        let order = [Kind::Epoll, Kind::Poll, Kind::Select];
        for refused in 0..order.len() {
            let selector = first_that_opens(&order, refusing(&order[..refused]));
            assert_eq!(selector.expect("one opens").name(), order[refused].as_str());
        }
    }

    #[test]
    fn when_none_opens_every_reason_is_told() {
        let order = [Kind::Epoll, Kind::Poll];
        let error = first_that_opens(&order, refusing(&order)).err().expect("none opens");
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert_eq!(error.to_string(), "no selector opens: epoll: refused; poll: refused");
    }

    #[test]
    fn every_name_is_read_back_and_others_are_refused() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "kqueue".parse::<Kind>().expect_err("unknown here");
        assert!(error.to_string().contains("nonblocking"), "{error}");
    }
}
