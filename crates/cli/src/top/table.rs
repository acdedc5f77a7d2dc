//! The table, computed from two samples alone.

use std::cmp::Reverse;
use std::fmt::{self, Write};
use std::time::Instant;

use fiveways::inspect::{Dump, TaskDump, WorkerDump};

use crate::top::screen::Size;

/// A dump, when it was taken, and the processor time of its workers so far.
#[derive(Debug)]
pub(crate) struct Look {
    dump: Dump,
    at: Instant,
    /// Nanoseconds, by thread.
    used: Vec<(i32, u64)>,
    command: String,
}

impl Look {
    /// Makes a sample of a dump that was just taken.
    pub(crate) fn new(dump: Dump, at: Instant) -> Look {
        let process = dump.process;
        let threads = workers(&dump).filter_map(|(_, worker)| worker.thread);
        let used = threads.filter_map(|thread| Some((thread, used_by(process, thread)?)));
        let used = used.collect();
        let command = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        Look { dump, at, used, command: command.trim().to_owned() }
    }

    fn used(&self, thread: i32) -> Option<u64> {
        self.used.iter().find(|(other, _)| *other == thread).map(|(_, used)| *used)
    }

    fn worker(&self, number: u32) -> Option<&WorkerDump> {
        workers(&self.dump).map(|(_, worker)| worker).find(|worker| worker.worker == number)
    }
}

/// The workers, each with its model.
fn workers(dump: &Dump) -> impl Iterator<Item = (&str, &WorkerDump)> {
    dump.runtimes
        .iter()
        .flat_map(|runtime| runtime.workers.iter().map(|worker| (runtime.model.as_str(), worker)))
}

/// The processor time of a thread, in nanoseconds.
fn used_by(process: u32, thread: i32) -> Option<u64> {
    let path = format!("/proc/{process}/task/{thread}/schedstat");
    std::fs::read_to_string(path).ok()?.split(' ').next()?.parse().ok()
}

/// Draws the table; without a size, all of it.
pub(crate) fn draw(before: &Look, now: &Look, size: Option<Size>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_head(&mut text, now);
    let _ = write_workers(&mut text, before, now);
    let _ = write_tasks(&mut text, now);
    match size {
        None => text,
        Some(size) => fit(&text, size),
    }
}

/// Cuts a text to the size of the screen.
fn fit(text: &str, size: Size) -> String {
    let cut = |line: &str| line.chars().take(size.columns).collect::<String>();
    text.lines().take(size.lines).map(cut).collect::<Vec<_>>().join("\n")
}

fn write_head(text: &mut String, now: &Look) -> fmt::Result {
    let dump = &now.dump;
    let mut sum = [0; 5];
    for (_, worker) in workers(dump) {
        let counts = worker.counts;
        let each = [counts.new, counts.ready, counts.waiting, counts.parked, counts.asleep];
        sum.iter_mut().zip(each).for_each(|(sum, count)| *sum += count);
    }
    let command = plain(&now.command);
    let total: usize = sum.iter().sum();
    let workers = workers(dump).count();
    let (workers, total) = (count(workers, "worker"), count(total, "task"));
    writeln!(text, "process {} ({command}): {workers}, {total}", dump.process)?;
    let [new, ready, waiting, parked, asleep] = sum;
    write!(text, "tasks: {new} new, {ready} ready, {waiting} waiting, {parked} parked, ")?;
    writeln!(text, "{asleep} asleep; {} plain threads blocked", dump.threads.len())
}

fn write_workers(text: &mut String, before: &Look, now: &Look) -> fmt::Result {
    writeln!(
        text,
        "\n{:>6} {:>8} {:<11} {:>5} {:>9} {:>9} {:>9} {:>8} {:>7}",
        "WORKER", "THREAD", "MODEL", "CPU%", "ROUNDS/s", "EVENTS/s", "SPAWNS/s", "TASKS", "READY"
    )?;
    let seconds = now.at.duration_since(before.at).as_secs_f64().max(1e-3);
    for (model, worker) in workers(&now.dump) {
        let old = before.worker(worker.worker);
        let rate = |count: fn(&WorkerDump) -> u64| {
            let grown = old.map(|old| count(worker).saturating_sub(count(old)));
            grown.map_or("-".to_owned(), |grown| format!("{:.0}", grown as f64 / seconds))
        };
        let thread = worker.thread;
        write!(
            text,
            "{:>6} {:>8} ",
            worker.worker,
            thread.map_or("-".into(), |id| id.to_string())
        )?;
        if let Some(stuck) = &worker.stuck {
            let task = stuck.task.as_deref().unwrap_or("an unknown task");
            writeln!(text, "does not answer: blocked by {task} {}", plain(&stuck.name))?;
            continue;
        }
        let cpu = thread.and_then(|thread| Some((now.used(thread)?, before.used(thread)?)));
        let cpu = cpu.map(|(now, before)| now.saturating_sub(before) as f64 / seconds / 1e7);
        writeln!(
            text,
            "{:<11} {:>5} {:>9} {:>9} {:>9} {:>8} {:>7}",
            model,
            cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.1}")),
            rate(|worker| worker.rounds),
            rate(|worker| worker.events),
            rate(|worker| worker.started),
            worker.counts.total(),
            worker.counts.ready
        )?;
    }
    Ok(())
}

/// The tasks that have waited longest, and the plain threads.
fn write_tasks(text: &mut String, now: &Look) -> fmt::Result {
    let mut tasks: Vec<_> = workers(&now.dump).flat_map(|(_, worker)| &worker.tasks).collect();
    tasks.sort_by_key(|task| Reverse(task.for_ms));
    let (state, time) = ("STATE", "FOR");
    writeln!(
        text,
        "\n{:<14} {:<18} {state:<8} {time:>9}  {:>7} WAITS FOR",
        "TASK", "NAME", "STACK"
    )?;
    for thread in &now.dump.threads {
        let (who, name) = (&thread.who, column(&thread.name, 18));
        let (time, wait) = (span(thread.for_ms), &thread.wait);
        writeln!(text, "{who:<14} {name} {:<8} {time:>9}  {:>7} {wait}", "blocked", "-")?;
    }
    tasks.into_iter().try_for_each(|task| write_task(text, task))
}

fn write_task(text: &mut String, task: &TaskDump) -> fmt::Result {
    let name = column(&task.name, 18);
    let touched = task.stack_touched.map_or("-".to_owned(), |bytes| format!("{}K", bytes / 1024));
    let (state, time) = (task.state.name(), span(task.for_ms));
    write!(text, "{:<14} {name} {state:<8} {time:>9}  {touched:>7} ", task.task)?;
    match &task.wait {
        Some(wait) => writeln!(text, "{wait}"),
        None => writeln!(text, "-"),
    }
}

/// Pads or cuts a text to this many columns.
fn column(text: &str, columns: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= columns {
        return format!("{text:<columns$}");
    }
    let kept: String = text.chars().take(columns - 1).collect();
    format!("{kept}…")
}

/// Removes control characters from a text, so that it cannot move the cursor.
fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let kept = (!c.is_control()).then_some(c);
            escaped.into_iter().flatten().chain(kept)
        })
        .collect()
}

/// A time in few columns.
fn span(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{:.2}s", ms as f64 / 1e3),
        10_000..600_000 => format!("{}s", ms / 1_000),
        600_000..36_000_000 => format!("{}m", ms / 60_000),
        _ => format!("{}h", ms / 3_600_000),
    }
}

/// A count with its noun.
fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_few_columns() {
        let spans = [7, 9_999, 61_000, 700_000, 40_000_000].map(span);
        assert_eq!(spans, ["0.01s", "10.00s", "61s", "11m", "11h"]);
    }

    #[test]
    fn columns_have_their_width_and_no_control_characters() {
        assert_eq!(column("ab", 4), "ab  ");
        assert_eq!(column("abcdef", 4), "abc…");
        assert_eq!(column("\u{1b}[2J", 12), "\\u{1b}[2J   ");
    }

    #[test]
    fn a_text_is_cut_to_the_screen() {
        let size = Size { columns: 3, lines: 2 };
        assert_eq!(fit("abcd\nüöäß\nthird", size), "abc\nüöä");
    }
}
