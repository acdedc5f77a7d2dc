//! The reasons why there is no ring here, with what would help.

use std::error::Error;
use std::fmt;
use std::io;

use rustix::fs::{Mode, OFlags};

/// io_uring is not available here; the message names what is missing.
#[derive(Debug)]
pub struct Refused {
    message: String,
    cause: Option<io::Error>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as &(dyn Error + 'static))
    }
}

fn refused(kind: io::ErrorKind, message: String, cause: Option<io::Error>) -> io::Error {
    io::Error::new(kind, Refused { message, cause })
}

/// The kernel has io_uring, but not enough of it.
pub(super) fn lacking(what: &str, cause: Option<io::Error>) -> io::Error {
    refused(io::ErrorKind::Unsupported, format!("io_uring of this kernel lacks {what}"), cause)
}

/// Explains why a ring could not be set up. Other errors pass through.
pub(super) fn explain_set_up(error: io::Error) -> io::Error {
    let message = match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            let message = "this kernel has no io_uring (or a filter hides it)".to_owned();
            return refused(io::ErrorKind::Unsupported, message, Some(error));
        }
        Some(libc::EPERM | libc::EACCES) => forbidden_by(disabled_setting()),
        Some(libc::ENOMEM) => "io_uring is refused here: no memory for its queues \
             (before Linux 5.12 they count against RLIMIT_MEMLOCK)"
            .to_owned(),
        Some(libc::EINVAL) => return lacking("every way of setting it up", Some(error)),
        _ => return error,
    };
    refused(io::ErrorKind::PermissionDenied, message, Some(error))
}

/// Names the origin of a prohibition, from the value of `kernel.io_uring_disabled`.
fn forbidden_by(setting: Option<u8>) -> String {
    match setting {
        Some(b'2') => "io_uring is refused here: kernel.io_uring_disabled = 2".to_owned(),
        Some(b'1') => "io_uring is refused here: kernel.io_uring_disabled = 1 and this process \
                       is not in the group kernel.io_uring_group"
            .to_owned(),
        _ => "io_uring is refused here: a filter (seccomp, as in most containers) or a security \
              module forbids io_uring_setup"
            .to_owned(),
    }
}

/// Returns the first character of the setting, if the kernel has it.
fn disabled_setting() -> Option<u8> {
    let path = c"/proc/sys/kernel/io_uring_disabled";
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut value = [0_u8; 1];
    let len = rustix::io::read(&file, &mut value).ok()?;
    (len == 1).then_some(value[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(errno: i32) -> String {
        explain_set_up(io::Error::from_raw_os_error(errno)).to_string()
    }

    #[test]
    fn each_refusal_names_what_is_missing() {
        assert!(message(libc::ENOSYS).contains("no io_uring"));
        assert!(message(libc::EPERM).contains("io_uring is refused here"));
        assert!(message(libc::EINVAL).contains("lacks"));
        assert!(forbidden_by(Some(b'2')).ends_with("kernel.io_uring_disabled = 2"));
        assert!(forbidden_by(Some(b'1')).contains("kernel.io_uring_group"));
        assert!(forbidden_by(Some(b'0')).contains("seccomp"));
        assert!(forbidden_by(None).contains("seccomp"));
    }

    #[test]
    fn what_is_no_refusal_passes_through() {
        let error = explain_set_up(io::Error::from_raw_os_error(libc::EMFILE));
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    }
}
