//! Dumps as text.

use std::fmt::{self, Display, Formatter, Write};
use std::time::Duration;

use crate::dump_data::{
    Counts, Dump, Frame, LostTask, RuntimeDump, Stuck, SuspectedWait, TaskDump, ThreadDump, Wait,
    WorkerDump,
};

impl Display for Dump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "process {}: {}", self.process, count(self.runtimes.len(), "runtime"))?;
        for runtime in &self.runtimes {
            write!(f, "\n{runtime}")?;
        }
        if !self.threads.is_empty() {
            writeln!(f, "\nblocked: {}", count(self.threads.len(), "plain thread"))?;
        }
        self.threads.iter().try_for_each(|thread| write!(f, "\n{thread}"))?;
        if !self.suspected.is_empty() {
            writeln!(f, "\nsuspected deadlock: none of these waits can end before another does")?;
            self.suspected.iter().try_for_each(|wait| writeln!(f, "\n{wait}"))?;
            writeln!(f, "\nunless a handle is kept by a task or thread that has not used it yet")?;
        }
        Ok(())
    }
}

/// Writes `task 1.2 'left' waits for receive from channel at src/main.rs:7:5`, and a list of the
/// tasks and threads that could end the wait.
impl Display for SuspectedWait {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (who, name, what) = (&self.who, named(&self.name), plain(&self.what));
        writeln!(f, "{who}{name} waits for {what} at {}", self.place)?;
        write!(f, "    could be ended by {}", self.enders.join(", "))
    }
}

impl Display for RuntimeDump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let model = if self.model.is_empty() { "unknown" } else { &self.model };
        writeln!(f, "runtime: model {model}, {}", count(self.workers.len(), "worker"))?;
        self.workers.iter().try_for_each(|worker| write!(f, "{worker}"))
    }
}

impl Display for WorkerDump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\nworker {}", self.worker)?;
        if let Some(thread) = self.thread {
            write!(f, ", thread {thread}")?;
        }
        match &self.stuck {
            Some(stuck) => write!(f, ": did not answer\n{stuck}")?,
            None => writeln!(f, ": {}", self.counts)?,
        }
        self.tasks.iter().try_for_each(|task| write!(f, "\n{task}"))?;
        if self.omitted > 0 {
            writeln!(f, "\n… and {} more", count(self.omitted, "task"))?;
        }
        Ok(())
    }
}

/// Writes `4 tasks: 1 ready, 3 waiting`.
impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&count(self.total(), "task"))?;
        let all = [
            (self.new, "new"),
            (self.ready, "ready"),
            (self.waiting, "waiting"),
            (self.parked, "parked"),
            (self.asleep, "asleep"),
        ];
        let mut before = ": ";
        for (count, state) in all.iter().filter(|(count, _)| *count > 0) {
            write!(f, "{before}{count} {state}")?;
            before = ", ";
        }
        Ok(())
    }
}

impl Display for TaskDump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}: {} for {}",
            self.task,
            named(&self.name),
            self.state.name(),
            ms(self.for_ms)
        )?;
        if let Some(wait) = &self.wait {
            write!(f, ", {wait}")?;
        }
        writeln!(f, "{}", if self.cancelled { ", cancelled" } else { "" })?;
        write!(f, "    spawned at {}", self.spawned_at)?;
        match &self.spawned_by {
            Some(by) => writeln!(f, " by {by}")?,
            None => writeln!(f)?,
        }
        write!(f, "    stack {}", bytes(self.stack_size))?;
        if let Some(touched) = self.stack_touched {
            write!(f, ", {} touched", bytes(touched))?;
        }
        writeln!(f)?;
        write_frames(f, &self.backtrace)
    }
}

/// Writes `task 3.17 'mailer', parked, spawned at src/main.rs:7:5`.
impl Display for LostTask {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, state) = (named(&self.name), self.state.name());
        write!(f, "{}{name}, {state}, spawned at {}", self.task, self.spawned_at)
    }
}

impl Display for ThreadDump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (who, name, ms) = (&self.who, named(&self.name), ms(self.for_ms));
        writeln!(f, "{who}{name}, thread {}: blocked for {ms}, {}", self.thread, self.wait)
    }
}

/// Writes `recv on fd 7 from 127.0.0.1:5000 (here 127.0.0.1:80), 29.8 s left`.
impl Display for Wait {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(&self.what))?;
        if let Some(on) = self.on {
            write!(f, " {on:#x}")?;
        }
        if let Some(fd) = self.fd {
            write!(f, " on fd {fd}")?;
        }
        if let Some(peer) = &self.peer {
            write!(f, " with {}", plain(peer))?;
        }
        if let Some(local) = &self.local {
            write!(f, " here {}", plain(local))?;
        }
        if let Some(holder) = &self.holder {
            write!(f, " of {holder}")?;
        }
        if let Some(place) = &self.place {
            write!(f, " at {place}")?;
        }
        if !self.enders.is_empty() {
            write!(f, ", could be ended by {}", self.enders.join(", "))?;
        }
        match self.left_ms {
            Some(left) => write!(f, ", {} left", ms(left)),
            None => Ok(()),
        }
    }
}

impl Display for Stuck {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.task {
            Some(task) => {
                write!(f, "    it is kept by {task}{}", named(&self.name))?;
                if self.for_ms > 0 {
                    write!(f, " for at least {}", ms(self.for_ms))?;
                }
                writeln!(f)?;
            }
            None => writeln!(f, "    it did not answer")?,
        }
        if let Some(place) = &self.spawned_at {
            writeln!(f, "    spawned at {place}")?;
        }
        write_frames(f, &self.backtrace)
    }
}

/// Writes a backtrace, as std does: function, then place.
pub(crate) fn write_frames(f: &mut impl Write, frames: &[Frame]) -> fmt::Result {
    for (number, frame) in frames.iter().enumerate() {
        writeln!(f, "    {number:>3}: {}", frame.function)?;
        if let (Some(file), Some(line)) = (&frame.file, frame.line) {
            writeln!(f, "           at {file}:{line}")?;
        }
    }
    Ok(())
}

/// Returns ` 'name'`, or nothing.
pub(crate) fn named(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" '{}'", plain(name)) }
}

/// Escapes control characters, so that a text cannot move the cursor of a terminal, or fake a line.
pub(crate) fn plain(text: &str) -> String {
    let is_tricky =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if is_tricky(c) => plain.extend(c.escape_default()),
            c => plain.push(c),
        }
    }
    plain
}

/// Returns `1 task`, `2 tasks`.
pub(crate) fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Returns a duration in a suitable unit.
pub(crate) fn ms(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", Duration::from_millis(ms).as_secs_f64()),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms / 1_000 % 60),
        _ => format!("{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}

fn bytes(bytes: usize) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_the_unit_that_suits_them() {
        let texts = [7, 1_500, 61_000, 7_260_000].map(ms);
        assert_eq!(texts, ["7 ms", "1.5 s", "1 min 1 s", "2 h 1 min"]);
    }

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        assert_eq!(named("a\u{1b}[2J\nb\u{202e}ü"), " 'a\\u{1b}[2J\\nb\\u{202e}ü'");
        assert_eq!(named(""), "");
    }

    #[test]
    fn counts_name_only_what_there_is() {
        assert_eq!(Counts::default().to_string(), "0 tasks");
        let counts = Counts { ready: 1, waiting: 2, ..Counts::default() };
        assert_eq!(counts.to_string(), "3 tasks: 1 ready, 2 waiting");
    }
}
