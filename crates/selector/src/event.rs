//! The interests that are given to a selector and the events that it reports.
//!
//! [`Interest`] and [`Readiness`] use the bit values of `poll(2)`, which are those of `epoll(7)`
//! too, and [`Events`] holds the kernel's own `epoll_event`s: reports of epoll go from the kernel
//! to the caller without being copied or translated, and the other backends write the same form.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use fiveways_sys::multiplex::epoll::{Event as Raw, EventData, EventFlags};
use fiveways_sys::multiplex::poll;

/// Names a registration. Chosen by the caller and returned in its events, never interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl Token {
    /// The one token that cannot be registered: selectors use it for their waker.
    pub const RESERVED: Token = Token(u64::MAX);
}

/// What to watch a descriptor for. Errors and hang-ups are reported whether requested or not.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    /// Nothing (except errors and hang-ups).
    pub const NONE: Interest = Interest(0);
    /// Data to read, a connection to accept, or the end of the stream.
    pub const READABLE: Interest = Interest(poll::IN as u8);
    /// Room to write, or a finished connect.
    pub const WRITABLE: Interest = Interest(poll::OUT as u8);
    /// Urgent (out-of-band) data. Not an error.
    pub const PRIORITY: Interest = Interest(poll::PRIORITY as u8);

    /// Returns `true` if all of `other` is in here.
    #[inline]
    pub const fn contains(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns `true` if it is empty.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the interest without `other`.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Interest) -> Interest {
        Interest(self.0 & !other.0)
    }

    /// Returns both together; `|` in constants.
    #[inline]
    #[must_use]
    pub const fn with(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

    /// The flags of `poll(2)`. The end of the peer's stream is requested by readers only: it can be
    /// masked, and a mere writer must not be woken by it again and again.
    #[inline]
    pub(crate) fn poll_flags(self) -> i16 {
        let reads = self.contains(Interest::READABLE);
        i16::from(self.0) | if reads { poll::READ_HANGUP } else { 0 }
    }

    /// The flags of `epoll_ctl(2)`, likewise.
    #[inline]
    pub(crate) fn epoll_flags(self) -> EventFlags {
        let reads = self.contains(Interest::READABLE);
        let end = if reads { EventFlags::RDHUP } else { EventFlags::empty() };
        EventFlags::from_bits_retain(u32::from(self.0)) | end
    }
}

impl BitOr for Interest {
    type Output = Interest;

    #[inline]
    fn bitor(self, other: Interest) -> Interest {
        self.with(other)
    }
}

impl BitOrAssign for Interest {
    #[inline]
    fn bitor_assign(&mut self, other: Interest) {
        *self = self.with(other);
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        names(f, "Interest", u32::from(self.0))
    }
}

/// What a descriptor was found ready for: separate flags, never one word for all.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Readiness(u32);

impl Readiness {
    /// Nothing.
    pub const NONE: Readiness = Readiness(0);
    /// A read does not wait: data, a connection, or the end.
    pub const READABLE: Readiness = Readiness(poll::IN as u32);
    /// A write does not wait.
    pub const WRITABLE: Readiness = Readiness(poll::OUT as u32);
    /// Urgent data has arrived.
    pub const PRIORITY: Readiness = Readiness(poll::PRIORITY as u32);
    /// An error is pending (`SO_ERROR`), or the reading end of a pipe is closed.
    pub const ERROR: Readiness = Readiness(poll::ERROR as u32);
    /// Both directions are over.
    pub const HANGUP: Readiness = Readiness(poll::HANGUP as u32);
    /// The peer sends no more; bytes it has sent may still be there to read.
    pub const READ_HANGUP: Readiness = Readiness(poll::READ_HANGUP as u32);

    /// Returns `true` if all of `other` is in here.
    #[inline]
    pub const fn contains(self, other: Readiness) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns `true` if it is empty.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) fn of_poll(answer: i16) -> Readiness {
        Readiness(u32::from((answer & !poll::INVALID) as u16))
    }
}

impl From<Interest> for Readiness {
    /// All of an interest, as readiness.
    #[inline]
    fn from(interest: Interest) -> Readiness {
        Readiness(u32::from(interest.0))
    }
}

impl BitOr for Readiness {
    type Output = Readiness;

    #[inline]
    fn bitor(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    #[inline]
    fn bitor_assign(&mut self, other: Readiness) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        names(f, "Readiness", self.0)
    }
}

fn names(f: &mut fmt::Formatter<'_>, of: &str, bits: u32) -> fmt::Result {
    const NAMES: [(Readiness, &str); 6] = [
        (Readiness::READABLE, "readable"),
        (Readiness::WRITABLE, "writable"),
        (Readiness::PRIORITY, "priority"),
        (Readiness::ERROR, "error"),
        (Readiness::HANGUP, "hang-up"),
        (Readiness::READ_HANGUP, "read hang-up"),
    ];
    write!(f, "{of}(")?;
    let mut separator = "";
    for (_, name) in NAMES.iter().filter(|(flag, _)| bits & flag.0 != 0) {
        write!(f, "{separator}{name}")?;
        separator = " | ";
    }
    f.write_str(")")
}

/// One report: a registration and its readiness.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event(Raw);

impl Event {
    /// Creates an event. Selectors do; tests of event loops may.
    #[inline]
    pub fn new(token: Token, readiness: Readiness) -> Event {
        let flags = EventFlags::from_bits_retain(readiness.0);
        Event(Raw { flags, data: EventData::new_u64(token.0) })
    }

    /// Returns the token of the registration.
    #[inline]
    pub fn token(&self) -> Token {
        let data = self.0.data;
        Token(data.u64())
    }

    /// Returns all flags together.
    #[inline]
    pub fn readiness(&self) -> Readiness {
        let flags = self.0.flags;
        Readiness(flags.bits())
    }

    #[inline]
    fn has(&self, flag: Readiness) -> bool {
        self.readiness().contains(flag)
    }

    /// Returns `true` if a read would not wait.
    #[inline]
    pub fn is_readable(&self) -> bool {
        self.has(Readiness::READABLE)
    }

    /// Returns `true` if a write would not wait.
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.has(Readiness::WRITABLE)
    }

    /// Returns `true` if urgent data has arrived.
    #[inline]
    pub fn is_priority(&self) -> bool {
        self.has(Readiness::PRIORITY)
    }

    /// Returns `true` if an error is pending.
    #[inline]
    pub fn is_error(&self) -> bool {
        self.has(Readiness::ERROR)
    }

    /// Returns `true` if both directions are over.
    #[inline]
    pub fn is_hangup(&self) -> bool {
        self.has(Readiness::HANGUP)
    }

    /// Returns `true` if the peer sends no more.
    #[inline]
    pub fn is_read_hangup(&self) -> bool {
        self.has(Readiness::READ_HANGUP)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("token", &self.token())
            .field("readiness", &self.readiness())
            .finish()
    }
}

/// A buffer of events, reused from wait to wait. Its capacity bounds one wait and never grows.
pub struct Events(Vec<Raw>);

impl Events {
    /// Creates a buffer for at most `capacity` events in one wait, at least one.
    pub fn with_capacity(capacity: usize) -> Events {
        Events(Vec::with_capacity(capacity.max(1)))
    }

    /// Returns the events of the last wait.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.0.iter())
    }

    /// Returns the event at a position.
    #[inline]
    pub fn at(&self, index: usize) -> Option<Event> {
        self.0.get(index).copied().map(Event)
    }

    /// Returns the number of events.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if there is no event.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many events fit in one wait.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Clears the buffer.
    #[inline]
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns `true` if there is no room for another event.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.0.len() == self.0.capacity()
    }

    /// Adds an event, for selectors. Returns `false` if there is no room.
    #[inline]
    pub fn push(&mut self, event: Event) -> bool {
        if self.is_full() {
            return false;
        }
        self.0.push(event.0);
        true
    }

    #[inline]
    pub(crate) fn raw_mut(&mut self) -> &mut Vec<Raw> {
        &mut self.0
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Event;
    type IntoIter = Iter<'a>;

    #[inline]
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterates over the events of one wait.
#[derive(Clone)]
pub struct Iter<'a>(std::slice::Iter<'a, Raw>);

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl Iterator for Iter<'_> {
    type Item = Event;

    #[inline]
    fn next(&mut self) -> Option<Event> {
        self.0.next().copied().map(Event)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_apart_and_named() {
        let event = Event::new(Token(9), Readiness::PRIORITY | Readiness::READ_HANGUP);
        assert!(event.is_priority() && event.is_read_hangup());
        assert!(!event.is_readable() && !event.is_writable());
        assert!(!event.is_error() && !event.is_hangup());
        let shown = "Event { token: Token(9), readiness: Readiness(priority | read hang-up) }";
        assert_eq!(format!("{event:?}"), shown);
    }

    #[test]
    fn interest_is_a_set() {
        let both = Interest::READABLE | Interest::WRITABLE;
        assert!(both.contains(Interest::READABLE) && !both.contains(Interest::PRIORITY));
        assert_eq!(both.without(Interest::WRITABLE), Interest::READABLE);
        assert!(Interest::NONE.is_empty() && both.contains(Interest::NONE));
    }

    #[test]
    fn a_full_buffer_takes_no_more_and_does_not_grow() {
        let mut events = Events::with_capacity(0);
        let capacity = events.capacity();
        for _ in 0..capacity {
            assert!(events.push(Event::new(Token(1), Readiness::READABLE)));
        }
        assert!(!events.push(Event::new(Token(2), Readiness::READABLE)));
        assert_eq!((events.len(), events.capacity()), (capacity, capacity));
    }
}
