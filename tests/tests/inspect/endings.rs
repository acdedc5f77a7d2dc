//! Tasks that the end of a runtime cuts short are told of.

use std::time::Duration;

use fiveways::runtime::Runtime;
use fiveways::{Model, task, time};

use crate::outside::Inspected;

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().model(Model::Epoll).workers(workers).build().expect("a runtime")
}

/// D52: tasks that nobody joined are not lost in silence.
#[test]
fn a_shutdown_lists_the_tasks_that_it_cuts_short() {
    let runtime = runtime(2);
    runtime.block_on(|| {
        let sleeper = |name: &str| {
            let spawner = task::Builder::new().name(name);
            drop(spawner.spawn(|| time::sleep(Duration::from_secs(600))).expect("a stack"));
        };
        sleeper("detached-1");
        sleeper("detached-2");
        task::spawn(|| 7).join().expect("this one ends");
        time::sleep(Duration::from_millis(1));
    });
    let mut lost = runtime.shutdown().lost;
    lost.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = lost.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["detached-1", "detached-2"]);
    assert!(lost.iter().all(|task| task.spawned_at.file.ends_with("endings.rs")), "{lost:?}");
    assert!(lost[0].to_string().contains("'detached-1', asleep, spawned at "), "{}", lost[0]);
}

/// D52: no task lost, nothing told.
#[test]
fn a_shutdown_after_all_tasks_have_ended_lists_nothing() {
    let runtime = runtime(2);
    runtime.block_on(|| task::spawn(|| ()).join().expect("it ends"));
    assert_eq!(runtime.shutdown().lost, []);
}

/// D52: a drop tells on stderr, if it was asked to.
#[test]
fn a_drop_tells_of_lost_tasks_when_asked_to() {
    let mut program = Inspected::start("lost", &[]);
    let text = program.stderr_to_the_end();
    assert!(text.contains("1 task cancelled by the end of the runtime"), "{text}");
    assert!(text.contains("'forgotten'"), "{text}");
}
