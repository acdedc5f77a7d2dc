//! The format in which a connection is sent to another process.
//!
//! ```text
//!    0  magic "5way"   4  version   5  kind (1 TCP, 2 Unix)   6  zero, zero
//!    8  length of unread, u32      12  length of unsent, u32
//!   16  read limit in ns, u64      24  write limit in ns, u64        (0: none)
//!   32  idle limit in ns, u64
//!   40  unread …  unsent …  the seal: one byte, and with it the descriptor
//! ```
//!
//! Numbers are little-endian. The descriptor comes last: until the channel has accepted everything
//! else, only the sender has the connection, and can continue with it.

use std::fmt;
use std::time::Duration;

use crate::handoff::detached::Kind;

const MAGIC: [u8; 4] = *b"5way";
const VERSION: u8 = 2;

/// The length of a header.
pub(super) const HEADER: usize = 40;

/// The byte that is sent with the descriptor.
pub(super) const SEAL: u8 = b'.';

/// The maximum number of bytes that can be sent with a connection, unread and unsent together.
pub(super) const BYTES_MAX: usize = 16 << 20;

/// The fields of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) unread: usize,
    pub(super) unsent: usize,
    pub(super) read_limit: Option<Duration>,
    pub(super) write_limit: Option<Duration>,
    pub(super) idle_limit: Option<Duration>,
}

/// The error of receiving bytes that are not a valid connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// They do not start as a frame does.
    NotAFrame,
    /// They are of another version of this library.
    Version(u8),
    /// The kind of connection is unknown.
    Kind(u8),
    /// It is another kind of connection than requested.
    OtherKind,
    /// The frame announces more bytes than allowed.
    TooLong(u64),
    /// They end before the frame does.
    Truncated,
    /// No descriptor came with them.
    NoDescriptor,
    /// More than one descriptor came with them, or one too early; all have been closed.
    StrayDescriptors,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::NotAFrame => f.write_str("the received bytes are no connection"),
            FrameError::Version(version) => {
                write!(f, "a connection in version {version}, known is {VERSION}")
            }
            FrameError::Kind(kind) => write!(f, "a connection of the unknown kind {kind}"),
            FrameError::OtherKind => f.write_str("a connection of another kind than asked for"),
            FrameError::TooLong(len) => {
                write!(f, "a connection with {len} bytes, more than {BYTES_MAX}")
            }
            FrameError::Truncated => f.write_str("the channel ended in the middle of a connection"),
            FrameError::NoDescriptor => f.write_str("a connection without its descriptor"),
            FrameError::StrayDescriptors => f.write_str("descriptors that belong to no connection"),
        }
    }
}

impl std::error::Error for FrameError {}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = match self.kind {
            Kind::Tcp => 1,
            Kind::Unix => 2,
        };
        bytes[8..12].copy_from_slice(&(self.unread as u32).to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.unsent as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&nanos(self.read_limit).to_le_bytes());
        bytes[24..32].copy_from_slice(&nanos(self.write_limit).to_le_bytes());
        bytes[32..].copy_from_slice(&nanos(self.idle_limit).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Header, FrameError> {
        if bytes[..4] != MAGIC {
            return Err(FrameError::NotAFrame);
        }
        if bytes[4] != VERSION {
            return Err(FrameError::Version(bytes[4]));
        }
        let kind = match bytes[5] {
            1 => Kind::Tcp,
            2 => Kind::Unix,
            other => return Err(FrameError::Kind(other)),
        };
        let (unread, unsent) = (number(&bytes[8..12]), number(&bytes[12..16]));
        if unread + unsent > BYTES_MAX as u64 {
            return Err(FrameError::TooLong(unread + unsent));
        }
        let limit = |nanos| (nanos != 0).then(|| Duration::from_nanos(nanos));
        Ok(Header {
            kind,
            unread: unread as usize,
            unsent: unsent as usize,
            read_limit: limit(number(&bytes[16..24])),
            write_limit: limit(number(&bytes[24..32])),
            idle_limit: limit(number(&bytes[32..])),
        })
    }
}

fn nanos(limit: Option<Duration>) -> u64 {
    // Half a millennium counts as no limit.
    limit.map_or(0, |limit| u64::try_from(limit.as_nanos()).unwrap_or(0))
}

/// Reads up to eight bytes as a number.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let read_limit = Some(Duration::from_millis(1500));
        let (kind, idle_limit) = (Kind::Unix, Some(Duration::from_secs(60)));
        Header { kind, unread: 70_000, unsent: 3, read_limit, write_limit: None, idle_limit }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(Header::decode(&header().encode()), Ok(header()));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let with = |at: usize, byte| {
            let mut bytes = header().encode();
            bytes[at] = byte;
            Header::decode(&bytes)
        };
        assert_eq!(with(0, b'x'), Err(FrameError::NotAFrame));
        assert_eq!(with(4, 9), Err(FrameError::Version(9)));
        assert_eq!(with(5, 0), Err(FrameError::Kind(0)));
        assert!(matches!(with(11, 255), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused() {
        let mut random = 1_u64;
        for _ in 0..10_000 {
            let mut bytes = header().encode();
            for byte in bytes.iter_mut().skip(4) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (random >> 56) as u8 % 4;
            }
            if let Ok(header) = Header::decode(&bytes) {
                assert!(header.unread + header.unsent <= BYTES_MAX);
            }
        }
    }
}
