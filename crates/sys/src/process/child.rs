//! A child process by its pidfd, which never refers to another process.
//!
//! The id of a process is free again as soon as the process has been collected, and other code may
//! collect it at any time: the kernel at once if SIGCHLD is ignored (`SA_NOCLDWAIT`), or a wait for
//! any child. So children are waited for and sent signals by descriptor; the id is used once, to
//! [`open`] it.
//!
//! References: pidfd_open(2), waitid(2) (`P_PIDFD`, Linux 5.4), wait(2) on ignored SIGCHLD.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};

use crate::process::{Patience, Pid, pidfd};

/// Opens the pidfd of a child, which becomes readable when the child has ended; returns `None` if
/// this process has no such child, because it has ended and been collected.
///
/// # Errors
///
/// `EMFILE` or `ENFILE` if no descriptor is left; `ENOSYS` before Linux 5.3.
pub fn open(child: Pid) -> io::Result<Option<OwnedFd>> {
    let opened = match pidfd(child) {
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(None),
        opened => opened?,
    };
    // The id may belong to another process by now: that one is no child of ours.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::PidFd(opened.as_fd()), look) {
        Err(Errno::CHILD) => Ok(None),
        looked => looked.map(|_| Some(opened)).map_err(io::Error::from),
    }
}

/// Collects the child; returns `None` if it runs and `patience` is [`Patience::Look`].
///
/// # Errors
///
/// `ECHILD` if it has been collected by other code.
pub fn collect(pidfd: BorrowedFd<'_>, patience: Patience) -> io::Result<Option<ExitStatus>> {
    let options = match patience {
        Patience::Sleep => WaitIdOptions::EXITED,
        Patience::Look => WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
    };
    let ended = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd), options))?;
    Ok(ended.as_ref().map(status))
}

/// Formats the status as std does.
fn status(ended: &WaitIdStatus) -> ExitStatus {
    let dumped = if ended.dumped() { 0x80 } else { 0 };
    let by_signal = || ended.terminating_signal().map(|signal| signal | dumped);
    let exited = ended.exit_status().map(|status| (status & 0xff) << 8);
    ExitStatus::from_raw(exited.or_else(by_signal).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn start(script: &str) -> (Child, Pid) {
        let child = Command::new("sh").args(["-c", script]).spawn().expect("sh starts");
        let pid = Pid::from_raw(child.id() as i32).expect("a child has a positive id");
        (child, pid)
    }

    #[test]
    fn a_child_is_collected_once_and_then_it_is_nobody() {
        for (script, expected) in
            [("exit 7", "exit status: 7"), ("kill -9 $$", "signal: 9 (SIGKILL)")]
        {
            let (mut child, pid) = start(script);
            let pidfd = open(pid).expect("a descriptor").expect("not collected yet");
            let status = collect(pidfd.as_fd(), Patience::Sleep).expect("ours").expect("it ended");
            assert_eq!(status.to_string(), expected);
            let again = collect(pidfd.as_fd(), Patience::Look).expect_err("it is collected");
            assert_eq!(again.raw_os_error(), Some(Errno::CHILD.raw_os_error()));
            assert!(open(pid).expect("no error").is_none());
            child.wait().expect_err("as std finds");
        }
    }

    #[test]
    fn a_process_that_is_no_child_of_ours_is_not_opened() {
        assert!(open(crate::process::id()).expect("no error").is_none());
        let parent = crate::process::parent_id().expect("we were started");
        assert!(open(parent).expect("no error").is_none());
    }
}
