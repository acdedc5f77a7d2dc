//! Greenlets: functions that switch to each other explicitly.
//!
//! Where a generator can only go back to its caller, a greenlet can go on to any other, from any
//! depth of calls, and passes a value along. Nothing is switched by itself: what a greenlet waits
//! for (a read, a sleep) is waited for by the task or thread that it runs in.
//!
//! ```text
//!   caller:  g1.switch(a) ───loop───▶ g1                      the caller's frame runs a loop:
//!                          ◀─suspend─ g2.switch(b)            whoever switches suspends and
//!                         ───resume─▶ g2                      leaves a letter for the next,
//!                          ◀─suspend─ g1.switch(c)            which the loop resumes
//!                         ───resume─▶ g1   (`switch` gave c)
//!   a ... r ◀──────────────returns r─ g1 ends: r goes to its parent, in the end to the caller
//!
//!   Fresh ──switch──▶ Running ──switch to another──▶ Suspended ──switch──▶ Running …
//!                        └── returns, panics, is killed ──▶ Dead
//! ```
//!
//! Whose stack runs, and who may suspend it, is checked in `fiveways_coro`. A switch from a place
//! that cannot be suspended (a generator inside a greenlet, a destructor that unwinds, a greenlet
//! of another type) begins a loop of its own there: its frame is then the caller.

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

/// Why a greenlet could not be switched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SwitchError {
    /// It runs, or waits for a greenlet that it has called from where it could not be suspended.
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

/// A function on a stack of its own that switches to others, and they to it, passing a `T`.
///
/// A handle; its clones mean the same greenlet. When the last handle of a suspended greenlet goes
/// (one inside its own function counts), it is unwound, so that its destructors run. So it is at
/// the end of its thread, before thread-locals are destroyed: see
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
    /// Away while it runs.
    coroutine: Cell<Option<NestedCoroutine>>,
    suspender: Suspender,
    /// What it is resumed with.
    letter: Rc<Cell<Option<Letter<T>>>>,
    /// Whom it has suspended itself for, with a letter.
    onward: Cell<Option<Onward<T>>>,
    /// What it has returned.
    returned: Rc<Cell<Option<T>>>,
    parent: RefCell<Weak<Node<T>>>,
}

/// The next greenlet; nobody: who began to switch.
type Onward<T> = (Option<Greenlet<T>>, Letter<T>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Fresh or suspended.
    Waiting,
    Running,
    Dead,
}

/// What is passed in a switch.
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

/// The greenlet in which the task (or plain thread) is; each kind of value has its own type.
static CURRENT: TaskLocal<Cell<Option<Rc<dyn Any>>>> = TaskLocal::with_first(|| Cell::new(None));

fn replace_current(current: Option<Rc<dyn Any>>) -> Option<Rc<dyn Any>> {
    // At the very end of a task or thread there is nobody left to be asked.
    CURRENT.try_with(|cell| cell.replace(current)).flatten()
}

/// Gives the greenlet that the caller runs in; `None` outside of greenlets that pass a `T`.
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

/// Switches to the parent of the greenlet that the caller runs in (see [`Greenlet::parent`]) and
/// gives it a value. Gives what is passed by whoever switches back.
///
/// # Suspends
///
/// The calling greenlet.
///
/// # Panics
///
/// Outside of greenlets that pass a `T`, and where the caller's greenlet cannot be suspended: in a
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
        panic!("the caller is in no greenlet that passes {} and can wait", type_name::<T>());
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
    /// Makes a greenlet, which runs when it is first switched to: `body` is given the value of that
    /// switch. Its parent is the greenlet that makes it.
    ///
    /// # Panics
    ///
    /// When there is no memory for its stack, and where the C library does not tell of the end of a
    /// thread (other than glibc); [`Greenlet::with_stack_size`] gives an error.
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
    /// When there is no memory for its stack; `Unsupported` where the C library does not tell of
    /// the end of a thread.
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

    /// Switches to this greenlet and gives it a value. Gives what is passed by whoever switches
    /// back to the caller: the value of a `switch`, or of a child's return.
    ///
    /// # Suspends
    ///
    /// The calling greenlet. Outside of greenlets the caller waits until one comes back to it.
    ///
    /// # Panics
    ///
    /// When it is dead or running; [`Greenlet::try_switch`] gives an error instead. With what is
    /// [thrown](Greenlet::throw) at the caller, as is the panic of a child.
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
    /// When it is dead or running. The value is dropped.
    pub fn try_switch(&self, value: T) -> Result<T, SwitchError> {
        self.send(Letter::Value(value))
    }

    /// Switches to this greenlet and panics there with the payload. One that has not begun dies
    /// without having run, and the panic goes on to its parent.
    ///
    /// # Errors
    ///
    /// When it is dead or running.
    ///
    /// # Panics
    ///
    /// As [`Greenlet::switch`]: with the payload, if nobody catches it before.
    pub fn throw(&self, payload: Box<dyn Any + Send>) -> Result<T, SwitchError> {
        self.send(Letter::Throw(payload))
    }

    /// Ends this greenlet: it is unwound, its destructors run, and then the caller goes on. Its
    /// parent is told nothing. One that has not begun never does; of one that is dead nothing is
    /// left to end.
    ///
    /// # Errors
    ///
    /// When it is running.
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

    /// Has it returned, panicked or been killed?
    #[doc(alias = "dead")]
    pub fn is_dead(&self) -> bool {
        self.node.stage() == Stage::Dead
    }

    /// Gives the greenlet to which control and the value go when this one returns. `None`, or one
    /// that is dead or running: they go to its parent, in the end to who began to switch.
    ///
    /// A parent is not kept alive by its children.
    pub fn parent(&self) -> Option<Greenlet<T>> {
        self.node.parent.borrow().upgrade().map(|node| Greenlet { node })
    }

    /// Sets the parent.
    ///
    /// # Panics
    ///
    /// When the new parent is the greenlet itself or descends from it.
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

    /// Can it be suspended by the caller, which runs in it?
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
            // Its thread ends.
            Stage::Waiting if self.suspender.phase() == Phase::Finished => Stage::Dead,
            stage => stage,
        }
    }

    /// Lets it run; true: it is dead.
    fn run(
        self: &Rc<Node<T>>,
        how: impl FnOnce(&mut NestedCoroutine) -> bool,
    ) -> Result<bool, Box<dyn Any + Send>> {
        let mut coroutine = self.coroutine.take().expect("one that waits is at home");
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

    /// Where control goes when it has ended: the next of its ancestors that waits.
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

/// Switches from where nothing can be suspended: resumes one greenlet after the other, until one
/// comes back here.
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
