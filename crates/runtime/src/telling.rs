//! Telling of a deadlock: who waits for what, where, with the backtraces of all.

use std::fmt;

use crate::blocked;
use crate::deadlock::{Deadlock, Link, list};
use crate::identity::Identity;
use crate::report::{named, plain, write_frames};
use crate::snapshot::{Frame, TaskDump};
use crate::stuck;
use crate::survey::{self, Request};
use crate::teams;
use crate::trace::{Symbols, own_frames};

/// A deadlock, and where the wait stands that closed it: to be told by another thread.
pub(crate) struct Tale {
    deadlock: Deadlock,
    /// Of the first, if that is the caller: it cannot be asked.
    frames: Option<Vec<usize>>,
}

impl Tale {
    /// To be called by who has closed it.
    pub(crate) fn of_caller(deadlock: Deadlock) -> Tale {
        Tale { deadlock, frames: Some(own_frames()) }
    }

    pub(crate) fn of_others(deadlock: Deadlock) -> Tale {
        Tale { deadlock, frames: None }
    }

    /// Tells of it on stderr. Blocks the thread: asks the members' workers.
    pub(crate) fn tell(self) {
        eprint!("{}", self.text());
    }

    fn text(&self) -> String {
        let links = self.deadlock.links();
        let only = links.iter().map(|link| link.who).collect();
        let request = Request { only, ..Request::default() };
        let mut tasks = Vec::new();
        for team in teams::all() {
            let (_, answers) = survey::ask(&team, &request);
            tasks.extend(answers.into_iter().flat_map(|answer| answer.worker.tasks));
        }
        let mut symbols = Symbols::default();
        let mut text = heading(&self.deadlock).to_owned();
        for (number, link) in links.iter().enumerate() {
            let task = tasks.iter().find(|task| task.task == link.who.to_string());
            let frames = match (number, task, &self.frames) {
                (0, _, Some(frames)) => symbols.resolve(frames),
                (_, Some(task), _) => symbols.resolve(&task.addresses),
                (_, None, _) => symbols.resolve(&frames_of_thread(link.who)),
            };
            // Writing to a string does not fail.
            let _ = write_link(&mut text, link, task, &frames);
        }
        if !self.deadlock.is_certain() {
            text.push_str(DOUBT);
        }
        text
    }
}

/// Why a suspected deadlock is not told of as one.
const DOUBT: &str = "
Nobody else was seen with a handle of these channels and queues. But if one is kept where nobody
has looked (on the heap of another task, in a thread-local), this is no deadlock.
";

fn heading(deadlock: &Deadlock) -> &'static str {
    if deadlock.is_circle() {
        "\nfiveways: deadlock: each of these waits for the next\n"
    } else if deadlock.is_certain() {
        "\nfiveways: deadlock: none of these can go on before another of them does\n"
    } else {
        "\nfiveways: suspected deadlock: none of these can go on before another of them does\n"
    }
}

/// Where a blocked plain thread stands.
fn frames_of_thread(who: Identity) -> Vec<usize> {
    let told = blocked::number_of(who).and_then(stuck::ask);
    told.map_or(Vec::new(), |told| told.frames)
}

fn write_link(
    text: &mut impl fmt::Write,
    link: &Link,
    task: Option<&TaskDump>,
    frames: &[Frame],
) -> fmt::Result {
    let Link { who, name, what, place, holders, is_certain } = link;
    let (name, what) = (named(name), plain(what));
    match &holders[..] {
        [holder] if *is_certain => {
            writeln!(text, "\n{who}{name} waits for {what} of {holder} at {place}")?;
        }
        holders => {
            writeln!(text, "\n{who}{name} waits for {what} at {place}")?;
            writeln!(text, "    could be ended by {}", list(holders))?;
        }
    }
    if let Some(task) = task {
        let by = task.spawned_by.as_deref().unwrap_or("somebody");
        writeln!(text, "    spawned at {} by {by}", task.spawned_at)?;
    }
    write_frames(text, frames)
}
