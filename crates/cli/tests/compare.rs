//! `fiveways compare` as its users meet it: the output, the file, the exit status, the interrupt.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fiveways_sys::net::wait_ready;
use fiveways_sys::process::{self, Pid, Signal};
use serde_json::Value;

const SHORT: [&str; 6] = ["--rounds", "1", "--seconds", "0.05", "--connections", "4"];

fn compare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fiveways"));
    command.arg("compare").args(args).stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> Output {
    compare(args).output().expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("fiveways-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory of our own");
    dir
}

#[test]
fn the_table_names_the_best_and_nothing_else_is_printed() {
    let output = output(&[&SHORT[..], &["--models", "epoll,threads"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("echo, 4 connections, 64 B messages"), "{text}");
    for part in ["\nepoll ", "\nthreads ", "Best here: ", "Closed loop", "Seed ", "Command: "] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colours where nobody looks");
    assert_eq!(stderr(&output), "");
}

#[test]
fn json_has_a_row_for_every_model_with_figures_or_a_reason() {
    let output = output(&[&SHORT[..], &["--format", "json", "--seed", "5"]].concat());
    let value = json(&stdout(&output));
    assert_eq!(output.status.code(), Some(0), "{}\n{}", stderr(&output), stdout(&output));
    assert_eq!((&value["seed"], &value["rounds"]), (&5.into(), &1.into()));
    assert!(value["command"].as_str().is_some_and(|line| line.starts_with("fiveways compare ")));
    assert!(value["machine"]["kernel"].is_string());
    let rows = value["rows"].as_array().expect("an array");
    assert_eq!(rows.len(), 11);
    for row in rows {
        let is_measured = row["requests_per_second"]["median"].as_f64().is_some_and(|r| r > 0.0);
        let has_reason = row["unavailable"].is_string();
        assert!(is_measured != has_reason, "{row}");
        assert_eq!(row["errors"], 0, "{row}");
        if is_measured {
            for figure in ["p50", "p99", "p999", "max"] {
                assert!(row["latency_us"][figure].as_f64().is_some_and(|us| us > 0.0), "{row}");
            }
            assert!(row["cpu_us_per_request"].as_f64().is_some_and(|us| us > 0.0), "{row}");
            assert!(row["ratio_to_best"]["max"].is_f64(), "{row}");
        }
    }
}

#[test]
fn every_service_is_answered_rightly() {
    for service in ["upper", "greet", "sink"] {
        let args = [&SHORT[..], &["--models", "epoll,uring,threads", "--service", service]];
        let output = output(&args.concat());
        assert_eq!(output.status.code(), Some(0), "{service}: {}", stderr(&output));
        assert!(stdout(&output).starts_with(service));
    }
}

#[test]
fn the_file_is_written_whole_and_the_table_still_shown() {
    let dir = scratch("output");
    let path = dir.join("report.json");
    let name = path.to_str().expect("UTF-8");
    let output = output(&[&SHORT[..], &["--models", "epoll", "-o", name]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("Best here: epoll"));
    let value = json(&fs::read_to_string(&path).expect("it was written"));
    assert_eq!(value["rows"][0]["model"], "epoll");
    assert_eq!(fs::read_dir(&dir).expect("it is there").count(), 1);
    fs::remove_dir_all(dir).expect("it is ours");
}

#[test]
fn wrong_usage_is_an_error_with_status_2_before_anything_is_measured() {
    let started = Instant::now();
    for (args, message) in [
        (vec!["--models", "io_uring"], "unknown model 'io_uring'"),
        (vec!["--service", "cake"], "unknown service 'cake'"),
        (vec!["--size", "0"], "0 bytes"),
        (vec!["--size", "1T"], "is not a size"),
        (vec!["--connections", "0"], "0 connections"),
        (vec!["--rounds", "0"], "0 is not in"),
        (vec!["--seconds", "never"], "not a number"),
        (vec!["-o", "/nonexistent/report.json"], "cannot write '/nonexistent/report.json'"),
    ] {
        let output = output(&args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.starts_with("error: ") && text.contains(message), "{args:?}: {text}");
    }
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn too_few_descriptors_are_an_error_with_a_hint() {
    let program = env!("CARGO_BIN_EXE_fiveways");
    let script = format!("ulimit -n 100 && exec {program} compare --connections 500");
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh starts");
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.starts_with("error: 564 descriptors are needed and 100 are allowed"), "{text}");
    assert!(text.contains("\n\nhint: "), "{text}");
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let args = [&SHORT[..], &["--models", "epoll"]].concat();
    let mut child =
        compare(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let status = child.wait().expect("it ends");
    let mut text = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut text).expect("UTF-8");
    assert_eq!((status.code(), text.as_str()), (Some(0), ""));
}

/// The server that a running comparison has started.
fn server_of(compare: &Child) -> Pid {
    let deadline = Instant::now() + Duration::from_secs(60);
    let path = format!("/proc/{0}/task/{0}/children", compare.id());
    while Instant::now() < deadline {
        let children = fs::read_to_string(&path).expect("it is running");
        let first = children.split_whitespace().next().and_then(|word| word.parse().ok());
        if let Some(pid) = first.and_then(Pid::from_raw) {
            return pid;
        }
        thread::yield_now();
    }
    panic!("no server was started");
}

#[test]
fn ctrl_c_keeps_what_was_measured() {
    let dir = scratch("interrupted");
    let path = dir.join("report.json");
    let args = ["--models", "epoll,threads", "--rounds", "1000", "--seconds", "0.05", "-o"];
    let args = [&args[..], &[path.to_str().expect("UTF-8")]].concat();
    let mut child =
        compare(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // The sixth server: two rounds are complete by then.
    let mut servers = HashSet::new();
    while servers.len() < 6 {
        servers.insert(server_of(&child));
    }
    let pid = Pid::from_raw(child.id() as i32).expect("a positive id");
    process::kill(pid, Signal::INT).expect("it is ours");
    let started = Instant::now();
    let mut text = String::new();
    child.stdout.take().expect("it is piped").read_to_string(&mut text).expect("UTF-8");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(60), "not a thousand rounds");
    for part in ["\nepoll ", "\nthreads ", "Interrupted: ", " of 1000 rounds complete."] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let value = json(&fs::read_to_string(&path).expect("it was written"));
    assert_eq!(value["complete"], false);
    assert!(value["rounds"].as_u64().is_some_and(|rounds| (2..1000).contains(&rounds)), "{value}");
    for row in value["rows"].as_array().expect("an array") {
        assert!(row["requests_per_second"]["median"].as_f64().is_some_and(|rate| rate > 0.0));
        assert_eq!(row["errors"], 0, "{row}");
    }
    fs::remove_dir_all(dir).expect("it is ours");
}

#[test]
fn spinning_is_named_in_table_and_json() {
    let args = [&SHORT[..], &["--models", "epoll,threads", "--spin", "both"]].concat();
    let output = output(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    for part in ["\nepoll ", "\nepoll+spin ", "\nthreads ", "Spin both: "] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let value = |spin: &str| {
        let args = [&SHORT[..], &["--models", "epoll", "--format", "json", "--spin", spin]];
        json(&stdout(&self::output(&args.concat())))
    };
    for (spin, limit) in [("off", 0), ("on", 50)] {
        let value = value(spin);
        assert_eq!((&value["method"]["spin"], &value["complete"]), (&spin.into(), &true.into()));
        assert_eq!(value["rows"][0]["spin_us"], limit);
    }
}

#[test]
fn the_model_that_auto_took_is_named() {
    let args = [&SHORT[..], &["--models", "auto", "--format", "json"]].concat();
    let value = json(&stdout(&output(&args)));
    let taken = value["rows"][0]["takes"].as_str().expect("a name");
    assert!(["uring", "epoll", "poll", "select"].contains(&taken), "{taken}");
}

#[test]
fn an_interrupted_comparison_leaves_no_server_behind() {
    for signal in [Signal::INT, Signal::KILL] {
        let args = ["--models", "epoll", "--rounds", "1", "--seconds", "600"];
        let mut child = compare(&args).stdout(Stdio::null()).spawn().expect("it starts");
        let server = process::pidfd(server_of(&child)).expect("it is running");
        let pid = Pid::from_raw(child.id() as i32).expect("a positive id");
        process::kill(pid, signal).expect("it is ours");
        let status = child.wait().expect("it ends");
        match signal {
            Signal::INT => assert_eq!(status.code(), Some(130)),
            _ => assert_eq!(status.signal(), Some(signal.as_raw())),
        }
        let deadline = Some(Instant::now() + Duration::from_secs(60));
        let has_ended = wait_ready(server.as_fd(), false, deadline).expect("poll");
        assert!(has_ended, "the server outlived a comparison ended by {signal:?}");
    }
}
