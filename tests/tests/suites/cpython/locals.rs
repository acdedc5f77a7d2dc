//! `threading.local`: a [`ThreadLocal`], and a [`TaskLocal`] where what CPython calls a thread is a
//! task.

use std::cell::RefCell;
use std::sync::Arc;

use fiveways::local::{TaskLocal, ThreadLocal};
use fiveways::sync::Event;

use crate::support::{everywhere, joined, other, others, until};

everywhere!(
    the_values_of_those_that_have_ended_are_gone,
    a_value_that_waits_while_it_is_made_is_its_makers,
    what_another_has_set_is_not_set_here,
    what_is_unset_is_unset_here_only,
    a_value_may_hold_values_of_its_own,
    the_values_of_threads_are_theirs,
);

fn the_values_of_those_that_have_ended_are_gone() {
    static HELD: TaskLocal<Arc<()>> = TaskLocal::new();
    let value = Arc::new(());
    for count in [20, 50] {
        let theirs = Arc::clone(&value);
        joined(others(count, move |_| HELD.set(Arc::clone(&theirs))));
        until("they are gone", || Arc::strong_count(&value) == 1);
    }
}

/// CPython's issue 3088.
fn a_value_that_waits_while_it_is_made_is_its_makers() {
    static SLOW: TaskLocal<RefCell<Vec<usize>>> = TaskLocal::with_first(|| {
        fiveways::time::sleep(std::time::Duration::from_millis(1));
        RefCell::default()
    });
    let made = others(10, |number| {
        SLOW.with(|list| list.borrow_mut().push(number));
        fiveways::time::sleep(std::time::Duration::from_millis(1));
        SLOW.with(|list| list.borrow().clone()) == [number]
    });
    assert!(joined(made).into_iter().all(|own| own));
}

fn what_another_has_set_is_not_set_here() {
    static NAME: TaskLocal<&str> = TaskLocal::new();
    let (set, seen) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let (told, wait) = (Arc::clone(&set), Arc::clone(&seen));
    let setting = other(move || {
        NAME.set("foo");
        told.set();
        wait.wait();
        NAME.get()
    });
    set.wait();
    assert_eq!(NAME.get(), None);
    assert_eq!(other(|| NAME.get()).join(), None);
    seen.set();
    assert_eq!(setting.join(), Some("foo"));
}

fn what_is_unset_is_unset_here_only() {
    static NAME: TaskLocal<usize> = TaskLocal::new();
    NAME.set(99);
    let theirs = others(5, |number| {
        assert!(!NAME.unset());
        NAME.set(number);
        assert!(NAME.unset() && !NAME.unset());
        NAME.get()
    });
    assert_eq!(joined(theirs), [None; 5]);
    assert!(NAME.get() == Some(99) && NAME.unset());
}

fn a_value_may_hold_values_of_its_own() {
    static OUTER: TaskLocal<RefCell<Vec<Arc<()>>>> = TaskLocal::with_first(RefCell::default);
    let value = Arc::new(());
    let theirs = Arc::clone(&value);
    let count = other(move || {
        OUTER.with(|list| list.borrow_mut().extend([Arc::clone(&theirs), theirs]));
        OUTER.with(|list| list.borrow().len())
    });
    assert_eq!(count.join(), 2);
    until("they are gone", || Arc::strong_count(&value) == 1);
    assert_eq!(OUTER.with(|list| list.borrow().len()), 0);
    OUTER.unset();
}

fn the_values_of_threads_are_theirs() {
    static OWNER: ThreadLocal<std::thread::ThreadId> = ThreadLocal::new();
    let agree = others(8, |_| {
        let here = std::thread::current().id();
        let before = OWNER.get().unwrap_or(here);
        OWNER.set(here);
        (0..3).for_each(|_| fiveways::time::sleep(std::time::Duration::from_micros(50)));
        before == here && OWNER.get() == Some(here)
    });
    assert!(joined(agree).into_iter().all(|own| own));
    OWNER.unset();
}
