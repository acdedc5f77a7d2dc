//! Overflows name the task; all other faults end the process as before.
#![cfg(not(feature = "sanitizer"))] // the sanitizer has its own handlers
#![expect(unsafe_code, reason = "faults on purpose")]

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::thread;

use fiveways_coro::{
    DEFAULT_STACK_SIZE, Fiber, Guard, Stack, StackPool, State, install_overflow_handler,
    prepare_thread,
};

use crate::support::{fiber, in_a_child, stderr};

const OURS: &str = "has overflowed its stack of";

/// Uses the stack up.
#[inline(never)]
fn consume(levels: u64) -> u64 {
    let frame = black_box([levels; 16]);
    if levels == 0 { 0 } else { consume(black_box(levels - 1)) + frame[3] }
}

fn overflow_on(stack: Stack, name: &str) {
    let mut fiber = Fiber::new(stack, (), || {
        black_box(consume(u64::MAX));
    });
    fiber.set_name(name);
    fiber.resume();
}

fn prepare() {
    install_overflow_handler().expect("installed");
    install_overflow_handler().expect("the second time too");
    prepare_thread().expect("prepared");
}

fn assert_named(output: &Output, name: &str) {
    let text = stderr(output);
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{text}");
    let expected = format!(
        "fiveways: task '{name}' {OURS} 256 KiB (hint: spawn it with a larger one: \
         task::Builder::stack_size)\n"
    );
    assert!(text.contains(&expected), "{text}");
    assert_eq!(text.matches(OURS).count(), 1, "{text}");
}

#[test]
fn an_overflow_names_the_task() {
    let Some(output) = in_a_child("overflow::an_overflow_names_the_task", || {
        prepare();
        let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
        let others: Vec<_> = (0..40).map(|_| pool.take().expect("a stack")).collect();
        overflow_on(pool.take().expect("a stack"), "eager");
        drop(others);
    }) else {
        return;
    };
    assert_named(&output, "eager");
}

#[test]
fn an_overflow_over_a_protected_guard_names_the_task() {
    let test = "overflow::an_overflow_over_a_protected_guard_names_the_task";
    let Some(output) = in_a_child(test, || {
        prepare();
        let mut pool = StackPool::with_guard(DEFAULT_STACK_SIZE, Guard::Protect);
        overflow_on(pool.take().expect("a stack"), "");
    }) else {
        return;
    };
    assert_named(&output, "unnamed");
}

#[test]
fn an_overflow_is_named_where_the_kernel_refuses_cheap_guards() {
    let test = "overflow::an_overflow_is_named_where_the_kernel_refuses_cheap_guards";
    let Some(output) = in_a_child(test, || {
        // Cheap guards are refused in locked memory. Small programs may lock some, if not all.
        // SAFETY: required: none. It is a flag for future mappings.
        let locked = unsafe { libc::mlockall(libc::MCL_FUTURE | libc::MCL_ONFAULT) };
        assert_eq!(locked, 0, "mlockall");
        prepare();
        let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
        overflow_on(pool.take().expect("a stack"), "locked");
    }) else {
        return;
    };
    assert_named(&output, "locked");
}

#[test]
fn an_overflow_is_named_on_a_thread_that_had_no_alternate_stack() {
    let test = "overflow::an_overflow_is_named_on_a_thread_that_had_no_alternate_stack";
    let Some(output) = in_a_child(test, || {
        let thread = thread::spawn(|| {
            let none = libc::stack_t {
                ss_sp: std::ptr::null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: 0,
            };
            // SAFETY: required: not on that stack. This is no handler.
            unsafe { libc::sigaltstack(&raw const none, std::ptr::null_mut()) };
            prepare();
            overflow_on(Stack::alone(DEFAULT_STACK_SIZE).expect("a stack"), "bare");
        });
        let _ = thread.join();
    }) else {
        return;
    };
    assert_named(&output, "bare");
}

#[test]
fn an_overflow_of_a_fiber_that_another_has_resumed_names_the_inner() {
    let test = "overflow::an_overflow_of_a_fiber_that_another_has_resumed_names_the_inner";
    let Some(output) = in_a_child(test, || {
        prepare();
        let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
        let inner = pool.take().expect("a stack");
        let mut outer =
            Fiber::new(pool.take().expect("a stack"), (), move || overflow_on(inner, "inner"));
        outer.set_name("outer");
        outer.resume();
    }) else {
        return;
    };
    assert_named(&output, "inner");
}

#[test]
fn an_overflow_of_a_thread_is_reported_by_std() {
    let Some(output) = in_a_child("overflow::an_overflow_of_a_thread_is_reported_by_std", || {
        prepare();
        let thread = thread::Builder::new().name("plain".to_owned());
        let thread = thread.stack_size(256 * 1024).spawn(|| black_box(consume(u64::MAX)));
        let _ = thread.expect("started").join();
    }) else {
        return;
    };
    let text = stderr(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
    assert!(text.contains("thread 'plain'") && text.contains("has overflowed its stack"), "{text}");
    assert!(!text.contains("fiveways:"), "{text}");
}

/// Accesses memory that is not mapped.
fn stray(address: usize) {
    // SAFETY: required: valid memory, which this is not. The process is here to die of it.
    unsafe { (address as *mut u8).write_volatile(1) };
}

#[test]
fn a_stray_access_on_a_fiber_is_no_overflow() {
    let Some(output) = in_a_child("overflow::a_stray_access_on_a_fiber_is_no_overflow", || {
        prepare();
        let stack = Stack::alone(DEFAULT_STACK_SIZE).expect("a stack");
        Fiber::new(stack, (), || stray(16)).resume();
    }) else {
        return;
    };
    let text = stderr(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{text}");
    assert!(!text.contains(OURS), "{text}");
}

#[test]
fn a_stray_access_to_the_guard_from_elsewhere_dies_and_is_no_overflow() {
    let test = "overflow::a_stray_access_to_the_guard_from_elsewhere_dies_and_is_no_overflow";
    let Some(output) = in_a_child(test, || {
        prepare();
        let stack = Stack::alone(DEFAULT_STACK_SIZE).expect("a stack");
        let size = stack.size();
        let mut fiber = fiber(stack, (), |me| me.suspend());
        assert_eq!(fiber.resume(), State::Suspended);
        // The header is in the highest page, so that this is in the guard.
        let guard = fiber.as_raw().addr().get() - size;
        let _ = thread::spawn(move || stray(guard)).join();
    }) else {
        return;
    };
    let text = stderr(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{text}");
    assert!(!text.contains(OURS), "{text}");
}

#[test]
fn a_signal_that_was_sent_still_kills() {
    let Some(output) = in_a_child("overflow::a_signal_that_was_sent_still_kills", || {
        // SAFETY: required: none. It is the default action.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        prepare();
        // SAFETY: required: none. The process is here to die of it.
        unsafe { libc::raise(libc::SIGSEGV) };
    }) else {
        return;
    };
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{}", stderr(&output));
}
