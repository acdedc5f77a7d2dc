//! Timeouts as the kernel takes them.

use std::time::Duration;

/// Turns a duration into a `timespec`, cut at 2³¹ − 1 seconds (68 years).
///
/// Who waits longer waits again: a return without result before the deadline is not the deadline.
#[inline]
pub fn timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: timeout.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: timeout.subsec_nanos() as _,
    }
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
}
