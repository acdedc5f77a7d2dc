//! Waiting for the first of several events: see [`select!`](crate::select).
//!
//! ```text
//!   each arm tried, in random order ──one can──▶ chosen
//!          │none can
//!          ▼
//!   one waiter joins every arm's line ──an arm need not wait any more──▶ leave all, try again
//!          │
//!          ▼
//!        wait ──▶ selected by an arm's other side, or late ──▶ leave the other lines ──▶ chosen
//! ```
//!
//! The operation of the chosen arm has been performed (an item received or sent), and no other.
#![expect(unsafe_code, reason = "lines point into the arms of who waits")]

mod arms;
mod readiness;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use fiveways_runtime::{Reason, Selection, Waiter, clock, random, spend};

pub use self::arms::{ReceiveFrom, SendTo};
pub use self::readiness::{Watch, Watched};
use self::readiness::{Watchable, has_polled};

#[doc(hidden)]
pub use self::arms::{EventArm, ReceiveArm, SendArm};
#[doc(hidden)]
pub use self::readiness::ReadinessArm;

/// The maximum number of arms of one `select!`.
const ARMS_MAX: usize = 16;

/// Waits for the first of several: items received or sent, events, readiness, points in time.
///
/// ```text
/// select! {
///     recv(receiver) -> item => …,        // Result<T, RecvError>
///     send(sender, value) -> sent => …,   // Result<(), SendError<T>>
///     wait(event) => …,                   // an Event that is set
///     readable(socket) -> ready => …,     // io::Result<()>
///     writable(socket) -> ready => …,     // io::Result<()>
///     after(duration) => …,               // or default(duration)
///     at(instant) => …,
///     default => …,                       // at once, when nothing else can
/// }
/// ```
///
/// Each arm may appear any number of times, 16 in all. Exactly one operation is performed, and its
/// body runs; if several are ready, one of them is chosen at random, so that none starves. An
/// operation on a channel without other ends is ready, with an error.
///
/// Receivers and senders are those of [`sync::mpsc`](crate::sync::mpsc) and
/// [`sync::channel`](crate::sync::channel). An item to send is evaluated before the wait begins, as
/// in Go; if another arm is chosen, it is dropped. Everything that implements [`Watch`] can be
/// watched for readiness: sockets, pipes, and anything else that has a descriptor. Readiness is a
/// hint: another task may be faster.
///
/// # Suspends
///
/// Until one arm is ready; a plain thread blocks. With `default`, only to watch a socket.
///
/// # Cancellation
///
/// A cancelled task is unwound from here; nothing was received or sent.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fiveways::sync::mpsc;
/// use fiveways::{select, task};
///
/// let (numbers, some_numbers) = mpsc::channel();
/// let (words, some_words) = mpsc::channel::<&str>();
/// task::spawn(move || numbers.send(7));
///
/// let what = select! {
///     recv(some_numbers) -> number => format!("number {number:?}"),
///     recv(some_words) -> word => format!("word {word:?}"),
///     after(Duration::from_secs(60)) => "nothing".to_owned(),
/// };
/// assert_eq!(what, "number Ok(7)");
/// # drop(words);
/// ```
#[macro_export]
#[doc(alias("gevent.wait", "asyncio.wait", "Select"))]
macro_rules! select {
    ($($arms:tt)+) => {
        $crate::__select_arms!(
            (a 0 b 1 c 2 d 3 e 4 f 5 g 6 h 7 i 8 j 9 k 10 l 11 m 12 n 13 o 14 p 15)
            () () () $($arms)+
        )
    };
}

/// Takes one arm after the other off the list: `(free names and numbers) (declarations) (names of
/// arms) (branches) arms…`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_arms {
    // All arms are taken.
    ($free:tt ($($declared:tt)*) ($($arm:ident)+) ($($branch:tt)*)) => {{
        $($declared)*
        let chosen = $crate::sync::select::wait(&mut [$(&mut $arm),+]);
        match chosen {
            $($branch)*
            _ => ::core::unreachable!("only one of the arms is chosen"),
        }
    }};

    // A body that is a block needs no comma.
    ($free:tt $declared:tt $names:tt $branches:tt
        $what:ident $(($($of:expr),+))? $(-> $into:pat)? => $body:block, $($rest:tt)*) => {
        $crate::__select_arm!($free $declared $names $branches
            $what ($($($of),+)?) ($($into)?) ($body) $($rest)*)
    };
    ($free:tt $declared:tt $names:tt $branches:tt
        $what:ident $(($($of:expr),+))? $(-> $into:pat)? => $body:block $($rest:tt)*) => {
        $crate::__select_arm!($free $declared $names $branches
            $what ($($($of),+)?) ($($into)?) ($body) $($rest)*)
    };
    ($free:tt $declared:tt $names:tt $branches:tt
        $what:ident $(($($of:expr),+))? $(-> $into:pat)? => $body:expr, $($rest:tt)*) => {
        $crate::__select_arm!($free $declared $names $branches
            $what ($($($of),+)?) ($($into)?) ($body) $($rest)*)
    };
    ($free:tt $declared:tt $names:tt $branches:tt
        $what:ident $(($($of:expr),+))? $(-> $into:pat)? => $body:expr) => {
        $crate::__select_arm!($free $declared $names $branches
            $what ($($($of),+)?) ($($into)?) ($body))
    };
    ($($wrong:tt)*) => {
        ::core::compile_error!("not an arm of select!: see its documentation")
    };
}

/// Declares one arm and its branch.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_arm {
    (($name:ident $number:tt $($free:tt)*) ($($declared:tt)*) ($($names:ident)*) ($($branch:tt)*)
        recv ($receiver:expr) ($($into:pat)?) ($body:expr) $($rest:tt)*) => {
        $crate::__select_arms!(($($free)*)
            ($($declared)*
                let $name = &$receiver;
                let mut $name = $crate::sync::select::ReceiveFrom::arm($name);)
            ($($names)* $name)
            ($($branch)* $number => { $(let $into =)? $name.finish(); $body })
            $($rest)*)
    };
    (($name:ident $number:tt $($free:tt)*) ($($declared:tt)*) ($($names:ident)*) ($($branch:tt)*)
        send ($sender:expr, $item:expr) ($($into:pat)?) ($body:expr) $($rest:tt)*) => {
        $crate::__select_arms!(($($free)*)
            ($($declared)*
                let $name = &$sender;
                let mut $name = $crate::sync::select::SendTo::arm($name, $item);)
            ($($names)* $name)
            ($($branch)* $number => { $(let $into =)? $name.finish(); $body })
            $($rest)*)
    };
    (($name:ident $number:tt $($free:tt)*) ($($declared:tt)*) ($($names:ident)*) ($($branch:tt)*)
        wait ($event:expr) () ($body:expr) $($rest:tt)*) => {
        $crate::__select_arms!(($($free)*)
            ($($declared)*
                let $name = &$event;
                let mut $name = $crate::sync::select::EventArm::new($name);)
            ($($names)* $name)
            ($($branch)* $number => { $name.finish(); $body })
            $($rest)*)
    };
    (($name:ident $number:tt $($free:tt)*) ($($declared:tt)*) ($($names:ident)*) ($($branch:tt)*)
        readable ($socket:expr) ($($into:pat)?) ($body:expr) $($rest:tt)*) => {
        $crate::__select_arms!(($($free)*)
            ($($declared)*
                let $name = &$socket;
                let mut $name = $crate::sync::select::ReadinessArm::readable($name);)
            ($($names)* $name)
            ($($branch)* $number => { $(let $into =)? $name.finish(); $body })
            $($rest)*)
    };
    (($name:ident $number:tt $($free:tt)*) ($($declared:tt)*) ($($names:ident)*) ($($branch:tt)*)
        writable ($socket:expr) ($($into:pat)?) ($body:expr) $($rest:tt)*) => {
        $crate::__select_arms!(($($free)*)
            ($($declared)*
                let $name = &$socket;
                let mut $name = $crate::sync::select::ReadinessArm::writable($name);)
            ($($names)* $name)
            ($($branch)* $number => { $(let $into =)? $name.finish(); $body })
            $($rest)*)
    };
    ($free:tt $declared:tt $names:tt $branches:tt
        after ($duration:expr) () ($body:expr) $($rest:tt)*) => {
        $crate::__select_time!($free $declared $names $branches
            ($crate::sync::select::Time::after($duration)) ($body) $($rest)*)
    };
    ($free:tt $declared:tt $names:tt $branches:tt
        default ($duration:expr) () ($body:expr) $($rest:tt)*) => {
        $crate::__select_time!($free $declared $names $branches
            ($crate::sync::select::Time::after($duration)) ($body) $($rest)*)
    };
    ($free:tt $declared:tt $names:tt $branches:tt
        at ($instant:expr) () ($body:expr) $($rest:tt)*) => {
        $crate::__select_time!($free $declared $names $branches
            ($crate::sync::select::Time::at($instant)) ($body) $($rest)*)
    };
    ($free:tt $declared:tt $names:tt $branches:tt
        default () () ($body:expr) $($rest:tt)*) => {
        $crate::__select_time!($free $declared $names $branches
            ($crate::sync::select::Time::default()) ($body) $($rest)*)
    };
    (() $($wrong:tt)*) => {
        ::core::compile_error!("a select! can have 16 arms")
    };
    ($($wrong:tt)*) => {
        ::core::compile_error!("not an arm of select!: see its documentation")
    };
}

/// Declares an arm for a deadline, and its branch.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_time {
    (($name:ident $number:tt $($free:tt)*) ($($declared:tt)*) ($($names:ident)*) ($($branch:tt)*)
        ($time:expr) ($body:expr) $($rest:tt)*) => {
        $crate::__select_arms!(($($free)*)
            ($($declared)* let mut $name = $time;)
            ($($names)* $name)
            ($($branch)* $number => { $body })
            $($rest)*)
    };
    (() $($wrong:tt)*) => {
        ::core::compile_error!("a select! can have 16 arms")
    };
}

/// One arm of a `select!`, for the duration of the call.
#[doc(hidden)]
pub trait Arm {
    /// Performs its operation if that is possible without waiting. Returns `true` if it did.
    fn attempt(&mut self) -> bool {
        false
    }

    /// Enters the wait queue of its object. Returns `false` if it need not wait.
    ///
    /// # Safety
    ///
    /// The arm must stay in place until the waiter was selected for it or `leave` was called.
    unsafe fn join(&mut self, _waiter: Pin<&Waiter>, _number: Selection) -> bool {
        true
    }

    /// Leaves the wait queue; also allowed if it is not in it.
    fn leave(&self, _waiter: Pin<&Waiter>, _number: Selection) {}

    /// Returns `true` if it has been served. Called if the task was unwound at that moment.
    fn is_served(&self) -> bool {
        false
    }

    /// Ends what it has started elsewhere; may suspend.
    fn end(&mut self) {}

    /// Returns `true` if it must be ended outside of any unwinding.
    fn must_end(&self) -> bool {
        false
    }

    /// What a plain thread can poll in its place, if there is nothing else to it.
    fn watched(&self) -> Option<Watchable> {
        None
    }

    /// The time at which it is chosen, if no other arm was before.
    fn time(&self) -> Option<Time> {
        None
    }
}

/// The arms that are deadlines.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Immediately.
    Now,
    /// At this instant.
    At(Instant),
    /// So far away that it cannot be represented.
    Never,
}

impl Time {
    /// After this duration.
    pub fn after(duration: Duration) -> Time {
        clock::after(duration).map_or(Time::Never, Time::At)
    }

    /// At this instant.
    pub fn at(instant: Instant) -> Time {
        Time::At(instant)
    }

    /// Immediately, if no other arm is ready.
    #[expect(clippy::should_implement_trait, reason = "named as the arm it is for")]
    pub fn default() -> Time {
        Time::Now
    }
}

impl Arm for Time {
    fn attempt(&mut self) -> bool {
        matches!(self, Time::At(instant) if *instant <= clock::now())
    }

    fn time(&self) -> Option<Time> {
        Some(*self)
    }
}

type Arms<'a, 'b> = [&'a mut (dyn Arm + 'b)];

/// Performs one of the arms and returns its index: the function that [`select!`](crate::select)
/// calls.
#[doc(hidden)]
#[track_caller]
pub fn wait(arms: &mut Arms<'_, '_>) -> usize {
    spend();
    let reason = Reason::new("select", arms);
    if !arms.iter().any(|arm| arm.must_end()) {
        return choose(arms, &reason);
    }
    // A task that unwinds cannot wait for the end of what it has started.
    let chosen = catch_unwind(AssertUnwindSafe(|| choose(arms, &reason)));
    for arm in arms {
        arm.end();
    }
    chosen.unwrap_or_else(|payload| resume_unwind(payload))
}

fn choose(arms: &mut Arms<'_, '_>, reason: &Reason<'_>) -> usize {
    let otherwise = arms.iter().position(|arm| arm.time() == Some(Time::Now));
    loop {
        let order = &in_random_order(arms.len())[..arms.len()];
        let mut in_order = order.iter().map(|index| usize::from(*index));
        let ready = in_order.find(|index| arms[*index].attempt());
        if let Some(chosen) = ready.or(otherwise) {
            return chosen;
        }
        if !has_polled(arms, first_in_time(arms).map(|(_, at)| at))
            && let Some(chosen) = wait_once(arms, order, reason)
        {
            return chosen;
        }
    }
}

/// Waits in every arm's queue; `None` if an arm became ready in between, and all must be tried
/// again.
///
/// The queues are entered in the random order as well: of two arms in one queue the first is
/// served.
fn wait_once(arms: &mut Arms<'_, '_>, order: &[u8], reason: &Reason<'_>) -> Option<usize> {
    let waiter = pin!(Waiter::of_many());
    let waiter = waiter.as_ref();
    let mut queued = Queued { arms, waiter, left: false };
    let arms = &mut queued.arms;
    let all_wait = order.iter().map(|index| usize::from(*index)).all(|index| {
        // SAFETY: required: in place until selected or left. `queued` borrows the arms, and leaves
        // every line, whatever happens.
        unsafe { arms[index].join(waiter, number(index)) }
    });
    let first = first_in_time(arms);
    let mut interrupt = None;
    if all_wait {
        let deadline = first.map(|(_, at)| at);
        let ended = waiter.wait_unless_interrupted(reason, deadline, || waiter.abort());
        interrupt = ended.err();
    } else {
        waiter.abort();
    }
    let chosen = waiter.selection().map(index);
    queued.leave(chosen);
    if let Some(interrupt) = interrupt
        && !chosen.is_some_and(|chosen| queued.arms[chosen].is_served())
    {
        interrupt.unwind();
    }
    match all_wait {
        true => chosen.or(first.map(|(index, _)| index)),
        false => chosen,
    }
}

/// Arms in their queues, with the waiter that waits for them.
struct Queued<'w, 'a, 'b> {
    arms: &'w mut Arms<'a, 'b>,
    waiter: Pin<&'w Waiter>,
    left: bool,
}

impl Queued<'_, '_, '_> {
    /// Leaves all queues but that of the chosen arm, which has left already.
    fn leave(&mut self, chosen: Option<usize>) {
        for (index, arm) in self.arms.iter().enumerate() {
            if Some(index) != chosen {
                arm.leave(self.waiter, number(index));
            }
        }
        self.left = true;
    }
}

impl Drop for Queued<'_, '_, '_> {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        self.waiter.abort();
        self.leave(self.waiter.selection().map(index));
    }
}

fn first_in_time(arms: &Arms<'_, '_>) -> Option<(usize, Instant)> {
    let times = arms.iter().enumerate().filter_map(|(index, arm)| match arm.time() {
        Some(Time::At(at)) => Some((index, at)),
        _ => None,
    });
    times.min_by_key(|(_, at)| *at)
}

fn number(index: usize) -> Selection {
    Selection::MIN.saturating_add(index)
}

fn index(number: Selection) -> usize {
    number.get() - 1
}

/// The numbers below `count`, shuffled.
fn in_random_order(count: usize) -> [u8; ARMS_MAX] {
    let mut order = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    for end in (1..count).rev() {
        order.swap(end, (random() >> 32) as usize % (end + 1));
    }
    order
}
