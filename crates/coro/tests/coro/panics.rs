//! The build refuses to abort on panics.

use std::env;
use std::path::Path;
use std::process::Command;

/// The compiler's messages about this library alone, without its dependencies.
fn messages(more: &[&str]) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(compiler);
    command.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "-o", "/dev/null"]);
    let output = command.args(more).arg(source).output().expect("the compiler runs");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_build_that_aborts_on_panics_is_refused() {
    let refusal = "Fiveways needs `panic = \"unwind\"`";
    let text = messages(&["-Cpanic=abort"]);
    assert!(text.contains(refusal), "{text}");
    let text = messages(&[]);
    assert!(!text.contains(refusal), "{text}");
}
