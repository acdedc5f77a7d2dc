//! The work that must fit on a stack of the default size, in a debug build too.

use std::backtrace::Backtrace;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::hint::black_box;
use std::panic;

use fiveways_coro::{DEFAULT_STACK_SIZE, Fiber, Stack, StackPool, State};

use crate::support::{in_a_child, stderr};

/// The unwinder follows the parent link to the stack that has resumed the fiber. Not so in builds
/// with sanitizers and debug information: LLVM then emits the unwind tables of corosensei's
/// assembly for debuggers only.
const FOLLOWS_LINKS: bool = cfg!(not(feature = "sanitizer"));

/// Runs `work` on a fiber of the default size. Returns the bytes it has touched.
fn on_a_fiber(work: fn()) -> usize {
    let stack = Stack::alone(DEFAULT_STACK_SIZE).expect("a stack");
    let mut fiber = Fiber::new(stack, (), work);
    assert_eq!(fiber.resume(), State::Finished);
    fiber.stack().touched_bytes().expect("asked")
}

/// Calls `work` with some frames above it.
fn deep(levels: u32, work: fn()) -> u32 {
    if levels == 0 {
        work();
        return 0;
    }
    black_box(deep(levels - 1, work) + 1)
}

#[test]
fn printing_deep_inside_fits() {
    let touched = on_a_fiber(|| {
        deep(50, || println!("{:?} {:>10.3} {:#x?}", "text", 1.5_f64, [1_u8, 2, 3]));
    });
    assert!(touched < DEFAULT_STACK_SIZE / 2, "{touched}");
}

#[test]
fn a_captured_and_printed_backtrace_fits_and_reaches_the_resumer() {
    let touched = on_a_fiber(|| {
        deep(20, || {
            let text = Backtrace::force_capture().to_string();
            assert!(text.contains("deep"), "{text}");
            assert!(!FOLLOWS_LINKS || text.contains("on_a_fiber"), "{text}");
        });
    });
    assert!(touched < DEFAULT_STACK_SIZE, "{touched}");
}

#[test]
fn a_panic_with_a_full_backtrace_fits() {
    let test = "room::a_panic_with_a_full_backtrace_fits";
    let Some(output) = in_a_child(test, || {
        let touched = on_a_fiber(|| {
            deep(20, || {
                let caught = panic::catch_unwind(|| panic!("with {} backtrace", "a"));
                caught.expect_err("it panicked");
            });
        });
        assert!(touched < DEFAULT_STACK_SIZE, "{touched}");
    }) else {
        return;
    };
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("with a backtrace") && text.contains("stack backtrace"), "{text}");
}

/// Generators of random numbers, hash tables, sorting and formatting: the usual work of programs.
fn ordinary_work() {
    let mut state = [0x9e37_79b9_7f4a_7c15_u64; 512];
    for turn in 1..state.len() {
        state[turn] = state[turn - 1].rotate_left(23).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    let table: HashMap<u64, String> = state.iter().map(|n| (*n, format!("{n:x}"))).collect();
    let mut sorted: Vec<_> = table.iter().collect();
    sorted.sort_by(|a, b| a.1.cmp(b.1));
    let tree: BTreeMap<_, _> = sorted.into_iter().collect();
    let mut text = String::new();
    for (number, name) in &tree {
        write!(text, "{:>30.12e} {name:?} ", **number as f64).expect("strings accept all");
    }
    assert!(text.parse::<f64>().is_err());
    black_box([1_u8; 64 * 1024]);
}

#[test]
fn ordinary_work_fits() {
    let touched = on_a_fiber(|| {
        deep(50, ordinary_work);
    });
    assert!(touched < DEFAULT_STACK_SIZE * 3 / 4, "{touched}");
}

#[inline(never)]
fn the_resumer(mut inner: Fiber<()>) {
    assert_eq!(black_box(inner.resume()), State::Finished);
}

#[test]
fn backtraces_reach_the_resumer_whichever_stack_is_higher() {
    let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
    let (low, high) = (pool.take().expect("a stack"), pool.take().expect("a stack"));
    let (low_2, high_2) = (pool.take().expect("a stack"), pool.take().expect("a stack"));
    for (outer, inner) in [(high, low), (low_2, high_2)] {
        let mut outer = Fiber::new(outer, (), move || {
            the_resumer(Fiber::new(inner, (), || {
                let text = Backtrace::force_capture().to_string();
                assert!(!FOLLOWS_LINKS || text.contains("the_resumer"), "{text}");
            }));
        });
        assert_eq!(outer.resume(), State::Finished);
    }
}
