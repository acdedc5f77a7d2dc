//! One running server: started on its processor, killed when dropped.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::peer::Peer;
use crate::{processor, usage};

/// How long a server may take until it prints its address.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Server {
    child: Child,
    /// Kept open, so that a server that prints more does not fail at it.
    stdout: ChildStdout,
    stderr: File,
    pub address: SocketAddr,
}

impl Server {
    /// Starts the peer on a processor, with so large a buffer per connection where it takes one,
    /// and waits until it listens.
    ///
    /// An error is the reason why there is no such server here.
    pub fn start(peer: &Peer, processor: usize, buffer_len: usize) -> Result<Self, String> {
        if !peer.program.exists() {
            return Err(format!("not built: {}", peer.program.display()));
        }
        let stderr = memory_file().map_err(|error| error.to_string())?;
        let mut child = spawn(peer, processor, buffer_len, &stderr)
            .map_err(|error| format!("cannot start {}: {error}", peer.program.display()))?;
        let stdout = child.stdout.take().ok_or("no pipe for the server's output")?;
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Self { child, stdout, stderr, address: unspecified };
        server.address = server.read_address()?;
        Ok(server)
    }

    /// The processes the server consists of.
    pub fn family(&self) -> Vec<i32> {
        usage::family(self.child.id() as i32)
    }

    /// What the server said on stderr, or that it said nothing.
    pub fn complaint(&self) -> String {
        let mut text = vec![0; 4096];
        let len = self.stderr.read_at(&mut text, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..len]);
        text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message").to_owned()
    }

    fn read_address(&mut self) -> Result<SocketAddr, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut line = Vec::new();
        while !line.contains(&b'\n') {
            let mut byte = [0];
            if !is_readable_until(&self.stdout, deadline) {
                return Err(format!("no address after {PATIENCE:?}: {}", self.complaint()));
            }
            match self.stdout.read(&mut byte) {
                Ok(1) => line.push(byte[0]),
                _ => return Err(format!("ended at once: {}", self.complaint())),
            }
        }
        let line = String::from_utf8_lossy(&line);
        let address = line.trim().strip_prefix("listening on ").and_then(|text| text.parse().ok());
        address.ok_or_else(|| format!("unexpected first line: {}", line.trim()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for pid in self.family() {
            // SAFETY: no memory is passed. The child is not reaped yet, so its id is still its own,
            // and what is listed below it are its descendants.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        // A child that cannot be waited for is gone already.
        let _ = self.child.wait();
    }
}

fn spawn(
    peer: &Peer,
    processor: usize,
    buffer_len: usize,
    stderr: &File,
) -> std::io::Result<Child> {
    let mut command = Command::new(&peer.program);
    if peer.takes_buffer {
        command.arg("--buffer").arg(buffer_len.to_string());
    }
    command.args(&peer.args).stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::from(stderr.try_clone()?));
    // SAFETY: both calls are plain system calls, allowed between fork and exec.
    unsafe {
        command.pre_exec(move || {
            die_with_parent()?;
            processor::pin(processor)
        })
    };
    command.spawn()
}

/// Lets the kernel end this process when the harness dies, however it dies.
fn die_with_parent() -> std::io::Result<()> {
    // SAFETY: no memory is passed.
    let answer = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if answer < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

fn is_readable_until(stdout: &ChildStdout, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now()).as_millis() as i32;
    let mut poll = libc::pollfd { fd: stdout.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: `poll` is one live, writable `pollfd`.
    unsafe { libc::poll(&raw mut poll, 1, left) > 0 }
}

/// An unnamed file in memory.
fn memory_file() -> std::io::Result<File> {
    // SAFETY: the name is a C string literal.
    let fd = unsafe { libc::memfd_create(c"compare-peers".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: `fd` was just created and has no other owner.
    Ok(unsafe { File::from_raw_fd(fd) })
}
