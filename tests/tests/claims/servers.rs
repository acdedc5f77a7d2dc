//! What servers of different kinds do with many clients.

use std::io::{Read, Write};
use std::net::TcpStream as Client;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::net::TcpListener;
use fiveways::service::Service;
use fiveways::{Model, task};
use fiveways_tests::arena::{Arena, in_task};
use fiveways_tests::child::Remote;
use fiveways_tests::patience::eventually;

use crate::{at_least, settle};

const ARENA: &str = env!("CARGO_BIN_EXE_fiveways-arena");

fn echo(model: Model, pool: usize) -> Arena {
    Arena::with(model, |server| server.pool_size(pool), |stream| Service::Echo.serve(stream))
}

fn ask(client: &mut Client) {
    client.write_all(b"hello").expect("room");
    client.read_exact(&mut [0; 5]).expect("an answer");
}

/// How many threads a process has.
fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").count()
}

/// C37, S004-19, S004-21: a pool bounds what clients can cost; a thread for each does not.
#[test]
fn c37_a_pool_bounds_the_threads_that_clients_can_cost() {
    let grown = |model, settings: &[&str], served| {
        let mut remote = Remote::start(ARENA, model, settings);
        ask(&mut remote.connect());
        let before = threads(remote.id());
        let clients: Vec<_> = (0..40).map(|_| remote.connect()).collect();
        eventually("it serves them", || remote.counts().connections >= served);
        // Long enough that a server that serves all of them has begun to: the last one shows it.
        let mut last = clients.last().expect("forty");
        last.write_all(b"hello").expect("room");
        last.set_read_timeout(Some(Duration::from_millis(300))).expect("an option");
        let is_served = last.read(&mut [0; 5]).is_ok();
        assert_eq!(is_served, served == clients.len(), "the last of forty");
        let grown = threads(remote.id()).saturating_sub(before);
        drop(clients);
        remote.stop();
        grown
    };
    assert!(grown(Model::Pool, &["pool=4"], 4) <= 4);
    assert!(grown(Model::Threads, &[], 40) >= 39);
}

/// C39, D22: threads do not end the waiting, they only keep it apart; and a pool whose threads all
/// wait for silent clients serves nobody else.
#[test]
fn c39_threads_keep_waiting_apart_and_a_full_pool_serves_nobody() {
    let each = echo(Model::Threads, 2);
    let silent = [each.connect(), each.connect()];
    each.wait_for_connections(2);
    ask(&mut each.connect());
    drop(silent);
    each.stop();

    let pool = echo(Model::Pool, 2);
    let silent = [pool.connect(), pool.connect()];
    pool.wait_for_connections(2);
    let mut third = pool.connect();
    third.write_all(b"hello").expect("room");
    third.set_read_timeout(Some(Duration::from_millis(200))).expect("an option");
    assert!(third.read(&mut [0; 5]).is_err(), "nobody is there to answer");
    drop(silent);
    third.set_read_timeout(Some(Duration::from_secs(30))).expect("an option");
    third.read_exact(&mut [0; 5]).expect("now there is");
    drop(third);
    pool.stop();
}

/// C40: one client at a time is slow as soon as there are several who think in between.
#[test]
fn c40_serving_one_after_the_other_is_slow_when_clients_think() {
    const CLIENTS: usize = 8;
    const THINK: Duration = Duration::from_millis(10);
    let visits = |model| {
        let arena = echo(model, 4);
        let addr = arena.addr();
        let started = Instant::now();
        let visit = move || {
            let mut client = fiveways_tests::client::connect(addr);
            for _ in 0..4 {
                thread::sleep(THINK);
                ask(&mut client);
            }
        };
        let all: Vec<_> = (0..CLIENTS).map(|_| thread::spawn(visit)).collect();
        all.into_iter().for_each(|visit| visit.join().expect("no panic"));
        let took = started.elapsed();
        arena.stop();
        took
    };
    settle("one after the other against all at once", || {
        at_least(2.0, visits(Model::Blocking), visits(Model::Epoll))
    });
}

/// C41, S004-39, G17: processes, threads in each, coroutines in each of those: they are as many as
/// was asked for, and together serve more than they are at once.
#[test]
fn c41_processes_times_threads_times_coroutines_serve() {
    for (processes, workers) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let settings = [format!("processes={processes}"), format!("workers={workers}")];
        let settings = settings.each_ref().map(String::as_str);
        let remote = Remote::start(ARENA, Model::Epoll, &settings);
        let answered = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    ask(&mut remote.connect());
                    answered.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(answered.into_inner(), 20);
        let children_wanted = if processes > 1 { processes } else { 0 };
        eventually("a child for each process", || children(remote.id()).len() == children_wanted);
        let servers = match children(remote.id()) {
            none if none.is_empty() => vec![remote.id()],
            children => children,
        };
        for server in servers {
            eventually("a worker for each thread", || workers_of(server) == workers);
        }
        // More at once than there are threads: each waits inside, and all are answered.
        let mut clients: Vec<_> = (0..40).map(|_| remote.connect()).collect();
        clients.iter_mut().for_each(ask);
        clients.iter_mut().rev().for_each(ask);
        drop(clients);
        remote.stop();
    }
}

/// How many of a process's threads are workers, by their names.
fn workers_of(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    let names = tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("comm")));
    let is_worker = |name: &String| {
        let number = name.trim().strip_prefix("fiveways-");
        number.is_some_and(|number| number.parse::<usize>().is_ok())
    };
    names.flatten().filter(is_worker).count()
}

/// The children of a process.
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// S004-37, S004-38, G03: a server of coroutines: one thread, a task for each of a thousand
/// clients; it runs until it is told to end, and joining it waits for that.
#[test]
fn one_thread_serves_a_thousand_clients_at_once() {
    const CLIENTS: usize = 1000;
    let (tell, told) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        in_task(Model::Epoll, move || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let addr = listener.local_addr().expect("bound");
            let serving = task::spawn_local(move || {
                let here = thread::current().id();
                for stream in listener.incoming() {
                    let stream = stream?;
                    // Detached: it ends with its client.
                    drop(task::spawn_local(move || {
                        assert_eq!(thread::current().id(), here);
                        Service::Echo.serve(stream)
                    }));
                }
                std::io::Result::Ok(())
            });
            let (stop, stopped) = fiveways::sync::mpsc::channel::<()>();
            tell.send((addr, stop)).expect("it listens");
            // Its sender is dropped when all clients were answered.
            let _ = stopped.recv();
            serving.cancel();
            serving.join()
        })
    });
    let (addr, stop) = told.recv().expect("it begins");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| fiveways_tests::client::connect(addr)).collect();
    clients.iter_mut().for_each(ask);
    drop(clients);
    drop(stop);
    let ended = server.join().expect("no panic").expect("its accept was refused");
    assert!(ended.is_err());
}

/// S004-41: seldom used, and offered all the same.
#[test]
fn the_signal_driven_model_serves() {
    let arena = echo(Model::Signal, 1);
    ask(&mut arena.connect());
    arena.stop();
}

/// S004-07, S004-40, S004-42: what the guide says about words.
#[test]
fn the_guide_explains_the_models_and_the_words() {
    let page = |name: &str| {
        let path = format!("{}/../docs/guide/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).expect("a page")
    };
    let servers = page("servers.md");
    for words in ["Stevens", "two phases", "synchronous", "non-blocking", "signal-driven"] {
        assert!(servers.contains(words), "{words}");
    }
    assert!(page("locks.md").contains("means other things elsewhere"));
}

/// D58: loops over readiness were called asynchronous I/O. Each model stands under its right name:
/// the kernel copies in one of them alone.
#[test]
fn d58_only_completions_are_called_asynchronous() {
    let path = format!("{}/../docs/guide/servers.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a page");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    for model in Model::ALL.into_iter().filter(|&model| model != Model::Auto) {
        let word = format!("`{model}`");
        let is_its = |row: &&Vec<&str>| row.last().is_some_and(|cell| cell.contains(&word));
        let of_it: Vec<_> = rows.iter().filter(is_its).collect();
        assert_eq!(of_it.len(), 1, "{model} is in one row: {of_it:?}");
        assert_eq!(of_it[0][0] == "asynchronous", model == Model::Uring, "{model}: {of_it:?}");
        assert_eq!(of_it[0][2] == "the kernel", model == Model::Uring, "{model}: {of_it:?}");
    }
}

/// D32: a figure came from other code than was shown. A section of ours that shows figures shows
/// the command that made them.
#[test]
fn d32_figures_stand_beside_the_command_that_made_them() {
    let path = format!("{}/../docs/performance.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a page");
    for section in text.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap_or_default();
        let has_figures = section.lines().any(|line| line.starts_with("|--"));
        let has_command = section.contains("```sh\n") || section.contains("`cargo ");
        assert!(!has_figures || has_command, "{title}: where do its figures come from?");
    }
    assert!(text.contains("|--"), "no figures at all");
}
