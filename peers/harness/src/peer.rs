//! The servers that can be measured, by name.

use std::path::{Path, PathBuf};

/// The rival all others are held against.
pub const TOKIO: &str = "tokio";

/// The hand-written loops: what the mechanism itself allows.
pub const EPOLL_LOOP: &str = "epoll-loop";
pub const URING_LOOP: &str = "uring-loop";

/// The runtimes among the rivals; the fastest of a cell is "the best".
pub const RUNTIMES: [&str; 7] =
    [TOKIO, "tokio-hot", "monoio", "compio", "compio-multi", "may", "smol"];

/// A server as it is started.
#[derive(Debug, Clone)]
pub struct Peer {
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<String>,
    /// Takes `--buffer BYTES`, the size of its buffer per connection.
    pub takes_buffer: bool,
}

/// Name, program and own switches of each rival.
const RIVALS: [(&str, &str, &[&str]); 10] = [
    (TOKIO, "echo-tokio", &[]),
    ("tokio-hot", "echo-tokio", &["--hot"]),
    ("may", "echo-may", &[]),
    ("monoio", "echo-monoio", &[]),
    ("compio", "echo-compio", &[]),
    ("compio-multi", "echo-compio", &["--multishot"]),
    ("smol", "echo-smol", &[]),
    ("threads", "echo-threads", &[]),
    (EPOLL_LOOP, "echo-epoll-loop", &[]),
    (URING_LOOP, "echo-uring-loop", &[]),
];

/// Name, model and further switches of each of ours.
const OURS: [(&str, &str, &[&str]); 5] = [
    ("fiveways-epoll", "epoll", &["--spin", "0"]),
    ("fiveways-epoll-et", "epoll-et", &["--spin", "0"]),
    ("fiveways-uring", "uring", &["--spin", "0"]),
    ("fiveways-epoll+spin", "epoll", &[]),
    ("fiveways-uring+spin", "uring", &[]),
];

/// The peers named in `only`, or all; `epoll` stands for `fiveways-epoll` too.
pub fn select(only: &[String], fiveways: &Path) -> Result<Vec<Peer>, String> {
    let mut peers = rivals()?;
    peers.extend(ours(fiveways));
    if only.is_empty() {
        return Ok(peers);
    }
    let matches = |peer: &Peer, name: &String| {
        peer.name == *name || peer.name.strip_prefix("fiveways-") == Some(name)
    };
    if let Some(name) = only.iter().find(|name| !peers.iter().any(|peer| matches(peer, name))) {
        let known: Vec<_> = peers.iter().map(|peer| peer.name.as_str()).collect();
        return Err(format!("no server is called {name}; known are {}", known.join(", ")));
    }
    peers.retain(|peer| only.iter().any(|name| matches(peer, name)));
    Ok(peers)
}

/// The directory of this program, where the rivals are built too.
pub fn own_directory() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    program.parent().map(Path::to_path_buf).ok_or_else(|| "own path has no directory".into())
}

fn rivals() -> Result<Vec<Peer>, String> {
    let directory = own_directory()?;
    let peer = |(name, program, switches): &(&str, &str, &[&str])| {
        let args = switches.iter().map(ToString::to_string).collect();
        let program = directory.join(program);
        Peer { name: (*name).to_owned(), program, args, takes_buffer: true }
    };
    Ok(RIVALS.iter().map(peer).collect())
}

fn ours(fiveways: &Path) -> impl Iterator<Item = Peer> {
    OURS.iter().map(move |(name, model, switches)| {
        let fixed = ["serve", "--service", "echo", "--model", model, "--workers", "1"];
        let bind = ["--bind", "127.0.0.1:0"];
        let args = fixed.iter().chain(&bind).chain(*switches).map(ToString::to_string).collect();
        let program = fiveways.join("fiveways");
        Peer { name: (*name).to_owned(), program, args, takes_buffer: false }
    })
}
