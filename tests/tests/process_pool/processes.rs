//! Looking at processes, and ending them.

use std::collections::BTreeSet;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, test_kill_process, waitid,
};

pub(crate) fn number(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a number of a process")).expect("not zero")
}

pub(crate) fn send(pid: u32, signal: Signal) {
    // It may have ended by itself, and be collected.
    let _ = kill_process(number(pid), signal);
}

/// Has a child ended, with all its threads? It is left to be collected by its pool.
pub(crate) fn has_ended(pid: u32) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(number(pid)), options).expect("our child").is_some()
}

/// Does it run? One that has ended and waits to be collected does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    test_kill_process(number(pid)).is_ok() && !matches!(state, Some("Z" | "X"))
}

/// The children of this process, dead or alive.
pub(crate) fn children() -> BTreeSet<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let of = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("children"));
    let texts = tasks.flatten().filter_map(|entry| of(entry).ok());
    let numbers = |text: String| -> Vec<u32> {
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    texts.flat_map(numbers).collect()
}
