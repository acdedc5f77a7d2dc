//! The end of a thread that has suspended what lends its thread-locals to others.

use std::cell::{OnceCell, RefCell};
use std::mem;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use fiveways::generator::Generator;
use fiveways::greenlet::{Greenlet, switch_to_parent};

type Tell = Sender<&'static str>;

/// Lent to another thread; tells of its end.
struct Lent(OnceCell<Tell>);

impl Drop for Lent {
    fn drop(&mut self) {
        let _ = self.0.get().expect("it is set").send("what is lent is gone");
    }
}

/// Tells when the frame that has it goes.
struct Frame<'a>(&'a Tell);

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        let _ = self.0.send("the frame goes");
    }
}

thread_local! {
    static LENT: Lent = const { Lent(OnceCell::new()) };
    static KEPT: RefCell<Option<Box<dyn std::any::Any>>> = const { RefCell::new(None) };
}

/// Lends a thread-local to a thread, which uses it until somebody tells it of an end, and suspends
/// the caller by `leave` meanwhile. What the thread was told is the second word in `seen`.
fn lend(seen: &Tell, leave: impl FnOnce()) {
    let (tell, told): (Tell, Receiver<_>) = channel();
    LENT.with(|lent| {
        lent.0.set(tell.clone()).expect("it is unset");
        thread::scope(|scope| {
            scope.spawn(move || {
                let lent = LENT_MARK;
                seen.send(lent).expect("it is received");
                // The first to end: the frame that lends, or what it lends.
                seen.send(told.recv().expect("somebody ends")).expect("it is received");
            });
            let _frame = Frame(&tell);
            leave();
        });
    });
}

const LENT_MARK: &str = "it is lent";

/// Runs `hold` on a thread of its own, until that has ended, and gives what was seen.
fn seen_at_the_end(hold: fn(Tell)) -> Vec<&'static str> {
    let (tell, told) = channel();
    thread::spawn(move || hold(tell)).join().expect("it does not panic");
    told.iter().take(RIGHT.len()).collect()
}

const RIGHT: [&str; 2] = [LENT_MARK, "the frame goes"];

fn generator(seen: Tell) -> Generator<(), ()> {
    let mut generator = Generator::new(move |me| lend(&seen, || me.yield_(())));
    assert_eq!(generator.next(), Some(()));
    generator
}

fn greenlet(seen: Tell) -> Greenlet<u32> {
    let greenlet = Greenlet::new(move |first: u32| {
        lend(&seen, || _ = switch_to_parent(first));
        0
    });
    assert_eq!(greenlet.switch(1), 1);
    greenlet
}

#[test]
fn a_forgotten_generator_is_unwound_before_what_its_frames_lend_is_destroyed() {
    assert_eq!(seen_at_the_end(|seen| mem::forget(generator(seen))), RIGHT);
}

#[test]
fn a_forgotten_greenlet_is_unwound_before_what_its_frames_lend_is_destroyed() {
    assert_eq!(seen_at_the_end(|seen| mem::forget(greenlet(seen))), RIGHT);
}

/// The place that keeps it is older than what it lends, and is destroyed later.
#[test]
fn a_generator_in_a_thread_local_is_unwound_before_what_its_frames_lend_is_destroyed() {
    let hold = |seen| {
        KEPT.with(|kept| *kept.borrow_mut() = None);
        let generator = generator(seen);
        KEPT.with(|kept| *kept.borrow_mut() = Some(Box::new(generator)));
    };
    assert_eq!(seen_at_the_end(hold), RIGHT);
}

/// The memory that held the generator itself is another's by then.
#[test]
fn a_generator_whose_own_memory_is_gone_is_unwound() {
    let hold = |seen| {
        let place = Box::new(mem::ManuallyDrop::new(generator(seen)));
        drop(place);
        drop(vec![7_u8; size_of::<Generator<(), ()>>()]);
    };
    assert_eq!(seen_at_the_end(hold), RIGHT);
}

/// One of them panics in a destructor: the others are unwound as well.
#[test]
fn a_panic_in_a_forgotten_generator_leaves_no_other_behind() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic!("as it must");
            }
        }
    }
    let panics = || {
        let mut panics = Generator::<(), ()>::new(|me| {
            let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| me.yield_(())));
            drop(Panics);
            drop(unwound);
        });
        assert_eq!(panics.next(), Some(()));
        mem::forget(panics);
    };
    let (tell, told) = channel();
    let thread = thread::spawn(move || {
        panics();
        mem::forget(generator(tell));
        panics();
    });
    thread.join().expect("its own end is no panic");
    assert_eq!(told.iter().take(RIGHT.len()).collect::<Vec<_>>(), RIGHT);
}

/// A generator that another one holds, and resumes in a destructor.
#[test]
fn a_generator_inside_a_forgotten_one_is_unwound_once() {
    let (tell, told) = channel();
    let thread = thread::spawn(move || {
        let mut outer = Generator::<(), ()>::new(move |me| {
            let mut inner = generator(tell);
            me.yield_(());
            inner.close();
        });
        assert_eq!(outer.next(), Some(()));
        mem::forget(outer);
    });
    thread.join().expect("it does not panic");
    assert_eq!(told.iter().take(RIGHT.len()).collect::<Vec<_>>(), RIGHT);
}
