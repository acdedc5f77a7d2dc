//! A whole comparison over the fake server (`examples/fake_server.rs`), whose models misbehave in
//! every way there is: each costs its own row and nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fiveways_lab::compare::{Comparison, Step, StepLimits, run};
use fiveways_lab::report::{Report, Row};
use fiveways_lab::schedule::Budget;
use fiveways_lab::workload::{MODELS, MessageSize, Service, Spin, Workload};

const WINDOW: Duration = Duration::from_millis(60);

/// The fake server, which is built beside the tests.
fn fake_server() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let target = test.ancestors().nth(2).expect("TARGET/deps/TEST");
    let path = target.join("examples/fake_server");
    assert!(path.exists(), "{} is missing: build the examples", path.display());
    path
}

fn comparison(models: &[&'static str]) -> Comparison {
    let size = MessageSize::new(64).expect("a valid size");
    Comparison {
        program: fake_server(),
        models: models.to_vec(),
        workload: Workload { service: Service::Echo, connections: 4, size, seed: 3 },
        rounds: 2,
        warm_up: Duration::from_millis(10),
        budget: Budget { total: None, window: WINDOW, beside: Duration::ZERO },
        limits: StepLimits {
            start: Duration::from_secs(30),
            connect: Duration::from_secs(30),
            request: Duration::from_secs(30),
            stop: Duration::from_secs(30),
        },
        workers: 1,
        processes: 1,
        spin: Spin::Off,
        interrupt: Arc::default(),
        keep_going: false,
        command: "the test".to_owned(),
    }
}

fn row<'a>(report: &'a Report, model: &str) -> &'a Row {
    report.rows.iter().find(|row| row.model == model).expect("a row for each model")
}

#[test]
fn good_servers_give_figures_and_no_errors() {
    let models = ["threads", "blocking", "pool"];
    let mut steps: Vec<Step> = Vec::new();
    let report = run(&comparison(&models), &mut |step| steps.push(step)).expect("it runs");
    assert_eq!(report.rounds, 2);
    for model in models {
        let row = row(&report, model);
        assert_eq!((row.errors, &row.unavailable), (0, &None), "{row:?}");
        assert!(row.requests_per_second.is_some_and(|spread| spread.min > 0.0), "{row:?}");
        assert!(row.cpu_us_per_request.is_some_and(|cost| cost > 0.0), "{row:?}");
        assert_eq!(row.requests_per_second_by_round.len(), 2);
    }
    // A thread for each connection costs memory, and one connection has no second to compare.
    assert!(row(&report, "threads").rss_bytes_per_connection.is_some_and(|bytes| bytes > 0.0));
    let blocking = row(&report, "blocking");
    assert_eq!((blocking.connections, blocking.rss_bytes_per_connection), (1, None));
    assert!(blocking.notes[0].contains("one connection at a time"), "{:?}", blocking.notes);
    assert_eq!(steps.len(), 7);
    assert_eq!(steps.iter().map(|step| step.done).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    assert!(steps.iter().all(|step| step.total == 6) && steps[6].model.is_none());
}

#[test]
fn the_model_that_auto_took_is_told() {
    let report = run(&comparison(&["auto", "threads"]), &mut |_| {}).expect("it runs");
    assert_eq!(row(&report, "auto").takes.as_deref(), Some("epoll"));
    assert_eq!(row(&report, "threads").takes, None);
}

#[test]
fn models_that_can_spin_are_measured_with_and_without_when_both_are_asked_for() {
    let models = ["threads", "nonblocking", "epoll"];
    for (spin, expected) in [
        (Spin::Off, vec![("threads", None), ("nonblocking", None), ("epoll", Some(0))]),
        (Spin::On, vec![("threads", None), ("nonblocking", None), ("epoll", Some(50))]),
        (
            Spin::Both,
            vec![("threads", None), ("nonblocking", None), ("epoll", Some(0)), ("epoll", Some(50))],
        ),
    ] {
        let comparison = Comparison { spin, rounds: 1, ..comparison(&models) };
        let report = run(&comparison, &mut |_| {}).expect("it runs");
        let rows: Vec<_> = report.rows.iter().map(|row| (row.model, row.spin_us)).collect();
        assert_eq!(rows, expected);
        assert_eq!(report.method.spin, spin);
    }
}

#[test]
fn an_interrupted_comparison_reports_the_rounds_that_it_has() {
    let comparison = Comparison { rounds: 1000, ..comparison(&["threads", "pool"]) };
    let interrupt = Arc::clone(&comparison.interrupt);
    // In the midst of the second round: one model has two samples, the other has one.
    let stop = |step: Step| {
        interrupt.fetch_or(step.done >= 3, Ordering::SeqCst);
    };
    let report = run(&comparison, &mut { stop }).expect("it runs");
    assert!(!report.complete);
    assert_eq!(report.rounds, 1);
    assert_eq!(report.notes, ["Interrupted: 1 of 1000 rounds complete."]);
    let samples = |row: &Row| row.requests_per_second_by_round.iter().flatten().count();
    let counts: Vec<usize> = report.rows.iter().map(samples).collect();
    assert_eq!(counts.iter().sum::<usize>(), 3, "{counts:?}");
    assert!(!report.has_errors());
}

#[test]
fn a_server_that_declines_is_a_row_with_its_own_reason_and_no_error() {
    let report = run(&comparison(&["signal", "threads"]), &mut |_| {}).expect("it runs");
    let signal = row(&report, "signal");
    assert_eq!(signal.unavailable.as_deref(), Some("this machine has no signals"));
    assert_eq!((signal.errors, signal.requests_per_second), (0, None));
    assert!(!report.has_errors());
    assert!(row(&report, "threads").requests_per_second.is_some(), "others go on");
}

#[test]
fn a_server_that_crashes_at_its_start_is_a_row_with_its_status_and_an_error() {
    let report = run(&comparison(&["select"]), &mut |_| {}).expect("it runs");
    let select = row(&report, "select");
    assert_eq!(select.unavailable.as_deref(), Some("ended at once with exit status 101"));
    assert_eq!(select.errors_by_kind.server, 1);
    assert!(!report.is_measured());
}

#[test]
fn a_server_that_never_listens_costs_its_time_limit_once() {
    let mut comparison = comparison(&["poll"]);
    comparison.limits.start = Duration::from_millis(300);
    let started = Instant::now();
    let report = run(&comparison, &mut |_| {}).expect("it runs");
    let poll = row(&report, "poll");
    assert_eq!(poll.unavailable.as_deref(), Some("did not listen within 0.3 s"));
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_server_that_starts_slowly_is_waited_for() {
    let report = run(&comparison(&["epoll"]), &mut |_| {}).expect("it runs");
    assert_eq!(row(&report, "epoll").errors, 0);
    assert!(report.is_measured());
}

#[test]
fn a_server_that_changes_a_byte_is_caught_and_not_tried_again() {
    let report = run(&comparison(&["uring"]), &mut |_| {}).expect("it runs");
    let uring = row(&report, "uring");
    assert!(uring.errors_by_kind.corrupt > 0, "{uring:?}");
    assert_eq!(uring.requests_per_second, None, "wrong answers are not counted as throughput");
    assert_eq!(uring.requests_per_second_by_round, [None, None]);
    assert!(uring.errors <= 4, "one round of four connections: {}", uring.errors);
}

#[test]
fn a_failed_model_is_tried_again_when_that_is_asked_for() {
    let once = run(&comparison(&["uring"]), &mut |_| {}).expect("it runs");
    let again = Comparison { keep_going: true, ..comparison(&["uring"]) };
    let twice = run(&again, &mut |_| {}).expect("it runs");
    let (once, twice) = (row(&once, "uring").errors, row(&twice, "uring").errors);
    assert!(twice > once, "{once} errors in one round, {twice} in two");
}

#[test]
fn a_server_that_dies_under_load_is_counted_and_quoted() {
    let report = run(&comparison(&["nonblocking"]), &mut |_| {}).expect("it runs");
    let row = row(&report, "nonblocking");
    assert_eq!(row.errors_by_kind.server, 1, "{row:?}");
    assert!(row.errors_by_kind.closed + row.errors_by_kind.reset > 0, "{row:?}");
    assert_eq!(row.notes, ["the server ended early with exit status 1: out of patience"]);
}

#[test]
fn a_bad_exit_status_after_sigterm_is_an_error() {
    let report = run(&comparison(&["epoll-et"]), &mut |_| {}).expect("it runs");
    let row = row(&report, "epoll-et");
    assert_eq!((row.errors, row.errors_by_kind.server), (1, 1), "{row:?}");
    assert_eq!(row.notes, ["the server stopped with exit status 3: could not drain"]);
}

#[test]
fn a_program_that_does_not_exist_is_a_reason() {
    let mut comparison = comparison(&["threads"]);
    comparison.program = PathBuf::from("/nonexistent/program");
    let report = run(&comparison, &mut |_| {}).expect("it runs");
    let reason = row(&report, "threads").unavailable.clone().expect("a reason");
    assert!(reason.starts_with("cannot start /nonexistent/program: "), "{reason}");
}

#[test]
fn select_with_more_connections_than_it_knows_is_a_row_with_its_reason() {
    let mut comparison = comparison(&["select"]);
    comparison.workload.connections = 1020;
    let report = run(&comparison, &mut |_| {}).expect("it runs");
    let reason = row(&report, "select").unavailable.clone().expect("a reason");
    assert_eq!(reason, "select(2) knows descriptors below 1024 only");
    assert_eq!(row(&report, "select").errors, 0);
}

#[test]
fn a_run_out_of_time_stops_with_whole_rounds_and_says_so() {
    let mut comparison = comparison(&["threads", "auto"]);
    comparison.rounds = 1000;
    let total = Some(Duration::from_millis(1500));
    comparison.budget.total = total;
    comparison.budget.beside = Duration::from_millis(50);
    let started = Instant::now();
    let report = run(&comparison, &mut |_| {}).expect("it runs");
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(report.rounds >= 1 && report.rounds < 1000, "{} rounds", report.rounds);
    assert!(report.notes[0].starts_with("The time limit was reached"), "{:?}", report.notes);
}

#[test]
fn every_service_is_measured() {
    for service in Service::ALL {
        let mut comparison = comparison(&["threads"]);
        comparison.workload.service = service;
        let report = run(&comparison, &mut |_| {}).expect("it runs");
        let threads = row(&report, "threads");
        assert_eq!((threads.errors, &threads.unavailable), (0, &None), "{service}: {threads:?}");
        assert!(threads.requests_per_second.is_some(), "{service}");
    }
}

#[test]
fn every_model_has_a_row_whatever_the_others_do() {
    let mut comparison = comparison(&MODELS);
    comparison.limits.start = Duration::from_secs(3);
    let report = run(&comparison, &mut |_| {}).expect("it runs");
    assert_eq!(report.rows.iter().map(|row| row.model).collect::<Vec<_>>(), MODELS);
    let measured = report.rows.iter().filter(|row| row.requests_per_second.is_some());
    let measured: Vec<&str> = measured.map(|row| row.model).collect();
    assert_eq!(measured, ["blocking", "threads", "pool", "epoll", "auto"]);
}
