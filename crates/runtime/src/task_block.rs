//! A task's control block, at the top of its own stack.
//!
//! ```text
//!   Ready ──resume──▶ Running ──suspend──▶ Waiting (for an operation of the driver)
//!     ▲                  │   └──suspend──▶ Parked  (until unparked)
//!     │                  │   └──suspend──▶ Asleep  (until its deadline)
//!     └── completion, unpark, deadline, cancel ──┘
//! ```
//!
//! All fields are cells that only the task's worker touches. The block is reached by pointers and
//! shared references; a `&mut` held across a suspension would be undefined behaviour.

use std::cell::{Cell, OnceCell};
use std::panic::Location;
use std::ptr;
use std::time::Instant;

use fiveways_driver::Pending;

use crate::identity::Identity;
use crate::locals::Locals;
use crate::reason::Reason;

/// The place in the heap of deadlines of a task that has no deadline.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// A task's slot in its worker's table, and the generation of the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TaskId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl TaskId {
    /// Returns the number as bits; never 0, which stands for "none yet".
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | (u64::from(self.index) + 1)
    }

    /// The inverse of [`TaskId::to_bits`]; `None` for 0.
    pub(crate) fn from_bits(bits: u64) -> Option<TaskId> {
        let index = (bits as u32).checked_sub(1)?;
        Some(TaskId { index, generation: (bits >> 32) as u32 })
    }
}

/// The numbers of a new task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) id: TaskId,
    pub(crate) identity: Identity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In the run queue.
    Ready,
    /// On the processor.
    Running,
    /// Suspended, with an operation in the driver.
    Waiting,
    /// Suspended until unparked.
    Parked,
    /// Suspended until its deadline.
    Asleep,
}

pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) state: Cell<State>,
    /// An unpark came while the task was not parked.
    pub(crate) token: Cell<bool>,
    /// Whether the task's end is recorded, see `exits`.
    pub(crate) exit_watched: Cell<bool>,
    /// The task was asked to end.
    pub(crate) cancelled: Cell<bool>,
    /// Whether nothing may unwind the task now, see [`Limits::is_uninterruptible`].
    pub(crate) uninterruptible: Cell<bool>,
    /// The deadline of the present wait has passed.
    pub(crate) timed_out: Cell<bool>,
    /// How many refusals the cancelled task has ignored so far.
    pub(crate) refusals: Cell<u16>,
    /// The position in the heap of deadlines, or [`NOWHERE`].
    pub(crate) timer: Cell<u32>,
    /// When it was suspended last, by its worker's coarse clock, in milliseconds.
    pub(crate) since: Cell<u64>,
    /// The operation it waits for, while `Waiting`.
    pub(crate) pending: Cell<*const Pending>,
    /// What it waits for, while `Parked` with a reason that dumps show; lies in the task's frame.
    pub(crate) reason: Cell<*const Reason<'static>>,
    /// The effective deadline, see [`Limits::deadline`].
    pub(crate) scope: Cell<Option<Instant>>,
    /// The task's identity in the whole process.
    pub(crate) identity: Identity,
    /// Its task-local values, from the first one on; emptied at its end, on its own stack.
    pub(crate) locals: OnceCell<Box<Locals>>,
    /// The limits of the running stack and of its callers; `scope` and `uninterruptible` follow
    /// from it.
    pub(crate) limits: Cell<Limits>,
    /// Where the task was spawned, and by which task or thread.
    pub(crate) origin: Origin,
}

/// What ends a task's waits early, or protects them: the limits of the stack that runs now, and
/// those of the stack that has resumed it (a generator's caller), which change from one resumption
/// to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// The deadline of its own `timeout` scopes.
    pub(crate) own: Option<Instant>,
    /// The deadline of the caller.
    pub(crate) callers: Option<Instant>,
    /// Whether its own waits must not be interrupted.
    pub(crate) own_uninterruptible: bool,
    /// Whether the caller's waits must not be interrupted.
    pub(crate) callers_uninterruptible: bool,
}

impl Limits {
    /// No limits: nothing ends a wait early.
    pub(crate) const NONE: Limits = Limits {
        own: None,
        callers: None,
        own_uninterruptible: false,
        callers_uninterruptible: false,
    };

    pub(crate) fn is_uninterruptible(&self) -> bool {
        self.own_uninterruptible || self.callers_uninterruptible
    }

    /// Returns the effective deadline. While the stack must not be interrupted, that is the
    /// deadline of the scopes inside the protection; the outer ones were put aside.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.own_uninterruptible { self.own } else { earlier(self.own, self.callers) }
    }
}

/// Where something was spawned, and by which task or thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) place: &'static Location<'static>,
    pub(crate) by: Identity,
}

/// Returns the earlier of two deadlines.
#[inline]
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Task {
    #[inline(always)]
    pub(crate) fn new(numbers: Numbers, origin: Origin, since: u64) -> Task {
        let Numbers { id, identity } = numbers;
        Task {
            id,
            identity,
            reason: Cell::new(ptr::null()),
            state: Cell::new(State::Ready),
            token: Cell::new(false),
            exit_watched: Cell::new(false),
            cancelled: Cell::new(false),
            uninterruptible: Cell::new(false),
            timed_out: Cell::new(false),
            refusals: Cell::new(0),
            timer: Cell::new(NOWHERE),
            since: Cell::new(since),
            pending: Cell::new(ptr::null()),
            scope: Cell::new(None),
            limits: Cell::default(),
            locals: OnceCell::new(),
            origin,
        }
    }

    /// Sets what ends the task's waits early.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.limits.set(limits);
        self.scope.set(limits.deadline());
        self.uninterruptible.set(limits.is_uninterruptible());
    }

    /// Returns `true` if the task is to be unwound from a wait that cannot return an error.
    #[inline]
    pub(crate) fn is_to_unwind(&self) -> bool {
        self.cancelled.get() && !self.uninterruptible.get()
    }
}
