//! The origin of stacks, their contents, and their return.
#![expect(unsafe_code, reason = "asks the kernel which addresses are mapped")]

use std::collections::HashSet;
use std::thread;

use fiveways_coro::{DEFAULT_STACK_SIZE, Fiber, Stack, StackPool, State};

use crate::support::{fiber, in_a_child, stderr};

const PAGE: usize = 4096;

/// Runs a fiber on a stack to its end; returns the header's address too.
fn run_on(stack: Stack) -> (Stack, usize) {
    let mut fiber = Fiber::new(stack, (), || ());
    assert_eq!(fiber.resume(), State::Finished);
    let address = fiber.as_raw().addr().get();
    (fiber.into_stack(), address)
}

#[test]
fn the_stack_given_last_is_taken_first_and_is_warm() {
    let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
    let (first, second) = (pool.take().expect("a stack"), pool.take().expect("a stack"));
    assert_eq!(second.touched_bytes().expect("asked"), 0);
    let (first, _) = run_on(first);
    let (second, address) = run_on(second);
    pool.give(first);
    pool.give(second);
    let again = pool.take().expect("a stack");
    assert_ne!(again.touched_bytes().expect("asked"), 0);
    assert_eq!(run_on(again).1, address);
}

#[test]
fn counters_tell_what_is_in_use() {
    let mut pool = StackPool::new(0);
    let stacks: Vec<_> = (0..100).map(|_| pool.take().expect("a stack")).collect();
    assert_eq!((pool.live(), pool.pooled()), (100, 0));
    for stack in stacks {
        pool.give(stack);
    }
    assert_eq!((pool.live(), pool.pooled()), (0, 100));
}

#[test]
fn a_stack_dropped_on_another_thread_comes_back_to_its_pool() {
    let mut pool = StackPool::new(0);
    // All of the first slab, so that the next stack is one that came back or needs a new slab.
    let mut stacks: Vec<_> = (0..16).map(|_| pool.take().expect("a stack")).collect();
    let (lent, address) = run_on(stacks.pop().expect("sixteen"));
    thread::spawn(move || drop(lent)).join().expect("no panic");
    assert_eq!(pool.live(), 15);
    let again = pool.take().expect("a stack");
    assert_eq!(pool.live(), 16);
    assert_eq!(run_on(again).1, address);
}

#[test]
fn a_stack_given_to_a_strange_pool_goes_home() {
    let (mut home, mut away) = (StackPool::new(0), StackPool::new(0));
    let stack = home.take().expect("a stack");
    away.give(stack);
    assert_eq!((away.live(), away.pooled()), (0, 0));
    assert_eq!((home.live(), home.pooled()), (0, 0));
    home.take().expect("a stack");
}

#[test]
fn tops_are_staggered_over_seven_colours() {
    let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
    let stacks: Vec<_> = (0..16).map(|_| pool.take().expect("a stack")).collect();
    let offsets: Vec<_> = stacks.into_iter().map(|stack| run_on(stack).1 % PAGE).collect();
    let distinct: HashSet<_> = offsets.iter().collect();
    assert_eq!(distinct.len(), 7, "{offsets:?}");
    assert!(offsets.iter().all(|offset| offset % 64 == 0), "{offsets:?}");
    assert!(offsets.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
#[cfg_attr(feature = "sanitizer", ignore = "its frames are larger")]
fn an_idle_fiber_has_touched_one_page() {
    let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
    for _ in 0..10 {
        let mut fiber = fiber(pool.take().expect("a stack"), [0_u64; 20], |me| me.suspend());
        assert_eq!(fiber.resume(), State::Suspended);
        assert_eq!(fiber.stack().touched_bytes().expect("asked"), PAGE);
        assert_eq!(fiber.resume(), State::Finished);
        // Not given back: the next one is of the next colour.
    }
}

#[test]
fn depth_of_use_is_seen() {
    let stack = Stack::alone(DEFAULT_STACK_SIZE).expect("a stack");
    let mut fiber = Fiber::new(stack, (), || {
        std::hint::black_box([1_u8; 100 * 1024]);
    });
    assert_eq!(fiber.resume(), State::Finished);
    let touched = fiber.stack().touched_bytes().expect("asked");
    assert!((100 * 1024..=DEFAULT_STACK_SIZE).contains(&touched), "{touched}");
}

#[test]
fn trimming_empties_all_but_the_stacks_to_keep_and_they_work_again() {
    let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
    let stacks: Vec<_> = (0..5).map(|_| pool.take().expect("a stack")).collect();
    for stack in stacks {
        pool.give(run_on(stack).0);
    }
    pool.trim(2);
    pool.trim(2);
    let stacks: Vec<_> = (0..5).map(|_| pool.take().expect("a stack")).collect();
    let warm = |stack: &Stack| stack.touched_bytes().expect("asked") != 0;
    let warmth: Vec<_> = stacks.iter().map(warm).collect();
    assert_eq!(warmth, [true, true, false, false, false]);
    // Those that were cold are warm now, and are trimmed again.
    for stack in stacks {
        pool.give(run_on(stack).0);
    }
    pool.trim(0);
    let emptied = (0..5).all(|_| !warm(&pool.take().expect("a stack")));
    assert!(emptied);
}

#[test]
fn stacks_that_only_a_peak_needed_are_found() {
    let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
    let crowd: Vec<_> = (0..10).map(|_| pool.take().expect("a stack")).collect();
    crowd.into_iter().for_each(|stack| pool.give(stack));
    // From the peak on nothing was unused yet; then three at a time are used.
    pool.trim_unused(0);
    assert_eq!(pool.warm(), 10);
    let three: Vec<_> = (0..3).map(|_| pool.take().expect("a stack")).collect();
    three.into_iter().for_each(|stack| pool.give(stack));
    pool.trim_unused(0);
    assert_eq!((pool.warm(), pool.pooled()), (3, 10));
    pool.trim_unused(2);
    assert_eq!(pool.warm(), 2);
}

#[test]
fn stacks_given_after_a_trim_are_emptied_by_the_next() {
    let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
    let stacks: Vec<_> = (0..3).map(|_| pool.take().expect("a stack")).collect();
    for stack in stacks {
        pool.give(run_on(stack).0);
        pool.trim(0);
    }
    let emptied =
        (0..3).all(|_| pool.take().expect("a stack").touched_bytes().expect("asked") == 0);
    assert!(emptied);
}

#[test]
fn a_name_does_not_outlive_its_fiber() {
    let fiber = Fiber::new(Stack::alone(0).expect("a stack"), (), || ());
    assert_eq!(fiber.name(), "");
    fiber.set_name("first");
    assert_eq!(fiber.name(), "first");
    let fiber = Fiber::new(fiber.into_stack(), (), || ());
    assert_eq!(fiber.name(), "");
}

#[test]
fn small_sizes_are_raised_and_large_ones_given() {
    for (asked, least) in [(0, 16 << 10), (100 << 10, 100 << 10), (64 << 20, 64 << 20)] {
        let stack = Stack::alone(asked).expect("a stack");
        assert!((least..least + 2 * PAGE).contains(&stack.size()), "{asked}: {}", stack.size());
    }
}

/// Returns `true` if there is memory at an address, without touching it.
fn is_mapped(address: usize) -> bool {
    let mut state = 0_u8;
    let page = (address & !(PAGE - 1)) as *mut libc::c_void;
    // SAFETY: required: a byte for one page. `mincore` only looks at the address.
    unsafe { libc::mincore(page, 1, &raw mut state) == 0 }
}

#[test]
fn the_last_stack_unmaps_the_slab_on_whatever_thread() {
    let test = "stacks::the_last_stack_unmaps_the_slab_on_whatever_thread";
    // In a process of its own: other tests could map something there at once.
    let Some(output) = in_a_child(test, || {
        let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
        let (stack, address) = run_on(pool.take().expect("a stack"));
        drop(pool);
        assert!(is_mapped(address));
        thread::spawn(move || drop(stack)).join().expect("no panic");
        assert!(!is_mapped(address));
    }) else {
        return;
    };
    assert!(output.status.success(), "{}", stderr(&output));
}
