//! Running out of stacks is an error, and the program goes on.
#![cfg(not(feature = "sanitizer"))] // which needs terabytes of address space, and mappings

use std::fs;
use std::io;

use fiveways_coro::{DEFAULT_STACK_SIZE, Fiber, Guard, Stack, StackPool, State};

use crate::support::{in_a_child, stderr};

/// Takes stacks until there are no more.
fn exhaust(pool: &mut StackPool) -> (Vec<Stack>, io::Error) {
    let mut stacks = Vec::with_capacity(200_000);
    loop {
        match pool.take() {
            Ok(stack) => stacks.push(stack),
            Err(error) => return (stacks, error),
        }
        assert!(stacks.len() < 200_000, "no limit");
    }
}

fn assert_clear(error: &io::Error) {
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    let text = error.to_string();
    assert!(text.contains("no memory for a stack of 256 KiB beside"), "{text}");
    assert!(text.contains("vm.max_map_count"), "{text}");
    let source = error.get_ref().and_then(|error| error.source()).expect("the kernel's answer");
    assert!(source.to_string().contains("memory"), "{source}");
}

fn run_on(stack: Stack) -> Stack {
    let mut fiber = Fiber::new(stack, (), || ());
    assert_eq!(fiber.resume(), State::Finished);
    fiber.into_stack()
}

#[test]
fn out_of_address_space_is_an_error_and_what_was_taken_works() {
    let test = "limits::out_of_address_space_is_an_error_and_what_was_taken_works";
    let Some(output) = in_a_child(test, || {
        let room = Some(1 << 30);
        let limit = rustix::process::Rlimit { current: room, maximum: room };
        rustix::process::setrlimit(rustix::process::Resource::As, limit).expect("lowered");
        let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
        let (stacks, error) = exhaust(&mut pool);
        assert_clear(&error);
        // Slabs get smaller when large ones do not fit: little is left unused.
        let most = (1 << 30) / (DEFAULT_STACK_SIZE + (64 << 10));
        assert!(stacks.len() > most / 4 * 3, "{} of {most}", stacks.len());
        // Each is counted once, whether it is in the pool or not.
        let others = format!(" beside {} others: ", stacks.len());
        assert!(error.to_string().contains(&others), "{error}");
        let alone = Stack::alone(DEFAULT_STACK_SIZE).expect_err("there is no room");
        assert!(alone.to_string().contains(&others), "{alone}");
        assert_eq!(pool.live(), stacks.len());
        for stack in stacks {
            pool.give(run_on(stack));
        }
        assert_eq!(pool.live(), 0);
        pool.take().expect("a pooled one");
    }) else {
        return;
    };
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn out_of_mappings_is_an_error_and_what_was_taken_works() {
    let test = "limits::out_of_mappings_is_an_error_and_what_was_taken_works";
    let most = fs::read_to_string("/proc/sys/vm/max_map_count").expect("a limit");
    let most: usize = most.trim().parse().expect("a number");
    if most > 300_000 {
        eprintln!("not tested: vm.max_map_count is {most}");
        return;
    }
    let Some(output) = in_a_child(test, || {
        let mut pool = StackPool::with_guard(DEFAULT_STACK_SIZE, Guard::Protect);
        let (stacks, error) = exhaust(&mut pool);
        assert_clear(&error);
        assert!((most / 2 - 1_000..most / 2).contains(&stacks.len()), "{}", stacks.len());
        for stack in stacks {
            pool.give(run_on(stack));
        }
    }) else {
        return;
    };
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn cheap_guards_take_no_mappings() {
    let test = "limits::cheap_guards_take_no_mappings";
    let Some(output) = in_a_child(test, || {
        let mappings = || fs::read_to_string("/proc/self/maps").expect("maps").lines().count();
        let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
        drop(pool.take().expect("a stack"));
        let before = mappings();
        let stacks: Vec<_> = (0..5_000).map(|_| pool.take().expect("a stack")).collect();
        let added = mappings() - before;
        // Older kernels refuse them, which is a valid answer too.
        if added < 5_000 {
            assert!(added < 20, "{added} mappings for {} stacks", stacks.len());
        } else {
            eprintln!("not tested: this kernel has no MADV_GUARD_INSTALL");
        }
    }) else {
        return;
    };
    assert!(output.status.success(), "{}", stderr(&output));
}
