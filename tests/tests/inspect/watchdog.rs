//! The watchdog tells of tasks that keep their worker.

use std::fs;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fiveways::inspect::{self, Incident, Watchdog};
use fiveways::runtime::Runtime;
use fiveways::{Model, task, time};
use fiveways_tests::patience::LONG;

use crate::outside::Inspected;

fn runtime(model: Model) -> Runtime {
    Runtime::builder().model(model).workers(2).build().expect("a runtime")
}

/// Incidents as they come.
fn watch(limit: Duration) -> (Watchdog, mpsc::Receiver<Incident>) {
    let (tell, told) = mpsc::channel();
    let watchdog = Watchdog::start(limit, move |incident| drop(tell.send(incident)));
    (watchdog.expect("a thread"), told)
}

#[inline(never)]
fn block_the_thread(end: &mpsc::Receiver<()>) {
    // Of std: the thread blocks, and all tasks of the worker with it.
    let _ = end.recv();
}

/// S001-23: a real blocking call in a task is detected: which task, where it is, where it came
/// from; once, however long it lasts.
fn a_blocking_call_is_detected(model: Model) {
    if fiveways::support(model).is_err() {
        return fiveways_tests::stage::missing("the model", "of a watchdog test");
    }
    let runtime = runtime(model);
    let name = format!("blocker-{model}");
    let (_watchdog, told) = watch(Duration::from_millis(200));
    let (end, ended) = mpsc::channel();
    let blocker = task::Builder::new().name(&name);
    let blocker = runtime.block_on(move || blocker.spawn(move || block_the_thread(&ended)));
    let incident = loop {
        let incident = told.recv_timeout(LONG).expect("it is told of");
        if incident.stuck.name == name {
            break incident;
        }
    };
    assert!(incident.stuck.for_ms >= 200, "{incident}");
    assert!(incident.stuck.task.as_deref().is_some_and(|task| task.starts_with("task ")));
    let place = incident.stuck.spawned_at.clone().expect("tasks know where they were spawned");
    assert!(place.file.ends_with("watchdog.rs"), "{incident}");
    let frames = &incident.stuck.backtrace;
    assert!(frames.iter().any(|frame| frame.function.contains("block_the_thread")), "{incident}");
    // The same incident is not told of again.
    let again = told.recv_timeout(Duration::from_millis(700));
    assert!(again.is_err_and(|_| true), "told of twice");
    drop(end);
    blocker.expect("a stack").join().expect("no panic");
}

#[test]
fn a_blocking_call_is_detected_under_epoll() {
    a_blocking_call_is_detected(Model::Epoll);
}

#[test]
fn a_blocking_call_is_detected_under_uring() {
    a_blocking_call_is_detected(Model::Uring);
}

#[test]
fn a_blocking_call_is_detected_under_signal() {
    a_blocking_call_is_detected(Model::Signal);
}

/// A worker that sleeps, or runs many short tasks, is not told of.
#[test]
fn workers_that_come_back_are_not_told_of() {
    let runtime = runtime(Model::Epoll);
    let (_watchdog, told) = watch(Duration::from_secs(2));
    runtime.block_on(|| {
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            task::yield_now();
        }
        time::sleep(Duration::from_millis(2_500));
    });
    let first = told.try_recv();
    assert!(first.is_err(), "{first:?}");
}

/// A task that computes is found in its computation, and the dump says so of the worker.
#[test]
fn a_dump_tells_what_keeps_a_worker_that_does_not_answer() {
    let runtime = runtime(Model::Epoll);
    let (end, ended) = mpsc::channel::<()>();
    let spinner = task::Builder::new().name("spinner");
    let spinner = runtime.block_on(move || {
        spinner.spawn(move || {
            while ended.try_recv() == Err(mpsc::TryRecvError::Empty) {
                std::hint::spin_loop();
            }
        })
    });
    let options = inspect::Options::new().patience(Duration::from_millis(300));
    let stuck = loop {
        let dump = inspect::dump_with(&options);
        let workers = dump.runtimes.into_iter().flat_map(|runtime| runtime.workers);
        let found = workers.filter_map(|worker| worker.stuck).find(|stuck| stuck.name == "spinner");
        if let Some(stuck) = found {
            break stuck;
        }
    };
    assert!(stuck.task.is_some());
    // With little debug information functions have no paths, but files have.
    let is_here = |file: &Option<String>| file.as_ref().is_some_and(|file| file.ends_with(file!()));
    assert!(stuck.backtrace.iter().any(|frame| is_here(&frame.file)), "{stuck}");
    drop(end);
    spinner.expect("a stack").join().expect("no panic");
}

/// Nobody has asked for it: a debug build reports which task it is, where it stands, and how to
/// turn that off. The watchdog had gone to sleep before.
#[test]
fn a_task_that_keeps_its_worker_is_reported_unasked_in_debug_builds() {
    let by_itself: &[(&str, &str)] = &[];
    let asked = [("FIVEWAYS_WATCHDOG", "300")];
    for environment in [by_itself, &asked] {
        if environment.is_empty() && !cfg!(debug_assertions) {
            continue;
        }
        let mut program = Inspected::start("held", environment);
        let text = program.stderr_until("FIVEWAYS_WATCHDOG=off");
        assert!(text.contains("'hog'") && text.contains("has not come back"), "{text}");
        assert!(text.contains("hold_the_worker"), "{text}");
        assert_eq!(text.matches("fiveways: ").count(), 1, "{text}");
    }
}

/// Tasks that come back, waits of all kinds, and blocking code where it belongs are not reported.
#[test]
fn programs_that_do_nothing_wrong_are_not_reported() {
    let mut program = Inspected::start("busy", &[]);
    assert_eq!(program.stderr_to_the_end(), "");
}

/// While no worker works the watchdog sleeps; it has no thread where it is turned off.
#[test]
fn a_watchdog_of_idle_workers_sleeps() {
    assert!(switches(Inspected::start("idle", &[("FIVEWAYS_WATCHDOG", "off")]).id()).is_none());
    // It ends after four seconds.
    let program = Inspected::start("idle", &[("FIVEWAYS_WATCHDOG", "200")]);
    let (mut before, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        let now = switches(program.id()).expect("it rests for two of its four seconds");
        if now != before {
            (before, since) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How often the watchdog's thread of a process has gone to sleep.
fn switches(process: u32) -> Option<u64> {
    for thread in fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let value = |key| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        if value("Name:").is_some_and(|name| name.starts_with("fiveways-watch")) {
            return value("voluntary_ctxt_switches:")?.parse().ok();
        }
    }
    None
}
