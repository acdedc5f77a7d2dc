//! The machine and the command a report is valid for.

use std::fs;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Machine {
    pub processor: String,
    pub processors: usize,
    pub memory_gib: f64,
    pub kernel: String,
    pub command: String,
    pub version: &'static str,
}

impl Machine {
    pub fn new() -> Self {
        let kib = field("/proc/meminfo", "MemTotal:").trim_end_matches(" kB").parse::<f64>();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: field("/proc/cpuinfo", "model name").trim_start_matches(": ").to_owned(),
            processors: processors(),
            memory_gib: (kib.unwrap_or(0.0) / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: kernel.trim().to_owned(),
            command: command(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// One line for the head of a report.
    pub fn line(&self) -> String {
        format!(
            "{} x {}, {} GiB, Linux {}; {}",
            self.processors, self.processor, self.memory_gib, self.kernel, self.command
        )
    }
}

/// The command without the path in front of it.
fn command() -> String {
    let args = std::env::args().skip(1);
    ["compare-peers".to_owned()].into_iter().chain(args).collect::<Vec<_>>().join(" ")
}

/// All of the machine's: this process may be pinned to one of them.
fn processors() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count()
}

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or("unknown").trim().to_owned()
}
