//! A million tasks alive at once, each on a guarded stack of its own, and what they cost.
//!
//! `cargo bench -p fiveways --bench million [COUNT]` spawns that many tasks, lets every
//! one begin and wait, tells the memory of the process (resident, and the kernel's page tables for
//! it), wakes them and joins them all.

use std::env;
use std::error::Error;
use std::fs;
use std::time::Instant;

use fiveways::Model;
use fiveways::runtime::Runtime;
use fiveways::sync::Event;
use fiveways::task;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let count = env::args().skip(1).find(|word| !word.starts_with("--"));
    let count: usize = count.map_or(Ok(1_000_000), |word| word.parse())?;
    let runtime = Runtime::builder().model(Model::Epoll).build()?;
    runtime.block_on(move || crowd(count));
    Ok(())
}

fn crowd(count: usize) {
    static GO: Event = Event::new();
    let (resident, tables) = (kib("VmRSS:"), kib("VmPTE:"));
    let started = Instant::now();
    let tasks: Vec<_> = (0..count).map(|_| task::spawn_local(|| GO.wait())).collect();
    // Every one begins before the caller's turn comes again.
    task::yield_now();
    let begun = started.elapsed();
    let (resident, tables) = (kib("VmRSS:") - resident, kib("VmPTE:") - tables);
    GO.set();
    let woken = Instant::now();
    for task in tasks {
        task.join().expect("it only waits");
    }
    let mib = |kib: usize| kib / 1024;
    println!(
        "{count} tasks alive: {} MiB resident, {} MiB of page tables",
        mib(resident),
        mib(tables)
    );
    println!("{} bytes for each, both together", (resident + tables) * 1024 / count);
    println!("begun in {begun:.2?}, woken and joined in {:.2?}", woken.elapsed());
}

/// A line of this process's status, in KiB.
fn kib(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
