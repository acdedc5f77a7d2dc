//! Functions that write to the socket of their worker, and functions that fork.
#![expect(unsafe_code, reason = "a function of a user may fork")]

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use fiveways::executor::FutureError;
use fiveways_tests::leaks::descriptor_count;
use fiveways_tests::patience::{LONG, eventually};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Signal;

use crate::functions::{
    fork as fork_over_there, fork_and_abort, pool, say as say_over_there, say_and_abort, say_later,
    square,
};
use crate::processes::{is_alive, send};
use crate::support::{error, value};

/// Writes frames to all sockets of this process, with a descriptor.
pub(crate) fn say(frames: &[Vec<u8>]) {
    for number in 3..64 {
        // SAFETY: required: it is open. Where it is not the kernel says so.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        for frame in frames {
            let stdin = [std::os::fd::AsFd::as_fd(&std::io::stdin())
                .try_clone_to_owned()
                .expect("room for one more")];
            let fds = stdin.each_ref().map(std::os::fd::AsFd::as_fd);
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)), "room for one");
            // It may be no socket, or not open.
            let _ = sendmsg(fd, &[IoSlice::new(frame)], &mut control, SendFlags::NOSIGNAL);
        }
    }
}

/// Forks this process with all its threads but this one.
pub(crate) fn fork() -> u32 {
    // SAFETY: required: what the copy does is safe after a fork. It allocates, which glibc allows.
    let copy = unsafe { libc::fork() };
    u32::try_from(copy).expect("there is room for one more process")
}

/// Bytes that might be taken for something: frames with and without a number, greetings, nonsense.
fn sayings() -> Vec<Vec<Vec<u8>>> {
    let unnumbered = |kind: u8, body: &[u8]| {
        [&(1 + body.len() as u64).to_le_bytes()[..], &[kind], body].concat()
    };
    let numbered = |number: u64, kind: u8, body: &[u8]| {
        [&(body.len() as u64).to_le_bytes()[..], &number.to_le_bytes(), &[kind], body].concat()
    };
    vec![
        vec![unnumbered(1, &[5])],
        vec![unnumbered(0, &[])],
        vec![numbered(0, 0, &[])],
        (0..4).map(|number| numbered(number, 1, &[5])).collect(),
        vec![vec![255; 4096]],
        vec![unnumbered(1, &[5; 100])[..20].to_vec()],
        vec![vec![0]],
    ]
}

/// C36: whatever a function says, no call is given the value of another.
pub(crate) fn a_function_that_writes_a_frame_shifts_no_answer() {
    let before = descriptor_count();
    for frames in sayings() {
        let pool = pool(1);
        let began = Instant::now();
        match pool.submit(say_over_there::call(frames.clone())).expect("open").result() {
            Err(FutureError::BrokenWorker { status, .. }) => {
                let status = status.expect("we collected it");
                assert_eq!(status.signal(), Some(9), "{frames:?}");
            }
            other => panic!("{other:?} after {frames:?}"),
        }
        for x in [10, 20, 30] {
            assert_eq!(value(pool.submit(square::call(x))), x * x, "{frames:?}");
        }
        assert!(began.elapsed() < LONG / 2, "nobody waited for what was promised");
    }
    assert_eq!(descriptor_count(), before);
}

/// C36: what is said between two calls breaks a worker, and takes no call with it that had not
/// begun.
pub(crate) fn a_frame_between_two_calls_shifts_no_answer() {
    for frames in sayings() {
        let pool = pool(1);
        for x in 0..10 {
            let said = pool.submit(say_later::call(frames.clone()));
            let squared = pool.submit(square::call(x));
            for (future, expected) in [(said, 5), (squared, x * x)] {
                match future.expect("open").result_timeout(LONG) {
                    Ok(value) => assert_eq!(value, expected, "{frames:?}"),
                    // It came in the middle of the call.
                    Err(FutureError::BrokenWorker { .. }) => {}
                    Err(error) => panic!("{error} after {frames:?}"),
                }
            }
        }
    }
}

/// C36: a worker that dies with an answer half written is told as any that dies.
pub(crate) fn an_answer_cut_short_tells_how_its_worker_ended() {
    let pool = pool(1);
    // Less than the head of a frame.
    let told = error(pool.submit(say_and_abort::call(vec![vec![7; 8]])));
    let FutureError::BrokenWorker { pid, status } = told else { panic!("{told}") };
    assert!(pid > 0 && status.expect("we collected it").signal() == Some(6), "{status:?}");
    assert_eq!(value(pool.submit(square::call(4))), 16);
}

/// C36: a copy that comes back from the function does not answer, and does not stay.
pub(crate) fn a_copy_of_a_worker_never_answers_and_ends_itself() {
    let pool = pool(1);
    for panics in [true, false, true] {
        let copy = value(pool.submit(fork_over_there::call(panics)));
        for x in [10, 20] {
            assert_eq!(value(pool.submit(square::call(x))), x * x);
        }
        eventually("the copy ends", || !is_alive(copy));
    }
}

/// C36: a copy that lives on, with the worker's end of the socket, keeps nobody waiting.
pub(crate) fn a_copy_that_lives_on_does_not_hide_the_end_of_its_worker() {
    let pool = pool(1);
    let file = std::env::temp_dir().join(format!("fiveways-copy-{}", std::process::id()));
    let told = error(pool.submit(fork_and_abort::call(file.clone())));
    let copy = std::fs::read_to_string(&file).expect("it was written");
    send(copy.parse().expect("a number"), Signal::KILL);
    std::fs::remove_file(file).expect("it is there");
    let FutureError::BrokenWorker { status, .. } = told else { panic!("{told}") };
    assert_eq!(status.expect("we collected it").signal(), Some(6));
    assert_eq!(value(pool.submit(square::call(4))), 16);
}
