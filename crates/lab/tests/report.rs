//! The report's text and JSON, byte by byte: the same input makes the same output (I7).
//!
//! After a wanted change: `FIVEWAYS_BLESS=1 cargo test -p fiveways-lab --test report`, then read
//! the difference.

use fiveways_lab::failure::{Failure, Failures};
use fiveways_lab::machine::{Machine, Placement};
use fiveways_lab::report::{Method, Report, SCHEMA, Subject, rows};
use fiveways_lab::statistics::{Percentiles, Sample};
use fiveways_lab::table::{Colour, text};
use fiveways_lab::workload::{MessageSize, Service, Workload};

fn sample(requests: u64, cpu_ns: u64, p50_ns: u64) -> Option<Sample> {
    Some(Sample {
        requests,
        window_ns: 1_000_000_000,
        server_cpu_ns: requests * cpu_ns,
        generator_cpu_ns: 800_000_000,
        latency: Percentiles {
            p50_ns,
            p99_ns: p50_ns * 3,
            p999_ns: p50_ns * 9,
            max_ns: p50_ns * 100,
        },
        rss_bytes_per_connection: Some(4198.4),
    })
}

fn subject(model: &'static str, samples: Vec<Option<Sample>>) -> Subject {
    Subject {
        model,
        connections: 64,
        samples,
        failures: Failures::default(),
        unavailable: None,
        notes: Vec::new(),
    }
}

fn subjects() -> Vec<Subject> {
    let mut failures = Failures::default();
    (0..64).for_each(|_| failures.count(Failure::Closed));
    failures.count(Failure::Server);
    let alone = |sample: Option<Sample>| {
        sample.map(|sample| Sample { rss_bytes_per_connection: None, ..sample })
    };
    vec![
        Subject {
            connections: 1,
            notes: vec!["serves one connection at a time; its figures are of one".to_owned()],
            ..subject("blocking", vec![alone(sample(50_000, 5_000, 19_000)); 3])
        },
        Subject {
            failures,
            notes: vec!["the server ended early with signal 11".to_owned()],
            ..subject("threads", vec![sample(150_000, 6_100, 400_000), None, None])
        },
        subject(
            "epoll",
            vec![
                sample(343_000, 2_900, 180_000),
                sample(300_000, 3_300, 210_000),
                sample(345_000, 2_910, 181_000),
            ],
        ),
        Subject {
            unavailable: Some(
                "real-time signals are taken by another part of this program, and without them no \
                 readiness can be told apart; start it alone"
                    .to_owned(),
            ),
            ..subject("signal", vec![None; 3])
        },
        subject(
            "uring",
            vec![
                sample(361_204, 2_750, 171_000),
                sample(320_500, 3_050, 199_000),
                sample(358_900, 2_760, 172_500),
            ],
        ),
    ]
}

fn report(subjects: &[Subject]) -> Report {
    let size = MessageSize::new(64).expect("a valid size");
    let workload = Workload { service: Service::Echo, connections: 64, size, seed: 7 };
    Report {
        schema: SCHEMA,
        command: "fiveways compare --rounds 3 --seed 7".to_owned(),
        seed: 7,
        machine: Machine {
            kernel: "Linux 6.18.0".to_owned(),
            cpu_model: Some("Example 9000".to_owned()),
            cpus: vec![0, 1],
            memory_bytes: Some(8 << 30),
            descriptors_max: Some(20_000),
            cpu_governor: None,
            load_average: Some(0.1),
            fiveways: "0.1.0",
            debug_build: false,
        },
        placement: Placement { server: vec![0], generator: vec![1] },
        rounds: 3,
        method: Method {
            workers: 1,
            processes: 1,
            rounds_planned: 3,
            window_seconds: 1.0,
            window_seconds_min: 1.0,
            warm_up_seconds: 0.2,
        },
        notes: Vec::new(),
        rows: rows(&workload, subjects),
        workload,
    }
}

/// The text as one line: where it is broken is another test's business.
fn unbroken(report: &Report) -> String {
    text(report, Colour::Never).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Compares with the file, or rewrites it when asked to.
fn assert_golden(name: &str, golden: &str, actual: &str) {
    if std::env::var_os("FIVEWAYS_BLESS").is_some() {
        let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, actual).expect("a writable golden file");
        return;
    }
    assert_eq!(actual, golden, "{name} changed:\n{actual}");
}

#[test]
fn the_text_is_the_golden_text() {
    let text = text(&report(&subjects()), Colour::Never);
    assert_golden("report.txt", include_str!("golden/report.txt"), &text);
}

#[test]
fn the_json_is_the_golden_json() {
    let json = report(&subjects()).to_json().expect("all fields have a form in JSON");
    assert_golden("report.json", include_str!("golden/report.json"), &json);
}

#[test]
fn the_text_fits_100_columns_and_has_no_escape_codes() {
    let text = text(&report(&subjects()), Colour::Never);
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{widest:?} columns");
    assert!(!text.contains('\x1b'));
}

#[test]
fn colours_come_only_when_asked_for_and_change_no_word() {
    let report = report(&subjects());
    let painted = text(&report, Colour::Always);
    assert!(painted.contains("\x1b[31m") && painted.contains("\x1b[1m"));
    let mut plain = String::new();
    let mut rest = painted.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after.split_once('m').expect("a code ends with m").1;
    }
    plain.push_str(rest);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&plain), words(&text(&report, Colour::Never)));
}

#[test]
fn rows_have_the_fields_of_the_schema_and_null_for_what_was_not_measured() {
    let json = report(&subjects()).to_json().expect("all fields have a form in JSON");
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    for field in ["machine", "command", "seed", "workload", "rounds", "rows"] {
        assert!(!value[field].is_null(), "{field}");
    }
    let rows = value["rows"].as_array().expect("an array");
    let named = |name: &str| rows.iter().find(|row| row["model"] == name).expect("a row");
    let (uring, signal) = (named("uring"), named("signal"));
    assert_eq!(uring["requests_per_second"]["median"], 358_900.0);
    assert_eq!(uring["latency_us"]["p50"], 172.5);
    assert_eq!(uring["cpu_us_per_request"], 2.76);
    assert_eq!(uring["rss_bytes_per_connection"], 4198.0);
    assert_eq!(uring["errors"], 0);
    assert!(uring["unavailable"].is_null());
    assert_eq!(uring["ratio_to_best"]["median"], 1.0);
    assert!(signal["requests_per_second"].is_null() && signal["ratio_to_best"].is_null());
    assert!(signal["unavailable"].as_str().is_some_and(|reason| reason.starts_with("real-time")));
    assert_eq!(named("threads")["errors"], 65);
    assert_eq!(named("threads")["errors_by_kind"]["closed"], 64);
    assert_eq!(named("blocking")["connections"], 1);
}

#[test]
fn two_models_that_change_places_between_rounds_are_not_told_apart() {
    let one = subject("poll", vec![sample(100, 1, 1), sample(101, 1, 1), sample(100, 1, 1)]);
    let other = subject("epoll", vec![sample(99, 1, 1), sample(102, 1, 1), sample(99, 1, 1)]);
    let text = unbroken(&report(&[one, other]));
    assert!(text.contains("the rounds do not tell these two apart"), "{text}");
}

#[test]
fn a_lead_in_all_of_few_rounds_is_told_with_that_doubt_and_one_in_five_without() {
    for (rounds, end) in
        [(3, "ahead in every round, but the rounds are few."), (5, "in every round.")]
    {
        let one = subject("poll", vec![sample(110, 1, 1); rounds]);
        let other = subject("epoll", vec![sample(100, 1, 1); rounds]);
        let text = unbroken(&report(&[one, other]));
        let sentence = "Best here: poll with 110 requests/s, 1.10 × epoll (1.10–1.10 over rounds):";
        assert!(text.contains(&format!("{sentence} ahead")) && text.contains(end), "{text}");
        assert_eq!(text.contains("rounds are few"), rounds < 5, "{text}");
    }
}

#[test]
fn auto_is_not_named_the_best_but_the_model_it_stands_beside() {
    let auto = subject("auto", vec![sample(200, 1, 1)]);
    let epoll = subject("epoll", vec![sample(100, 1, 1)]);
    let text = unbroken(&report(&[auto, epoll]));
    assert!(text.contains("Best here: epoll"), "{text}");
}

#[test]
fn a_comparison_without_figures_says_so() {
    let none = Subject { unavailable: Some("no".to_owned()), ..subject("uring", vec![None]) };
    let report = report(&[none]);
    assert!(!report.is_measured() && !report.has_errors());
    assert!(text(&report, Colour::Never).contains("No model was measured."));
}

#[test]
fn a_full_generator_is_named_as_the_limit() {
    let full = |sample: Option<Sample>| {
        sample.map(|sample| Sample { generator_cpu_ns: 990_000_000, ..sample })
    };
    let report = report(&[subject("uring", vec![full(sample(100_000, 2_000, 1)); 3])]);
    let text = unbroken(&report);
    assert!(text.contains("The generator, not the server, was the limit for uring"), "{text}");
}
