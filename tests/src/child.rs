//! A server in a process of its own: for limits of descriptors, for signals, and for counting.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use fiveways::Model;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::client;
use crate::patience::eventually;
use crate::stage::missing;

/// A server in a child process.
#[derive(Debug)]
pub struct Remote {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    addr: SocketAddr,
}

/// The counts of a server in a child process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Connections being served.
    pub connections: usize,
    /// Connections accepted in all.
    pub accepted: u64,
    /// Connections refused.
    pub refused: u64,
    /// Times descriptors ran out.
    pub exhausted: u64,
}

impl Remote {
    /// Starts a server; settings are words such as `workers=2` (see `src/bin/fiveways-arena.rs`).
    pub fn start(program: impl AsRef<Path>, model: Model, settings: &[&str]) -> Remote {
        let mut command = Command::new(program.as_ref());
        command.arg(model.name()).args(settings);
        Remote::run(command)
    }

    /// Starts a server whose system calls of these names strace(1) writes to a file; `None`: there
    /// is no strace here.
    pub fn traced(
        program: impl AsRef<Path>,
        model: Model,
        settings: &[&str],
        calls: &str,
        file: &Path,
    ) -> Option<Remote> {
        if let Err(error) = Command::new("strace").arg("-V").stdout(Stdio::null()).status() {
            missing("strace", &error.to_string());
            return None;
        }
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", &format!("trace={calls}"), "-o"]).arg(file);
        command.arg(program.as_ref()).arg(model.name()).args(settings);
        Some(Remote::run(command))
    }

    fn run(mut command: Command) -> Remote {
        // A process group of its own, so that a signal can be sent to all of it.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the arena starts");
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it tells its address");
        let addr = line.trim().parse().expect("an address on the first line");
        Remote { child, stdin, stdout, addr }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A client with time limits.
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        client::connect(self.addr)
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks for its counts. Not with several processes.
    #[track_caller]
    pub fn counts(&mut self) -> Counts {
        let stdin = self.stdin.as_mut().expect("open until the end");
        stdin.write_all(b"counts\n").expect("it listens");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it answers");
        counts_in(&line)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it lives");
    }

    /// Sends a signal to it and to all its children, as a terminal does.
    pub fn signal_group(&self, signal: Signal) {
        kill_process_group(self.pid(), signal).expect("it lives");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32).expect("a child has a number")
    }

    /// Has it ended?
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let mut status = None;
        eventually("the child ends", || {
            status = child.try_wait().expect("our child");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Waits for its end; gives the counts it told then, and how many connections were cut short.
    #[track_caller]
    pub fn end(&mut self) -> (Counts, u64) {
        assert!(self.wait().success(), "the arena ended badly");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it tells its counts");
        (counts_in(&line), number_in(&line, "cut_short"))
    }

    /// Goes away, which ends it, and waits for that. Not with several processes.
    #[track_caller]
    pub fn leave(mut self) {
        drop(self.stdin.take());
        self.wait();
    }

    /// Ends it with SIGTERM and expects a good end.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "the arena ended with {status}");
    }
}

/// The counts in a line of the arena.
fn counts_in(line: &str) -> Counts {
    Counts {
        connections: number_in(line, "connections") as usize,
        accepted: number_in(line, "accepted"),
        refused: number_in(line, "refused"),
        exhausted: number_in(line, "exhausted"),
    }
}

/// The number behind a name in a line of the arena.
fn number_in(line: &str, name: &str) -> u64 {
    let words = line.split_whitespace();
    let found = words.filter_map(|word| word.split_once('=')).find(|pair| pair.0 == name);
    found.and_then(|pair| pair.1.parse().ok()).expect("all counts are told")
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
