//! The error numbers that drivers and the runtime name, positive as in errno(3) and
//! negated as in answers.

pub use libc::{
    EAGAIN, EALREADY, EBADF, ECANCELED, ECHILD, ECONNABORTED, ECONNRESET, EINPROGRESS, EINTR,
    EINVAL, EIO, EISCONN, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOTCONN, ENOTSOCK, ENOTTY, EOPNOTSUPP,
    EPERM, EPIPE, EPROTO, ESRCH, ETIMEDOUT,
};

/// `-EINPROGRESS`
pub const NEG_EINPROGRESS: i32 = -EINPROGRESS;
/// `-EALREADY`
pub const NEG_EALREADY: i32 = -EALREADY;
/// `-EISCONN`
pub const NEG_EISCONN: i32 = -EISCONN;
