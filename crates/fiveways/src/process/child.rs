//! A running child process.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ExitStatus, Output};
use std::time::{Duration, Instant};

use fiveways_runtime::clock;
use fiveways_sys::errno;
use fiveways_sys::process::child;
use fiveways_sys::process::generation::generation;
use fiveways_sys::process::{self, Patience, Pid};

use crate::descriptor::Descriptor;
use crate::process::pipe::{Both, ChildStderr, ChildStdin, ChildStdout};
use crate::process::reaper;
use crate::signal::Signal;

/// A child process; as [`std::process::Child`].
///
/// # Differences from std
///
/// A dropped child continues to run, as with std (unless
/// [`Command::kill_on_drop`](crate::process::Command::kill_on_drop) was set), but it is collected
/// when it ends: see [`process`](crate::process). Waits and signals use its pidfd, and never a
/// process id that may already belong to another process.
#[derive(Debug)]
pub struct Child {
    /// Its standard input, if piped.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if piped.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if piped.
    pub stderr: Option<ChildStderr>,
    pid: u32,
    state: State,
    kill_on_drop: bool,
    /// The process whose child it is: a fork does not kill it on drop.
    parent: u64,
    /// Its output on both streams, as far as it was read for [`Output`].
    collected: [Vec<u8>; 2],
}

/// The known state of a child.
#[derive(Debug)]
enum State {
    /// The descriptor becomes readable when it has ended.
    Started(Descriptor),
    /// No descriptor was left for it. It is requested again when it is needed.
    Unwatched,
    Ended(ExitStatus),
    /// Other code has collected it: for example the kernel, if SIGCHLD is ignored.
    Lost,
}

impl State {
    fn of(pid: u32) -> io::Result<State> {
        let pid = Pid::from_raw(pid as i32).expect("a child has a number");
        let opened = child::open(pid)?;
        Ok(opened.map_or(State::Lost, |pidfd| State::Started(Descriptor::new(pidfd))))
    }
}

/// The exit status of a child is unknown because other code has collected it; holds the output that
/// was read. The source of the error of [`Command::output`](crate::process::Command::output).
///
/// # Examples
///
/// ```
/// use fiveways::process::{Command, StatusLost};
///
/// # fn main() -> std::io::Result<()> {
/// let stdout = match Command::new("echo").arg("hello").output() {
///     Ok(output) => output.stdout,
///     // This program ignores SIGCHLD, or another part of it waits for any child.
///     Err(error) => match error.downcast::<StatusLost>() {
///         Ok(lost) => lost.stdout,
///         Err(error) => return Err(error),
///     },
/// };
/// assert_eq!(stdout, b"hello\n");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct StatusLost {
    /// The data from its standard output, if piped.
    pub stdout: Vec<u8>,
    /// The data from its standard error, if piped.
    pub stderr: Vec<u8>,
}

impl fmt::Display for StatusLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the exit status of the child is unknown: other code has collected it")
    }
}

impl std::error::Error for StatusLost {}

impl Child {
    /// Takes ownership of a child that has been started. It runs, so nothing here can fail. `spare`
    /// is a descriptor for the moment when one is needed.
    pub(super) fn new(
        inner: &mut std::process::Child,
        spare: OwnedFd,
        kill_on_drop: bool,
    ) -> Child {
        reaper::collect();
        drop(spare);
        let pid = inner.id();
        Child {
            stdin: inner.stdin.take().map(ChildStdin::of_child),
            stdout: inner.stdout.take().map(ChildStdout::of_child),
            stderr: inner.stderr.take().map(ChildStderr::of_child),
            pid,
            state: State::of(pid).unwrap_or(State::Unwatched),
            kill_on_drop,
            parent: generation(),
            collected: Default::default(),
        }
    }

    /// Returns its process id.
    #[doc(alias = "pid")]
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Kills it by SIGKILL, without waiting for its end; does nothing if it has ended.
    ///
    /// # Errors
    ///
    /// Those of [`Child::send_signal`].
    pub fn kill(&mut self) -> io::Result<()> {
        self.send_signal(process::Signal::KILL.as_raw())
    }

    /// Asks it to end, by SIGTERM; does nothing if it has ended.
    ///
    /// # Errors
    ///
    /// Those of [`Child::send_signal`].
    pub fn terminate(&self) -> io::Result<()> {
        self.send_signal(crate::signal::SIGTERM)
    }

    /// Sends it a signal; does nothing if it has ended.
    ///
    /// # Errors
    ///
    /// Any error of `pidfd_send_signal(2)`: `InvalidInput` if there is no such signal,
    /// `PermissionDenied` if the child now runs as another user.
    #[doc(alias = "pidfd_send_signal")]
    pub fn send_signal(&self, signal: Signal) -> io::Result<()> {
        let opened;
        let pidfd = match &self.state {
            State::Started(pidfd) => pidfd.as_fd(),
            State::Ended(_) | State::Lost => return Ok(()),
            State::Unwatched => {
                opened = State::of(self.pid)?;
                let State::Started(pidfd) = &opened else { return Ok(()) };
                pidfd.as_fd()
            }
        };
        match process::send_signal(pidfd, signal) {
            Err(error) if error.raw_os_error() == Some(errno::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Returns its exit status, if it has ended.
    ///
    /// # Errors
    ///
    /// `ECHILD` if other code has collected it, for example the kernel because SIGCHLD is ignored.
    /// An error if no descriptor is left for it; it may be called again.
    #[doc(alias = "poll")]
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(pidfd) = self.pidfd()? else { return self.ended().map(Some) };
        match child::collect(pidfd.as_fd(), Patience::Look) {
            Ok(None) => Ok(None),
            Ok(Some(status)) => {
                self.state = State::Ended(status);
                Ok(Some(status))
            }
            Err(error) => {
                if error.raw_os_error() == Some(errno::ECHILD) {
                    self.state = State::Lost;
                }
                Err(error)
            }
        }
    }

    /// Its pidfd, unless it is known to have ended.
    fn pidfd(&mut self) -> io::Result<Option<&Descriptor>> {
        if let State::Unwatched = self.state {
            self.state = State::of(self.pid)?;
        }
        match &self.state {
            State::Started(pidfd) => Ok(Some(pidfd)),
            _ => Ok(None),
        }
    }

    /// The exit status of a child that has ended.
    fn ended(&self) -> io::Result<ExitStatus> {
        match self.state {
            State::Ended(status) => Ok(status),
            _ => Err(io::Error::from_raw_os_error(errno::ECHILD)),
        }
    }

    /// Closes its standard input and waits for its end. Later calls return the same status.
    ///
    /// # Suspends
    ///
    /// Until it has ended; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`; the child continues.
    ///
    /// # Errors
    ///
    /// `ECHILD` if other code has collected it.
    #[doc(alias = "waitpid")]
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let ended = self.wait_by(None)?;
        Ok(ended.expect("without a deadline it has ended"))
    }

    /// Waits for its end, for at most `limit`; returns `None` if it has not ended. Does not close
    /// its standard input.
    ///
    /// # Suspends
    ///
    /// Until it has ended or the limit has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`; the child continues.
    ///
    /// # Errors
    ///
    /// Those of [`Child::wait`].
    pub fn wait_timeout(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        self.wait_by(clock::after(limit))
    }

    /// `None` if the deadline came first.
    fn wait_by(&mut self, by: Option<Instant>) -> io::Result<Option<ExitStatus>> {
        loop {
            let ended = self.try_wait()?;
            let Some(pidfd) = self.pidfd()? else { return Ok(ended) };
            if !pidfd.is_ready_by(false, by)? {
                return Ok(None);
            }
        }
    }

    /// Closes its standard input, reads its standard output and standard error at the same time,
    /// and waits for its end.
    ///
    /// # Suspends
    ///
    /// Until it has ended and closed its output; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`; the child continues, and its output is not read.
    ///
    /// # Errors
    ///
    /// Any error of reading, and those of [`Child::wait`]; if only the exit status is unknown, a
    /// [`StatusLost`] with the output.
    #[doc(alias = "communicate")]
    pub fn wait_with_output(self) -> io::Result<Output> {
        self.output(Both::new()?)
    }

    pub(super) fn output(mut self, both: Both) -> io::Result<Output> {
        drop(self.stdin.take());
        match self.output_by(&both, None) {
            Ok(output) => Ok(output.expect("without a deadline it has ended")),
            Err(error) if matches!(self.state, State::Lost) => {
                let [stdout, stderr] = mem::take(&mut self.collected);
                Err(io::Error::new(error.kind(), StatusLost { stdout, stderr }))
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Child::wait_with_output`], for at most `limit`; returns `None` if it has not ended, or
    /// other processes hold its output open. The output read so far is [kept](Child::collected),
    /// and a later call continues from there.
    ///
    /// # Suspends
    ///
    /// Until it has ended and closed its output or the limit has passed; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`; the child continues, and the output read so far is kept.
    ///
    /// # Errors
    ///
    /// Any error of reading, and those of [`Child::wait`]; the output read so far is kept.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use fiveways::process::{Command, Stdio};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo begun; exec sleep 600"]);
    /// command.stdout(Stdio::piped()).kill_on_drop(true);
    /// let mut child = command.spawn()?;
    /// while child.collected().0 != b"begun\n" {
    ///     assert!(child.wait_with_output_timeout(Duration::from_millis(50))?.is_none());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_with_output_timeout(&mut self, limit: Duration) -> io::Result<Option<Output>> {
        let by = clock::after(limit);
        drop(self.stdin.take());
        self.output_by(&Both::new()?, by)
    }

    /// Returns its standard output and standard error, as far as
    /// [`Child::wait_with_output_timeout`] has read them before it timed out or failed.
    pub fn collected(&self) -> (&[u8], &[u8]) {
        let [stdout, stderr] = &self.collected;
        (stdout, stderr)
    }

    fn output_by(&mut self, both: &Both, by: Option<Instant>) -> io::Result<Option<Output>> {
        if !both.read(&mut self.stdout, &mut self.stderr, &mut self.collected, by)? {
            return Ok(None);
        }
        let Some(status) = self.wait_by(by)? else { return Ok(None) };
        let [stdout, stderr] = mem::take(&mut self.collected);
        Ok(Some(Output { status, stdout, stderr }))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.parent != generation() {
            return;
        }
        if self.kill_on_drop {
            // At worst it now runs as another user.
            let _ = self.kill();
        }
        let may_run = !matches!(self.try_wait(), Ok(Some(_))) && !matches!(self.state, State::Lost);
        if may_run {
            let pidfd = match mem::replace(&mut self.state, State::Lost) {
                State::Started(pidfd) => Some(pidfd.into_fd()),
                _ => None,
            };
            reaper::leave(self.pid, pidfd);
        }
        reaper::collect();
    }
}
