//! Concurrent connections, on threads or in tasks, and the summary of their results (D57).
//!
//! ```text
//!   main thread ◀── Event::Ended(number, outcome) ── each connection, at its end
//!               ◀── Event::Interrupted ───────────── the thread that listens for Ctrl-C
//! ```
//!
//! Nothing joins the connections: after Ctrl-C unfinished ones end with the process.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use fiveways::runtime::Runtime;
use fiveways::{Model, task};

use crate::connect::INTERRUPTED;
use crate::connect::args::ConnectArgs;
use crate::connect::dial::Failure;
use crate::connect::display::Display;
use crate::connect::exchange::Plan;
use crate::connect::interrupt::Interrupt;
use crate::connect::summary::{self, Outcome};
use crate::connect::tally::{Sum, Tally};
use crate::error::CliError;

/// Bytes reserved for the stack of a connection's thread.
const THREAD_STACK: usize = 512 * 1024;

enum Event {
    Ended(usize, Result<(), Failure>),
    Interrupted,
}

/// The state shared by all connections.
struct Load {
    plan: Plan,
    tallies: Vec<Tally>,
}

/// Runs a load and reports the results.
pub(crate) fn run(args: &ConnectArgs, interrupt: &Interrupt) -> Result<ExitCode, CliError> {
    let (connections, in_tasks) = args.load.connections();
    let runtime = in_tasks.then(|| start(args.load.model)).transpose()?;
    let how = match &runtime {
        Some(runtime) => format!("in tasks on {}", runtime.handle().model()),
        None => "on threads".to_owned(),
    };
    let tallies = (0..connections).map(|_| Tally::default()).collect();
    let load = Arc::new(Load { plan: Plan::new(args), tallies });
    let shown = connections == 1 && !args.load.quiet;
    let display = shown.then(|| Display::new(args));
    let (tell, told) = channel();
    listen_for_interrupt(interrupt, tell.clone())?;
    let began = Instant::now();
    match runtime {
        Some(runtime) => spawn_tasks(runtime, &load, display, &tell)?,
        None => spawn_threads(&load, display, &tell),
    }
    let (outcomes, interrupted) = collect(&told, connections);
    let sum = Sum::of(&load.tallies);
    eprintln!("{}", summary::write(&how, &outcomes, &sum, began.elapsed()));
    conclude(&outcomes, interrupted)
}

fn start(model: Model) -> Result<Runtime, CliError> {
    let built = Runtime::builder().model(model).build();
    built.map_err(|error| {
        let message = format!("the model {model} cannot run tasks here: {error}");
        CliError::usage(message).hint("--model auto takes the best model that this machine has")
    })
}

fn listen_for_interrupt(interrupt: &Interrupt, tell: Sender<Event>) -> Result<(), CliError> {
    let no_listener = |error: io::Error| CliError::usage(format!("cannot handle Ctrl-C: {error}"));
    let mut bell = interrupt.bell().map_err(no_listener)?;
    let listen = move || {
        // An error of the bell ends the load as a signal does.
        let _ = bell.read(&mut [0]);
        // The receiver may be gone after the end.
        let _ = tell.send(Event::Interrupted);
    };
    thread::Builder::new().name("ctrl-c".to_owned()).spawn(listen).map_err(no_listener)?;
    interrupt.take_over();
    Ok(())
}

/// Makes one connection; a panic fails only this one.
fn connect(load: &Load, at: usize, display: Option<Display>, tell: &Sender<Event>) {
    let run = || load.plan.run(at + 1, &load.tallies[at], display);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    let outcome = outcome.unwrap_or_else(|_| Err("panicked".to_owned().into()));
    // The receiver may be gone after the end.
    let _ = tell.send(Event::Ended(at, outcome));
}

fn spawn_threads(load: &Arc<Load>, mut display: Option<Display>, tell: &Sender<Event>) {
    for at in 0..load.tallies.len() {
        let (load, display, theirs) = (Arc::clone(load), display.take(), tell.clone());
        let run = move || connect(&load, at, display, &theirs);
        let builder = thread::Builder::new().name(format!("client-{}", at + 1));
        if let Err(error) = builder.stack_size(THREAD_STACK).spawn(run) {
            let failure = format!("cannot start a thread: {error}").into();
            let _ = tell.send(Event::Ended(at, Err(failure)));
        }
    }
}

/// Spawns a task for each connection, from a thread that then keeps the runtime alive.
fn spawn_tasks(
    runtime: Runtime,
    load: &Arc<Load>,
    mut display: Option<Display>,
    tell: &Sender<Event>,
) -> Result<(), CliError> {
    let (load, tell) = (Arc::clone(load), tell.clone());
    let spawn_all = move || {
        let mut tasks = Vec::new();
        for at in 0..load.tallies.len() {
            let (load, display, theirs) = (Arc::clone(&load), display.take(), tell.clone());
            let run = move || connect(&load, at, display, &theirs);
            match task::Builder::new().spawn_local(run) {
                Ok(task) => tasks.push(task),
                Err(error) => {
                    let failure = format!("cannot start a task: {error}").into();
                    let _ = tell.send(Event::Ended(at, Err(failure)));
                }
            }
        }
        for task in tasks {
            // It has reported its outcome itself.
            let _ = task.join();
        }
    };
    let keep = move || runtime.block_on(spawn_all);
    let kept = thread::Builder::new().name("clients".to_owned()).spawn(keep);
    kept.map_err(|error| CliError::usage(format!("cannot start a thread for the tasks: {error}")))?;
    Ok(())
}

/// Waits for every connection or for Ctrl-C.
fn collect(told: &Receiver<Event>, connections: usize) -> (Vec<Outcome>, bool) {
    let mut outcomes: Vec<Outcome> = vec![None; connections];
    for _ in 0..connections {
        match told.recv() {
            Ok(Event::Ended(at, outcome)) => outcomes[at] = Some(outcome),
            Ok(Event::Interrupted) | Err(_) => return (outcomes, true),
        }
    }
    (outcomes, false)
}

fn conclude(outcomes: &[Outcome], interrupted: bool) -> Result<ExitCode, CliError> {
    if interrupted {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let failed = summary::failures(outcomes);
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let failures = || outcomes.iter().flatten().filter_map(|outcome| outcome.as_ref().err());
    let message = match (outcomes.len(), failures().next()) {
        (1, Some(failure)) => failure.reason.clone(),
        (all, _) => format!("{failed} of {all} connections failed"),
    };
    let error = CliError::failed(message);
    Err(match failures().find_map(|failure| failure.hint) {
        Some(hint) => error.hint(hint),
        None => error,
    })
}
