//! Child processes for tasks, with the names of [`std::process`], and events across processes.
//!
//! A task that waits for a child, or for its output, is suspended and its worker serves others; a
//! plain thread blocks. The end of a child is seen through its pidfd, which becomes readable; its
//! pipes are non-blocking at our end, which is ours alone, and waited for through the driver.
//! (Neither processes nor events send signals: under the model `signal` they are looked at again
//! and again, every 10 ms in the end.)
//!
//! A dropped [`Child`] goes on running, as std's does, unless [`Command::kill_on_drop`] says
//! otherwise; but it does not stay behind as a zombie: a thread of this library, started for the
//! first of them, collects it when it has ended.
//!
//! Everything that can fail is done before a program is started: an error of [`Command::spawn`]
//! means that it does not run. Where SIGCHLD is ignored the kernel collects children by itself, and
//! nobody can tell how they ended: then waiting fails with `ECHILD`, when the child has ended.
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
