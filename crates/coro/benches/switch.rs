//! The cost of a switch here: nanoseconds per resume-and-suspend pair, and per fiber created and
//! ended.
//!
//! `cargo bench -p fiveways-coro --bench switch`
#![expect(unsafe_code, reason = "suspends by the thin pointer, as a scheduler does")]

use std::cell::Cell;
use std::hint::black_box;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::time::Instant;

use fiveways_coro::{DEFAULT_STACK_SIZE, Fiber, StackPool, State};

/// The header of a scheduled fiber: the fiber's own pointer, and whether to end.
struct Header {
    ends: Cell<bool>,
}

const SWITCHES: usize = 20_000_000;
const ROUNDS: usize = 5;

fn main() -> io::Result<()> {
    let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
    for count in [1, 1_000, 10_000] {
        let fibers: Vec<_> = (0..count).map(|_| spinner(&mut pool)).collect::<io::Result<_>>()?;
        let best = (0..ROUNDS).map(|_| switch_all(&fibers)).fold(f64::INFINITY, f64::min);
        println!("{count:>6} fibers: {best:6.2} ns for resume + suspend");
        for fiber in fibers {
            end(fiber, &mut pool);
        }
    }
    let best = (0..ROUNDS).map(|_| make_and_end(&mut pool)).fold(f64::INFINITY, f64::min);
    println!("  make, run, end: {best:6.2} ns on a warm stack");
    Ok(())
}

/// A fiber that suspends itself again and again.
fn spinner(pool: &mut StackPool) -> io::Result<NonNull<Header>> {
    let me = Rc::new(Cell::new(NonNull::dangling()));
    let body = {
        let me = Rc::clone(&me);
        move || {
            let me: NonNull<Header> = me.get();
            // SAFETY: required: live. It is this fiber's own header.
            while !unsafe { me.as_ref() }.ends.get() {
                // SAFETY: required: called on this fiber's stack. This is its body.
                unsafe { Fiber::suspend(me) };
            }
        }
    };
    let header = Fiber::new(pool.take()?, Header { ends: Cell::new(false) }, body).into_raw();
    me.set(header);
    Ok(header)
}

fn switch_all(fibers: &[NonNull<Header>]) -> f64 {
    let rounds = SWITCHES / fibers.len();
    let started = Instant::now();
    for _ in 0..rounds {
        for (place, fiber) in fibers.iter().enumerate() {
            if let Some(next) = fibers.get(place + 1) {
                Fiber::prefetch(*next);
            }
            // SAFETY: required: live, of this thread, not running. The list holds suspended fibers.
            black_box(unsafe { Fiber::resume_raw(*fiber) });
        }
    }
    started.elapsed().as_nanos() as f64 / (rounds * fibers.len()) as f64
}

fn end(fiber: NonNull<Header>, pool: &mut StackPool) {
    // SAFETY: required: from `into_raw`, owned once. The caller gives it up.
    let mut fiber = unsafe { Fiber::from_raw(fiber) };
    fiber.header().ends.set(true);
    assert_eq!(fiber.resume(), State::Finished);
    pool.give(fiber.into_stack());
}

fn make_and_end(pool: &mut StackPool) -> f64 {
    const FIBERS: u32 = 1_000_000;
    let started = Instant::now();
    for number in 0..FIBERS {
        let stack = pool.take().expect("the pool is warm");
        let body = move || {
            black_box(number);
        };
        let mut fiber = Fiber::new(stack, Header { ends: Cell::new(false) }, body);
        fiber.resume();
        pool.give(fiber.into_stack());
    }
    started.elapsed().as_nanos() as f64 / f64::from(FIBERS)
}
