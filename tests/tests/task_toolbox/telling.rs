//! What is told of tasks is written where the user says, which may wait.

use std::fmt::{self, Write};

use fiveways::executor::ThreadPool;
use fiveways::sync::{Condvar, Event, Semaphore};
use fiveways::task::{self, Group, JoinError};
use fiveways::{Model, runtime::Runtime};

/// Lets the others run at each piece that it is given.
struct Slow(String);

impl Write for Slow {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        task::yield_now();
        self.0.push_str(piece);
        Ok(())
    }
}

fn slowly(shown: impl fmt::Debug) -> String {
    let mut slow = Slow(String::new());
    write!(slow, "{shown:?}").expect("it takes everything");
    slow.0
}

/// Nothing is locked meanwhile that would block the thread of those who run in between.
#[test]
fn others_use_what_is_being_told_of() {
    let runtime = Runtime::builder().model(Model::Epoll).build().expect("a runtime");
    runtime.block_on(|| {
        let (semaphore, event, group) = (Semaphore::new(1), Event::new(), Group::new());
        let condvar = Condvar::new();
        let error = task::spawn(|| panic!("as it must")).join().expect_err("it panics");
        let error: &JoinError = &error;
        let pool = ThreadPool::default();
        let future = pool.submit(|| -> () { panic!("as it must") }).expect("it is open");
        assert!(future.exception().is_some());
        let told: Vec<String> = task::scope(|scope| {
            let tell = [
                scope.spawn(|| slowly(&semaphore)),
                scope.spawn(|| slowly(&event)),
                scope.spawn(|| slowly(&group)),
                scope.spawn(|| slowly(&condvar)),
                scope.spawn(|| slowly(error)),
                scope.spawn(|| slowly(&future)),
            ];
            task::yield_now();
            for _ in 0..3 {
                drop(semaphore.acquire());
                event.set();
                group.spawn(task::yield_now);
                condvar.notify_all();
                assert!(error.to_string().contains("as it must"));
                assert!(future.is_done());
                task::yield_now();
            }
            tell.into_iter().map(|it| it.join().expect("it does not panic")).collect()
        });
        assert_eq!(told[0], "Semaphore { free: 1 }");
        assert_eq!(told[4], "JoinError(the task panicked: as it must)");
        assert_eq!(told[5], "Future(the work panicked: as it must)");
    });
}
