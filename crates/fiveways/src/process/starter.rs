//! The thread that starts child processes for tasks.
//!
//! Starting a program blocks the calling thread until the program is loaded, and longer the more
//! memory must be copied. So for tasks another thread does it; always the same one, which starts
//! with the first child and lives as long as the process: a child may have asked to be notified of
//! the end of its parent (`PR_SET_PDEATHSIG`), by which the kernel means the end of the thread that
//! started it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;

use fiveways_runtime::{
    Reason, Unparker, assert_may_park, in_task, park_for_while_not, unparker, without_interruption,
};
use fiveways_sys::lock::Mutex;

use fiveways_sys::process::generation::PerProcess;

use crate::sync::mpsc::{Sender, channel};

/// The thread's queue: a fork has no such thread.
static STARTER: PerProcess<Mutex<Option<Sender<Arc<Order>>>>> = PerProcess::new();

/// A child to be started, and the way back for its command.
struct Order {
    desk: Mutex<Desk>,
    customer: Unparker,
}

enum Desk {
    Ordered(Command),
    Taken,
    Done(thread::Result<(Command, io::Result<Child>)>),
}

impl Order {
    fn replace(&self, desk: Desk) -> Desk {
        std::mem::replace(&mut *self.desk.lock(), desk)
    }

    fn is_done(&self) -> bool {
        matches!(*self.desk.lock(), Desk::Done(_))
    }

    /// The thread's side.
    fn carry_out(&self) {
        let Desk::Ordered(mut command) = self.replace(Desk::Taken) else { return };
        let started = catch_unwind(AssertUnwindSafe(|| {
            let child = command.spawn();
            (command, child)
        }));
        self.replace(Desk::Done(started));
        self.customer.unpark();
    }
}

/// Starts the program; in a task by the other thread.
#[track_caller]
pub(super) fn start(command: &mut Command) -> io::Result<Child> {
    if !in_task() {
        return command.spawn();
    }
    assert_may_park(None);
    let Ok(line) = line() else { return command.spawn() };
    let ours = std::mem::replace(command, Command::new(""));
    let desk = Mutex::new(Desk::Ordered(ours));
    let order = Arc::new(Order { desk, customer: unparker() });
    // It takes very little time, and a child without a handle would be left behind.
    let reason = Reason::new("start of a program", &*order);
    if line.send(Arc::clone(&order)).is_ok() {
        without_interruption(|| park_for_while_not(&reason, || order.is_done(), None));
    } else {
        order.carry_out();
    }
    match order.replace(Desk::Taken) {
        Desk::Done(Ok((theirs, child))) => {
            *command = theirs;
            child
        }
        Desk::Done(Err(payload)) => resume_unwind(payload),
        _ => unreachable!("it is over when it is done"),
    }
}

/// The thread's queue; starts the thread if there is none.
fn line() -> io::Result<Sender<Arc<Order>>> {
    let starter = STARTER.get(Mutex::default);
    let mut starter = starter.lock();
    if let Some(line) = &*starter {
        return Ok(line.clone());
    }
    let (line, orders) = channel::<Arc<Order>>();
    let life = move || orders.iter().for_each(|order| order.carry_out());
    thread::Builder::new().name("starter".to_owned()).spawn(life)?;
    *starter = Some(line.clone());
    Ok(line)
}
