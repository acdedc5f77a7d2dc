//! The bytes that are sent, and that replies are held against.
//!
//! All messages are windows into one random block; where a window starts depends on the connection
//! and on the message, so neither another connection's bytes nor an earlier message's can pass for
//! the right reply.

/// How many different windows there are.
const WINDOWS: usize = 4096;

pub struct Pattern {
    block: Vec<u8>,
    message_len: usize,
}

impl Pattern {
    pub fn new(message_len: usize) -> Self {
        let mut block = vec![0; message_len + WINDOWS];
        fastrand::Rng::with_seed(0x5eed).fill(&mut block);
        Self { block, message_len }
    }

    /// Where the message starts in the block.
    pub fn start(connection: usize, message: u32) -> usize {
        (connection.wrapping_mul(1031) + (message as usize).wrapping_mul(61)) % WINDOWS
    }

    /// The bytes of the message that starts there.
    pub fn message(&self, start: usize) -> &[u8] {
        &self.block[start..start + self.message_len]
    }
}
