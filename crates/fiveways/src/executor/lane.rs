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
//! sent may have begun, and is not sent twice.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::env;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fiveways_sys::net::wait_ready;
use fiveways_sys::process::{Pid, pidfd};

use crate::executor::crew::with_runner;
use crate::executor::failure::FutureError;
use crate::executor::serve::MARK;
use crate::executor::wire::{Answer, write_call, write_quit};
use crate::net::UnixStream;

/// The program that runs here, even if its file has been replaced or removed meanwhile.
const SAME_PROGRAM: &str = "/proc/self/exe";

/// How long a new process may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a process may take to exit before it is killed.
const EXIT_LIMIT: Duration = Duration::from_secs(5);

/// How many processes a call is offered to, if they die before they have it.
const OFFERS: u32 = 3;

/// What the lanes of a pool share.
pub(super) struct Roster {
    /// The live processes.
    pids: Mutex<BTreeSet<u32>>,
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
        Roster { pids: Mutex::default(), calls_max, initializer }
    }

    pub(super) fn pids(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner)
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
    match Answer::read(&mut lane.socket) {
        Ok(Some(answer)) => {
            lane.keep();
            Ok(answer)
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            lane.bury(Duration::ZERO);
            Err(FutureError::Undecodable(error.to_string()))
        }
        // What it leaves of its last words is of no use.
        Ok(None) | Err(_) => {
            let pid = lane.child.id();
            Err(FutureError::BrokenWorker { pid, status: lane.bury(EXIT_LIMIT) })
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
    match write_call(&mut lane.socket, name, arguments) {
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
    socket: UnixStream,
    calls: u64,
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
        let child = command.spawn()?;
        // Its end of the socket is closed here, so that ours ends with it.
        drop(command);
        roster.pids().insert(child.id());
        let mut lane = Lane { child, socket, calls: 0, roster: Arc::clone(roster) };
        lane.socket.set_read_timeout(Some(START_LIMIT))?;
        let greeting = Answer::read(&mut lane.socket);
        if let Ok(Some(Answer::Hello)) = greeting {
            lane.socket.set_read_timeout(None)?;
            return Ok(lane);
        }
        Err(lane.not_ready(Duration::ZERO))
    }

    /// Has it run the initializer, if there is one.
    fn initialized(mut self) -> Result<Lane, Refusal> {
        let Some(first) = &self.roster.initializer else { return Ok(self) };
        let sent = write_call(&mut self.socket, &first.name, &first.arguments);
        let answer = sent.and_then(|()| Answer::read(&mut self.socket));
        let Ok(Some(answer)) = answer else { return Err(self.not_ready(EXIT_LIMIT).into()) };
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
        let how = match self.bury(limit) {
            Some(status) => status.to_string(),
            None => "nobody knows how".to_owned(),
        };
        io::Error::other(format!("the worker process {pid} ended before it was ready ({how})"))
    }

    /// This lane, unless its process has ended meanwhile.
    fn if_alive(mut self) -> Option<Lane> {
        match self.child.try_wait() {
            Ok(None) => Some(self),
            _ => {
                self.bury(Duration::ZERO);
                None
            }
        }
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
        // It may have ended already.
        let _ = write_quit(&mut self.socket);
        self.bury(EXIT_LIMIT);
    }

    /// Collects the process; kills it first when it does not end within the limit.
    fn bury(mut self, limit: Duration) -> Option<ExitStatus> {
        if !self.ends_within(limit) {
            // It may have ended this very moment.
            let _ = self.child.kill();
        }
        self.child.wait().ok()
    }

    fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let ended = pid.map(|pid| wait_ready(pidfd(pid)?.as_fd(), false, Some(deadline)));
        matches!(ended, Some(Ok(true)))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.roster.pids().remove(&self.child.id());
    }
}
