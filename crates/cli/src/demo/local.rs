//! Separate data behind one shared handle: the course's program on `threading.local`.
//!
//! Two threads write a name and an age into the same handle, sleep for a random time, and a second
//! function, which takes no arguments, reads them back. Each thread sees only what it wrote.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use fiveways::local::{TaskLocal, ThreadLocal};
use fiveways::runtime::Runtime;
use fiveways::sync::{Barrier, Mutex};
use fiveways::{task, time};

use super::stage::{Outcome, Pace, say};

/// Data of which each thread, or task, has its own
#[derive(Args, Debug)]
pub(super) struct LocalArgs {
    /// For comparison: one plain cell, which both threads overwrite
    #[arg(long)]
    shared: bool,

    /// Two tasks of one thread instead of two threads
    #[arg(long, conflicts_with = "shared")]
    tasks: bool,
}

#[derive(Clone, Copy, Debug)]
struct Person {
    name: &'static str,
    age: u32,
}

const PEOPLE: [Person; 2] =
    [Person { name: "liming", age: 22 }, Person { name: "lijing", age: 42 }];

static OF_THREAD: ThreadLocal<Person> = ThreadLocal::new();
static OF_TASK: TaskLocal<Person> = TaskLocal::new();
static OF_ALL: Mutex<Option<Person>> = Mutex::new(None);

/// How a person is written and read.
#[derive(Clone, Copy)]
struct Place {
    write: fn(Person),
    read: fn() -> Option<Person>,
}

const THREAD: Place = Place { write: |person| OF_THREAD.set(person), read: || OF_THREAD.get() };
const TASK: Place = Place { write: |person| OF_TASK.set(person), read: || OF_TASK.get() };
const ALL: Place = Place {
    write: |person| *OF_ALL.lock().expect("nobody panics") = Some(person),
    read: || *OF_ALL.lock().expect("nobody panics"),
};

pub(super) fn run(args: &LocalArgs, pace: Pace) -> Outcome {
    if args.tasks {
        return in_tasks(pace);
    }
    let place = if args.shared { ALL } else { THREAD };
    let both = Arc::new(Barrier::new(PEOPLE.len()));
    let threads = PEOPLE.map(|person| {
        let both = Arc::clone(&both);
        thread::spawn(move || visit(place, person, &both, nap(pace)))
    });
    for thread in threads {
        thread.join().expect("it does not panic");
    }
    say!("{}", of_main(place));
    Ok(())
}

/// The same with two tasks of one thread.
fn in_tasks(pace: Pace) -> Outcome {
    Runtime::builder().workers(1).build()?.block_on(move || {
        let both = Arc::new(Barrier::new(PEOPLE.len()));
        let tasks = PEOPLE.map(|person| {
            let both = Arc::clone(&both);
            task::spawn(move || visit(TASK, person, &both, nap(pace)))
        });
        for outcome in task::join_all(tasks) {
            outcome?;
        }
        say!("{}", of_main(TASK));
        Ok(())
    })
}

fn nap(pace: Pace) -> Duration {
    pace.seconds(fastrand::f64())
}

fn visit(place: Place, person: Person, both: &Barrier, nap: Duration) {
    (place.write)(person);
    // Both have written before either reads.
    both.wait();
    time::sleep(nap);
    show(place.read);
}

/// Takes no argument that identifies its caller.
fn show(read: fn() -> Option<Person>) {
    match read() {
        Some(Person { name, age }) => say!("{name} {age}"),
        None => say!("nothing is set"),
    }
}

/// What a thread reads that never wrote.
fn of_main(place: Place) -> String {
    match (place.read)() {
        Some(Person { name, age }) => format!("main never wrote, and reads {name} {age}"),
        None => "main never wrote, and reads nothing".to_owned(),
    }
}
