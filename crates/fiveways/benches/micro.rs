//! Measures spawn + join and yield on one worker; prints JSON lines like its rivals do.

use std::time::Instant;

use fiveways::runtime::Runtime;
use fiveways::{Model, task};

fn main() -> std::io::Result<()> {
    let runtime = Runtime::builder().model(Model::Epoll).build()?;
    runtime.block_on(|| {
        spawn_join(10_000);
        tell("spawn_join", spawn_join(500_000));
        tell("spawn_join_1000", spawn_join_many(1_000, 500));
        for tasks in [1, 1_000, 10_000] {
            tell(&format!("yield_{tasks}"), yields(tasks));
        }
    });
    Ok(())
}

fn tell(what: &str, ns: f64) {
    println!("{{\"what\":\"{what}\",\"ns\":{ns:.1}}}");
}

fn spawn_join(count: u32) -> f64 {
    let started = Instant::now();
    for number in 0..count {
        let answer = task::spawn(move || number).join();
        assert_eq!(answer.ok(), Some(number));
    }
    started.elapsed().as_nanos() as f64 / f64::from(count)
}

/// Spawns a batch, then joins it.
fn spawn_join_many(batch: u32, times: u32) -> f64 {
    let started = Instant::now();
    for _ in 0..times {
        let tasks: Vec<_> = (0..batch).map(|number| task::spawn(move || number)).collect();
        let sum: u32 = tasks.into_iter().filter_map(|task| task.join().ok()).sum();
        assert_eq!(sum, batch * (batch - 1) / 2);
    }
    started.elapsed().as_nanos() as f64 / f64::from(batch * times)
}

fn yields(tasks: u32) -> f64 {
    let each = 10_000_000 / tasks;
    let started = Instant::now();
    let all: Vec<_> = (0..tasks)
        .map(|_| {
            task::spawn_local(move || {
                for _ in 0..each {
                    task::yield_now();
                }
            })
        })
        .collect();
    for task in all {
        task.join().expect("yielding does not panic");
    }
    started.elapsed().as_nanos() as f64 / f64::from(each * tasks)
}
