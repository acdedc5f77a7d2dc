//! Refusals of the ring: by a filter that answers for the kernel, on a thread of its own.
#![expect(unsafe_code, reason = "installs a filter that answers for the kernel")]

use std::error::Error;
use std::ffi::{c_int, c_ulong};
use std::io;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::thread;

use fiveways_driver::{Model, Options, Uring, open};

use crate::support::{Rig, connected};

const IO_URING_SETUP: u32 = 425;
const IO_URING_ENTER: u32 = 426;
const IO_URING_REGISTER: u32 = 427;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EINVAL: u32 = 22;

/// One instruction of a filter, as in seccomp(2).
#[repr(C)]
struct Instruction(u16, u8, u8, u32);

#[repr(C)]
struct Program(u16, *const Instruction);

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
}

/// Answers a system call of this thread with an error, from now on.
fn forbid(call: u32, errno: u32) {
    const LOAD_NUMBER: Instruction = Instruction(0x20, 0, 0, 0);
    const ALLOW: Instruction = Instruction(0x06, 0, 0, 0x7fff_0000);
    let filter = [
        LOAD_NUMBER,
        Instruction(0x15, 0, 1, call),
        Instruction(0x06, 0, 0, 0x0005_0000 | errno),
        ALLOW,
    ];
    let program = Program(filter.len() as u16, filter.as_ptr());
    let (one, zero): (c_ulong, c_ulong) = (1, 0);
    // SAFETY: required: arguments as documented for PR_SET_NO_NEW_PRIVS.
    let first = unsafe { prctl(38, one, zero, zero, zero) };
    let mode: c_ulong = 2;
    // SAFETY: required: a valid program for PR_SET_SECCOMP. It is a local and copied by the kernel.
    let second = unsafe { prctl(22, mode, &raw const program) };
    assert_eq!((first, second), (0, 0), "{}", io::Error::last_os_error());
}

/// Opens a ring on a thread where one call is forbidden.
fn refused(call: u32, errno: u32) -> io::Error {
    let opened = thread::spawn(move || {
        forbid(call, errno);
        Uring::open(&Options::default().uring).map(drop)
    });
    opened.join().expect("no panic").expect_err("refused")
}

#[test]
fn a_filter_that_forbids_it_is_named() {
    let error = refused(IO_URING_SETUP, EPERM);
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert!(error.to_string().starts_with("io_uring is refused here"), "{error}");
    let cause = error.get_ref().and_then(Error::source).expect("the kernel's answer");
    assert!(cause.to_string().contains("os error 1"), "{cause}");
}

#[test]
fn a_kernel_without_it_is_named() {
    let error = refused(IO_URING_SETUP, ENOSYS);
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("no io_uring"), "{error}");
}

#[test]
fn a_kernel_with_too_little_of_it_is_named() {
    let error = refused(IO_URING_REGISTER, EINVAL);
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("lacks"), "{error}");
}

#[test]
fn auto_takes_another_driver_and_says_why() {
    let opened = thread::spawn(|| {
        forbid(IO_URING_SETUP, EPERM);
        let opened = open(Model::Auto, &Options::default()).expect("another driver");
        (opened.driver.model(), opened.fell_back)
    });
    let (model, why) = opened.join().expect("no panic");
    assert_eq!(model, Model::Epoll);
    assert!(why.expect("the reason").contains("io_uring is refused here"));
}

static KEPT: AtomicPtr<Rig> = AtomicPtr::new(std::ptr::null_mut());

#[test]
fn a_turn_that_finds_nothing_makes_no_system_call() {
    let looked = thread::spawn(|| {
        let mut rig = Rig::new();
        let (_ours, source, mut peer) = connected(&mut rig);
        io::Write::write_all(&mut peer, b"x").expect("sent");
        rig.fill(source).expect("bytes");
        rig.look();
        // From here on entering the ring fails the turn.
        forbid(IO_URING_ENTER, EPERM);
        for _ in 0..1000 {
            assert_eq!(rig.look(), 0);
        }
        // It cannot end without entering: kept, where a search for leaks finds it.
        KEPT.store(Box::into_raw(Box::new(rig)), Ordering::Relaxed);
    });
    looked.join().expect("no panic");
}
