//! Timeouts as the kernel takes them.

use std::time::Duration;

/// Turns a duration into a `timespec`, cut at 2³¹ − 1 seconds (68 years).
///
/// The caller of a longer wait waits again: a return without result before the deadline is not the
/// deadline.
#[inline]
pub fn timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: timeout.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: timeout.subsec_nanos() as _,
    }
}

/// Turns a duration into the bytes of a `timeval`, as `SO_RCVTIMEO` and `SO_SNDTIMEO` take it:
/// rounded up, so that it is zero (no limit) only if the duration is.
pub fn timeval_bytes(timeout: Duration) -> [u8; size_of::<libc::timeval>()] {
    let micros = timeout.as_nanos().div_ceil(1000);
    let seconds = libc::time_t::try_from(micros / 1_000_000).unwrap_or(libc::time_t::MAX);
    let rest = (micros % 1_000_000) as libc::suseconds_t;
    let mut value = [0; size_of::<libc::timeval>()];
    let (first, last) = value.split_at_mut(size_of::<libc::time_t>());
    first.copy_from_slice(&seconds.to_ne_bytes());
    last[..size_of_val(&rest)].copy_from_slice(&rest.to_ne_bytes());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_duration_is_cut_and_not_wrapped() {
        assert_eq!(timespec(Duration::MAX).tv_sec, libc::time_t::from(i32::MAX));
        let short = timespec(Duration::from_nanos(1_000_000_007));
        assert_eq!((short.tv_sec, short.tv_nsec), (1, 7));
    }

    #[test]
    fn a_limit_of_a_nanosecond_is_not_none() {
        assert!(timeval_bytes(Duration::from_nanos(1)).iter().any(|byte| *byte != 0));
        assert!(timeval_bytes(Duration::ZERO).iter().all(|byte| *byte == 0));
    }
}
