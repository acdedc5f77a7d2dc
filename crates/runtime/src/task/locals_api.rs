//! Reading and setting the values of the running task, or of this thread.
#![expect(unsafe_code, reason = "the running task's block is reached by pointer")]

use crate::locals::{Local, LocalKey, LocalValue, Locals};
use crate::panics::contain;
use crate::worker::with_worker;

/// The owner of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalOwner {
    /// The running task; outside of tasks the thread.
    Task,
    /// The thread, whatever runs on it.
    Thread,
}

/// Returns the value of a key.
#[inline]
pub fn local(owner: LocalOwner, key: LocalKey) -> Local {
    with_locals(owner, |locals| locals.value(key)).unwrap_or(Local::Gone)
}

/// Sets the value of a key (`None`: no value) and returns the previous one, which the caller drops.
/// Returns the new value as `Err` if the owner is ending and has destroyed the previous one.
pub fn set_local(
    owner: LocalOwner,
    key: LocalKey,
    value: Option<LocalValue>,
) -> Result<Option<LocalValue>, Option<LocalValue>> {
    let mut value = Some(value);
    let set = with_locals(owner, |locals| {
        let value = value.take().expect("this runs once");
        locals.set(key, value)
    });
    set.unwrap_or_else(|| Err(value.flatten()))
}

/// Destroys the running task's values, in the order of their keys.
///
/// Destructors may use values that still exist, and may wait. A panic of a destructor is contained.
#[inline]
pub(crate) fn end_of_task() {
    let has_any = with_worker(|worker| {
        // SAFETY: required: a live task. It is the running one.
        worker.current().is_some_and(|task| unsafe { task.as_ref() }.locals.get().is_some())
    });
    if has_any == Some(true) {
        destroy_locals();
    }
}

#[cold]
fn destroy_locals() {
    while let Some(value) = with_worker(|worker| {
        let task = worker.current()?;
        // SAFETY: required: a live task. It is the running one.
        unsafe { task.as_ref() }.locals.get()?.take_next()
    })
    .flatten()
    {
        contain(|| drop(value));
    }
}

/// The values of a thread, destroyed at its end.
#[derive(Default)]
struct OfThread(Locals);

impl Drop for OfThread {
    fn drop(&mut self) {
        while let Some(value) = self.0.take_next() {
            contain(|| drop(value));
        }
    }
}

thread_local! {
    static OF_THREAD: OfThread = OfThread::default();
}

/// Runs `f` with the owner's values; returns `None` if the thread has ended.
#[inline]
fn with_locals<R>(owner: LocalOwner, f: impl FnOnce(&Locals) -> R) -> Option<R> {
    let mut f = Some(f);
    if owner == LocalOwner::Task {
        let ran = with_worker(|worker| {
            let task = worker.current()?;
            let f = f.take()?;
            // SAFETY: required: a live task. It is the running one.
            Some(f(unsafe { task.as_ref() }.locals.get_or_init(Box::default)))
        });
        if let Some(ran) = ran.flatten() {
            return Some(ran);
        }
    }
    let f = f?;
    OF_THREAD.try_with(|locals| f(&locals.0)).ok()
}
