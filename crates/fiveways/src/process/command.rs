//! The builder of child processes.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;

use fiveways_sys::pipe::{duplicate_high, keep_on_exec};
use fiveways_sys::process::{id, pidfd};

use crate::process::child::Child;
use crate::process::event::SharedEvent;
use crate::process::pipe::Both;
use crate::process::starter::start;

/// A program to run, with its arguments and environment; as [`std::process::Command`].
///
/// # Differences from std
///
/// Children are [`Child`]ren of this library, for which tasks can wait. For settings without a
/// method here, use [`Command::as_std`].
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use fiveways::process::{Command, Stdio};
///
/// # fn main() -> std::io::Result<()> {
/// let mut child = Command::new("tr").args(["a-z", "A-Z"])
///     .stdin(Stdio::piped())
///     .stdout(Stdio::piped())
///     .spawn()?;
/// child.stdin.take().expect("piped").write_all(b"shout")?;
/// let mut answer = String::new();
/// child.stdout.take().expect("piped").read_to_string(&mut answer)?;
/// assert_eq!(answer, "SHOUT");
/// assert!(child.wait()?.success());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[doc(alias = "Popen")]
pub struct Command {
    inner: std::process::Command,
    /// Whether standard input, output and error have been set.
    is_set: [bool; 3],
    kill_on_drop: bool,
}

impl Command {
    /// Makes a command that runs a program, which is searched in `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command::from(std::process::Command::new(program))
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Command {
        self.inner.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.inner.env(name, value);
        self
    }

    /// Sets environment variables.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Command {
        self.inner.envs(variables);
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
        self.inner.env_remove(name);
        self
    }

    /// Removes all environment variables.
    pub fn env_clear(&mut self) -> &mut Command {
        self.inner.env_clear();
        self
    }

    /// Sets its working directory.
    #[doc(alias = "cwd")]
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Command {
        self.inner.current_dir(directory);
        self
    }

    /// Sets its standard input; the default is inherited (for [`Command::output`]: none).
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Command {
        self.inner.stdin(stdin);
        self.is_set[0] = true;
        self
    }

    /// Sets its standard output; the default is inherited (for [`Command::output`]: piped).
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Command {
        self.inner.stdout(stdout);
        self.is_set[1] = true;
        self
    }

    /// Sets its standard error; the default is inherited (for [`Command::output`]: piped).
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Command {
        self.inner.stderr(stderr);
        self.is_set[2] = true;
        self
    }

    /// Sets whether the child is killed (SIGKILL) if its [`Child`] is dropped before it has ended,
    /// or if [`Command::output`] or [`Command::status`] is cancelled or times out. Its own children
    /// live on.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// Passes a [`SharedEvent`] to the child, which opens it by this name with
    /// [`SharedEvent::from_env`].
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    #[expect(unsafe_code, reason = "what runs between fork and exec must be safe there")]
    pub fn event(
        &mut self,
        name: impl AsRef<OsStr>,
        event: &SharedEvent,
    ) -> io::Result<&mut Command> {
        // A duplicate, so that it exists whatever happens to the event; its number is free in the
        // child as it is here, and above those that are replaced.
        let fd = Arc::new(duplicate_high(event.as_fd())?);
        self.inner.env(name, fd.as_raw_fd().to_string());
        let keep = move || keep_on_exec(fd.as_fd());
        // SAFETY: required: safe between fork and exec. One system call is.
        unsafe { self.inner.pre_exec(keep) };
        Ok(self)
    }

    /// Returns the underlying command of the standard library, for settings without a method here.
    /// Standard streams that are set there are not known here.
    pub fn as_std(&mut self) -> &mut std::process::Command {
        &mut self.inner
    }

    /// Starts the program.
    ///
    /// In a task this is done by a thread that lives as long as the process: so for a child that
    /// asks for it (`PR_SET_PDEATHSIG`) the end of its parent is the end of the process, and code
    /// that runs before the program ([`pre_exec`](CommandExt::pre_exec)) does not run on the
    /// worker.
    ///
    /// # Suspends
    ///
    /// For as long as the system takes to start a program, some hundred microseconds; a plain
    /// thread blocks.
    ///
    /// # Cancellation
    ///
    /// Is not interrupted: the handle of a started child is always returned.
    ///
    /// # Errors
    ///
    /// If there is no such program, it must not be executed, or no process or descriptor is left.
    /// Then the program has not been started.
    #[track_caller]
    pub fn spawn(&mut self) -> io::Result<Child> {
        // Everything that is needed afterwards is allocated before.
        let spare = pidfd(id())?;
        let mut started = start(&mut self.inner)?;
        Ok(Child::new(&mut started, spare, self.kill_on_drop))
    }

    /// Runs the program until it ends and collects its output.
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
    /// Those of [`Command::spawn`] and [`Child::wait_with_output`].
    #[doc(alias = "check_output")]
    pub fn output(&mut self) -> io::Result<Output> {
        let [stdin, stdout, stderr] = self.is_set;
        if !stdin {
            self.inner.stdin(Stdio::null());
        }
        if !stdout {
            self.inner.stdout(Stdio::piped());
        }
        if !stderr {
            self.inner.stderr(Stdio::piped());
        }
        let both = Both::new();
        let child = both.and_then(|both| Ok((self.spawn()?, both)));
        self.set_back();
        let (child, both) = child?;
        child.output(both)
    }

    /// Resets the streams that [`Command::output`] has set for itself to inherited.
    fn set_back(&mut self) {
        let [stdin, stdout, stderr] = self.is_set;
        if !stdin {
            self.inner.stdin(Stdio::inherit());
        }
        if !stdout {
            self.inner.stdout(Stdio::inherit());
        }
        if !stderr {
            self.inner.stderr(Stdio::inherit());
        }
    }

    /// Runs the program until it ends.
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
    /// Those of [`Command::spawn`] and [`Child::wait`].
    #[doc(alias = "system")]
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }
}

impl From<std::process::Command> for Command {
    /// Takes ownership of a command. Its standard streams count as not set for [`Command::output`].
    fn from(inner: std::process::Command) -> Command {
        Command { inner, is_set: [false; 3], kill_on_drop: false }
    }
}
