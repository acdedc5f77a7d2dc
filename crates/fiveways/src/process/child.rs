//! A running child process, and the list of those that nobody waits for.

use std::io;
use std::os::fd::AsFd;
use std::process::{ExitStatus, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fiveways_sys::errno;
use fiveways_sys::process::{self, Pid};

use crate::descriptor::Descriptor;
use crate::process::pipe::{ChildStderr, ChildStdin, ChildStdout, read_both};
use crate::signal::Signal;

/// Children whose handles were dropped before they had ended.
static ORPHANS: Mutex<Vec<std::process::Child>> = Mutex::new(Vec::new());

fn orphans() -> MutexGuard<'static, Vec<std::process::Child>> {
    // Nothing panics while it is held.
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects the orphans that have ended.
fn collect_orphans() {
    orphans().retain_mut(|child| matches!(child.try_wait(), Ok(None)));
}

/// A child process; as [`std::process::Child`].
///
/// # Differences from std
///
/// Dropped, it goes on running, as std's does, but it is collected when it has ended: see
/// [`process`](crate::process).
#[derive(Debug)]
pub struct Child {
    /// Its standard input, if piped.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if piped.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if piped.
    pub stderr: Option<ChildStderr>,
    /// There until the drop.
    inner: Option<std::process::Child>,
    /// Readable when it has ended.
    pidfd: Descriptor,
}

impl Child {
    /// Takes over a child that has just been started.
    pub(super) fn new(mut inner: std::process::Child) -> io::Result<Child> {
        collect_orphans();
        match parts(&mut inner) {
            Ok((pidfd, stdin, stdout, stderr)) => {
                Ok(Child { stdin, stdout, stderr, inner: Some(inner), pidfd })
            }
            Err(error) => {
                // Nobody could wait for it: as if it had not been started.
                let _ = inner.kill();
                orphans().push(inner);
                Err(error)
            }
        }
    }

    fn inner(&mut self) -> &mut std::process::Child {
        self.inner.as_mut().expect("there until the drop")
    }

    /// Its process number.
    #[doc(alias = "pid")]
    pub fn id(&self) -> u32 {
        self.inner.as_ref().expect("there until the drop").id()
    }

    /// Ends it by SIGKILL; does nothing if it has ended. Does not wait for that. Never suspends.
    ///
    /// # Errors
    ///
    /// The kernel's: it runs as another user now.
    pub fn kill(&mut self) -> io::Result<()> {
        self.inner().kill()
    }

    /// Asks it to end, by SIGTERM; does nothing if it has ended. Never suspends.
    ///
    /// # Errors
    ///
    /// As [`Child::send_signal`].
    pub fn terminate(&self) -> io::Result<()> {
        self.send_signal(crate::signal::SIGTERM)
    }

    /// Sends it a signal; does nothing if it has ended. Never suspends.
    ///
    /// # Errors
    ///
    /// The kernel's: no such signal, or it runs as another user now.
    #[doc(alias = "pidfd_send_signal")]
    pub fn send_signal(&self, signal: Signal) -> io::Result<()> {
        match process::send_signal(self.pidfd.as_fd(), signal) {
            Err(error) if error.raw_os_error() == Some(errno::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Tells how it ended, if it has. Never suspends.
    ///
    /// # Errors
    ///
    /// The kernel's: somebody else has collected it.
    #[doc(alias = "poll")]
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.inner().try_wait()
    }

    /// Closes its standard input and waits for its end. Called again it gives the same answer.
    ///
    /// # Suspends
    ///
    /// Until it has ended; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`; the child goes on.
    ///
    /// # Errors
    ///
    /// The kernel's: somebody else has collected it.
    #[doc(alias = "waitpid")]
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let ended = self.wait_by(None)?;
        Ok(ended.expect("without a deadline it has ended"))
    }

    /// Waits for its end within a time limit; `None`: it has not ended. Leaves its standard input
    /// as it is.
    ///
    /// # Suspends
    ///
    /// Until it has ended, or late; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`; the child goes on.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`].
    pub fn wait_timeout(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        self.wait_by(Instant::now().checked_add(limit))
    }

    /// `None`: the deadline came first.
    fn wait_by(&mut self, by: Option<Instant>) -> io::Result<Option<ExitStatus>> {
        loop {
            let ended = self.try_wait()?;
            if ended.is_some() || !self.pidfd.is_ready_by(false, by)? {
                return Ok(ended);
            }
        }
    }

    /// Closes its standard input, reads what it writes, however much of it to which of the two, and
    /// waits for its end.
    ///
    /// # Suspends
    ///
    /// Until it has ended and closed its output; a plain thread blocks.
    ///
    /// # Cancellation
    ///
    /// Fails with `ECANCELED`; the child goes on without anybody who reads its output.
    ///
    /// # Errors
    ///
    /// Of reading, and as [`Child::wait`].
    #[doc(alias = "communicate")]
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (stdout, stderr) = read_both(self.stdout.take(), self.stderr.take())?;
        Ok(Output { status: self.wait()?, stdout, stderr })
    }
}

type Parts = (Descriptor, Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>);

fn parts(child: &mut std::process::Child) -> io::Result<Parts> {
    let pid = Pid::from_raw(child.id() as i32).expect("a child has a number");
    let pidfd = Descriptor::new(process::pidfd(pid)?);
    let stdin = child.stdin.take().map(ChildStdin::try_from).transpose()?;
    let stdout = child.stdout.take().map(ChildStdout::try_from).transpose()?;
    let stderr = child.stderr.take().map(ChildStderr::try_from).transpose()?;
    Ok((pidfd, stdin, stdout, stderr))
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(mut inner) = self.inner.take()
            && let Ok(None) = inner.try_wait()
        {
            orphans().push(inner);
        }
        collect_orphans();
    }
}
