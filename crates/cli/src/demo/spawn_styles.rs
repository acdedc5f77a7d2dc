//! Two ways to start a process, and two to start a thread: from a function, and from a type with a
//! method `run`.
//!
//! Another process shares nothing with this one: function and type are sent there by name and
//! value. Each reports whether it ran in a process or thread of its own.

use std::process;
use std::thread;

use clap::Args;
use fiveways::executor::{ProcessPool, Sizing, remote};
use serde::{Deserialize, Serialize};

use super::stage::{Outcome, say};

/// Processes and threads from a function, and from a type
#[derive(Args, Debug)]
pub(super) struct SpawnStylesArgs {}

/// As a function: its input is its arguments.
fn greet(name: &str) -> String {
    format!("hello from {name}")
}

/// As a type: its input is its fields.
#[derive(Deserialize, Serialize)]
struct Greeter {
    name: String,
}

impl Greeter {
    fn new(name: &str) -> Greeter {
        Greeter { name: name.to_owned() }
    }

    fn run(self) -> String {
        greet(&self.name)
    }
}

remote! {
    /// The function, to be called in another process; also returns that process's id.
    fn greet_there(name: String) -> (String, u32) {
        (greet(&name), process::id())
    }

    /// The type, to be run in another process; also returns that process's id.
    fn run_there(greeter: Greeter) -> (String, u32) {
        (greeter.run(), process::id())
    }
}

pub(super) fn run(_: &SpawnStylesArgs) -> Outcome {
    let processes = ProcessPool::new(Sizing::Fixed(1))?;
    let function = processes.submit(greet_there::call("a function in a process".to_owned()))?;
    let (hello, pid) = function.result()?;
    say!("{hello} of its own: {}", pid != process::id());
    let greeter = processes.submit(run_there::call(Greeter::new("a type in a process")))?;
    let (hello, pid) = greeter.result()?;
    say!("{hello} of its own: {}", pid != process::id());

    let function = thread::spawn(|| (greet("a function in a thread"), thread::current().id()));
    let (hello, thread) = function.join().expect("it does not panic");
    say!("{hello} of its own: {}", thread != thread::current().id());
    let greeter = Greeter::new("a type in a thread");
    let greeter = thread::spawn(move || (greeter.run(), thread::current().id()));
    let (hello, thread) = greeter.join().expect("it does not panic");
    say!("{hello} of its own: {}", thread != thread::current().id());
    Ok(())
}
