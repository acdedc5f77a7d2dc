//! What a test left behind: descriptors and threads.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// How long something may take to go away: a ring closes descriptors in the background, and a
/// thread that has been joined is seen in `/proc` a moment longer.
const AWHILE: Duration = Duration::from_secs(15);

/// The open descriptors and the threads of this process at one moment.
#[derive(Debug)]
pub struct Tally {
    descriptors: BTreeMap<i32, String>,
    threads: Vec<String>,
}

impl Tally {
    /// Counts now.
    pub fn now() -> Tally {
        Tally { descriptors: descriptors(), threads: threads() }
    }

    /// Counts again and compares.
    ///
    /// # Panics
    ///
    /// When there is more than before and it does not go away.
    #[track_caller]
    pub fn check(&self) {
        let end = Instant::now() + AWHILE;
        loop {
            let now = Tally::now();
            let more = now.descriptors.len() > self.descriptors.len()
                || self.counted(&now) > self.counted(self);
            if !more {
                return;
            }
            assert!(Instant::now() < end, "left behind: {now:#?}\nbefore: {self:#?}");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Tally {
    /// How many of a tally's threads count. The watchdog of debug builds lives as long as a runtime
    /// does, and a thread takes its name only when it runs: beside a runtime that was there before
    /// it may be seen later than that.
    fn counted(&self, tally: &Tally) -> usize {
        let watchdog = |name: &&String| name.starts_with("fiveways-watchd");
        let has_runtime = self.threads.iter().any(|name| !watchdog(&name));
        tally.threads.iter().filter(|name| !(has_runtime && watchdog(name))).count()
    }
}

/// How many descriptors this process has open.
pub fn descriptor_count() -> usize {
    descriptors().len()
}

fn descriptors() -> BTreeMap<i32, String> {
    let own = format!("/proc/{}/fd", std::process::id());
    let entries = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let mut all = BTreeMap::new();
    for entry in entries.flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        let number = entry.file_name().to_string_lossy().parse();
        // The directory being read is open for the length of the reading.
        if let (Ok(number), true) = (number, target != own) {
            all.insert(number, target);
        }
    }
    all
}

/// The names of the threads that the product or a server of a test has started. (The test harness
/// starts threads as well, for tests that wait for their turn.)
fn threads() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let name = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm")).ok();
    let names = entries.flatten().filter_map(name).map(|name| name.trim().to_owned());
    names.filter(|name| name.starts_with("fiveways-") || name.starts_with("serve-")).collect()
}

/// Memory of this process that is in use, in bytes.
pub fn resident_bytes() -> usize {
    resident_bytes_of("self")
}

/// Memory of a process (by its number, or `self`) that is in use, in bytes.
pub fn resident_bytes_of(process: &str) -> usize {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("/proc is mounted");
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("VmRSS: 0 kB");
    let kib = line.split_whitespace().nth(1).and_then(|word| word.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}
