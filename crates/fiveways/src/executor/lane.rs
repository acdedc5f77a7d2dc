//! The pool's side of one worker process: starting it, calling, burying it.
//!
//! Each thread of a process pool has at most one process, which it starts for its first call:
//!
//! ```text
//!   none ──start──▶ ready ──call──▶ answered: ready        ──retire──▶ quit, reaped
//!            │        │       └───▶ gone in the call: buried, the call fails
//!            └────────┴── dead before the call was sent: buried, another one is started
//! ```
//!
//! A new process first runs the initializer, if there is one; what goes wrong there before it
//! answers has happened before the call was sent.
//!
//! A call that was not sent whole has not begun, so it may be sent to another process. One that was
//! sent may have begun, and is not sent twice. What comes from a process is the answer to its call
//! or nothing of use: a process that says anything else, in a call or between two, is killed.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fiveways_sys::child;
use fiveways_sys::generation::PerProcess;
use fiveways_sys::net::wait_ready;
use fiveways_sys::process::{Patience, Pid, Signal, send_signal};

use crate::executor::crew::with_runner;
use crate::executor::failure::FutureError;
use crate::executor::serve::MARK;
use crate::executor::wire::{Answer, read_hello, write_call, write_quit};
use crate::executor::worker_stream::WorkerStream;
use crate::net::UnixStream;

/// The program that runs here, even if its file has been replaced or removed meanwhile.
const SAME_PROGRAM: &str = "/proc/self/exe";

/// How long a new process may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a process may take to exit before it is killed.
const EXIT_LIMIT: Duration = Duration::from_secs(5);

/// How many processes a call is offered to, if they die before they have it.
const OFFERS: u32 = 3;

/// Bytes that are received at once.
const PIECE: usize = 8 * 1024;

/// What the lanes of a pool share.
pub(super) struct Roster {
    /// The live processes; a fork has none.
    pids: PerProcess<Mutex<BTreeSet<u32>>>,
    /// After so many calls a process makes room for a new one.
    calls_max: Option<u64>,
    initializer: Option<Initializer>,
}

/// What each process runs before its first call.
#[derive(Clone, Debug)]
pub(super) struct Initializer {
    pub(super) name: Cow<'static, str>,
    pub(super) arguments: Vec<u8>,
}

impl Roster {
    pub(super) fn new(calls_max: Option<u64>, initializer: Option<Initializer>) -> Roster {
        Roster { pids: PerProcess::new(), calls_max, initializer }
    }

    pub(super) fn pids(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.pids.get(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    static LANE: RefCell<Option<Lane>> = const { RefCell::new(None) };
}

/// Calls a function in this thread's process.
pub(super) fn call(
    roster: &Arc<Roster>,
    name: &str,
    arguments: &[u8],
) -> Result<Answer, FutureError> {
    let mut offers = OFFERS;
    let mut lane = loop {
        match offer(roster, name, arguments) {
            Ok(lane) => break lane,
            Err(Refusal::Broken) => return Err(FutureError::BrokenPool),
            Err(Refusal::Gone(error)) if offers == 1 => {
                return Err(FutureError::NoWorker(Arc::new(error)));
            }
            Err(Refusal::Gone(_)) => offers -= 1,
        }
    };
    match Answer::read(&mut lane.stream, lane.number) {
        Ok(answer) => {
            lane.keep();
            Ok(answer)
        }
        // What it leaves of its last words is of no use.
        Err(error) => {
            let pid = lane.child.id();
            Err(FutureError::BrokenWorker { pid, status: lane.break_off(&error) })
        }
    }
}

/// Why a call was not sent whole; it has not begun.
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
fn offer(roster: &Arc<Roster>, name: &str, arguments: &[u8]) -> Result<Lane, Refusal> {
    let mut lane = match LANE.take().and_then(Lane::if_alive) {
        Some(lane) => lane,
        None => Lane::start(roster)?.initialized()?,
    };
    match lane.send(name, arguments) {
        Ok(()) => Ok(lane),
        Err(error) => {
            lane.bury(Duration::ZERO);
            Err(Refusal::Gone(error))
        }
    }
}

/// Ends this thread's process, if it has one.
pub(super) fn retire() {
    if let Some(lane) = LANE.take() {
        lane.quit();
    }
}

/// A worker process.
struct Lane {
    child: Child,
    stream: BufReader<WorkerStream>,
    calls: u64,
    /// Of the last call that was sent. It begins anywhere, so that bytes that were not meant as an
    /// answer are none.
    number: u64,
    roster: Arc<Roster>,
}

impl Lane {
    fn start(roster: &Arc<Roster>) -> io::Result<Lane> {
        let (socket, theirs) = UnixStream::pair()?;
        let mut command = Command::new(SAME_PROGRAM);
        if let Some(name) = env::args_os().next() {
            command.arg0(name);
        }
        command.arg(MARK).stdin(Stdio::from(OwnedFd::from(theirs)));
        // A key that interrupts this program is for this program to deal with.
        command.process_group(0);
        let mut child = command.spawn()?;
        // Its end of the socket is closed here, so that ours ends with it.
        drop(command);
        let pid = Pid::from_raw(child.id() as i32).expect("a child has a number");
        let opened = child::open(pid);
        let Ok(Some(pidfd)) = opened else {
            // Nobody could see it end. It ends itself when the socket does.
            drop(socket);
            let status = child.wait().ok();
            return Err(opened.err().unwrap_or_else(|| ended(child.id(), status)));
        };
        roster.pids().insert(child.id());
        let mut stream = WorkerStream::new(socket, pidfd);
        stream.set_deadline(Some(Instant::now() + START_LIMIT));
        let number = RandomState::new().build_hasher().finish() >> 1;
        let stream = BufReader::with_capacity(PIECE, stream);
        let mut lane = Lane { child, stream, calls: 0, number, roster: Arc::clone(roster) };
        if read_hello(&mut lane.stream).is_ok() && lane.is_silent() {
            lane.stream.get_mut().set_deadline(None);
            return Ok(lane);
        }
        Err(lane.not_ready(Duration::ZERO))
    }

    /// Sends a call under the next number.
    fn send(&mut self, name: &str, arguments: &[u8]) -> io::Result<()> {
        // Half of all numbers are ahead.
        self.number += 1;
        write_call(self.stream.get_mut(), self.number, name, arguments)
    }

    /// Has it run the initializer, if there is one.
    fn initialized(mut self) -> Result<Lane, Refusal> {
        let Some(first) = &self.roster.initializer else { return Ok(self) };
        let Initializer { name, arguments } = first.clone();
        let sent = self.send(&name, &arguments);
        let answer = sent.and_then(|()| Answer::read(&mut self.stream, self.number));
        let Ok(answer) = answer else { return Err(self.not_ready(EXIT_LIMIT).into()) };
        match answer.into_value() {
            Ok(_) => Ok(self),
            Err(error) => {
                self.quit();
                with_runner(|runner| {
                    if let Some(runner) = runner {
                        runner.crew.break_down();
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
        ended(pid, self.bury(limit))
    }

    /// Has it said nothing that it was not asked for?
    fn is_silent(&self) -> bool {
        self.stream.buffer().is_empty()
    }

    /// This lane, unless its process has ended meanwhile or has spoken without being asked.
    fn if_alive(self) -> Option<Lane> {
        if self.is_silent() && self.stream.get_ref().is_quiet() {
            return Some(self);
        }
        self.bury(Duration::ZERO);
        None
    }

    /// Collects the process after an answer that was none. One that has ended, or closed its end of
    /// the socket, is given time to tell how; any other is killed.
    fn break_off(self, error: &io::Error) -> Option<ExitStatus> {
        if error.kind() != io::ErrorKind::InvalidData {
            return self.bury(EXIT_LIMIT);
        }
        let pid = self.child.id();
        // Not by the macro, which panics when nobody listens.
        let _ = writeln!(
            io::stderr(),
            "fiveways: the worker process {pid} is killed: it said what is no answer to its call"
        );
        self.bury(Duration::ZERO)
    }

    /// Keeps it for the thread's next call, unless it has had its share.
    fn keep(mut self) {
        self.calls += 1;
        if self.roster.calls_max.is_some_and(|max| self.calls >= max) {
            self.quit();
        } else {
            LANE.set(Some(self));
        }
    }

    /// Asks it to exit, and sees to it that it does.
    fn quit(mut self) {
        // It may have ended already, or not listen; it is not waited for here.
        let stream = self.stream.get_mut();
        stream.set_deadline(Some(Instant::now() + EXIT_LIMIT));
        let _ = write_quit(stream);
        self.bury(EXIT_LIMIT);
    }

    /// Collects the process; kills it first when it does not end within the limit.
    fn bury(self, limit: Duration) -> Option<ExitStatus> {
        let pidfd = self.stream.get_ref().pidfd();
        if !matches!(wait_ready(pidfd, false, Some(Instant::now() + limit)), Ok(true)) {
            // It may have ended this very moment.
            let _ = send_signal(pidfd, Signal::KILL.as_raw());
        }
        child::collect(pidfd, Patience::Sleep).ok().flatten()
    }
}

/// Why there is no process that is ready.
fn ended(pid: u32, status: Option<ExitStatus>) -> io::Error {
    let how = match status {
        Some(status) => status.to_string(),
        None => "nobody knows how".to_owned(),
    };
    io::Error::other(format!("the worker process {pid} ended before it was ready ({how})"))
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.roster.pids().remove(&self.child.id());
    }
}
