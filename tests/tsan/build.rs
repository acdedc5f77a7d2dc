//! Puts wrappers around the few functions of std and of the sanitizer that would mislead it.
//!
//! Std comes compiled, without the sanitizer, so it does not see what happens in the slow path of a
//! lock, in a wait for a condition, or at the end of a `Once`; those are not inlined. The linker
//! puts wrappers around these functions (`--wrap`), which tell. Their names hold a hash of the
//! toolchain, so they are looked up in the compiled std.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The ends of the mangled names, and what their wrappers in `wrappers.rs` stand for.
const STD: [(&str, &str); 4] = [
    ("3sys4sync5mutex5futexNtB2_5Mutex14lock_contended", "LOCK"),
    ("3sys4sync7condvar5futexNtB2_7Condvar4wait", "WAIT"),
    ("3sys4sync4once5futexNtB5_4Once4call", "ONCE"),
    ("3sys4sync7condvar5futexNtB2_7Condvar12wait_timeout", "WAIT_TIMEOUT"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let library = compiled_std();
    let bytes = fs::read(&library).expect("the compiled std can be read");
    let mut names = vec![("__tsan_atomic64_fetch_sub".to_owned(), "FETCH_SUB")];
    for (end, what) in STD {
        let name = symbol(&bytes, end).unwrap_or_else(|| panic!("std has no `…{end}` any more"));
        names.push((name, what));
    }
    let mut wrappers = include_str!("wrappers.rs.in").to_owned();
    for (name, what) in names {
        println!("cargo::rustc-link-arg-bins=-Wl,--wrap={name}");
        wrappers = wrappers.replace(&format!("@{what}@"), &name);
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where"));
    fs::write(out.join("wrappers.rs"), wrappers).expect("the build directory can be written");
    println!("cargo::rerun-if-changed=wrappers.rs.in");
}

fn compiled_std() -> PathBuf {
    let rustc = env::var_os("RUSTC").expect("cargo names the compiler");
    let target = env::var("TARGET").expect("cargo names the target");
    let out = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", &target])
        .output()
        .expect("the compiler answers");
    let folder = String::from_utf8(out.stdout).expect("a path");
    let files = fs::read_dir(Path::new(folder.trim())).expect("the folder is there");
    let is_std = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    };
    files.flatten().map(|file| file.path()).find(is_std).expect("std is installed")
}

/// The whole symbol with this end, which stands in a table of names that end with a zero.
fn symbol(bytes: &[u8], end: &str) -> Option<String> {
    let end = end.as_bytes();
    let ends = bytes.windows(end.len() + 1).enumerate();
    let found = ends.filter(|(_, window)| window[..end.len()] == *end && window[end.len()] == 0);
    found.map(|(at, _)| at).find_map(|at| {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let start = bytes[..at].iter().rposition(|byte| !is_part(byte))? + 1;
        let name = str::from_utf8(&bytes[start..at + end.len()]).ok()?;
        name.starts_with("_R").then(|| name.to_owned())
    })
}
