//! Task-local and thread-local values.
//!
//! One handle, shared by all; behind it one value per task ([`TaskLocal`]) or per thread
//! ([`ThreadLocal`]):
//!
//! ```text
//!                    task 1   task 2   task 3  │  plain thread
//!   TaskLocal          a        b      (unset) │      c
//!   ThreadLocal        └── x ───┘         y    │      z
//!                      worker 1        worker 2
//! ```
//!
//! Nothing is inherited: a new task begins without values. Use a [`TaskLocal`] for data of a
//! request (its id, its user), a [`ThreadLocal`] for data that tasks of one worker can share (a
//! cache, a pool): no other thread ever sees it.
//!
//! std's `thread_local!` works in tasks too, and means the worker's thread: the tasks of one worker
//! share the value. Its initialiser must not suspend: while it does, another task may initialise
//! the value, which std then replaces while it is borrowed. Initialisers of the types here may
//! suspend: if a value is created twice, the last one counts, and the other stays alive while it is
//! in use.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;

use fiveways_runtime::{Local, LocalKey, LocalOwner, local, set_local};

/// A value of which each task has its own; on plain threads, each thread.
///
/// Values are destroyed when their task ends, on its worker and before a join of the task returns.
/// The destructors may suspend, and may use other values that still exist; a panic in one is
/// caught.
///
/// # Examples
///
/// ```
/// use fiveways::local::TaskLocal;
/// use fiveways::task;
///
/// static USER: TaskLocal<String> = TaskLocal::new();
///
/// fn greeting() -> String {
///     format!("hello, {}", USER.get().unwrap_or_default())
/// }
///
/// let greet = |name: &'static str| {
///     task::spawn(move || {
///         USER.set(name.to_owned());
///         task::yield_now();
///         greeting()
///     })
/// };
/// let greetings = task::join_all([greet("liming"), greet("lijing")]);
/// let greetings: Result<Vec<_>, _> = greetings.into_iter().collect();
/// assert_eq!(greetings?, ["hello, liming", "hello, lijing"]);
/// assert_eq!(USER.get(), None);
/// # Ok::<(), task::JoinError>(())
/// ```
#[doc(alias = "gevent.local")]
#[doc(alias = "contextvars")]
pub struct TaskLocal<T: 'static> {
    place: Place<T>,
}

/// A value of which each thread has its own; tasks of one worker share it.
///
/// Values are destroyed when their thread ends.
///
/// # Examples
///
/// ```
/// use fiveways::local::ThreadLocal;
///
/// static NAME: ThreadLocal<&str> = ThreadLocal::new();
///
/// NAME.set("main");
/// let other = std::thread::spawn(|| NAME.get());
/// assert_eq!(other.join().expect("it does not panic"), None);
/// assert_eq!(NAME.get(), Some("main"));
/// ```
#[doc(alias = "threading.local")]
pub struct ThreadLocal<T: 'static> {
    place: Place<T>,
}

/// Declares task-local values with an initial value, in the form of std's `thread_local!`.
///
/// Each is a [`TaskLocal`](crate::local::TaskLocal); the expression is evaluated in each task that
/// reads the value before it has set one.
///
/// # Examples
///
/// ```
/// use std::cell::RefCell;
///
/// fiveways::local! {
///     static SEEN: RefCell<Vec<u32>> = RefCell::new(vec![1]);
/// }
///
/// let seen = fiveways::task::spawn(|| {
///     SEEN.with(|seen| seen.borrow_mut().push(2));
///     SEEN.with(|seen| seen.borrow().len())
/// });
/// assert_eq!(seen.join().expect("it does not panic"), 2);
/// assert_eq!(SEEN.with(|seen| seen.borrow().len()), 1);
/// ```
#[doc(alias = "task_local")]
#[macro_export]
macro_rules! local {
    ($($(#[$attribute:meta])* $visible:vis static $name:ident: $type:ty = $first:expr;)*) => {
        $(
            $(#[$attribute])*
            $visible static $name: $crate::local::TaskLocal<$type> =
                $crate::local::TaskLocal::with_first(|| $first);
        )*
    };
    ($($(#[$attribute:meta])* $visible:vis static $name:ident: $type:ty = $first:expr);+) => {
        $crate::local! { $($(#[$attribute])* $visible static $name: $type = $first;)+ }
    };
}

macro_rules! face {
    ($name:ident, $owner:ident, $whose:literal) => {
        impl<T: 'static> $name<T> {
            /// Makes a handle without values.
            pub const fn new() -> $name<T> {
                $name { place: Place::new(LocalOwner::$owner, None) }
            }

            /// Makes a handle whose values are initialised by `first`, on first use.
            pub const fn with_first(first: fn() -> T) -> $name<T> {
                $name { place: Place::new(LocalOwner::$owner, Some(first)) }
            }

            #[doc = concat!("Gives a copy of the ", $whose, "'s value; `None` if it has none.")]
            pub fn get(&self) -> Option<T>
            where
                T: Clone,
            {
                self.place.value().as_deref().cloned()
            }

            #[doc = concat!("Sets the ", $whose, "'s value.")]
            ///
            /// Suspends only if the destructor of the previous value does, which runs here unless
            /// it is in use.
            ///
            /// # Panics
            ///
            #[doc = concat!("In a destructor at the ", $whose, "'s end, when the value before")]
            /// has been destroyed.
            #[track_caller]
            pub fn set(&self, value: T) {
                self.place.set(value);
            }

            #[doc = concat!("As [`", stringify!($name), "::set`], with an error instead.")]
            ///
            /// # Errors
            ///
            /// The value itself, if the previous one has been destroyed at the end.
            pub fn try_set(&self, value: T) -> Result<(), T> {
                self.place.try_set(value)
            }

            #[doc = concat!("Unsets the ", $whose, "'s value. False: it had none.")]
            ///
            /// Suspends only if the destructor of the value does.
            pub fn unset(&self) -> bool {
                self.place.unset()
            }

            #[doc = concat!("Has the ", $whose, " a value? One that is not yet made counts not.")]
            pub fn is_set(&self) -> bool {
                matches!(self.place.look(), Local::Set(_))
            }

            #[doc = concat!("Runs `f` with the ", $whose, "'s value.")]
            ///
            /// The value stays alive until `f` returns, even if another is set in the meantime.
            ///
            /// # Panics
            ///
            /// If nothing is set and there is no initial value, or it has already been destroyed.
            #[track_caller]
            pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
                let value = self.place.value();
                f(&value.expect(concat!("this ", $whose, " has no value here")))
            }

            #[doc = concat!("Runs `f` with the ", $whose, "'s value; `None` if it has none.")]
            pub fn try_with<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
                Some(f(&*self.place.value()?))
            }
        }

        impl<T: 'static> Default for $name<T> {
            fn default() -> $name<T> {
                $name::new()
            }
        }

        impl<T: fmt::Debug + 'static> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.place.present()).finish()
            }
        }
    };
}

face!(TaskLocal, Task, "task");
face!(ThreadLocal, Thread, "thread");

/// The common core of both kinds: a key, allocated on first use.
struct Place<T: 'static> {
    owner: LocalOwner,
    key: AtomicU64,
    first: Option<fn() -> T>,
    values: PhantomData<fn() -> T>,
}

impl<T: 'static> Place<T> {
    const fn new(owner: LocalOwner, first: Option<fn() -> T>) -> Place<T> {
        Place { owner, key: AtomicU64::new(0), first, values: PhantomData }
    }

    fn look(&self) -> Local {
        local(self.owner, LocalKey::of(&self.key))
    }

    /// Returns the value, without initialising it.
    fn present(&self) -> Option<Rc<T>> {
        match self.look() {
            Local::Set(value) => Some(typed(value)),
            Local::Unset | Local::Gone => None,
        }
    }

    /// Returns the value, initialising it if there is none.
    fn value(&self) -> Option<Rc<T>> {
        match self.look() {
            Local::Set(value) => Some(typed(value)),
            Local::Unset => self.make(),
            Local::Gone => None,
        }
    }

    #[cold]
    fn make(&self) -> Option<Rc<T>> {
        let value = Rc::new(self.first?());
        // The initialiser may have set another value; the last one counts.
        drop(set_local(self.owner, LocalKey::of(&self.key), Some(value.clone())));
        Some(value)
    }

    #[track_caller]
    fn set(&self, value: T) {
        let set = self.try_set(value);
        assert!(set.is_ok(), "a local value cannot be set after its destruction");
    }

    fn try_set(&self, value: T) -> Result<(), T> {
        let value: Rc<dyn Any> = Rc::new(value);
        match set_local(self.owner, LocalKey::of(&self.key), Some(value)) {
            Ok(before) => {
                drop(before);
                Ok(())
            }
            Err(value) => {
                let value = typed(value.expect("it comes back"));
                Err(Rc::into_inner(value).expect("nobody else has had it"))
            }
        }
    }

    fn unset(&self) -> bool {
        // The destructor runs here, where nothing is borrowed.
        matches!(set_local(self.owner, LocalKey::of(&self.key), None), Ok(Some(_)))
    }
}

fn typed<T: 'static>(value: Rc<dyn Any>) -> Rc<T> {
    value.downcast().expect("a key has values of one type")
}
