//! What to run, and how: the builder of child processes.

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

/// A program to run, with its arguments and surroundings; as [`std::process::Command`].
///
/// # Differences from std
///
/// Children are [`Child`]ren of this library, for which tasks can wait. For settings that are not
/// here there is [`Command::as_std`].
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
    /// Have standard input, output and error been set?
    is_set: [bool; 3],
    kill_on_drop: bool,
}

impl Command {
    /// Makes a command that runs a program, which is looked for in `PATH`.
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

    /// Sets a variable of its environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.inner.env(name, value);
        self
    }

    /// Sets variables of its environment.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Command {
        self.inner.envs(variables);
        self
    }

    /// Leaves a variable out of its environment.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
        self.inner.env_remove(name);
        self
    }

    /// Leaves out all variables of this process.
    pub fn env_clear(&mut self) -> &mut Command {
        self.inner.env_clear();
        self
    }

    /// Sets the directory it begins in.
    #[doc(alias = "cwd")]
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Command {
        self.inner.current_dir(directory);
        self
    }

    /// Sets its standard input; otherwise it inherits ours (under [`Command::output`]: has none).
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Command {
        self.inner.stdin(stdin);
        self.is_set[0] = true;
        self
    }

    /// Sets its standard output; otherwise it inherits ours (under [`Command::output`]: is piped).
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Command {
        self.inner.stdout(stdout);
        self.is_set[1] = true;
        self
    }

    /// Sets its standard error; otherwise it inherits ours (under [`Command::output`]: is piped).
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Command {
        self.inner.stderr(stderr);
        self.is_set[2] = true;
        self
    }

    /// Has the child killed (SIGKILL) when its [`Child`] is dropped before it has ended: also by a
    /// cancelled or late [`Command::output`] or [`Command::status`]. Its own children live on.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// Lets it have an [`SharedEvent`], which it finds by this name with [`SharedEvent::from_env`].
    ///
    /// # Errors
    ///
    /// When there is no descriptor left.
    #[expect(unsafe_code, reason = "what runs between fork and exec must be safe there")]
    pub fn event(
        &mut self,
        name: impl AsRef<OsStr>,
        event: &SharedEvent,
    ) -> io::Result<&mut Command> {
        // A duplicate, so that it is there whatever becomes of the event; its number is free in the
        // child as it is here, and above those that are replaced.
        let fd = Arc::new(duplicate_high(event.as_fd())?);
        self.inner.env(name, fd.as_raw_fd().to_string());
        let keep = move || keep_on_exec(fd.as_fd());
        // SAFETY: required: safe between fork and exec. One system call is.
        unsafe { self.inner.pre_exec(keep) };
        Ok(self)
    }

    /// The command of the standard library in this one, for settings that are not here. What is set
    /// there of the standard streams is not known here.
    pub fn as_std(&mut self) -> &mut std::process::Command {
        &mut self.inner
    }

    /// Starts the program.
    ///
    /// For a task it is done by a thread that lives as long as the process: so to a child that asks
    /// for it (`PR_SET_PDEATHSIG`) the end of its parent is the end of the process, and what runs
    /// before the program ([`pre_exec`](CommandExt::pre_exec)) does not find itself on the worker.
    ///
    /// # Suspends
    ///
    /// For as long as the system takes to start a program, some hundred microseconds; a plain
    /// thread blocks.
    ///
    /// # Cancellation
    ///
    /// It is not interrupted: a child that has been started has a handle.
    ///
    /// # Errors
    ///
    /// When there is no such program, it may not be run, or no process or descriptor is left. Then
    /// it has not been started.
    #[track_caller]
    pub fn spawn(&mut self) -> io::Result<Child> {
        // Whatever is needed afterwards is made sure of before.
        let spare = pidfd(id())?;
        let mut started = start(&mut self.inner)?;
        Ok(Child::new(&mut started, spare, self.kill_on_drop))
    }

    /// Runs the program to its end and collects its output.
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
    /// As [`Command::spawn`] and [`Child::wait_with_output`].
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

    /// Makes what [`Command::output`] has set for itself inherited again.
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

    /// Runs the program to its end.
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
    /// As [`Command::spawn`] and [`Child::wait`].
    #[doc(alias = "system")]
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }
}

impl From<std::process::Command> for Command {
    /// Takes a command over. What is set of the standard streams counts as not set for
    /// [`Command::output`].
    fn from(inner: std::process::Command) -> Command {
        Command { inner, is_set: [false; 3], kill_on_drop: false }
    }
}
