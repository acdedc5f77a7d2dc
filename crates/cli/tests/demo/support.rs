//! The program and what it says.

use std::process::{Command, Output, Stdio};

pub(crate) fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fiveways"));
    command.arg("demo").args(args).stdin(Stdio::null());
    command
}

pub(crate) fn output(args: &[&str]) -> Output {
    demo(args).output().expect("the program starts")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// What a demo says when all is well; for what tells no times.
pub(crate) fn said(args: &[&str]) -> String {
    said_at("0.5", args)
}

fn said_at(scale: &str, args: &[&str]) -> String {
    let output = output(&[args, &["--scale", scale]].concat());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    assert_eq!(stderr(&output), "", "{args:?}");
    stdout(&output)
}

/// Asserts that a demo says this, to the byte.
#[track_caller]
pub(crate) fn assert_says(args: &[&str], expected: &str) {
    assert_says_sorted(args, |_| false, expected);
}

/// Asserts that a demo says this; runs of lines that are `free` in their order come sorted.
///
/// On a machine that is kept busy by others, seconds of the demo come out too long. If that is all
/// that is wrong it is asked again with longer ones, of which the same delay is a smaller part. A
/// demo that really takes longer does so at any scale.
#[track_caller]
pub(crate) fn assert_says_sorted(args: &[&str], free: impl Fn(&str) -> bool, expected: &str) {
    let said = |scale| sorted(&said_at(scale, args), &free);
    let mut text = said("0.5");
    for scale in ["2", "6"] {
        if is_late(&text, expected) {
            text = said(scale);
        }
    }
    assert_eq!(text, expected, "{args:?}");
}

/// Sorts each run of lines whose order is free.
fn sorted(text: &str, free: impl Fn(&str) -> bool) -> String {
    let mut lines: Vec<_> = text.split_inclusive('\n').collect();
    for run in lines.chunk_by_mut(|one, next| free(one) && free(next)) {
        run.sort_unstable();
    }
    lines.concat()
}

/// Is it the same, but for seconds that are too many?
fn is_late(text: &str, expected: &str) -> bool {
    let (rest, seconds) = without_seconds(text);
    let (expected_rest, expected_seconds) = without_seconds(expected);
    let more = seconds.iter().zip(&expected_seconds).all(|(said, expected)| said >= expected);
    rest == expected_rest && more && seconds != expected_seconds
}

/// Takes the numbers of all `N s` out.
fn without_seconds(text: &str) -> (String, Vec<u32>) {
    let words: Vec<_> = text.split_inclusive([' ', '\n']).collect();
    let (mut rest, mut seconds) = (String::new(), Vec::new());
    for (place, word) in words.iter().enumerate() {
        let next = words.get(place + 1).map(|next| next.trim_end_matches([',', ' ', '\n']));
        match word.trim_end().parse() {
            Ok(number) if next == Some("s") => seconds.push(number),
            _ => rest.push_str(word),
        }
    }
    (rest, seconds)
}
