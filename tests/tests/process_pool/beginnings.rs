//! What each process runs before its first call, and several calls at a time.

use std::num::NonZero;
use std::process::Stdio;

use fiveways::executor::{BuildError, FutureError, ProcessPool, Sizing, SubmitError};
use rustix::process::Signal;

use crate::Endless;
use crate::functions::{
    abort, begin, begin_badly, begin_once_begun, begun, exit, fail, pid, pool, square,
};
use crate::processes::{has_ended, send};
use crate::scene::Scene;
use crate::support::{error, value};
use fiveways::executor::Call;
use fiveways_tests::patience::eventually;

fn one() -> fiveways::executor::ProcessPoolBuilder {
    ProcessPool::builder().size(Sizing::Fixed(1))
}

/// S004-22: CPython's `initializer` and `initargs`; in each process once, also in those that come
/// in place of others.
pub(crate) fn each_process_is_initialized_once_before_its_first_call() {
    let two = NonZero::new(2).expect("not zero");
    let first = begin::call("tea".to_owned(), 3);
    let pool = one().calls_per_process(two).initializer(first).build().expect("main has asked");
    let told: Vec<_> = (0..6).map(|_| value(pool.submit(begun::call()))).collect();
    assert!(told.iter().all(|(text, times, _)| text == "teateatea" && *times == 1), "{told:?}");
    let pids: Vec<_> = told.iter().map(|(_, _, pid)| *pid).collect();
    assert!(pids[0] == pids[1] && pids[1] != pids[2], "it is none of the calls: {pids:?}");
    let victim = value(pool.submit(pid::call()));
    send(victim, Signal::KILL);
    eventually("it is dead", || has_ended(victim));
    assert_eq!(value(pool.submit(begun::call())).0, "teateatea");
}

/// S004-22: as CPython's `BrokenProcessPool`.
pub(crate) fn an_initializer_that_panics_breaks_the_pool() {
    let pool = one().initializer(fail::call("not today".to_owned())).build().expect("1");
    let futures = [1, 2, 3].map(|x| pool.submit(square::call(x)));
    // Those that come late are refused.
    for future in futures {
        match future {
            Ok(future) => assert!(matches!(error(Ok(future)), FutureError::BrokenPool)),
            Err(refused) => assert!(matches!(refused, SubmitError::Broken), "{refused}"),
        }
    }
    let refused = pool.submit(square::call(1)).expect_err("it is broken");
    assert_eq!(refused.to_string(), "the initializer of the pool has failed");
    drop(pool);
    assert!(crate::processes::children().is_empty());
}

/// C36: somebody looks at standard error for the reason.
pub(crate) fn the_failure_of_an_initializer_is_told_on_standard_error() {
    let mut scene = Scene::play("initializer", Stdio::piped());
    let told = scene.told();
    let line = "fiveways: the initializer of a pool has failed: the work panicked: not today";
    assert_eq!(told.lines().filter(|told| *told == line).count(), 1, "{told}");
}

/// C36: what dies before it can work fails the call, and the pool goes on.
pub(crate) fn a_process_that_dies_in_its_initializer_fails_the_call_after_three() {
    let pool = one().initializer(abort::call()).build().expect("1");
    for _ in 0..2 {
        let FutureError::NoWorker(error) = error(pool.submit(square::call(2))) else {
            panic!("it cannot begin")
        };
        let told = error.to_string();
        assert!(
            told.ends_with("ended before it was ready (signal: 6 (SIGABRT) (core dumped))")
                || told.ends_with("ended before it was ready (signal: 6 (SIGABRT))"),
            "{told}"
        );
    }
    let file = std::env::temp_dir().join(format!("fiveways-begun-{}", std::process::id()));
    let second = begin_once_begun::call(file.clone());
    let pool = one().initializer(second).build().expect("1");
    assert_eq!(value(pool.submit(square::call(2))), 4, "the second process has begun");
    std::fs::remove_file(file).expect("it was made by the first");
}

/// S004-22: what cannot be sent is told when the pool is built.
pub(crate) fn an_initializer_that_cannot_be_sent_is_told() {
    let endless = one().initializer(Call::<u64>::named("f", &Endless));
    assert_eq!(endless.build().expect_err("it cannot be sent"), BuildError::Unencodable);
    let unknown = one().initializer(Call::<u64>::named("no such function", &()));
    let pool = unknown.build().expect("nobody has looked yet");
    assert!(matches!(error(pool.submit(square::call(2))), FutureError::BrokenPool));
    // What it gives is not looked at: an error is a value.
    let pool = one().initializer(begin_badly::call()).build().expect("1");
    assert_eq!(value(pool.submit(square::call(2))), 4);
}

/// S004-22, S004-25: CPython's `chunksize`.
pub(crate) fn chunks_change_nothing_but_how_often_a_process_is_asked() {
    let pool = pool(2);
    for chunk in [1, 7, 100, 1000] {
        let squares = pool.map_chunked(chunk, 0..100, square::call).expect("it is open");
        let squares: Vec<_> = squares.map(|square| square.expect("no panic")).collect();
        assert_eq!(squares, (0..100).map(|x| x * x).collect::<Vec<_>>());
    }
    assert_eq!(pool.map_chunked(5, 0..0, square::call).expect("it is open").count(), 0);
    let pids = pool.map_chunked(10, 0..30, |_| pid::call()).expect("it is open");
    let pids: Vec<_> = pids.map(|pid| pid.expect("no panic")).collect();
    assert!(pids.chunks(10).all(|chunk| chunk.iter().all(|pid| *pid == chunk[0])), "{pids:?}");
}

/// S004-26: the first call of a chunk that has no value stands for the chunk, and for no other.
pub(crate) fn an_error_stands_for_its_chunk() {
    let pool = pool(1);
    let call = |x: u64| match x {
        2 => fail::call("no way".to_owned()),
        5 => Call::named("no such function", &()),
        6 => Call::named(exit::call(3).name().to_owned(), &(3_i32,)),
        _ => square::call(x),
    };
    let mut ends = pool.map_chunked(2, 0..10, call).expect("it is open");
    let mut next = || ends.next().expect("there is more").map_err(|error| error.to_string());
    assert_eq!((next(), next()), (Ok(0), Ok(1)));
    assert_eq!(next(), Err("the work panicked: no way".to_owned()));
    let unknown = "the worker process has no function \"no such function\"";
    assert_eq!(next(), Err(unknown.to_owned()));
    let died = next().expect_err("it has left");
    assert!(died.contains("died during a call: exit status: 3"), "{died}");
    assert_eq!((next(), next()), (Ok(64), Ok(81)));
    assert!(ends.next().is_none());
    let endless = |_| Call::<u64>::named("f", &Endless);
    let refused = pool.map_chunked(2, 0..3, endless).expect_err("it cannot be sent");
    assert!(matches!(refused, SubmitError::Unencodable(_)), "{refused}");
}
