//! The registrations of a selector that keeps them itself: constant time for everything (D30).
//!
//! ```text
//!   index_of   descriptor number → position, or NONE
//!   entries    packed: removing moves the last into the gap, so that a scan meets no holes
//! ```
//!
//! A backend with an array of its own beside `entries` mirrors the two moves: push, and
//! [`swap_remove`](Vec::swap_remove) at the position that [`Table::remove`] returns.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::event::{Interest, Token};

const NONE: u32 = u32::MAX;

/// One registration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) fd: RawFd,
    pub(crate) interest: Interest,
    pub(crate) token: Token,
}

/// Registrations by descriptor and by position.
#[derive(Debug, Default)]
pub(crate) struct Table {
    index_of: Vec<u32>,
    entries: Vec<Entry>,
}

impl Table {
    /// Adds a registration at the end.
    pub(crate) fn insert(
        &mut self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<()> {
        refuse_reserved(token)?;
        let fd = fd.as_raw_fd();
        if self.position(fd).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let at = fd as usize;
        if at >= self.index_of.len() {
            self.index_of.resize((at + 1).next_power_of_two(), NONE);
        }
        self.index_of[at] = self.entries.len() as u32;
        self.entries.push(Entry { fd, interest, token });
        Ok(())
    }

    /// Changes a registration and returns its position.
    pub(crate) fn modify(
        &mut self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<usize> {
        refuse_reserved(token)?;
        let fd = fd.as_raw_fd();
        let at = self.position(fd).ok_or(io::ErrorKind::NotFound)?;
        self.entries[at] = Entry { fd, interest, token };
        Ok(at)
    }

    /// Removes a registration; the last one takes its position, which is returned.
    pub(crate) fn remove(&mut self, fd: RawFd) -> io::Result<usize> {
        let at = self.position(fd).ok_or(io::ErrorKind::NotFound)?;
        self.index_of[fd as usize] = NONE;
        self.entries.swap_remove(at);
        if let Some(moved) = self.entries.get(at) {
            self.index_of[moved.fd as usize] = at as u32;
        }
        Ok(at)
    }

    /// Returns the position of a descriptor's registration.
    #[inline]
    pub(crate) fn position(&self, fd: RawFd) -> Option<usize> {
        let at = *self.index_of.get(usize::try_from(fd).ok()?)?;
        (at != NONE).then_some(at as usize)
    }

    /// Returns the registration of a descriptor.
    #[inline]
    pub(crate) fn of(&self, fd: RawFd) -> Option<&Entry> {
        self.position(fd).map(|at| &self.entries[at])
    }

    /// Returns all registrations by position.
    #[inline]
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Refuses the token that selectors use themselves.
pub(crate) fn refuse_reserved(token: Token) -> io::Result<()> {
    if token == Token::RESERVED {
        let message = "token u64::MAX is reserved for the selector";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn removal_moves_the_last_and_keeps_every_index_right() {
        let files: Vec<File> =
            (0..5).map(|_| File::open("/dev/null").expect("a descriptor")).collect();
        let mut table = Table::default();
        for (at, file) in files.iter().enumerate() {
            table.insert(file.as_fd(), Interest::READABLE, Token(at as u64)).expect("insert");
        }
        assert_eq!(table.remove(files[1].as_raw_fd()).expect("remove"), 1);
        assert_eq!(table.remove(files[4].as_raw_fd()).expect("remove"), 1);
        for at in [0, 2, 3] {
            let entry = table.of(files[at].as_raw_fd()).expect("still there");
            assert_eq!(entry.token, Token(at as u64));
        }
        let error = table.remove(files[1].as_raw_fd()).expect_err("removed before");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(table.len(), 3);
    }
}
