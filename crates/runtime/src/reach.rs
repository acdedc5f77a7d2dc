//! Could anybody else have a handle? A search through memory, as conservative collectors do.
//!
//! ```text
//!   stacks of tasks that are not in the knot ┐
//!   stacks and registers of blocked threads  ├─▶ words ─▶ the words where they may point
//!   static variables                         ┘              any word into the shared part: yes
//! ```
//!
//! Every word counts that could be an address in memory that can be written, so what is found may
//! be no handle: then a deadlock is not told of. What is not found may still be there: further
//! away, in large blocks, or in other threads' thread-locals. So this can refute a suspicion and
//! not prove it. Tasks are looked at by their own workers, between two tasks; all else from here,
//! by copies that the kernel makes. What the running program changes meanwhile is seen or not.
//!
//! Whatever cannot be looked at counts as a handle: a thread of which nothing is known, a worker
//! that does not answer, a task that is just being sent or has not begun, or stands on a stack that
//! is not its own (in a generator).
#![expect(unsafe_code, reason = "control blocks are reached through the worker's table")]

use std::collections::HashSet;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use fiveways_sys::own_memory::{self, Writable};

use crate::blocked;
use crate::glance::{fiber, state_of};
use crate::identity::Identity;
use crate::inbox::{Inbox, Message};
use crate::others::others;
use crate::side::Span;
use crate::snapshot::TaskState;
use crate::task::{Task, TaskId};
use crate::teams;
use crate::worker::{Worker, with_worker};

/// Steps from a stack or a static variable: our own lead to those who wait, further on. (With two,
/// any task that sleeps beside a knot refutes it.)
const STEPS: usize = 1;

/// What is looked at around an address: maps keep their items before it.
const BEFORE: usize = 128;
const BLOCK: usize = 512;

/// What lies below a task's innermost frame: the registers that the switch keeps.
const REGISTERS: usize = 256;

/// How much of a thread's stack is looked at.
const STACK_MAX: usize = 1 << 20;

/// Addresses that are followed at most; if there are more, nothing can be said.
const FOLLOWED_MAX: usize = 1 << 19;

/// Tasks looked at without a look at the driver.
const SLICE: usize = 128;

/// How long a worker has to answer, and to go on with it.
const PATIENCE: Duration = Duration::from_secs(1);

/// There is something that cannot be looked at.
struct Unknown;

/// Could anybody whose wait is not hopeless have a handle that points there?
pub(crate) fn is_held_outside(stuck: &HashSet<Identity>, spans: &[Span]) -> bool {
    look(stuck, spans).unwrap_or(true)
}

fn look(stuck: &HashSet<Identity>, spans: &[Span]) -> Result<bool, Unknown> {
    if others() > 0 {
        return Err(Unknown);
    }
    let memory = Memory(own_memory::writable().map_err(|_| Unknown)?);
    let mut statics = HashSet::new();
    for one in memory.0.iter().filter(|one| one.is_static) {
        statics.extend(memory.addresses_in(one.range.clone())?);
    }
    let memory = Arc::new(memory);
    let (mut stacks, hidden) = of_tasks(stuck, &memory)?;
    stacks.extend(of_threads(stuck, &memory)?);
    let search = Search { memory: &memory, hidden: &hidden, spans };
    Ok(search.finds(statics)? || search.finds(stacks)?)
}

/// What can be written, in ascending order.
struct Memory(Vec<Writable>);

impl Memory {
    fn range_of(&self, address: usize) -> Option<&Range<usize>> {
        let after = self.0.partition_point(|one| one.range.start <= address);
        let range = &self.0.get(after.checked_sub(1)?)?.range;
        range.contains(&address).then_some(range)
    }

    /// The words in a range that could be addresses.
    fn addresses_in(&self, range: Range<usize>) -> Result<Vec<usize>, Unknown> {
        let mut found = Vec::new();
        let mut words = [0; BLOCK];
        let mut at = range.start.next_multiple_of(size_of::<usize>());
        while at < range.end {
            let left = (range.end - at) / size_of::<usize>();
            let some = left.min(words.len());
            if some == 0 {
                break;
            }
            let count = own_memory::copy(at, &mut words[..some]).map_err(|_| Unknown)?;
            if count == 0 {
                return Err(Unknown);
            }
            found.extend(words[..count].iter().filter(|word| self.range_of(**word).is_some()));
            at += count * size_of::<usize>();
        }
        Ok(found)
    }
}

struct Search<'a> {
    memory: &'a Memory,
    /// Not to be followed: the heads of those who are stuck.
    hidden: &'a [Range<usize>],
    spans: &'a [Span],
}

impl Search<'_> {
    /// Does any of the addresses lead there?
    fn finds(&self, roots: HashSet<usize>) -> Result<bool, Unknown> {
        let mut seen = roots;
        let mut next: Vec<_> = seen.iter().copied().collect();
        for step in 0..=STEPS {
            if next.iter().any(|word| self.spans.iter().any(|span| span.contains(*word))) {
                return Ok(true);
            }
            if step == STEPS {
                break;
            }
            let mut found = Vec::new();
            for address in next {
                found.extend(self.around(address).into_iter().filter(|word| seen.insert(*word)));
                if seen.len() > FOLLOWED_MAX {
                    return Err(Unknown);
                }
            }
            next = found;
        }
        Ok(false)
    }

    /// The addresses that lie around one; none, if it was unmapped meanwhile.
    fn around(&self, address: usize) -> Vec<usize> {
        let is_hidden = self.hidden.iter().any(|hidden| hidden.contains(&address));
        let range = self.memory.range_of(address).filter(|_| !is_hidden);
        let Some(range) = range else { return Vec::new() };
        let start = address.saturating_sub(BEFORE).max(range.start);
        let end = address.saturating_add(BLOCK).min(range.end);
        self.memory.addresses_in(start..end).unwrap_or_default()
    }
}

/// The addresses on the stacks and in the registers of blocked threads that are not stuck.
fn of_threads(stuck: &HashSet<Identity>, memory: &Memory) -> Result<Vec<usize>, Unknown> {
    let mut found = Vec::new();
    for (who, stack) in blocked::stacks() {
        if stuck.contains(&who) {
            continue;
        }
        found.extend(stack.registers.ok_or(Unknown)?);
        let range = memory.range_of(stack.depth).ok_or(Unknown)?;
        let end = range.end.min(stack.depth.saturating_add(STACK_MAX));
        found.extend(memory.addresses_in(stack.depth..end)?);
    }
    Ok(found)
}

/// What a worker says of a slice of its tasks.
struct Part {
    /// The addresses on the stacks of those that are not stuck.
    found: Result<Vec<usize>, Unknown>,
    /// Where the control blocks of the others lie.
    heads: Vec<Range<usize>>,
    is_last: bool,
}

fn of_tasks(
    stuck: &HashSet<Identity>,
    memory: &Arc<Memory>,
) -> Result<(HashSet<usize>, Vec<Range<usize>>), Unknown> {
    let stuck = Arc::new(stuck.clone());
    let teams = teams::all();
    let workers = teams.iter().flat_map(|team| team.iter());
    let asked = workers.filter_map(|inbox| ask(inbox, &stuck, memory));
    let (mut found, mut heads) = (HashSet::new(), Vec::new());
    for parts in asked.collect::<Vec<_>>() {
        loop {
            let part = parts.recv_timeout(PATIENCE).map_err(|_| Unknown)?;
            found.extend(part.found?);
            heads.extend(part.heads);
            if part.is_last {
                break;
            }
        }
    }
    Ok((found, heads))
}

/// Asks a worker; `None` when it has ended.
fn ask(
    inbox: &Arc<Inbox>,
    stuck: &Arc<HashSet<Identity>>,
    memory: &Arc<Memory>,
) -> Option<Receiver<Part>> {
    let (tell, parts) = channel();
    let (stuck, memory) = (Arc::clone(stuck), Arc::clone(memory));
    let look = move || {
        with_worker(|worker| {
            let id = |task: NonNull<Task>| {
                // SAFETY: required: a live task. The table holds live tasks only.
                unsafe { task.as_ref() }.id
            };
            let rest = worker.tasks().into_iter().map(id).collect();
            Job { stuck, memory, rest, tell }.go_on(worker);
        });
    };
    inbox.send(Message::Look(Box::new(look))).ok()?;
    Some(parts)
}

/// What is left to be looked at by a worker.
struct Job {
    stuck: Arc<HashSet<Identity>>,
    memory: Arc<Memory>,
    rest: Vec<TaskId>,
    tell: Sender<Part>,
}

impl Job {
    /// Looks at the next slice, and has the worker come back to the rest later.
    fn go_on(mut self, worker: &Worker) {
        let slice = self.rest.split_off(self.rest.len().saturating_sub(SLICE));
        let mut part = Part { found: Ok(Vec::new()), heads: Vec::new(), is_last: false };
        for task in slice.into_iter().filter_map(|id| worker.task(id)) {
            self.look_at(worker, task, &mut part);
        }
        part.is_last = self.rest.is_empty();
        let is_last = part.is_last;
        // Some are on their way.
        if is_last && worker.inbox.load() != worker.inbox.live() {
            part.found = Err(Unknown);
        }
        if self.tell.send(part).is_err() || is_last {
            return;
        }
        let inbox = Arc::clone(&worker.inbox);
        let look = move || {
            with_worker(|worker| self.go_on(worker));
        };
        // Its own inbox is open as long as it reads its mail.
        let _ = inbox.send(Message::Look(Box::new(look)));
    }

    fn look_at(&self, worker: &Worker, task: NonNull<Task>, part: &mut Part) {
        let fiber = fiber(task);
        let addresses = fiber.stack().addresses();
        let head = task.addr().get();
        if self.stuck.contains(&fiber.header().identity) {
            part.heads.push(head..addresses.end);
            return;
        }
        let found = match state_of(task) {
            TaskState::New => Err(Unknown),
            _ => match worker.depth_of(task) {
                depth if addresses.contains(&depth) => {
                    let start = depth.saturating_sub(REGISTERS);
                    self.memory.addresses_in(start..addresses.end)
                }
                _ => Err(Unknown),
            },
        };
        part.found = match (std::mem::replace(&mut part.found, Err(Unknown)), found) {
            (Ok(mut all), Ok(more)) => {
                all.extend(more);
                Ok(all)
            }
            _ => Err(Unknown),
        };
    }
}
