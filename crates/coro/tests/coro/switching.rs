//! The order of events when fibers are resumed, suspended and dropped.

use std::cell::{Cell, RefCell};
use std::os::unix::process::ExitStatusExt;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use fiveways_coro::{DEFAULT_STACK_SIZE, Fiber, Stack, StackPool, State};

use crate::support::{fiber, in_a_child, stderr};

fn stack() -> Stack {
    Stack::alone(DEFAULT_STACK_SIZE).expect("a stack")
}

#[test]
fn control_goes_back_and_forth_and_locals_survive() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let inner = Rc::clone(&log);
    let mut fiber = fiber(stack(), (), move |me| {
        let mut local = [0_u64; 100];
        for (turn, number) in local.iter_mut().enumerate().take(3) {
            *number = turn as u64 + 1;
            inner.borrow_mut().push(format!("in {turn}"));
            me.suspend();
        }
        inner.borrow_mut().push(format!("sum {}", local.iter().sum::<u64>()));
    });
    for turn in 0..3 {
        assert_eq!(fiber.resume(), State::Suspended);
        log.borrow_mut().push(format!("out {turn}"));
    }
    assert_eq!(fiber.resume(), State::Finished);
    let expected = ["in 0", "out 0", "in 1", "out 1", "in 2", "out 2", "sum 6"];
    assert_eq!(*log.borrow(), expected);
}

#[test]
fn a_fiber_can_resume_another() {
    let mut inner = fiber(stack(), Cell::new(0), |me| {
        me.header().set(1);
        me.suspend();
        me.header().set(2);
    });
    let mut outer = fiber(stack(), Cell::new(0), move |me| {
        assert_eq!(inner.resume(), State::Suspended);
        me.header().set(inner.header().get());
        me.suspend();
        assert_eq!(inner.resume(), State::Finished);
        me.header().set(inner.header().get());
    });
    assert_eq!(outer.resume(), State::Suspended);
    assert_eq!(outer.header().get(), 1);
    assert_eq!(outer.resume(), State::Finished);
    assert_eq!(outer.header().get(), 2);
}

#[test]
fn floating_point_and_callee_saved_values_survive_a_million_switches() {
    let mut fiber = fiber(stack(), Cell::new(0.0_f64), |me| {
        let (mut sum, mut product) = (0.0_f64, 1_u64);
        for turn in 0..1_000_000_u64 {
            sum += turn as f64;
            product = product.wrapping_mul(turn | 1);
            me.suspend();
        }
        assert_eq!(product, (0..1_000_000_u64).fold(1, |p: u64, turn| p.wrapping_mul(turn | 1)));
        me.header().set(sum);
    });
    let mut turns = 0_u64;
    while fiber.resume() == State::Suspended {
        turns += 1;
    }
    assert_eq!(turns, 1_000_000);
    assert_eq!(fiber.header().get(), 499_999_500_000.0);
}

#[test]
fn a_hundred_thousand_fibers_are_alive_at_once() {
    const FIBERS: usize = if cfg!(feature = "sanitizer") { 10_000 } else { 100_000 };
    let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
    let mut fibers: Vec<_> = (0..FIBERS)
        .map(|number| {
            fiber(pool.take().expect("a stack"), Cell::new(number), |me| {
                me.suspend();
                me.header().set(me.header().get() * 2);
            })
        })
        .collect();
    assert!(fibers.iter_mut().all(|fiber| fiber.resume() == State::Suspended));
    assert_eq!(pool.live(), FIBERS);
    assert!(fibers.iter_mut().all(|fiber| fiber.resume() == State::Finished));
    for (number, fiber) in fibers.into_iter().enumerate() {
        assert_eq!(fiber.header().get(), number * 2);
        pool.give(fiber.into_stack());
    }
    assert_eq!((pool.live(), pool.pooled()), (0, FIBERS));
}

/// Counts drops.
struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn body_and_header_of_a_fiber_never_resumed_are_dropped_once() {
    for takes_stack in [false, true] {
        let (bodies, headers) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let captured = Counted(Rc::clone(&bodies));
        let fiber = Fiber::new(stack(), Counted(Rc::clone(&headers)), move || {
            let _captured = &captured;
            unreachable!("not resumed");
        });
        if takes_stack {
            drop(fiber.into_stack());
        } else {
            drop(fiber);
        }
        assert_eq!((bodies.get(), headers.get()), (1, 1));
    }
}

#[test]
fn body_and_header_of_a_finished_fiber_are_dropped_once() {
    let (bodies, headers) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let captured = Counted(Rc::clone(&bodies));
    let header = Counted(Rc::clone(&headers));
    let mut fiber = Fiber::new(stack(), header, move || drop(captured));
    assert_eq!(fiber.resume(), State::Finished);
    assert_eq!((bodies.get(), headers.get()), (1, 0));
    drop(fiber);
    assert_eq!((bodies.get(), headers.get()), (1, 1));
}

#[test]
fn a_finished_fiber_refuses_to_be_resumed() {
    let mut fiber = Fiber::new(stack(), (), || ());
    assert_eq!(fiber.resume(), State::Finished);
    assert!(panic::catch_unwind(AssertUnwindSafe(|| fiber.resume())).is_err());
}

#[test]
fn a_panic_caught_in_the_body_leaves_the_fiber_usable() {
    let mut fiber = fiber(stack(), Cell::new(0), |me| {
        let caught = panic::catch_unwind(AssertUnwindSafe(|| {
            me.suspend();
            panic!("inside");
        }));
        let payload = caught.expect_err("it panicked");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"inside"));
        me.suspend();
        me.header().set(7);
    });
    assert_eq!(fiber.resume(), State::Suspended);
    assert_eq!(fiber.resume(), State::Suspended);
    assert_eq!(fiber.resume(), State::Finished);
    assert_eq!(fiber.header().get(), 7);
}

#[test]
fn headers_and_bodies_of_high_alignment_are_aligned() {
    #[repr(align(256))]
    struct Wide(u8);
    let address = |wide: &Wide| std::ptr::from_ref(wide).addr();
    let captured = Wide(3);
    let mut fiber = fiber(stack(), Wide(5), move |me| {
        assert_eq!(address(&captured) % 256, 0);
        assert_eq!(address(me.header()) % 256, 0);
        me.suspend();
        assert_eq!(captured.0 + me.header().0, 8);
    });
    assert_eq!(address(fiber.header()) % 256, 0);
    assert_eq!(fiber.resume(), State::Suspended);
    assert_eq!(fiber.resume(), State::Finished);
}

#[test]
#[should_panic(expected = "a body of")]
fn a_body_that_has_captured_too_much_is_refused() {
    let captured = [1_u8; 8 * 1024];
    let stack = Stack::alone(0).expect("a stack");
    Fiber::new(stack, (), move || drop(Box::new(captured)));
}

#[test]
fn thread_locals_are_the_same_on_a_fiber() {
    thread_local!(static VALUE: Cell<u32> = const { Cell::new(1) });
    let address = || VALUE.with(|value| std::ptr::from_ref(value).addr());
    let outside = address();
    let mut fiber = fiber(stack(), (), move |me| {
        assert_eq!((address(), VALUE.get()), (outside, 1));
        VALUE.set(2);
        me.suspend();
        assert_eq!((address(), VALUE.get()), (outside, 3));
    });
    assert_eq!(fiber.resume(), State::Suspended);
    assert_eq!(VALUE.replace(3), 2);
    assert_eq!(fiber.resume(), State::Finished);
}

#[test]
#[cfg_attr(feature = "sanitizer", ignore = "the unwinder stops at the lowest frame: see `room`")]
fn a_body_that_unwinds_aborts_with_its_name() {
    let test = "switching::a_body_that_unwinds_aborts_with_its_name";
    let Some(output) = in_a_child(test, || {
        let mut fiber = Fiber::new(stack(), (), || panic!("not caught"));
        fiber.set_name("careless");
        fiber.resume();
    }) else {
        return;
    };
    let text = stderr(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
    assert!(text.contains("not caught"), "{text}");
    assert!(text.contains("a fiber 'careless' unwound out of its body"), "{text}");
}

#[test]
fn a_fiber_dropped_in_its_body_aborts_a_debug_build_and_leaks_in_others() {
    let test = "switching::a_fiber_dropped_in_its_body_aborts_a_debug_build_and_leaks_in_others";
    let Some(output) = in_a_child(test, || {
        let dropped = Rc::new(Cell::new(0));
        let captured = Counted(Rc::clone(&dropped));
        let mut fiber = fiber(stack(), (), move |me| {
            let _captured = &captured;
            me.suspend();
        });
        fiber.set_name("forgotten");
        assert_eq!(fiber.resume(), State::Suspended);
        drop(fiber);
        assert_eq!(dropped.get(), 0);
    }) else {
        return;
    };
    let text = stderr(&output);
    if cfg!(debug_assertions) {
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
        assert!(text.contains("a fiber 'forgotten' was dropped while suspended"), "{text}");
    } else {
        assert!(output.status.success(), "{text}");
    }
}
