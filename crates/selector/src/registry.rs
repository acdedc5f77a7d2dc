//! Descriptors with data, in the style of CPython's `selectors` (S002-23 to S002-33).
//!
//! A registry owns the sources that it watches, so nothing is closed before it is deregistered
//! (D05, D38). Its keys carry a generation: the event of a registration that ended, in this batch
//! or an earlier one, never reaches the one that took its slot or its descriptor number.
//!
//! ```text
//!   key     = slot index, generation        token = generation << 32 | index
//!   slot    = vacant { next vacant } | taken { source, interest, data }
//!   a slot's generation grows by one when it becomes vacant
//! ```
//!
//! Registering, changing, removing and finding take constant time (D30).

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use crate::choice::best;
use crate::contract::Selector;
use crate::event::{Event, Events, Interest, Token};
use crate::waker::Waker;

/// Events taken from the selector in one wait.
const EVENTS: usize = 1024;

/// Names a registration for as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    fn token(self) -> Token {
        Token(u64::from(self.generation) << 32 | u64::from(self.index))
    }

    fn of(token: Token) -> Key {
        Key { index: token.0 as u32, generation: (token.0 >> 32) as u32 }
    }
}

/// Watches sources of one type and keeps data beside each.
///
/// `F` is the type of the sources: a `TcpStream`, an `OwnedFd`, an enum of those, an `Rc` of one
/// that is used elsewhere too, or a `BorrowedFd`. `T` is the data, which may be a callback (see
/// [`Reactor`](crate::Reactor)).
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// use fiveways_selector::{Interest, Ready, Registry};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut ours, theirs) = UnixStream::pair()?;
/// let mut registry = Registry::new()?;
/// let key = registry.register(theirs, Interest::READABLE, String::from("theirs"))?;
/// println!("registered: {}", registry.len());
///
/// ours.write_all(b"hello")?;
/// registry.select(None)?;
/// while let Some(Ready { key: ready, mut source, data, .. }) = registry.next_ready() {
///     assert_eq!((ready, data.as_str()), (key, "theirs"));
///     let mut buf = [0; 5];
///     source.read_exact(&mut buf)?;
///     assert_eq!(&buf, b"hello");
/// }
/// let (_theirs, name) = registry.unregister(key)?;
/// assert_eq!(name, "theirs");
/// # Ok(())
/// # }
/// ```
pub struct Registry<F, T, S = Box<dyn Selector>> {
    selector: S,
    slots: Vec<Slot<F, T>>,
    vacant: Option<u32>,
    len: usize,
    events: Events,
    /// The index of the batch's next event.
    next: usize,
}

struct Slot<F, T> {
    generation: u32,
    state: State<F, T>,
}

enum State<F, T> {
    Vacant { next: Option<u32> },
    Taken(Taken<F, T>),
}

struct Taken<F, T> {
    source: F,
    interest: Interest,
    data: T,
}

/// One source that is ready.
#[derive(Debug)]
pub struct Ready<'a, F, T> {
    /// Its key.
    pub key: Key,
    /// What it is ready for.
    pub event: Event,
    /// The source.
    pub source: &'a F,
    /// Its data.
    pub data: &'a mut T,
}

impl<F: AsFd, T> Registry<F, T> {
    /// Opens a registry over the [`best`] selector.
    pub fn new() -> io::Result<Registry<F, T>> {
        Ok(Registry::with_selector(best()?))
    }
}

impl<F: AsFd, T, S: Selector> Registry<F, T, S> {
    /// Creates a registry over a selector that watches nothing yet.
    pub fn with_selector(selector: S) -> Registry<F, T, S> {
        let events = Events::with_capacity(EVENTS);
        Registry { selector, slots: Vec::new(), vacant: None, len: 0, events, next: 0 }
    }

    /// Begins to watch a source.
    ///
    /// # Errors
    ///
    /// As [`Selector::register`]; [`AlreadyExists`](io::ErrorKind::AlreadyExists) if its descriptor
    /// is watched already. The source and the data are dropped.
    pub fn register(&mut self, source: F, interest: Interest, data: T) -> io::Result<Key> {
        let index = match self.vacant {
            Some(index) => index,
            None => u32::try_from(self.slots.len()).map_err(|_| io::ErrorKind::OutOfMemory)?,
        };
        let generation = self.slots.get(index as usize).map_or(0, |slot| slot.generation);
        let key = Key { index, generation };
        self.selector.register(source.as_fd(), interest, key.token())?;
        self.occupy(key, Taken { source, interest, data });
        Ok(key)
    }

    fn occupy(&mut self, key: Key, taken: Taken<F, T>) {
        let state = State::Taken(taken);
        match self.slots.get_mut(key.index as usize) {
            None => self.slots.push(Slot { generation: key.generation, state }),
            Some(slot) => {
                if let State::Vacant { next } = std::mem::replace(&mut slot.state, state) {
                    self.vacant = next;
                }
            }
        }
        self.len += 1;
    }

    /// Changes what a source is watched for. Makes no system call if that stays the same.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if the registration has ended.
    pub fn modify(&mut self, key: Key, interest: Interest) -> io::Result<()> {
        let taken = taken_mut(&mut self.slots, key).ok_or(io::ErrorKind::NotFound)?;
        if taken.interest != interest {
            self.selector.modify(taken.source.as_fd(), interest, key.token())?;
            taken.interest = interest;
        }
        Ok(())
    }

    /// Stops watching a source and returns it with its data. Its events that are still in the batch
    /// are dropped.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if the registration has ended.
    pub fn unregister(&mut self, key: Key) -> io::Result<(F, T)> {
        let taken = taken_mut(&mut self.slots, key).ok_or(io::ErrorKind::NotFound)?;
        // Fails only if the selector has forgotten the descriptor already.
        let _ = self.selector.deregister(taken.source.as_fd());
        let slot = &mut self.slots[key.index as usize];
        let state = std::mem::replace(&mut slot.state, State::Vacant { next: self.vacant });
        // A slot that has had all generations is not used again: an old key must not find anything.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.vacant = Some(key.index);
        }
        self.len -= 1;
        match state {
            State::Taken(taken) => Ok((taken.source, taken.data)),
            State::Vacant { .. } => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Waits until a source is ready, the deadline passes or the [`waker`](Registry::waker) is
    /// used.
    ///
    /// Then take the sources with [`next_ready`](Registry::next_ready). While some of the last
    /// batch have not been taken, this returns at once, so that no edge is lost.
    ///
    /// # Errors
    ///
    /// As [`Selector::wait`].
    pub fn select(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        if self.next < self.events.len() {
            return Ok(());
        }
        self.next = 0;
        self.selector.wait(&mut self.events, deadline)
    }

    /// Returns the next source of the batch, `None` at its end. Sources unregistered meanwhile are
    /// skipped.
    #[inline]
    pub fn next_ready(&mut self) -> Option<Ready<'_, F, T>> {
        let (key, event) = loop {
            let event = self.events.at(self.next)?;
            self.next += 1;
            let key = Key::of(event.token());
            if self.get(key).is_some() {
                break (key, event);
            }
        };
        let Taken { source, data, .. } = taken_mut(&mut self.slots, key)?;
        Some(Ready { key, event, source, data })
    }

    /// Returns a source and its data.
    pub fn get(&self, key: Key) -> Option<(&F, &T)> {
        let slot = self.slots.get(key.index as usize)?;
        match &slot.state {
            State::Taken(taken) if slot.generation == key.generation => {
                Some((&taken.source, &taken.data))
            }
            _ => None,
        }
    }

    /// Returns a source and its data, to change.
    pub fn get_mut(&mut self, key: Key) -> Option<(&F, &mut T)> {
        let taken = taken_mut(&mut self.slots, key)?;
        Some((&taken.source, &mut taken.data))
    }

    /// Returns what a source is watched for.
    pub fn interest(&self, key: Key) -> Option<Interest> {
        let slot = self.slots.get(key.index as usize)?;
        match &slot.state {
            State::Taken(taken) if slot.generation == key.generation => Some(taken.interest),
            _ => None,
        }
    }

    /// Returns every registration: its key, source and data.
    #[doc(alias = "get_map")]
    pub fn iter(&self) -> impl Iterator<Item = (Key, &F, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| match &slot.state {
            State::Taken(taken) => {
                let key = Key { index: index as u32, generation: slot.generation };
                Some((key, &taken.source, &taken.data))
            }
            State::Vacant { .. } => None,
        })
    }

    /// Returns the number of registered sources.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns `true` if nothing is registered.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns a handle that ends a wait from any thread.
    pub fn waker(&self) -> Waker {
        self.selector.waker()
    }

    /// Returns the selector beneath, to ask for its name and capabilities.
    pub fn selector(&self) -> &S {
        &self.selector
    }

    /// Unregisters everything and closes the selector. Dropping the registry does the same.
    pub fn close(self) {}
}

fn taken_mut<F, T>(slots: &mut [Slot<F, T>], key: Key) -> Option<&mut Taken<F, T>> {
    let slot = slots.get_mut(key.index as usize)?;
    match &mut slot.state {
        State::Taken(taken) if slot.generation == key.generation => Some(taken),
        _ => None,
    }
}

impl<F, T, S: Selector> fmt::Debug for Registry<F, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("selector", &self.selector.name())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_slot_is_not_used_again_when_its_generations_are_used_up() {
        let mut registry = Registry::new().expect("a selector");
        let (one, two) = UnixStream::pair().expect("a pair");
        let first = registry.register(one, Interest::READABLE, 1).expect("registered");
        let (one, _) = registry.unregister(first).expect("it was registered");
        registry.slots[0].generation = u32::MAX;
        let last = registry.register(one, Interest::READABLE, 2).expect("registered");
        assert_eq!((last.index, last.generation), (0, u32::MAX));
        let (one, _) = registry.unregister(last).expect("it was registered");
        for source in [one, two] {
            let key = registry.register(source, Interest::READABLE, 3).expect("registered");
            assert_ne!(key.index, 0, "it has had them all");
        }
        assert!(registry.get(first).is_none() && registry.get(last).is_none());
        assert_eq!((registry.len(), registry.iter().count()), (2, 2));
    }
}
