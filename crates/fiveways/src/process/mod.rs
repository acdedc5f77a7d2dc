//! Child processes for tasks, with the names of [`std::process`], and events shared by processes.
//!
//! A task that waits for a child, or for its output, is suspended and its worker runs others; a
//! plain thread blocks. The end of a child is detected by its pidfd, which becomes readable; the
//! parent's ends of its pipes are non-blocking and waited for through the driver. (Neither
//! processes nor events send signals: under the model `signal` they are polled, at intervals that
//! grow to 10 ms.)
//!
//! A dropped [`Child`] continues to run, as with std, unless [`Command::kill_on_drop`] is set; but
//! it does not become a zombie: a thread of this library, started for the first such child,
//! collects it when it ends.
//!
//! Everything that can fail is done before a program is started: an error of [`Command::spawn`]
//! means that it does not run. If SIGCHLD is ignored, the kernel collects children itself, and
//! their exit status is lost: waiting then fails with `ECHILD`, when the child has ended.
//!
//! # Examples
//!
//! ```
//! use fiveways::process::Command;
//!
//! # fn main() -> std::io::Result<()> {
//! let greeting = fiveways::task::spawn(|| Command::new("echo").arg("hello").output());
//! let output = greeting.join().expect("it did not panic")?;
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"hello\n");
//! # Ok(())
//! # }
//! ```

mod command;
mod child;
mod starter;
mod reaper;
mod pipe;
mod event;

pub use std::process::{ExitStatus, Output, Stdio};

pub use child::{Child, StatusLost};
pub use command::Command;
pub use event::SharedEvent;
pub use pipe::{ChildStderr, ChildStdin, ChildStdout};
