//! Greenlets: functions that switch to each other explicitly.
//!
//! A generator can only return to its caller; a greenlet can switch to any other, from any depth of
//! calls, and passes a value along. Nothing is switched implicitly: if a greenlet waits (for a
//! read, a sleep), the task or thread in which it runs waits.
//!
//! ```text
//!   caller:  g1.switch(a) ───loop───▶ g1                      the caller's frame runs a loop:
//!                          ◀─suspend─ g2.switch(b)            the switcher suspends and
//!                         ───resume─▶ g2                      leaves a letter for the next,
//!                          ◀─suspend─ g1.switch(c)            which the loop resumes
//!                         ───resume─▶ g1   (`switch` gave c)
//!   a ... r ◀──────────────returns r─ g1 ends: r goes to its parent, in the end to the caller
//!
//!   Fresh ──switch──▶ Running ──switch to another──▶ Suspended ──switch──▶ Running …
//!                        └── returns, panics, is killed ──▶ Dead
//! ```
//!
//! `fiveways_coro` checks which stack runs and whether it may be suspended. A switch from code that
//! cannot be suspended (a generator inside a greenlet, a destructor that unwinds, a greenlet of
//! another type) starts a loop of its own there: its frame is then the caller.

use std::any::{Any, type_name};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::{Rc, Weak};
use std::thread;

use fiveways_coro::{Phase, State, Suspender};
use fiveways_runtime::assert_may_park;

use crate::local::TaskLocal;
use crate::stackful::nested::NestedCoroutine;

/// The error of switching to a greenlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SwitchError {
    /// It runs, or waits for a greenlet that it has called from code that could not be suspended.
    Running,
    /// It has returned, panicked or been killed.
    Dead,
}

impl fmt::Display for SwitchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SwitchError::Running => "the greenlet is running",
            SwitchError::Dead => "the greenlet is dead",
        })
    }
}

impl std::error::Error for SwitchError {}

/// A function on a stack of its own that switches to others and back, passing a `T`.
///
/// A handle; its clones refer to the same greenlet. When the last handle of a suspended greenlet is
/// dropped (one inside its own function counts), it is unwound, so that its destructors run. The
/// same happens at the end of its thread, before thread-locals are destroyed: see
/// [`Generator`](crate::stackful::generator::Generator).
///
/// # Examples
///
/// ```
/// use std::cell::OnceCell;
/// use std::rc::Rc;
/// use fiveways::greenlet::Greenlet;
///
/// let play = Rc::new(OnceCell::new());
/// let other = Rc::clone(&play);
/// let eat = Greenlet::new(move |name: &str| {
///     let play: &Greenlet<&str> = other.get().expect("it is set");
///     assert_eq!(name, "egon");
///     let answer = play.switch(name);
///     assert_eq!(answer, "played once");
///     play.switch(name)
/// });
/// let me = eat.clone();
/// play.set(Greenlet::new(move |name: &str| {
///     me.switch("played once");
///     name
/// })).expect("it is unset");
/// assert_eq!(eat.switch("egon"), "egon");
/// assert!(play.get().expect("it is set").is_dead());
/// ```
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<fiveways::greenlet::Greenlet<()>>();
/// ```
///
/// ```
/// fn keep<T>() {}
/// keep::<fiveways::greenlet::Greenlet<()>>();
/// ```
pub struct Greenlet<T: 'static> {
    node: Rc<Node<T>>,
}

struct Node<T: 'static> {
    stage: Cell<Stage>,
    /// `None` while it runs.
    coroutine: Cell<Option<NestedCoroutine>>,
    suspender: Suspender,
    /// The value with which it is resumed.
    letter: Rc<Cell<Option<Letter<T>>>>,
    /// The greenlet for which it has suspended itself, with a letter.
    onward: Cell<Option<Onward<T>>>,
    /// Its return value.
    returned: Rc<Cell<Option<T>>>,
    parent: RefCell<Weak<Node<T>>>,
}

/// The next greenlet; `None`: the frame that began switching.
type Onward<T> = (Option<Greenlet<T>>, Letter<T>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Fresh or suspended.
    Waiting,
    Running,
    Dead,
}

/// The content of a switch.
enum Letter<T> {
    Value(T),
    Throw(Box<dyn Any + Send>),
}

impl<T> Letter<T> {
    fn open(self) -> T {
        match self {
            Letter::Value(value) => value,
            Letter::Throw(payload) => resume_unwind(payload),
        }
    }
}

/// The greenlet in which the task (or plain thread) runs; each type of value has its own.
static CURRENT: TaskLocal<Cell<Option<Rc<dyn Any>>>> = TaskLocal::with_first(|| Cell::new(None));

fn replace_current(current: Option<Rc<dyn Any>>) -> Option<Rc<dyn Any>> {
    // At the very end of a task or thread its locals are already destroyed.
    CURRENT.try_with(|cell| cell.replace(current)).flatten()
}

/// Returns the greenlet in which the caller runs; `None` outside of greenlets that pass a `T`.
#[doc(alias = "getcurrent")]
pub fn current<T: 'static>() -> Option<Greenlet<T>> {
    let node = CURRENT.try_with(|cell| {
        let node = cell.take();
        cell.set(node.clone());
        node
    });
    let node = node.flatten()?.downcast().ok()?;
    Some(Greenlet { node })
}

/// Switches to the parent of the calling greenlet (see [`Greenlet::parent`]) and passes it a value.
/// Returns the value passed by the switch back.
///
/// # Suspends
///
/// The calling greenlet.
///
/// # Panics
///
/// Outside of greenlets that pass a `T`, and if the calling greenlet cannot be suspended: in a
/// generator inside it, in a destructor that unwinds.
///
/// # Examples
///
/// ```
/// use fiveways::greenlet::{Greenlet, switch_to_parent};
///
/// fn ask(question: u32) -> u32 {
///     switch_to_parent(question)
/// }
///
/// let adder = Greenlet::new(|first: u32| first + ask(1) + ask(2));
/// assert_eq!(adder.switch(100), 1);
/// assert_eq!(adder.switch(10), 2);
/// assert_eq!(adder.switch(20), 130);
/// ```
#[track_caller]
pub fn switch_to_parent<T: 'static>(value: T) -> T {
    let me = current::<T>().filter(Greenlet::is_suspendable);
    let Some(me) = me else {
        panic!("the caller is not in a suspendable greenlet that passes {}", type_name::<T>());
    };
    let parent = me.node.heir();
    me.leave_for(parent, Letter::Value(value))
}

impl<T: 'static> Clone for Greenlet<T> {
    fn clone(&self) -> Greenlet<T> {
        Greenlet { node: Rc::clone(&self.node) }
    }
}

impl<T: 'static> fmt::Debug for Greenlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Greenlet").field("stage", &self.node.stage()).finish_non_exhaustive()
    }
}

impl<T: 'static> PartialEq for Greenlet<T> {
    fn eq(&self, other: &Greenlet<T>) -> bool {
        Rc::ptr_eq(&self.node, &other.node)
    }
}

impl<T: 'static> Eq for Greenlet<T> {}

impl<T: 'static> Greenlet<T> {
    /// Makes a greenlet, which starts at the first switch to it: `body` receives the value of that
    /// switch. Its parent is the greenlet that makes it.
    ///
    /// # Panics
    ///
    /// If there is no memory for its stack, and if the C library does not report the end of a
    /// thread (other than glibc); [`Greenlet::with_stack_size`] returns an error.
    #[track_caller]
    pub fn new(body: impl FnOnce(T) -> T + 'static) -> Greenlet<T> {
        let made = Greenlet::on_stack(None, body);
        match made {
            Ok(made) => made,
            Err(error) => panic!("could not make a greenlet: {error}"),
        }
    }

    /// Makes a greenlet with a stack of this many bytes; memory is used only as it is touched.
    ///
    /// # Errors
    ///
    /// If there is no memory for its stack; `Unsupported` if the C library does not report the end
    /// of a thread.
    pub fn with_stack_size(
        bytes: usize,
        body: impl FnOnce(T) -> T + 'static,
    ) -> io::Result<Greenlet<T>> {
        Greenlet::on_stack(Some(bytes), body)
    }

    fn on_stack(
        bytes: Option<usize>,
        body: impl FnOnce(T) -> T + 'static,
    ) -> io::Result<Greenlet<T>> {
        let letter = Rc::new(Cell::new(None::<Letter<T>>));
        let returned = Rc::new(Cell::new(None));
        let (first, returns) = (Rc::clone(&letter), Rc::clone(&returned));
        let coroutine = NestedCoroutine::new("greenlet", bytes, move |_| {
            let letter = first.take().expect("it is begun with a letter");
            returns.set(Some(body(letter.open())));
        })?;
        let parent = current().map_or_else(Weak::new, |parent: Greenlet<T>| parent.downgrade());
        let node = Rc::new(Node {
            stage: Cell::new(Stage::Waiting),
            suspender: coroutine.suspender(),
            coroutine: Cell::new(Some(coroutine)),
            letter,
            onward: Cell::new(None),
            returned,
            parent: RefCell::new(parent),
        });
        Ok(Greenlet { node })
    }

    /// Switches to this greenlet and passes it a value. Returns the value passed by the switch back
    /// to the caller: the value of a `switch`, or of a child's return.
    ///
    /// # Suspends
    ///
    /// The calling greenlet. Outside of greenlets the caller waits until a greenlet switches back
    /// to it.
    ///
    /// # Panics
    ///
    /// If it is dead or running; [`Greenlet::try_switch`] returns an error instead. With the
    /// payload that is [thrown](Greenlet::throw) at the caller, or the panic of a child.
    #[track_caller]
    pub fn switch(&self, value: T) -> T {
        match self.try_switch(value) {
            Ok(value) => value,
            Err(error) => panic!("{error} and cannot be switched to"),
        }
    }

    /// As [`Greenlet::switch`], with an error if the greenlet cannot be switched to.
    ///
    /// # Errors
    ///
    /// If it is dead or running. The value is dropped.
    pub fn try_switch(&self, value: T) -> Result<T, SwitchError> {
        self.send(Letter::Value(value))
    }

    /// Switches to this greenlet and panics there with the payload. One that has not started dies
    /// without having run, and the panic passes to its parent.
    ///
    /// # Errors
    ///
    /// If it is dead or running.
    ///
    /// # Panics
    ///
    /// As [`Greenlet::switch`]: with the payload, unless it is caught before.
    pub fn throw(&self, payload: Box<dyn Any + Send>) -> Result<T, SwitchError> {
        self.send(Letter::Throw(payload))
    }

    /// Ends this greenlet: it is unwound, its destructors run, and then the caller continues. Its
    /// parent is not notified. One that has not started never runs; for a dead one this does
    /// nothing.
    ///
    /// # Errors
    ///
    /// If it is running.
    ///
    /// # Panics
    ///
    /// With the panic of a destructor.
    #[doc(alias = "GreenletExit")]
    pub fn kill(&self) -> Result<(), SwitchError> {
        match self.node.stage() {
            Stage::Dead => return Ok(()),
            Stage::Running => return Err(SwitchError::Running),
            Stage::Waiting => {}
        }
        let outcome = self.node.run(|coroutine| {
            coroutine.unwind();
            true
        });
        match outcome {
            Ok(_) => Ok(()),
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Returns `true` if it has returned, panicked or been killed.
    #[doc(alias = "dead")]
    pub fn is_dead(&self) -> bool {
        self.node.stage() == Stage::Dead
    }

    /// Returns the greenlet to which control and the value pass when this one returns. If that is
    /// `None`, dead or running, they pass to its parent, and finally to the frame that began
    /// switching.
    ///
    /// A parent is not kept alive by its children.
    pub fn parent(&self) -> Option<Greenlet<T>> {
        self.node.parent.borrow().upgrade().map(|node| Greenlet { node })
    }

    /// Sets the parent.
    ///
    /// # Panics
    ///
    /// If the new parent is the greenlet itself or descends from it.
    #[track_caller]
    pub fn set_parent(&self, parent: &Greenlet<T>) {
        let mut ancestor = Some(parent.clone());
        while let Some(greenlet) = ancestor {
            assert!(greenlet != *self, "a greenlet cannot be its own ancestor");
            ancestor = greenlet.parent();
        }
        *self.node.parent.borrow_mut() = parent.downgrade();
    }

    fn downgrade(&self) -> Weak<Node<T>> {
        Rc::downgrade(&self.node)
    }

    fn send(&self, letter: Letter<T>) -> Result<T, SwitchError> {
        match self.node.stage() {
            Stage::Dead => return Err(SwitchError::Dead),
            Stage::Running => return Err(SwitchError::Running),
            Stage::Waiting => {}
        }
        match current::<T>().filter(Greenlet::is_suspendable) {
            Some(me) => Ok(me.leave_for(Some(self.clone()), letter)),
            None => Ok(run_from_here(self.clone(), letter)),
        }
    }

    /// Returns `true` if the caller, which runs in it, can suspend it.
    fn is_suspendable(&self) -> bool {
        self.node.suspender.is_here() && !self.node.suspender.is_unwinding() && !thread::panicking()
    }

    /// Suspends this greenlet, which is the caller, for another.
    #[track_caller]
    fn leave_for(self, next: Option<Greenlet<T>>, letter: Letter<T>) -> T {
        assert_may_park(None);
        let node = Rc::downgrade(&self.node);
        self.node.onward.set(Some((next, letter)));
        // A handle on its own stack would keep it alive for ever.
        let suspender = self.node.suspender.clone();
        drop(self);
        suspender.suspend();
        let letter = node.upgrade().and_then(|node| node.letter.take());
        letter.expect("it is resumed with a letter").open()
    }
}

impl<T: 'static> Node<T> {
    fn stage(&self) -> Stage {
        match self.stage.get() {
            // Its thread is ending.
            Stage::Waiting if self.suspender.phase() == Phase::Finished => Stage::Dead,
            stage => stage,
        }
    }

    /// Runs it; returns `true` if it is dead afterwards.
    fn run(
        self: &Rc<Node<T>>,
        how: impl FnOnce(&mut NestedCoroutine) -> bool,
    ) -> Result<bool, Box<dyn Any + Send>> {
        let mut coroutine = self.coroutine.take().expect("a suspended greenlet has its coroutine");
        self.stage.set(Stage::Running);
        let before = replace_current(Some(self.clone()));
        let ended = catch_unwind(AssertUnwindSafe(|| how(&mut coroutine)));
        replace_current(before);
        if let Ok(false) = ended {
            self.stage.set(Stage::Waiting);
            self.coroutine.set(Some(coroutine));
        } else {
            self.stage.set(Stage::Dead);
        }
        ended
    }

    /// Where control passes when it has ended: the next of its ancestors that is suspended.
    fn heir(&self) -> Option<Greenlet<T>> {
        let mut heir = self.parent.borrow().upgrade();
        while let Some(node) = heir {
            if node.stage() == Stage::Waiting {
                return Some(Greenlet { node });
            }
            heir = node.parent.borrow().upgrade();
        }
        None
    }
}

/// Switches from code that cannot be suspended: resumes one greenlet after the other, until one
/// switches back here.
fn run_from_here<T: 'static>(mut next: Greenlet<T>, mut letter: Letter<T>) -> T {
    loop {
        let node = Rc::clone(&next.node);
        node.letter.set(Some(letter));
        drop(next);
        let ended = node.run(|coroutine| coroutine.resume() == State::Finished);
        let (heir, reply) = match ended {
            Ok(false) => node.onward.take().expect("it suspends for somebody"),
            Ok(true) => {
                let value = node.returned.take().expect("it returns a value");
                (node.heir(), Letter::Value(value))
            }
            Err(payload) => (node.heir(), Letter::Throw(payload)),
        };
        match heir {
            Some(heir) => (next, letter) = (heir, reply),
            None => return reply.open(),
        }
    }
}
