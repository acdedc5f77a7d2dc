//! What a server uses: processor time and memory, over all processes it consists of.

use std::fs;

use serde::Serialize;

use crate::clock;

/// Memory of a server at one moment.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    pub rss_bytes: u64,
    /// Resident bytes, with a page shared by several processes divided among them.
    pub pss_bytes: u64,
    pub mappings: u64,
    pub threads: u64,
}

/// The process and all its descendants.
pub fn family(pid: i32) -> Vec<i32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&pid) = family.get(next) {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
    }
    family
}

/// Processor time of the processes so far.
pub fn cpu_ns(family: &[i32]) -> Result<u64, String> {
    let each = family.iter().map(|&pid| clock::process_cpu_ns(pid));
    let sum: std::io::Result<u64> = each.sum();
    sum.map_err(|error| format!("processor time of the server: {error}"))
}

/// Time one processor has spent on anything, in ticks of a hundredth of a second.
pub fn processor_busy_ns(processor: usize) -> Option<u64> {
    const TICK_NS: u64 = 10_000_000;
    let text = fs::read_to_string("/proc/stat").ok()?;
    let name = format!("cpu{processor} ");
    let fields = text.lines().find_map(|line| line.strip_prefix(&name))?;
    let ticks: Vec<u64> = fields.split_whitespace().map_while(|tick| tick.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is within user time.
    let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks[..] else { return None };
    Some((user + nice + system + irq + softirq + steal) * TICK_NS)
}

/// Memory of the processes now.
pub fn memory(family: &[i32]) -> Result<Memory, String> {
    let mut sum = Memory::default();
    for pid in family {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
        };
        let (rollup, status) = (read("smaps_rollup")?, read("status")?);
        sum.rss_bytes += field(&rollup, "Rss:") * 1024;
        sum.pss_bytes += field(&rollup, "Pss:") * 1024;
        sum.threads += field(&status, "Threads:");
        sum.mappings += read("maps")?.lines().count() as u64;
    }
    Ok(sum)
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
