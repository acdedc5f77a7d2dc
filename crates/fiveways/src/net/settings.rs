//! The methods common to all socket types (time limits, the pending error, the descriptor) and to
//! all stream types (reading and writing).
//!
//! The methods are std's, with std's signatures, on each type: hence macros. Their bodies are one
//! call each.

/// Implements the methods common to all socket types, given the expression for the `Socket`.
macro_rules! settings {
    ($type:ty, |$this:ident| $socket:expr) => {
        impl $type {
            /// Sets the time limit of each read (receive, accept); `None`: no limit.
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a limit of zero.
            #[doc(alias = "settimeout")]
            pub fn set_read_timeout(&self, limit: Option<std::time::Duration>) -> io::Result<()> {
                let $this = self;
                $socket.set_read_timeout(limit)
            }

            /// Sets the time limit of each write (send); `None`: no limit.
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a limit of zero.
            pub fn set_write_timeout(&self, limit: Option<std::time::Duration>) -> io::Result<()> {
                let $this = self;
                $socket.set_write_timeout(limit)
            }

            /// The time limit of each read (receive, accept).
            ///
            /// # Errors
            ///
            /// Never fails; the signature is std's.
            pub fn read_timeout(&self) -> io::Result<Option<std::time::Duration>> {
                let $this = self;
                Ok($socket.read_timeout())
            }

            /// The time limit of each write (send).
            ///
            /// # Errors
            ///
            /// Never fails; the signature is std's.
            pub fn write_timeout(&self) -> io::Result<Option<std::time::Duration>> {
                let $this = self;
                Ok($socket.write_timeout())
            }

            /// Takes the socket's pending error.
            ///
            /// # Errors
            ///
            /// Any error of `getsockopt(2)`; none is expected for an open socket.
            #[doc(alias = "SO_ERROR")]
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                let $this = self;
                $socket.take_error()
            }

            /// Makes calls through this value fail with `WouldBlock` instead of waiting.
            ///
            /// # Errors
            ///
            /// Never fails; the signature is std's.
            #[doc(alias = "setblocking")]
            pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
                let $this = self;
                $socket.set_nonblocking(on);
                Ok(())
            }
        }

        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                let $this = self;
                $socket.lend_fd()
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                let fd = std::os::fd::AsFd::as_fd(self);
                std::os::fd::AsRawFd::as_raw_fd(&fd)
            }
        }

        impl std::os::fd::IntoRawFd for $type {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                let fd = std::os::fd::OwnedFd::from(self);
                std::os::fd::IntoRawFd::into_raw_fd(fd)
            }
        }

        #[expect(unsafe_code, reason = "the trait's method is unsafe to call")]
        impl std::os::fd::FromRawFd for $type {
            unsafe fn from_raw_fd(fd: std::os::fd::RawFd) -> Self {
                use std::os::fd::OwnedFd;
                // SAFETY: required: an open descriptor without another owner; passed on to the
                // caller by the trait.
                Self::from(unsafe { OwnedFd::from_raw_fd(fd) })
            }
        }
    };
}

/// Implements the idle limit for a stream type, given the expression for the `Socket`.
macro_rules! idle_limit {
    ($type:ty, |$this:ident| $socket:expr) => {
        impl $type {
            /// Sets the idle limit of the connection: from now on, a call on it (through this value
            /// or a clone) that waits fails if no byte has moved in either direction for this long;
            /// `None`: no limit.
            ///
            /// The limit counts from the last byte that was read or written through any value for
            /// the connection, whatever else was done in the meantime. The error is a
            /// [`TimeoutError`](crate::net::TimeoutError).
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a limit of zero.
            pub fn set_idle_timeout(&self, limit: Option<std::time::Duration>) -> io::Result<()> {
                let $this = self;
                $socket.limits.set_idle_timeout(limit)
            }

            /// The idle limit of the connection.
            pub fn idle_timeout(&self) -> Option<std::time::Duration> {
                let $this = self;
                $socket.limits.idle_timeout()
            }
        }
    };
}

/// Implements reading and writing for a type with a field `stream`, for `T` and for `&T`.
macro_rules! read_and_write {
    ($type:ty) => {
        crate::net::settings::read_and_write!(@ $type);
        crate::net::settings::read_and_write!(@ &$type);

        impl io::BufRead for $type {
            #[inline]
            fn fill_buf(&mut self) -> io::Result<&[u8]> {
                self.stream.fill_buf()
            }

            #[inline]
            fn consume(&mut self, count: usize) {
                self.stream.consume(count);
            }
        }
    };
    (@ $type:ty) => {
        impl io::Read for $type {
            #[inline]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream.read(buf)
            }

            fn read_vectored(&mut self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
                self.stream.ahead.read_vectored(&self.stream.socket, bufs)
            }
        }

        impl io::Write for $type {
            #[inline]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.stream.socket.send(buf, 0)
            }

            fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
                self.stream.socket.send_vectored(bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    };
}

pub(crate) use {idle_limit, read_and_write, settings};
