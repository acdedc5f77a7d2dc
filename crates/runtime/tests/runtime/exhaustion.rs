//! Out of stacks, out of descriptors: clear errors, and going on afterwards.

use std::io::ErrorKind;

use fiveways_runtime::{Runtime, Spawn, park, yield_now};

use crate::support::{in_a_child, in_time, is_child, runtime, until};

/// Address space for the child, in KiB: enough to run, not for many stacks of 64 MiB.
const ADDRESS_SPACE: &str = "ulimit -v 1500000;";

/// Returns `true` if this program has the terabytes of address space that come with a sanitizer.
fn is_sanitized() -> bool {
    let sizes = std::fs::read_to_string("/proc/self/statm").expect("proc");
    let pages = sizes.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number") > 1 << 28
}

#[test]
fn running_out_of_stacks_is_an_error_that_names_the_limits_and_passes() {
    if !is_child() {
        if is_sanitized() {
            eprintln!("not tried: a sanitizer needs more address space than this test leaves");
            return;
        }
        let test = "exhaustion::running_out_of_stacks_is_an_error_that_names_the_limits_and_passes";
        let output = in_a_child(test, ADDRESS_SPACE);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}\n{out}\n{stderr}", output.status);
        assert!(stderr.contains("claims hold"), "{stderr}");
        return;
    }
    let runtime = Runtime::builder()
        .model(fiveways_driver::Model::Epoll)
        .stack_size(64 << 20)
        .build()
        .expect("a runtime fits");
    // In a task the error is returned at once.
    let (held, message) = runtime.block_on(|| {
        let mut tasks = Vec::new();
        let error = loop {
            match Spawn::new().spawn_local(park) {
                Ok(task) => tasks.push(task),
                Err(error) => break error,
            }
        };
        yield_now();
        let held = tasks.len();
        for task in &tasks {
            task.cancel();
        }
        for task in tasks {
            assert!(task.join().expect_err("it parked").is_cancelled());
        }
        (held, error.to_string())
    });
    assert!((2..64).contains(&held), "{held} stacks");
    assert!(message.contains("stack"), "{message}");
    eprintln!("after {held} stacks: {message}");
    told_by_the_join(&runtime, held);
    assert_eq!(runtime.block_on(|| 1), 1);
    eprintln!("claims hold");
}

/// From another thread the join returns the error, and the captures are dropped.
fn told_by_the_join(runtime: &Runtime, held: usize) {
    let captured = std::sync::Arc::new(());
    let tasks: Vec<_> = (0..held + 5)
        .map(|_| {
            let captured = std::sync::Arc::clone(&captured);
            let task = Spawn::new().spawn(runtime.handle(), move || {
                let _captured = captured;
                park();
            });
            task.expect("the worker lives")
        })
        .collect();
    let ended = || tasks.iter().filter(|task| task.is_finished()).count();
    until("some are refused", || ended() >= 4);
    for task in &tasks {
        task.cancel();
    }
    let ends: Vec<_> = tasks.into_iter().map(|task| task.join().expect_err("parked")).collect();
    let refused = ends.iter().filter(|end| !end.is_cancelled()).count();
    assert!(refused >= 4, "{refused} of {} had no stack", ends.len());
    assert_eq!(std::sync::Arc::strong_count(&captured), 1);
}

#[test]
fn a_stack_too_large_to_be_had_is_an_error() {
    in_time(|| {
        runtime(1).block_on(|| {
            for size in [usize::MAX / 4, usize::MAX] {
                let error =
                    Spawn::new().stack_size(size).spawn_local(|| ()).expect_err("too large");
                assert_ne!(error.kind(), ErrorKind::Interrupted);
            }
            assert_eq!(
                Spawn::new().stack_size(0).spawn_local(|| 2).expect("small").join().ok(),
                Some(2)
            );
        });
    });
}

#[test]
fn a_runtime_without_descriptors_is_an_error_and_leaves_nothing_behind() {
    if !is_child() {
        let test =
            "exhaustion::a_runtime_without_descriptors_is_an_error_and_leaves_nothing_behind";
        let output = in_a_child(test, "ulimit -n 24;");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.contains("claims hold"), "{stderr}");
        return;
    }
    let open = || std::fs::read_dir("/proc/self/fd").map(Iterator::count).expect("proc");
    let before = open();
    let error = Runtime::builder()
        .model(fiveways_driver::Model::Epoll)
        .workers(64)
        .build()
        .expect_err("no descriptors for so many");
    assert_eq!(error.raw_os_error(), Some(24), "{error}");
    assert_eq!(open(), before);
    assert_eq!(runtime(1).block_on(|| 1), 1);
    assert_eq!(open(), before);
    eprintln!("claims hold");
}
