//! A load: so many connections, each with one message of so many bytes in flight.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cell {
    pub connections: usize,
    pub message_len: usize,
}

/// The cells the project's targets are stated for.
pub fn all() -> Vec<Cell> {
    let cell = |connections, message_len| Cell { connections, message_len };
    let small = [64, 4096].map(|len| [1, 64, 1_000, 8_000].map(|count| cell(count, len)));
    let large = [1, 64].map(|count| cell(count, 64 * 1024));
    small.into_iter().flatten().chain(large).collect()
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('x').and_then(|(connections, message_len)| {
            Some(Self {
                connections: connections.parse().ok().filter(|&count| count > 0)?,
                message_len: message_len.parse().ok().filter(|&len| len > 0)?,
            })
        });
        parts.ok_or_else(|| "a cell is CONNECTIONSxBYTES, such as 64x4096".to_owned())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x{}", self.connections, self.message_len)
    }
}
