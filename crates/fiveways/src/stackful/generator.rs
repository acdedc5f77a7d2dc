//! Generators: functions that yield values one by one, and receive values in return.
//!
//! ```text
//!            start                     returns
//!   Fresh ─────────▶ (runs) ──────────────────────▶ Complete
//!                     │  ▲                              ▲
//!              yield_ ▼  │ send(x): what yield_ gives   │
//!                   Yielded ──close, drop: it unwinds───┘
//! ```
//!
//! A generator runs while its caller waits, on a stack of its own: `yield_` can be called from any
//! depth. It runs in the task or thread that resumes it, and a wait in it (a read, a sleep, a lock)
//! lets other tasks run; but no other caller can resume it in the meantime, and only `yield_`
//! returns to the caller. A generator by itself adds no concurrency.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::rc::Rc;

use fiveways_coro::{Phase, State as Switched, Suspender};
use fiveways_runtime::assert_may_park;

use crate::stackful::nested::NestedCoroutine;

/// The result of resuming a generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State<Out, Ret> {
    /// It yielded a value and waits for the next one to be sent.
    Yielded(Out),
    /// It returned.
    #[doc(alias = "StopIteration")]
    Complete(Ret),
}

/// The error of resuming a generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResumeError {
    /// A value was sent before the first `yield_` was reached.
    NotStarted,
    /// It was started a second time.
    AlreadyStarted,
    /// It has returned, panicked or been closed.
    Finished,
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResumeError::NotStarted => "the generator has not been started: no value can be sent",
            ResumeError::AlreadyStarted => "the generator has been started already",
            ResumeError::Finished => "the generator has finished",
        })
    }
}

impl std::error::Error for ResumeError {}

/// A function that yields `Out`s, receives `In`s and returns a `Ret`, one step at a time.
///
/// A generator with `In = ()` is an iterator. If it is dropped while suspended it is unwound, so
/// that its destructors run; if it catches that and continues, its next `yield_` unwinds it again.
///
/// It stays on its thread. If the thread ends while the generator is suspended in a `yield_` (it is
/// stored in a thread-local, or was forgotten), it is unwound before the first thread-local is
/// destroyed that it may use, or may have lent to another thread; the thread waits until that is
/// done. Only if the process ends with the thread (the main thread, `std::process::exit`) it is not
/// unwound, and destructors of those thread-locals do not run.
///
/// # Examples
///
/// ```
/// use fiveways::generator::{Generator, State};
///
/// let mut average = Generator::new(|me| {
///     let (mut sum, mut count) = (0.0, 0.0);
///     let mut mean = 0.0;
///     loop {
///         sum += me.yield_(mean);
///         count += 1.0;
///         mean = sum / count;
///     }
/// });
/// let _: State<f64, ()> = average.start()?;
/// assert_eq!(average.send(10.0)?, State::Yielded(10.0));
/// assert_eq!(average.send(20.0)?, State::Yielded(15.0));
/// # Ok::<(), fiveways::generator::ResumeError>(())
/// ```
///
/// As an iterator:
///
/// ```
/// use fiveways::generator::{Generator, Yielder};
///
/// fn walk(depth: u32, me: &Yielder<(), u32>) {
///     if depth > 0 {
///         walk(depth - 1, me);
///         me.yield_(depth);
///         walk(depth - 1, me);
///     }
/// }
///
/// let ruler = Generator::new(|me| walk(3, me));
/// assert_eq!(ruler.collect::<Vec<_>>(), [1, 2, 1, 3, 1, 2, 1]);
/// ```
pub struct Generator<In, Out, Ret = ()> {
    coroutine: NestedCoroutine,
    desk: Rc<Desk<In, Out>>,
    returned: Rc<Cell<Option<Ret>>>,
}

/// Where values are exchanged.
struct Desk<In, Out> {
    sent: Cell<Option<In>>,
    yielded: Cell<Option<Out>>,
}

impl<In: 'static, Out: 'static, Ret: 'static> Generator<In, Out, Ret> {
    /// Makes a generator, which does not run yet.
    ///
    /// # Panics
    ///
    /// If there is no memory for its stack, and if the C library does not report the end of a
    /// thread (other than glibc); [`Generator::with_stack_size`] returns an error.
    #[track_caller]
    pub fn new(body: impl FnOnce(&Yielder<In, Out>) -> Ret + 'static) -> Generator<In, Out, Ret> {
        let made = Generator::on_stack(None, body);
        match made {
            Ok(made) => made,
            Err(error) => panic!("could not make a generator: {error}"),
        }
    }

    /// Makes a generator with a stack of this many bytes; memory is used only as it is touched.
    ///
    /// # Errors
    ///
    /// If there is no memory for its stack; `Unsupported` if the C library does not report the end
    /// of a thread.
    pub fn with_stack_size(
        bytes: usize,
        body: impl FnOnce(&Yielder<In, Out>) -> Ret + 'static,
    ) -> io::Result<Generator<In, Out, Ret>> {
        Generator::on_stack(Some(bytes), body)
    }

    fn on_stack(
        bytes: Option<usize>,
        body: impl FnOnce(&Yielder<In, Out>) -> Ret + 'static,
    ) -> io::Result<Generator<In, Out, Ret>> {
        let desk = Rc::new(Desk { sent: Cell::default(), yielded: Cell::default() });
        let returned = Rc::new(Cell::default());
        let (theirs, returns) = (Rc::clone(&desk), Rc::clone(&returned));
        let coroutine = NestedCoroutine::new("generator", bytes, move |suspender| {
            let yielder = Yielder { suspender: suspender.clone(), desk: theirs };
            returns.set(Some(body(&yielder)));
        })?;
        Ok(Generator { coroutine, desk, returned })
    }

    /// Runs it to its first `yield_` (or to its end).
    ///
    /// # Suspends
    ///
    /// If the generator waits for something.
    ///
    /// # Errors
    ///
    /// [`ResumeError::AlreadyStarted`] if called a second time.
    ///
    /// # Panics
    ///
    /// With the generator's panic.
    #[doc(alias = "next")]
    pub fn start(&mut self) -> Result<State<Out, Ret>, ResumeError> {
        match self.coroutine.phase() {
            Phase::Fresh => Ok(self.resume()),
            Phase::Finished => Err(ResumeError::Finished),
            Phase::Suspended | Phase::Running => Err(ResumeError::AlreadyStarted),
        }
    }

    /// Sends it a value, which its `yield_` returns, and runs it to its next one (or to its end).
    ///
    /// # Suspends
    ///
    /// If the generator waits for something.
    ///
    /// # Errors
    ///
    /// [`ResumeError::NotStarted`] before [`Generator::start`]: no `yield_` waits for the value.
    /// [`ResumeError::Finished`] after the end.
    ///
    /// # Panics
    ///
    /// With the generator's panic.
    pub fn send(&mut self, value: In) -> Result<State<Out, Ret>, ResumeError> {
        match self.coroutine.phase() {
            Phase::Suspended => {
                self.desk.sent.set(Some(value));
                Ok(self.resume())
            }
            Phase::Fresh => Err(ResumeError::NotStarted),
            Phase::Running | Phase::Finished => Err(ResumeError::Finished),
        }
    }

    /// Ends it: unwinds it if it is suspended in a `yield_`, so that its destructors run. Does
    /// nothing if it has already ended.
    ///
    /// # Panics
    ///
    /// With the panic of a destructor.
    pub fn close(&mut self) {
        self.coroutine.unwind();
    }

    /// Returns `true` if it has returned, panicked or been closed.
    pub fn is_finished(&self) -> bool {
        self.coroutine.phase() == Phase::Finished
    }

    fn resume(&mut self) -> State<Out, Ret> {
        match self.coroutine.resume() {
            Switched::Suspended => {
                State::Yielded(self.desk.yielded.take().expect("it suspends with a value"))
            }
            Switched::Finished => {
                State::Complete(self.returned.take().expect("it returns a value"))
            }
        }
    }
}

impl<Out: 'static, Ret: 'static> Iterator for Generator<(), Out, Ret> {
    type Item = Out;

    /// Returns the next value that it yields. Its return value is dropped.
    fn next(&mut self) -> Option<Out> {
        let state = match self.coroutine.phase() {
            Phase::Fresh => self.resume(),
            Phase::Suspended => {
                self.desk.sent.set(Some(()));
                self.resume()
            }
            Phase::Running | Phase::Finished => return None,
        };
        match state {
            State::Yielded(value) => Some(value),
            State::Complete(_) => None,
        }
    }
}

impl<Out: 'static, Ret: 'static> FusedIterator for Generator<(), Out, Ret> {}

impl<In, Out, Ret> fmt::Debug for Generator<In, Out, Ret> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.coroutine.phase();
        f.debug_struct("Generator").field("phase", &phase).finish_non_exhaustive()
    }
}

/// The handle by which a generator's body yields.
pub struct Yielder<In, Out> {
    suspender: Suspender,
    desk: Rc<Desk<In, Out>>,
}

impl<In, Out> Yielder<In, Out> {
    /// Yields a value to the caller of the generator and waits for the next one to be sent.
    ///
    /// # Suspends
    ///
    /// The generator, not the task: its caller continues.
    ///
    /// # Panics
    ///
    /// If it is called on another stack than the generator's own (for example in a task that it has
    /// spawned). If the generator is unwinding, which as any panic in a destructor aborts the
    /// process.
    #[doc(alias = "yield")]
    #[track_caller]
    pub fn yield_(&self, value: Out) -> In {
        assert_may_park(None);
        self.desk.yielded.set(Some(value));
        self.suspender.suspend();
        self.desk.sent.take().expect("it is resumed with a value")
    }
}

impl<In, Out> fmt::Debug for Yielder<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yielder").finish_non_exhaustive()
    }
}
