//! The example of a hand-off says the same by hand and with the library.
//!
//! Not under the sanitizer, whose run builds no examples.
#![cfg(not(feature = "sanitizer"))]

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Where cargo puts examples: beside the directory of this test's own program.
fn binary(example: &str) -> PathBuf {
    let test = env::current_exe().expect("the path of this program");
    let built = test.parent().and_then(|deps| deps.parent()).expect("target/debug/deps/name");
    let path = built.join("examples").join(example);
    assert!(path.exists(), "{} is not built: run `cargo test` without --test", path.display());
    path
}

/// S002-39 to S002-43: the five steps.
#[test]
fn a_handoff_by_hand_and_one_with_the_library_serve_the_same() {
    let output = Command::new(binary("handoff")).output().expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("it is text");
    let parts =
        text.strip_prefix("by hand:\n").and_then(|text| text.split_once("with fiveways:\n"));
    let (by_hand, with_fiveways) = parts.expect("both in turn");
    assert_eq!(by_hand, with_fiveways);
    assert_eq!(by_hand.lines().count(), 5);
    assert!(by_hand.contains("round 3") && by_hand.ends_with("still there? -> yes\n"), "{by_hand}");
}
