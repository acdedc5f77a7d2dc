//! The pool's side of one worker process: starting it, calling it, collecting it.
//!
//! Each thread of a process pool has at most one process, which it starts for its first call:
//!
//! ```text
//!   none ──start──▶ ready ──call──▶ answered: ready        ──retire──▶ quit, reaped
//!            │        │       └───▶ gone in the call: buried, the call fails
//!            └────────┴── dead before the call was sent: buried, another one is started
//! ```
//!
//! A new process first runs the initializer, if there is one; any failure before it answers has
//! happened before the call was sent.
//!
//! A call that was not sent completely has not begun, so it may be sent to another process. A call
//! that was sent may have begun, and is not sent twice. A process sends the answer to its call and
//! nothing else: a process that sends anything else, in a call or between two, is killed.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::env;
use std::io::{self, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fiveways_runtime::{clock, random};
use fiveways_sys::lock::{Mutex, MutexGuard};
use fiveways_sys::net::wait_ready;
use fiveways_sys::process::child;
use fiveways_sys::process::generation::PerProcess;
use fiveways_sys::process::{Patience, Pid, Signal, send_signal};

use crate::executor::failure::FutureError;
use crate::executor::pool_core::with_runner;
use crate::executor::rpc::serve::MARK;
use crate::executor::rpc::wire::{Answer, read_hello, write_call, write_quit};
use crate::executor::rpc::worker_stream::WorkerStream;
use crate::net::UnixStream;

/// The running program, even if its file has been replaced or removed.
const SAME_PROGRAM: &str = "/proc/self/exe";

/// How long a new process may take to become ready.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a process may take to exit before it is killed.
const EXIT_LIMIT: Duration = Duration::from_secs(5);

/// How many processes are tried for a call, if they die before it is sent.
const OFFERS: u32 = 3;

/// Bytes received at once.
const PIECE: usize = 8 * 1024;

/// The state shared by the threads of a pool.
pub(in crate::executor) struct Members {
    /// The live processes; a fork has none.
    pids: PerProcess<Mutex<BTreeSet<u32>>>,
    /// After this many calls a process is replaced.
    calls_max: Option<u64>,
    initializer: Option<Initializer>,
}

/// The call that each process runs before its first one.
#[derive(Clone, Debug)]
pub(in crate::executor) struct Initializer {
    pub(in crate::executor) name: Cow<'static, str>,
    pub(in crate::executor) arguments: Vec<u8>,
}

impl Members {
    pub(in crate::executor) fn new(
        calls_max: Option<u64>,
        initializer: Option<Initializer>,
    ) -> Members {
        Members { pids: PerProcess::new(), calls_max, initializer }
    }

    pub(in crate::executor) fn pids(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.pids.get(Mutex::default).lock()
    }
}

thread_local! {
    static LANE: RefCell<Option<WorkerProcess>> = const { RefCell::new(None) };
}

/// Calls a function in this thread's process.
pub(in crate::executor) fn call(
    members: &Arc<Members>,
    name: &str,
    arguments: &[u8],
) -> Result<Answer, FutureError> {
    let mut offers = OFFERS;
    let mut worker_process = loop {
        match offer(members, name, arguments) {
            Ok(worker_process) => break worker_process,
            Err(Refusal::Broken) => return Err(FutureError::BrokenPool),
            Err(Refusal::Gone(error)) if offers == 1 => {
                return Err(FutureError::NoWorker(Arc::new(error)));
            }
            Err(Refusal::Gone(_)) => offers -= 1,
        }
    };
    match Answer::read(&mut worker_process.stream, worker_process.number) {
        Ok(answer) => {
            worker_process.keep();
            Ok(answer)
        }
        // The rest of its output is useless.
        Err(error) => {
            let pid = worker_process.child.id();
            Err(FutureError::BrokenWorker { pid, status: worker_process.break_off(&error) })
        }
    }
}

/// The reason why a call was not sent completely; it has not begun.
enum Refusal {
    /// The process has ended, or could not be started.
    Gone(io::Error),
    /// The initializer has failed, and the pool is broken.
    Broken,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Gone(error)
    }
}

/// Sends the call to this thread's process, or to a new one.
fn offer(members: &Arc<Members>, name: &str, arguments: &[u8]) -> Result<WorkerProcess, Refusal> {
    let mut worker_process = match LANE.take().and_then(WorkerProcess::if_alive) {
        Some(worker_process) => worker_process,
        None => WorkerProcess::start(members)?.initialized()?,
    };
    match worker_process.send(name, arguments) {
        Ok(()) => Ok(worker_process),
        Err(error) => {
            worker_process.collect_exit(Duration::ZERO);
            Err(Refusal::Gone(error))
        }
    }
}

/// Ends this thread's process, if it has one.
pub(in crate::executor) fn retire() {
    if let Some(worker_process) = LANE.take() {
        worker_process.quit();
    }
}

/// A worker process.
struct WorkerProcess {
    child: Child,
    stream: BufReader<WorkerStream>,
    calls: u64,
    /// The number of the last call that was sent. It starts at a random value, so that bytes that
    /// are no answer do not match.
    number: u64,
    members: Arc<Members>,
}

impl WorkerProcess {
    fn start(members: &Arc<Members>) -> io::Result<WorkerProcess> {
        let (socket, theirs) = UnixStream::pair()?;
        let mut command = Command::new(SAME_PROGRAM);
        if let Some(name) = env::args_os().next() {
            command.arg0(name);
        }
        command.arg(MARK).stdin(Stdio::from(OwnedFd::from(theirs)));
        // A key that interrupts this program is handled by this program.
        command.process_group(0);
        let mut child = command.spawn()?;
        // Its end of the socket is closed here, so that the pool's end sees when it ends.
        drop(command);
        let pid = Pid::from_raw(child.id() as i32).expect("a child has a number");
        let opened = child::open(pid);
        let Ok(Some(pidfd)) = opened else {
            // Its end could not be seen. It ends itself when the socket is closed.
            drop(socket);
            let status = child.wait().ok();
            return Err(opened.err().unwrap_or_else(|| ended(child.id(), status)));
        };
        members.pids().insert(child.id());
        let mut stream = WorkerStream::new(socket, pidfd);
        stream.set_deadline(Some(clock::now() + START_LIMIT));
        let number = random() >> 1;
        let stream = BufReader::with_capacity(PIECE, stream);
        let mut worker_process =
            WorkerProcess { child, stream, calls: 0, number, members: Arc::clone(members) };
        if read_hello(&mut worker_process.stream).is_ok() && worker_process.is_silent() {
            worker_process.stream.get_mut().set_deadline(None);
            return Ok(worker_process);
        }
        Err(worker_process.not_ready(Duration::ZERO))
    }

    /// Sends a call under the next number.
    fn send(&mut self, name: &str, arguments: &[u8]) -> io::Result<()> {
        // Half of all numbers are still ahead.
        self.number += 1;
        write_call(self.stream.get_mut(), self.number, name, arguments)
    }

    /// Runs the initializer, if there is one.
    fn initialized(mut self) -> Result<WorkerProcess, Refusal> {
        let Some(first) = &self.members.initializer else { return Ok(self) };
        let Initializer { name, arguments } = first.clone();
        let sent = self.send(&name, &arguments);
        let answer = sent.and_then(|()| Answer::read(&mut self.stream, self.number));
        let Ok(answer) = answer else { return Err(self.not_ready(EXIT_LIMIT).into()) };
        match answer.into_value() {
            Ok(_) => Ok(self),
            Err(error) => {
                self.quit();
                with_runner(|pool_thread| {
                    if let Some(pool_thread) = pool_thread {
                        pool_thread.pool_core.break_down();
                    }
                });
                eprintln!("fiveways: the initializer of a pool has failed: {error}");
                Err(Refusal::Broken)
            }
        }
    }

    /// Collects a process that has ended, or ends within the limit, before its first call.
    fn not_ready(self, limit: Duration) -> io::Error {
        let pid = self.child.id();
        ended(pid, self.collect_exit(limit))
    }

    /// Returns `true` if it has sent nothing unexpected.
    fn is_silent(&self) -> bool {
        self.stream.buffer().is_empty()
    }

    /// Returns itself, unless its process has ended in the meantime or has sent something
    /// unexpected.
    fn if_alive(self) -> Option<WorkerProcess> {
        if self.is_silent() && self.stream.get_ref().is_quiet() {
            return Some(self);
        }
        self.collect_exit(Duration::ZERO);
        None
    }

    /// Collects the process after an invalid answer. One that has ended, or closed its end of the
    /// socket, is given time to exit; any other is killed.
    fn break_off(self, error: &io::Error) -> Option<ExitStatus> {
        if error.kind() != io::ErrorKind::InvalidData {
            return self.collect_exit(EXIT_LIMIT);
        }
        let pid = self.child.id();
        // Not by the macro, which panics if stderr is closed.
        let _ = writeln!(
            io::stderr(),
            "fiveways: the worker process {pid} is killed: it sent something other than an answer"
        );
        self.collect_exit(Duration::ZERO)
    }

    /// Keeps it for the thread's next call, unless it has reached its number of calls.
    fn keep(mut self) {
        self.calls += 1;
        if self.members.calls_max.is_some_and(|max| self.calls >= max) {
            self.quit();
        } else {
            LANE.set(Some(self));
        }
    }

    /// Asks it to exit, and makes sure that it does.
    fn quit(mut self) {
        // It may have ended already, or not be receiving; this does not wait for it.
        let stream = self.stream.get_mut();
        stream.set_deadline(Some(clock::now() + EXIT_LIMIT));
        let _ = write_quit(stream);
        self.collect_exit(EXIT_LIMIT);
    }

    /// Collects the process; kills it first if it does not end within the limit.
    fn collect_exit(self, limit: Duration) -> Option<ExitStatus> {
        let pidfd = self.stream.get_ref().pidfd();
        if !matches!(wait_ready(pidfd, false, Some(clock::machine() + limit)), Ok(true)) {
            // It may have ended just now.
            let _ = send_signal(pidfd, Signal::KILL.as_raw());
        }
        child::collect(pidfd, Patience::Sleep).ok().flatten()
    }
}

/// The error for a process that did not become ready.
fn ended(pid: u32, status: Option<ExitStatus>) -> io::Error {
    let how = match status {
        Some(status) => status.to_string(),
        None => "exit status unknown".to_owned(),
    };
    io::Error::other(format!("the worker process {pid} ended before it was ready ({how})"))
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.members.pids().remove(&self.child.id());
    }
}
