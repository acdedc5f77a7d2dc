//! Blocking code of tasks, on threads that are shared.

use std::collections::HashSet;
use std::sync::mpsc;
use std::thread;

use fiveways::executor::unblock;
use fiveways::runtime::Runtime;
use fiveways::task;

use crate::support::in_time;

/// S004-21: opening costs, so a thread is used again.
#[test]
fn calls_one_after_the_other_share_a_thread() {
    let _watchdog = in_time();
    let runtime = Runtime::builder().build().expect("a runtime");
    let threads: HashSet<_> =
        runtime.block_on(|| (0..100).map(|_| unblock(|| thread::current().id())).collect());
    // A thread that has answered may not be idle yet when the next call comes.
    assert!(threads.len() < 50, "{} threads for one call at a time", threads.len());
}

/// S004-21: the number of threads is bounded, and calls beyond it wait their turn.
#[test]
fn calls_at_once_have_threads_of_their_own_up_to_512() {
    let _watchdog = in_time();
    let runtime = Runtime::builder().build().expect("a runtime");
    let (tell, told) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Arc::new(std::sync::Mutex::new(gone));
    runtime.block_on(move || {
        let block = |_| {
            let (tell, gone) = (tell.clone(), std::sync::Arc::clone(&gone));
            task::spawn_local(move || {
                unblock(move || {
                    tell.send(thread::current().id()).expect("it is awaited");
                    let _ = gone.lock().map(|gone| gone.recv());
                })
            })
        };
        let calls: Vec<_> = (0..600).map(block).collect();
        task::yield_now();
        let theirs: HashSet<_> = (0..512).map(|_| told.recv().expect("it begins")).collect();
        assert_eq!(theirs.len(), 512);
        assert!(told.try_recv().is_err(), "the others wait");
        drop(go);
        calls.into_iter().for_each(|call| call.join().expect("no panic"));
        assert_eq!(told.try_iter().count(), 88);
    });
}
