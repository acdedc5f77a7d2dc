//! Drivers from outside: one that wraps a model's and counts, one that owns the time.
#![expect(unsafe_code, reason = "a driver promises what the worker relies on")]

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fiveways::runtime::driver::{
    self, Clock, Control, Counters, Driver, Options, Pending, Ready, Reply, Source, Submitted,
};
use fiveways::runtime::{Runtime, counters};
use fiveways::selector::Waker;
use fiveways::sync::{Event, channel};
use fiveways::{Model, select, task, time};
use fiveways_tests::arena::{echo_by_read, pair};
use fiveways_tests::patience::LONG;

const HOUR: Duration = Duration::from_secs(3600);

/// What has been asked of a driver.
#[derive(Debug, Default)]
struct Asked {
    turns: AtomicU64,
    control_calls: AtomicU64,
}

/// The driver of a model, watched.
struct Outer {
    inner: Box<dyn Driver>,
    asked: Arc<Asked>,
    clock: Option<Rc<Jumping>>,
    seed: Option<u64>,
}

/// A clock that jumps to the next deadline when nothing happens before it.
struct Jumping {
    begun: Instant,
    passed: Cell<Duration>,
}

impl Clock for Jumping {
    fn now(&self) -> Instant {
        self.passed.set(self.passed.get() + Duration::from_micros(1));
        self.begun + self.passed.get()
    }
}

impl Outer {
    fn new(model: Model, asked: &Arc<Asked>) -> io::Result<Outer> {
        let inner = driver::open(model, &Options::default())?.driver;
        Ok(Outer { inner, asked: Arc::clone(asked), clock: None, seed: None })
    }

    fn jumping(model: Model) -> io::Result<Outer> {
        let clock = Jumping { begun: Instant::now(), passed: Cell::default() };
        Ok(Outer { clock: Some(Rc::new(clock)), ..Outer::new(model, &Arc::default())? })
    }
}

// SAFETY: required: hands back what was submitted and waited, once. The inner driver does.
unsafe impl Driver for Outer {
    fn model(&self) -> Model {
        self.inner.model()
    }

    unsafe fn submit(&mut self, pending: NonNull<Pending>) -> Submitted {
        // SAFETY: required: in place until handed back. By this function's contract.
        unsafe { self.inner.submit(pending) }
    }

    unsafe fn cancel(&mut self, pending: NonNull<Pending>, ready: &mut Ready) {
        // SAFETY: required: waiting in this driver. By this function's contract.
        unsafe { self.inner.cancel(pending, ready) }
    }

    fn turn(&mut self, deadline: Option<Instant>, ready: &mut Ready) -> io::Result<()> {
        self.asked.turns.fetch_add(1, Ordering::Relaxed);
        let Some(clock) = self.clock.clone() else { return self.inner.turn(deadline, ready) };
        let Some(deadline) = deadline else { return self.inner.turn(None, ready) };
        let before = ready.len();
        self.inner.turn(Some(clock.begun), ready)?;
        if ready.len() == before {
            let passed = deadline.saturating_duration_since(clock.begun);
            clock.passed.set(clock.passed.get().max(passed));
        } else if self.model() == Model::Nonblocking {
            // It hands back what waits again and again, as if something had happened.
            clock.passed.set(clock.passed.get() + Duration::from_secs(1));
        }
        Ok(())
    }

    fn forget(&mut self, source: Source) {
        self.inner.forget(source);
    }

    fn close(&mut self, source: Source, fd: OwnedFd) {
        self.inner.close(source, fd);
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn control(&mut self, call: Control<'_>) -> io::Result<Reply> {
        self.asked.control_calls.fetch_add(1, Ordering::Relaxed);
        self.inner.control(call)
    }

    fn clock(&self) -> Option<Rc<dyn Clock>> {
        Some(Rc::clone(self.clock.as_ref()?) as Rc<dyn Clock>)
    }

    fn seed(&self) -> Option<u64> {
        self.seed
    }

    fn waiting(&self) -> usize {
        self.inner.waiting()
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }
}

/// Runs `f` as a task over the drivers that `factory` makes.
fn over<T: Send + 'static>(
    factory: impl Fn() -> io::Result<Outer> + Send + Sync + 'static,
    f: impl FnOnce() -> T + Send + 'static,
) -> T {
    let factory = move || factory().map(|driver| Box::new(driver) as Box<dyn Driver>);
    Runtime::builder().driver(factory).build().expect("the model is there").block_on(f)
}

/// Sends to a task that echoes, and has it end.
fn echoes() {
    let (mut near, far) = pair();
    let echo = task::spawn_local(move || echo_by_read(far));
    for _ in 0..10 {
        near.write_all(b"across").expect("taken");
        let mut back = [0; 6];
        near.read_exact(&mut back).expect("it comes");
        assert_eq!(&back, b"across");
    }
    drop(near);
    echo.join().expect("no panic").expect("it ends in order");
}

pub(crate) fn a_driver_from_outside_sees_every_turn_and_control_call(model: Model) {
    let asked = Arc::new(Asked::default());
    let seen = Arc::clone(&asked);
    let watch = move || Outer::new(model, &seen);
    let (turns, counted) = over(watch, move || {
        echoes();
        let limit = Duration::from_millis(20);
        let begun = Instant::now();
        time::sleep(limit);
        assert!(task::timeout(limit, || time::sleep(HOUR)).is_err(), "it sleeps longer");
        assert!(begun.elapsed() >= 2 * limit);
        let turns = asked.turns.load(Ordering::Relaxed);
        // A listener (open, bind, listen, its name), a connection, and an option on both its ends.
        let calls = asked.control_calls.load(Ordering::Relaxed);
        assert!((7..100).contains(&calls), "{calls} control calls");
        (turns, counters().expect("it is a task").turns)
    });
    assert_eq!(turns, counted);
    assert!(turns >= 2, "two sleeps are two turns at least: {turns}");
}

pub(crate) fn a_driver_from_outside_owns_the_time(model: Model) {
    over(
        move || Outer::jumping(model),
        || {
            let (really, begun) = (Instant::now(), time::now());
            time::sleep(HOUR);
            let slept = time::now() - begun;
            assert!((HOUR..2 * HOUR).contains(&slept), "{slept:?}");
            task::timeout(HOUR, echoes).expect("nothing is late that moves");
            assert!(task::timeout(HOUR, || time::sleep(2 * HOUR)).is_err(), "it sleeps longer");
            let (mut near, _far) = pair();
            near.set_read_timeout(Some(HOUR)).expect("taken");
            let late = near.read(&mut [0; 8]).expect_err("nothing was sent");
            assert!(matches!(late.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{late}");
            let ticks: Vec<_> = time::interval(HOUR).take(3).collect();
            assert_eq!(ticks[2] - ticks[0], 2 * HOUR);
            assert!(time::now() - begun >= 5 * HOUR);
            assert!(really.elapsed() < LONG, "{:?}", really.elapsed());
        },
    );
}

/// Nothing moves the clock while a destructor blocks the thread: such a wait goes by the machine's.
pub(crate) fn a_wait_that_blocks_the_thread_takes_real_time(model: Model) {
    const WAIT: Duration = Duration::from_millis(30);
    struct Waits;
    impl Drop for Waits {
        fn drop(&mut self) {
            let begun = Instant::now();
            assert!(!Event::new().wait_timeout(WAIT), "nobody sets it");
            assert!(begun.elapsed() >= WAIT);
        }
    }
    let begun = Instant::now();
    over(
        move || Outer::jumping(model),
        || {
            time::sleep(HOUR);
            let ended = task::spawn_local(|| {
                let _waits = Waits;
                panic!("unwinds");
            });
            assert!(ended.join().is_err());
        },
    );
    assert!(begun.elapsed() < LONG);
}

pub(crate) fn a_seed_repeats_the_choices_of_select(model: Model) {
    let choices = move |seed| {
        let seeded = move || {
            let outer = Outer::new(model, &Arc::default())?;
            Ok(Outer { seed: Some(seed), ..outer })
        };
        over(seeded, || {
            let ((one, ones), (two, twos)) = (channel::bounded(1), channel::bounded(1));
            let choose = |_| {
                let _ = (one.try_send(()), two.try_send(()));
                select! { recv(ones) -> _item => 1, recv(twos) -> _item => 2 }
            };
            (0..64).map(choose).collect::<Vec<u8>>()
        })
    };
    let first = choices(1);
    assert!(first.contains(&1) && first.contains(&2), "{first:?}");
    assert_eq!(first, choices(1));
    assert_ne!(first, choices(2));
}

pub(crate) fn a_driver_that_cannot_be_made_is_the_error_of_build(model: Model) {
    let refused = Runtime::builder()
        .model(model)
        .workers(2)
        .driver(|| Err(io::Error::new(ErrorKind::AddrNotAvailable, "no world today")))
        .build();
    let error = refused.map(drop).expect_err("there is no driver");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::AddrNotAvailable, "no world today")
    );
}
