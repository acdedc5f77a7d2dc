//! What dumps tell of tasks and threads.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fiveways::inspect::{self, Dump, Options, TaskDump, TaskState, ThreadDump};
use fiveways::net::{TcpListener, TcpStream};
use fiveways::runtime::Runtime;
use fiveways::sync::Mutex;
use fiveways::{Model, task, time};
use fiveways_tests::patience::eventually;

const LONG: Duration = Duration::from_secs(600);

/// A runtime with two workers.
fn runtime() -> Runtime {
    Runtime::builder().model(Model::Epoll).workers(2).build().expect("a runtime")
}

fn tasks(dump: &Dump) -> impl Iterator<Item = &TaskDump> {
    dump.runtimes.iter().flat_map(|runtime| &runtime.workers).flat_map(|worker| &worker.tasks)
}

/// The task of this name, once it is in that state.
#[track_caller]
fn find(name: &str, state: TaskState) -> TaskDump {
    let mut found = None;
    eventually(&format!("{name} is {}", state.name()), || {
        let dump = inspect::dump();
        found = tasks(&dump).find(|task| task.name == name && task.state == state).cloned();
        found.is_some()
    });
    found.expect("it was found")
}

fn has_frame(task: &TaskDump, function: &str) -> bool {
    task.backtrace.iter().any(|frame| frame.function.contains(function))
}

/// The line of the caller, and the file.
#[track_caller]
fn here() -> (String, u32) {
    let place = std::panic::Location::caller();
    (place.file().to_owned(), place.line())
}

#[inline(never)]
fn nap_in_here() {
    time::sleep(LONG);
}

#[test]
fn a_dump_tells_of_every_task_that_was_sent_before() {
    for round in 0..100 {
        // From a plain thread, to each worker of the runtime that there always is.
        let sent: Vec<_> = (0..4).map(|_| task::spawn(nap_in_here)).collect();
        let dump = inspect::dump();
        assert_eq!(tasks(&dump).count(), sent.len(), "in round {round}: {dump}");
        sent.iter().for_each(task::JoinHandle::cancel);
        sent.into_iter().for_each(|sent| drop(sent.join()));
    }
}

#[test]
fn a_sleeper_tells_the_time_left_where_it_stands_and_who_spawned_it() {
    let runtime = runtime();
    let (sleeper, line) = runtime.block_on(|| {
        let spawner = task::Builder::new().name("sleeper-1");
        let line = here().1 + 1;
        (spawner.spawn(nap_in_here).expect("a stack"), line)
    });
    let told = find("sleeper-1", TaskState::Asleep);
    let wait = told.wait.clone().expect("it waits");
    assert_eq!(wait.what, "sleep");
    assert!(wait.left_ms.is_some_and(|left| (500_000..=600_000).contains(&left)), "{wait:?}");
    assert!(told.for_ms < 60_000, "{told:?}");
    assert!(has_frame(&told, "nap_in_here"), "{told:?}");
    assert!(told.spawned_at.file.ends_with("dumps.rs"), "{told:?}");
    assert_eq!(told.spawned_at.line, line);
    assert!(told.spawned_by.is_some_and(|by| by.starts_with("task ")));
    assert!(told.task.starts_with("task "), "{}", told.task);
    sleeper.cancel();
    assert!(sleeper.join().expect_err("cancelled").is_cancelled());
}

#[test]
fn a_reader_tells_its_descriptor_and_its_peer() {
    let runtime = runtime();
    let (reader, ours, theirs) = runtime.block_on(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let addr = listener.local_addr().expect("bound");
        let client = TcpStream::connect(addr).expect("listening");
        let (mut stream, theirs) = listener.accept().expect("connected");
        let read = move || {
            let _client = client;
            stream.read(&mut [0; 8]).map(drop)
        };
        (task::Builder::new().name("reader").spawn(read).expect("a stack"), addr, theirs)
    });
    let wait = find("reader", TaskState::Waiting).wait.expect("it waits");
    assert_eq!(wait.what, "recv");
    assert!(wait.fd.is_some());
    assert_eq!(wait.peer, Some(theirs.to_string()));
    assert_eq!(wait.local, Some(ours.to_string()));
    reader.cancel();
    reader.join().expect("no panic").expect_err("it was cancelled");
}

#[test]
fn who_waits_for_a_lock_tells_who_holds_it_and_where_it_waits() {
    let runtime = runtime();
    let lock = Arc::new(Mutex::new(()));
    let (theirs, mine) = (Arc::clone(&lock), Arc::clone(&lock));
    let spawn = |name: &str| task::Builder::new().name(name);
    let (holder, waiter) = runtime.block_on(move || {
        let holder = spawn("holder").spawn(move || {
            let _held = theirs.lock();
            nap_in_here();
        });
        let holder = holder.expect("a stack");
        eventually("it is held", || {
            task::yield_now();
            mine.try_lock().is_err()
        });
        let waiter = spawn("waiter").spawn(move || drop(mine.lock()));
        (holder, waiter.expect("a stack"))
    });
    let held = find("holder", TaskState::Asleep);
    let wait = find("waiter", TaskState::Parked).wait.expect("it waits");
    assert_eq!(wait.what, "mutex");
    assert_eq!(wait.holder, Some(held.task));
    assert!(wait.place.is_some_and(|place| place.file.ends_with("dumps.rs")));
    drop((waiter, holder));
    drop(runtime);
    drop(lock);
}

#[test]
fn who_joins_tells_whom() {
    let runtime = runtime();
    let joiner = runtime.block_on(|| {
        let joined = task::Builder::new().name("joined").spawn(nap_in_here).expect("a stack");
        task::Builder::new().name("joiner").spawn(move || joined.join().is_ok()).expect("a stack")
    });
    let joined = find("joined", TaskState::Asleep);
    let wait = find("joiner", TaskState::Parked).wait.expect("it waits");
    assert_eq!((wait.what.as_str(), wait.holder), ("join", Some(joined.task)));
    assert!(wait.place.is_some_and(|place| place.file.ends_with("dumps.rs")));
    drop((joiner, runtime));
}

#[test]
fn a_blocked_plain_thread_is_told_of_by_name() {
    let runtime = runtime();
    let napper = runtime.block_on(|| task::spawn(nap_in_here));
    let napper = Arc::new(std::sync::Mutex::new(Some(napper)));
    let taken = Arc::clone(&napper);
    let thread = std::thread::Builder::new().name("plain-joiner".to_owned()).spawn(move || {
        let napper = taken.lock().expect("no panic").take().expect("there");
        napper.join().is_ok()
    });
    let mut found: Option<ThreadDump> = None;
    eventually("it is blocked", || {
        let dump = inspect::dump();
        found = dump.threads.into_iter().find(|thread| thread.name == "plain-joiner");
        found.is_some()
    });
    let found = found.expect("it was found");
    assert_eq!(found.wait.what, "join");
    assert!(found.wait.holder.is_some_and(|holder| holder.starts_with("task ")), "the napper");
    assert!(found.who.starts_with("thread "), "{}", found.who);
    drop(runtime);
    assert!(!thread.expect("a thread").join().expect("no panic"));
}

#[test]
fn names_with_odd_characters_come_back_from_json_and_are_harmless_as_text() {
    let name = "odd \"\\\u{7}\n\u{1b}[31m 名前 \u{202e}";
    let runtime = runtime();
    let odd = runtime.block_on(|| {
        task::Builder::new().name("odd \"\\\u{7}\n\u{1b}[31m 名前 \u{202e}").spawn(nap_in_here)
    });
    find(name, TaskState::Asleep);
    let dump = inspect::dump();
    let json = serde_json::to_string(&dump).expect("plain data");
    let back: Dump = serde_json::from_str(&json).expect("what was written");
    assert_eq!(back, dump);
    assert!(tasks(&back).any(|task| task.name == name));
    let text = dump.to_string();
    let line = text.lines().find(|line| line.contains("名前")).expect("one line has it");
    assert!(line.contains(r"\u{7}\n\u{1b}[31m 名前 \u{202e}'"), "{line:?}");
    assert!(!text.contains('\u{1b}'));
    drop((odd, runtime));
}

#[test]
fn only_those_that_wait_longest_are_told_of_when_few_are_asked_for() {
    let runtime = runtime();
    let sleepers: Vec<_> =
        runtime.block_on(|| (0..300).map(|_| task::spawn(nap_in_here)).collect());
    eventually("all are told of", || {
        let dump = inspect::dump_with(&Options::new().backtraces(false));
        let told: usize = dump.runtimes.iter().map(counted).sum();
        told >= 300 && tasks(&dump).filter(|task| task.state == TaskState::Asleep).count() >= 300
    });
    let few = inspect::dump_with(&Options::new().backtraces(false).limit(5));
    let mut omitted = 0;
    for worker in few.runtimes.iter().flat_map(|runtime| &runtime.workers) {
        assert!(worker.tasks.len() <= 5);
        assert_eq!(worker.tasks.len() + worker.omitted, worker.counts.total());
        assert!(worker.tasks.iter().all(|task| task.backtrace.is_empty()));
        omitted += worker.omitted;
    }
    assert!(omitted >= 290, "{omitted}");
    drop((sleepers, runtime));
}

fn counted(runtime: &inspect::RuntimeDump) -> usize {
    runtime.workers.iter().map(|worker| worker.counts.total()).sum()
}

/// A task that was asked where it stands goes on as if nothing had been.
#[test]
fn tasks_go_on_unharmed_while_dumps_are_taken() {
    let runtime = runtime();
    let sums: Vec<_> = runtime.block_on(|| {
        let count = |number: u64| {
            move || {
                let mut sum = 0;
                for step in 0..2_000 {
                    sum += step ^ number;
                    if step % 3 == 0 {
                        task::yield_now();
                    } else if step % 100 == 1 {
                        time::sleep(Duration::from_millis(1));
                    }
                }
                sum
            }
        };
        (0..50).map(|number| task::spawn(count(number))).collect()
    });
    for _ in 0..30 {
        inspect::dump();
    }
    for (number, sum) in sums.into_iter().enumerate() {
        let expected: u64 = (0..2_000).map(|step| step ^ number as u64).sum();
        assert_eq!(sum.join().expect("no panic"), expected);
    }
}

/// The bytes in memory tell how deep a stack was used, before the dump itself.
#[test]
fn a_deep_stack_is_told_as_deep() {
    fn dig(depth: usize) -> usize {
        let frame = std::hint::black_box([depth as u8; 4096]);
        if depth == 0 { 0 } else { dig(depth - 1) + usize::from(frame[0] > 250) }
    }
    let runtime = runtime();
    let naps = runtime.block_on(|| {
        let deep = task::Builder::new().name("deep").spawn(|| {
            std::hint::black_box(dig(20));
            nap_in_here();
        });
        let flat = task::Builder::new().name("flat").spawn(nap_in_here);
        (deep, flat)
    });
    let deep = find("deep", TaskState::Asleep);
    let flat = find("flat", TaskState::Asleep);
    assert!(deep.stack_touched.is_some_and(|bytes| bytes >= 80 * 1024), "{deep:?}");
    assert!(flat.stack_touched.is_some_and(|bytes| bytes <= 32 * 1024), "{flat:?}");
    assert!(deep.stack_size >= 256 * 1024);
    drop((naps, runtime));
}

/// A task of the very worker that is asked may ask, too.
#[test]
fn a_task_may_take_a_dump_on_the_only_worker() {
    let runtime = Runtime::builder().model(Model::Epoll).build().expect("a runtime");
    let dump = runtime.block_on(inspect::dump);
    let asker = tasks(&dump).find(|task| task.name == "main" && has_frame(task, "dump_with"));
    assert!(asker.is_some(), "{dump}");
}

/// A dump of many tasks is taken in slices: the worker's other tasks run in between.
#[test]
fn a_dump_of_many_tasks_does_not_stop_their_worker_heavy() {
    const TASKS: usize = 20_000;
    let runtime = Runtime::builder().model(Model::Epoll).build().expect("a runtime");
    let gap = Arc::new(AtomicU64::new(0));
    let theirs = Arc::clone(&gap);
    let ticker = runtime.block_on(|| {
        for _ in 0..TASKS {
            drop(task::spawn(nap_in_here));
        }
        task::spawn(move || {
            let mut last = Instant::now();
            loop {
                time::sleep(Duration::from_millis(1));
                theirs.fetch_max(last.elapsed().as_micros() as u64, Ordering::Relaxed);
                last = Instant::now();
            }
        })
    });
    let options = Options::new().patience(LONG);
    // The tables of symbols are read once.
    inspect::dump_with(&options.clone().limit(1));
    for backtraces in [false, true] {
        gap.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        let dump = inspect::dump_with(&options.clone().backtraces(backtraces));
        let (took, gap) = (begun.elapsed(), gap.load(Ordering::Relaxed));
        println!("backtraces: {backtraces}, {took:?} for {TASKS} tasks, longest gap {gap} µs");
        assert!(tasks(&dump).count() >= TASKS);
        assert!(Duration::from_micros(gap) < took.max(Duration::from_secs(2)), "{gap} µs");
    }
    drop((ticker, runtime));
}
