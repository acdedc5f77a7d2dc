//! Copies bytes that arrived ahead into the memory of a reader that wants them there.
#![expect(unsafe_code, reason = "the reader's memory arrives as pointers inside operations")]

use std::ptr;

use fiveways_sys::message::Header;

/// Copies into `buf` from position `at`; answers how many bytes it took.
///
/// # Safety
///
/// `buf` must be valid for writes of `len` bytes, and `at` no more than `len`.
pub(super) unsafe fn into_buf(bytes: &[u8], buf: *mut u8, len: usize, at: usize) -> usize {
    let count = bytes.len().min(len - at);
    // SAFETY: required: within the buffer. `at` is no more than `len`.
    let to = unsafe { buf.add(at) };
    // SAFETY: required: both valid for `count` bytes, no overlap. The reader's memory is not ours.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, count) };
    count
}

/// Says in a message header that no address, control data or flags came with the bytes.
///
/// # Safety
///
/// `header` must be valid for writes.
pub(super) unsafe fn clear_extras(header: *mut Header) {
    // SAFETY: required: valid for writes; passed on to our caller.
    let header = unsafe { &mut *header };
    header.msg_namelen = 0;
    header.msg_controllen = 0;
    header.msg_flags = 0;
}

/// Copies into the buffers of a message header from position `at` on; answers how many bytes it
/// took.
///
/// # Safety
///
/// `header` must be valid and point at valid buffers.
pub(super) unsafe fn into_message(bytes: &[u8], header: *const Header, at: usize) -> usize {
    // SAFETY: required: valid for reads; passed on to our caller.
    let header = unsafe { &*header };
    let (first, count) = (header.msg_iov, header.msg_iovlen);
    let (mut skip, mut copied) = (at, 0);
    for index in 0..count {
        // SAFETY: required: within the array. `index` is less than its length.
        let buffer = unsafe { first.add(index) };
        // SAFETY: required: valid for reads. By our contract.
        let buffer = unsafe { &*buffer };
        let (buf, len) = (buffer.iov_base.cast::<u8>(), buffer.iov_len);
        let within = skip.min(len);
        skip -= within;
        // SAFETY: required: valid for `len` bytes, `within` no more. By our contract, and cut.
        copied += unsafe { into_buf(&bytes[copied..], buf, len, within) };
        if copied == bytes.len() {
            break;
        }
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
    use fiveways_sys::message::Message;
    use std::io::IoSliceMut;

    #[test]
    fn bytes_are_scattered_over_buffers_from_a_position_on() {
        let (mut a, mut b, mut c) = ([b'.'; 3], [b'.'; 2], [b'.'; 4]);
        let mut buffers = [&mut a[..], &mut b[..], &mut c[..]].map(IoSliceMut::new);
        let mut message = Message::new();
        // SAFETY: required: valid buffers that outlive the header. They do.
        unsafe { message.buffers(buffers.as_mut_ptr().cast_const().cast(), 3) };
        let header = message.prepare();
        // SAFETY: required: a prepared header with valid buffers.
        assert_eq!(unsafe { into_message(b"abcd", header, 0) }, 4);
        // SAFETY: as above.
        assert_eq!(unsafe { into_message(b"efghijkl", header, 4) }, 5);
        assert_eq!((&a, &b, &c), (b"abc", b"de", b"fghi"));
    }
}
