//! The report's text and JSON, byte by byte: the same input makes the same output (I7).
//!
//! After a wanted change: `FIVEWAYS_BLESS=1 cargo test -p fiveways-lab --test report`, then read
//! the difference.

use fiveways_lab::failure::{Failure, Failures};
use fiveways_lab::machine::{Machine, Placement};
use fiveways_lab::report::{Method, Report, SCHEMA, Subject, rows};
use fiveways_lab::statistics::{Percentiles, Sample};
use fiveways_lab::table::{Colour, text};
use fiveways_lab::workload::{MessageSize, Service, Spin, Workload};

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
        takes: None,
        spin_us: None,
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
        complete: true,
        method: Method {
            workers: 1,
            processes: 1,
            spin: Spin::Off,
            rounds_planned: 3,
            window_seconds: 1.0,
            window_seconds_min: 1.0,
            warm_up_seconds: 0.2,
        },
        notes: Vec::new(),
        rows: rows(&workload, 3, subjects),
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
    let sentence = "No clear winner: poll and epoll change places between rounds, or are too \
                    close to tell apart; poll with 100 requests/s is 1.01 × epoll (0.99–1.01 over \
                    rounds).";
    assert!(text.contains(sentence), "{text}");
    assert!(!text.contains("Best here"), "{text}");
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
fn a_single_round_is_called_by_its_name() {
    let one = subject("poll", vec![sample(110, 1, 1)]);
    let text = unbroken(&report(&[one, subject("epoll", vec![sample(100, 1, 1)])]));
    assert!(text.contains("in the only round there is, which may be chance."), "{text}");
    assert!(!text.contains("ahead in every round"), "{text}");
}

#[test]
fn only_the_first_ones_are_told_to_be_close() {
    let rounds = |rates: [u64; 5]| rates.map(|rate| sample(rate, 1, 1)).to_vec();
    let subjects = [
        subject("poll", rounds([100, 101, 100, 101, 100])),
        subject("epoll", rounds([101, 100, 101, 100, 99])),
        subject("uring", rounds([100, 102, 98, 100, 99])),
        subject("select", rounds([80, 80, 80, 80, 80])),
        // Far behind, though one of its rounds was lucky.
        subject("threads", rounds([50, 50, 50, 50, 101])),
    ];
    let text = unbroken(&report(&subjects));
    let names =
        text.split("No clear winner: ").nth(1).and_then(|rest| rest.split(" change").next());
    let mut names: Vec<&str> = names.expect(&text).split([',', ' ']).collect();
    names.retain(|name| !["", "and"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["epoll", "poll", "uring"], "{text}");
}

#[test]
fn auto_does_not_compete_with_the_model_that_it_took_and_says_which_that_is() {
    let auto =
        Subject { takes: Some("epoll".to_owned()), ..subject("auto", vec![sample(200, 1, 1); 5]) };
    let epoll = subject("epoll", vec![sample(100, 1, 1); 5]);
    let poll = subject("poll", vec![sample(90, 1, 1); 5]);
    let text = unbroken(&report(&[auto.clone(), epoll, poll]));
    assert!(text.contains("Best here: epoll with 100 requests/s, 1.11 × poll"), "{text}");
    assert!(text.contains(" auto (epoll) 1.00 "), "{text}");
    let sentence = "auto took epoll here, so it is epoll measured twice and does not compete: it \
                    served 2.00 × as much (2.00–2.00 over rounds), by chance alone.";
    assert!(text.contains(sentence), "{text}");
    // Without a row of that model it is one like the others.
    let poll = subject("poll", vec![sample(90, 1, 1); 5]);
    let text = unbroken(&report(&[auto, poll]));
    assert!(text.contains("Best here: auto (epoll) with 200 requests/s"), "{text}");
}

#[test]
fn a_model_that_burns_a_core_is_not_recommended_and_its_price_is_told() {
    let burner = subject("nonblocking", vec![sample(120, 1, 1); 5]);
    let epoll = subject("epoll", vec![sample(100, 1, 1); 5]);
    let price = "never sleeps: it keeps a processor busy even when idle";
    let text = unbroken(&report(&[burner.clone(), epoll]));
    assert!(text.contains("Best here: epoll with 100 requests/s; nothing else"), "{text}");
    let sentence = format!(
        "nonblocking served 1.20 × as much (1.20–1.20 over rounds), but it {price}, so it is not \
         named best."
    );
    assert!(text.contains(&sentence), "{text}");
    let alone = unbroken(&report(&[burner]));
    assert!(alone.contains("Best here: nonblocking"), "{alone}");
    assert!(alone.contains(&format!("nonblocking {price}.")), "{alone}");
}

#[test]
fn no_row_has_a_smaller_figure_than_the_least() {
    let epoll = || subject("epoll", vec![sample(100, 2_000, 1); 5]);
    let cheaper: [Subject; 3] = [
        Subject {
            takes: Some("epoll".to_owned()),
            ..subject("auto", vec![sample(99, 1_900, 1); 5])
        },
        Subject { connections: 1, ..subject("blocking", vec![sample(50, 1_900, 1); 5]) },
        subject("nonblocking", vec![sample(99, 1_900, 1); 5]),
    ];
    for row in cheaper {
        let name = if row.model == "auto" { "auto (epoll)" } else { row.model };
        let text = unbroken(&report(&[epoll(), row]));
        assert!(!text.contains("no row costs less"), "{text}");
        assert!(text.contains(&format!("the cheapest is {name} with 1.90 µs")), "{text}");
    }
    let text = unbroken(&report(&[epoll(), subject("poll", vec![sample(99, 2_100, 1); 5])]));
    assert!(text.contains("epoll costs 2.00 µs of server processor time per request; no row"));
}

#[test]
fn the_table_has_the_order_of_the_column_it_is_sorted_by_and_the_best_is_its_first() {
    // The second round met a machine ten times as fast: by medians of throughput "poll" is first,
    // in every round it is behind.
    let poll = subject("poll", vec![sample(90, 1, 1), sample(950, 1, 1), sample(940, 1, 1)]);
    let epoll = subject("epoll", vec![sample(100, 1, 1), None, None]);
    let uring = subject("uring", vec![sample(95, 1, 1), sample(1000, 1, 1), sample(1000, 1, 1)]);
    let report = report(&[poll, epoll, uring]);
    let ratios: Vec<f64> = report
        .by_ratio()
        .iter()
        .map(|row| row.ratio_to_best.expect("all were measured").median)
        .collect();
    assert!(ratios.is_sorted_by(|a, b| a >= b), "{ratios:?}");
    let text = text(&report, Colour::Never);
    let shown: Vec<&str> = text.lines().skip(3).take(3).collect();
    for (line, row) in shown.iter().zip(report.by_ratio()) {
        assert!(line.starts_with(&row.label()), "{text}");
    }
}

#[test]
fn a_freeze_of_a_second_is_in_the_table_and_named() {
    let mut rounds = vec![sample(100_000, 2_000, 10_000); 5];
    if let Some(sample) = &mut rounds[3] {
        sample.latency.max_ns = 1_004_000_000;
    }
    let uring = subject("uring", rounds);
    let epoll = subject("epoll", vec![sample(90_000, 2_000, 10_000); 5]);
    let report = report(&[uring, epoll]);
    let text = unbroken(&report);
    assert!(text.contains(" longest "), "{text}");
    assert!(text.contains(" 1.00 s ") && text.contains(" 1.00 ms "), "{text}");
    let sentence = "Kept a client waiting for long at least once: uring (longest 1.00 s).";
    assert!(text.contains(sentence), "{text}");
}

#[test]
fn rows_with_and_without_spinning_have_names_of_their_own() {
    let with = Subject { spin_us: Some(50), ..subject("epoll", vec![sample(200, 1, 1); 5]) };
    let without = Subject { spin_us: Some(0), ..subject("epoll", vec![sample(100, 1, 1); 5]) };
    let threads = subject("threads", vec![sample(110, 1, 1); 5]);
    let report = report(&[without, with, threads]);
    let text = unbroken(&report);
    assert!(text.contains("Best here: epoll+spin with 200 requests/s, 1.82 × threads"), "{text}");
    let sentence = "epoll+spin keeps 0.00 of a processor busy, spinning for up to 50 µs before it \
                    sleeps; epoll keeps 0.00 and serves 0.50 × as much.";
    assert!(text.contains(sentence), "{text}");
    let json = report.to_json().expect("all fields have a form in JSON");
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let spins: Vec<_> = value["rows"].as_array().expect("rows").iter().collect();
    let spins: Vec<Option<u64>> = spins.iter().map(|row| row["spin_us"].as_u64()).collect();
    assert_eq!(spins, [Some(0), Some(50), None]);
}

#[test]
fn ratios_are_of_complete_rounds_alone_unless_there_is_none() {
    let size = MessageSize::new(64).expect("a valid size");
    let workload = Workload { service: Service::Echo, connections: 64, size, seed: 7 };
    // The second round broke off after one model, the slower one.
    let slow = subject("poll", vec![sample(50, 1, 1), sample(50, 1, 1)]);
    let fast = subject("epoll", vec![sample(100, 1, 1), None]);
    let ratio = |rounds| {
        let rows = rows(&workload, rounds, &[slow.clone(), fast.clone()]);
        rows[0].ratio_to_best.expect("it was measured")
    };
    assert_eq!((ratio(1).median, ratio(1).max), (0.5, 0.5));
    assert_eq!(ratio(0).max, 1.0);
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
