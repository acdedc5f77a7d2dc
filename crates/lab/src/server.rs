//! A server under measurement: a child process, from its start to its exit status.
//!
//! ```text
//!  start --(`listening on ADDR` on stdout)--> running --stop: SIGTERM--> exit status 0
//!    | no such line in time, or exit            | drop, or stop takes too long
//!    v                                          v
//!  StartError                                 SIGKILL to its whole process group
//! ```
//!
//! No server outlives the instrument: it has a process group of its own, which [`Server`]'s drop
//! kills, and the kernel ends it when the thread that started it dies (`PR_SET_PDEATHSIG`). So a
//! server is started from a thread that lives as long as the comparison.
#![expect(unsafe_code, reason = "what a child does between fork and exec is given as unsafe")]

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fiveways_sys::lock::Mutex;
use fiveways_sys::net::wait_ready;
use fiveways_sys::process::{self, Exit, Pid, Signal};

use crate::machine::kibibytes;

/// What a server prints when clients may connect, before the address.
const LISTENING: &str = "listening on ";
/// What it prints next under `auto`, before the name of a model.
const TAKES: &str = "auto takes ";
/// How often a wait for the server checks for an interrupt.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The processors it may use; all where empty.
    pub cpus: Vec<usize>,
    /// `true` if it will have child processes. They must then be ended by it.
    pub has_children: bool,
    /// How long it may take until it listens.
    pub start_limit: Duration,
    /// Ends the wait for it early when it becomes `true`.
    pub interrupt: Arc<AtomicBool>,
}

/// Why a server did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// As text; the server's own message if there is one.
    pub reason: String,
    /// `true` if it declined by itself (exit status 2), rather than failed.
    pub is_refusal: bool,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for StartError {}

impl StartError {
    fn failure(reason: impl Into<String>) -> StartError {
        StartError { reason: reason.into(), is_refusal: false }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pid: Pid,
    address: SocketAddr,
    /// The model that it took under `auto`, once it has reported it.
    takes: Arc<OnceLock<String>>,
    complaints: Complaints,
    /// `true` if its exit status was collected, so that its id may belong to another process.
    is_collected: bool,
}

impl Server {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    ///
    /// If the program cannot be started, exits, or does not listen in time; with the `error:` line
    /// of its stderr if there is one.
    pub fn start(launch: &Launch) -> Result<Server, StartError> {
        let deadline = Instant::now() + launch.start_limit;
        let mut child = command(launch).spawn().map_err(|error| {
            StartError::failure(format!("cannot start {}: {error}", launch.program.display()))
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let complaints = Complaints::collect(stderr);
        let Some(pid) = Pid::from_raw(child.id() as i32) else {
            return Err(StartError::failure("a child process without an id"));
        };
        // From here on a drop ends the child.
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let takes = Arc::new(OnceLock::new());
        let is_collected = false;
        let mut server = Server { child, pid, address: unknown, takes, complaints, is_collected };
        let Some(stdout) = stdout else {
            return Err(StartError::failure("a child process without a stdout"));
        };
        match address_line(stdout, deadline, &launch.interrupt, &server.takes) {
            Ok(Some(address)) => {
                server.address = address;
                Ok(server)
            }
            Ok(None) => Err(server.early_exit(deadline)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let limit = launch.start_limit.as_secs_f64();
                Err(StartError::failure(format!("did not listen within {limit} s")))
            }
            Err(error) => Err(StartError::failure(error.to_string())),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The model that it took under `auto`; `None` if it has not reported it.
    pub fn takes(&self) -> Option<&str> {
        self.takes.get().map(String::as_str)
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Asks it to stop, and waits for that.
    ///
    /// # Errors
    ///
    /// If it ended before, does not stop in time (and is killed), or exits with a non-zero status;
    /// as text, with the `error:` line of its stderr if there is one.
    pub fn stop(mut self, limit: Duration) -> Result<(), String> {
        if let Some(status) = self.wait_until(Instant::now()) {
            return Err(format!("ended early with {}", self.ending(status)));
        }
        process::kill(self.pid, Signal::TERM).map_err(|error| error.to_string())?;
        match self.wait_until(Instant::now() + limit) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("stopped with {}", self.ending(status))),
            None => Err(format!("did not stop within {} s of SIGTERM", limit.as_secs_f64())),
        }
    }

    fn wait_until(&mut self, deadline: Instant) -> Option<ExitStatus> {
        let pidfd = process::pidfd(self.pid).ok()?;
        let ended = wait_ready(pidfd.as_fd(), false, Some(deadline)).ok()?;
        if ended { self.collect() } else { None }
    }

    /// Collects the exit status of the ended child, after killing its remaining descendants.
    fn collect(&mut self) -> Option<ExitStatus> {
        // Before the status is collected: until then the id is its own, and so is the group's.
        let _ = process::kill_group(self.pid, Signal::KILL);
        let status = self.child.wait().ok();
        self.is_collected = true;
        status
    }

    fn early_exit(mut self, deadline: Instant) -> StartError {
        // Its stdout is closed, so it has ended or is about to.
        match self.wait_until(deadline) {
            None => StartError::failure("closed its stdout without reporting an address"),
            Some(status) => {
                let reason = match self.complaints.error() {
                    Some(error) => error,
                    None => format!("ended at once with {}", exit_of(status)),
                };
                StartError { reason, is_refusal: status.code() == Some(2) }
            }
        }
    }

    fn ending(&self, status: ExitStatus) -> String {
        let exit = exit_of(status);
        match self.complaints.error() {
            Some(error) => format!("{exit}: {error}"),
            None => exit.to_string(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.is_collected {
            self.collect();
        }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

fn command(launch: &Launch) -> Command {
    let mut command = Command::new(&launch.program);
    command.args(&launch.args).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let cpus = launch.cpus.clone();
    let parent = process::id();
    // A supervisor that is killed leaves its children behind, one that is asked to stop does not.
    let signal = if launch.has_children { Signal::TERM } else { Signal::KILL };
    let prepare = move || {
        if !cpus.is_empty() {
            process::set_affinity(&cpus)?;
        }
        process::set_parent_death_signal(Some(signal))?;
        match process::parent_id() {
            // The parent died before the line above.
            Some(other) if other != parent => Err(io::ErrorKind::NotConnected.into()),
            _ => Ok(()),
        }
    };
    // SAFETY: required: only what is safe between fork and exec. The closure makes three system
    // calls; it takes no lock and allocates nothing (its errors are plain codes).
    unsafe { command.pre_exec(prepare) };
    command
}

/// Reads stdout until the line with the address; returns `None` at the end of the stream.
///
/// Later output is read by a thread, so that a server that prints is never blocked by a full pipe;
/// only the model that `auto` took is kept, in `takes`.
fn address_line(
    stdout: ChildStdout,
    deadline: Instant,
    interrupt: &AtomicBool,
    takes: &Arc<OnceLock<String>>,
) -> io::Result<Option<SocketAddr>> {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        if reader.buffer().is_empty() {
            let look_at = deadline.min(Instant::now() + LOOK_EVERY);
            let ready = wait_ready(reader.get_ref().as_fd(), false, Some(look_at))?;
            if interrupt.load(Ordering::Relaxed) {
                return Err(io::Error::other("interrupted"));
            }
            if !ready && Instant::now() < deadline {
                continue;
            }
            if !ready {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(None);
        }
        let end = piece.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(piece.len(), |at| at + 1);
        line.extend_from_slice(&piece[..taken]);
        reader.consume(taken);
        if end.is_none() {
            continue;
        }
        let text = String::from_utf8_lossy(&line);
        if let Some(address) = text.trim().strip_prefix(LISTENING) {
            let address = address.parse().map_err(|_| {
                io::Error::other(format!("reported the address '{address}', which is invalid"))
            });
            let takes = Arc::clone(takes);
            thread::spawn(move || read_on(reader, &takes));
            return address.map(Some);
        }
        line.clear();
    }
}

/// Reads to the end, keeping the model that `auto` took.
fn read_on(mut reader: BufReader<ChildStdout>, takes: &OnceLock<String>) {
    let mut line = Vec::new();
    // Bounded, so that an endless line costs no memory.
    while let Ok(1..) = reader.by_ref().take(4096).read_until(b'\n', &mut line) {
        if let Some(model) = String::from_utf8_lossy(&line).trim().strip_prefix(TAKES) {
            // If it is reported twice, the first counts.
            let _ = takes.set(model.to_owned());
        }
        line.clear();
    }
}

/// A server's stderr, collected by a thread, so that no pipe ever fills up.
#[derive(Debug)]
struct Complaints {
    heard: Arc<Mutex<Heard>>,
    /// Disconnected when all of it was read.
    end: mpsc::Receiver<()>,
}

#[derive(Debug, Default)]
struct Heard {
    error: Option<String>,
    last: Option<String>,
}

impl Complaints {
    fn collect(stderr: Option<ChildStderr>) -> Complaints {
        let (tx, end) = mpsc::channel();
        let heard = Arc::new(Mutex::new(Heard::default()));
        if let Some(stderr) = stderr {
            let heard = Arc::clone(&heard);
            thread::spawn(move || {
                listen(stderr, &heard);
                drop(tx);
            });
        }
        Complaints { heard, end }
    }

    /// Its first `error:` line, without that prefix; otherwise its last line. Called when it has
    /// ended.
    fn error(&self) -> Option<String> {
        // The pipe ends with its last writer; a descendant may hold it open, hence the limit.
        let _ = self.end.recv_timeout(Duration::from_secs(1));
        let mut heard = self.heard.lock();
        heard.error.take().or_else(|| heard.last.take())
    }
}

fn listen(stderr: ChildStderr, heard: &Mutex<Heard>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    // Bounded, so that an endless line costs no memory either.
    while let Ok(1..) = reader.by_ref().take(4096).read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        let mut heard = heard.lock();
        if heard.error.is_none() {
            heard.error = text.strip_prefix("error: ").map(str::to_owned);
        }
        if !text.is_empty() {
            heard.last = Some(text.to_owned());
        }
        line.clear();
    }
}

/// A process and all its descendants.
pub fn family_of(pid: Pid) -> Vec<Pid> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(&pid) = all.get(at) {
        all.extend(children_of(pid));
        at += 1;
    }
    all
}

/// Processor time of these processes, in nanoseconds; those that have ended count nothing.
pub fn cpu_ns(processes: &[Pid]) -> u64 {
    let times = processes.iter().filter_map(|&pid| process::cpu_time_of(pid).ok());
    times.map(|time| time.as_nanos() as u64).sum()
}

/// Resident memory of these processes, in bytes, counted exactly by the kernel where it can.
///
/// `/proc/PID/status` is cheaper, but out of date by up to some hundred pages since Linux 6.2.
pub fn resident_bytes(processes: &[Pid]) -> u64 {
    let resident = |pid: &Pid| {
        let dir = format!("/proc/{}", pid.as_raw_nonzero());
        kib_field(&format!("{dir}/smaps_rollup"), "Rss:")
            .or_else(|| kib_field(&format!("{dir}/status"), "VmRSS:"))
    };
    processes.iter().filter_map(resident).sum()
}

fn kib_field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    kibibytes(text.lines().find_map(|line| line.strip_prefix(name))?)
}

fn children_of(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let parse = |list: String| -> Vec<Pid> {
        list.split_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)).collect()
    };
    lists.flat_map(parse).collect()
}
