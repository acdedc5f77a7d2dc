//! Greedy tasks on Fiveways: `fairness-fiveways KIND CROWD SECONDS MODEL`.

use std::io::{self, BufRead, Read, Write};
use std::time::{Duration, Instant};

use fiveways::net::{TcpListener, TcpStream};
use fiveways::runtime::Runtime;
use fiveways::sync::mpsc;
use fiveways::{Model, task, time};
use peers_fairness::{Job, note_tick};

fn main() -> io::Result<()> {
    let job = Job::begin();
    let model: Model = job.model.parse().map_err(io::Error::other)?;
    Runtime::builder().model(model).workers(1).build()?.block_on(|| serve(job))
}

fn serve(job: Job) -> io::Result<()> {
    let greedy = TcpListener::bind("127.0.0.1:0")?;
    let echo = TcpListener::bind("127.0.0.1:0")?;
    start(|| {
        loop {
            let asked = Instant::now();
            time::sleep(Duration::from_millis(1));
            note_tick(asked);
        }
    });
    for _ in 0..if job.has_clients() { 0 } else { job.crowd } {
        be_greedy_alone(&job.kind);
    }
    let kind = job.kind.clone();
    let addrs = (greedy.local_addr()?, echo.local_addr()?);
    start(move || {
        for stream in greedy.incoming().flatten() {
            let kind = kind.clone();
            start(move || be_greedy(&kind, stream));
        }
    });
    job.start_clients(addrs.0, addrs.1);
    for stream in echo.incoming() {
        let mut stream = stream?;
        start(move || {
            let mut buf = [0; 16];
            while stream.read_exact(&mut buf).is_ok() && stream.write_all(&buf).is_ok() {}
        });
    }
    Ok(())
}

fn be_greedy(kind: &str, mut stream: TcpStream) -> io::Result<()> {
    match kind {
        "collector" => {
            let (mut line, mut lines) = (String::new(), 0_u64);
            while stream.read_line(&mut line)? > 0 {
                lines += 1;
                line.clear();
            }
            println!("{lines}");
        }
        "read" => {
            let mut buf = vec![0; 64 * 1024];
            while stream.read(&mut buf)? > 0 {}
        }
        "write" => {
            let bytes = vec![7; 64 * 1024];
            loop {
                stream.write_all(&bytes)?;
            }
        }
        _ => {
            let mut request = [0; 64];
            loop {
                stream.read_exact(&mut request)?;
                stream.write_all(&request)?;
            }
        }
    }
    Ok(())
}

fn be_greedy_alone(kind: &str) {
    if kind == "yields" {
        start(|| {
            loop {
                compute(Duration::from_micros(200));
                task::yield_now();
            }
        });
        return;
    }
    let (to, from) = mpsc::channel::<u64>();
    let (back_to, back_from) = mpsc::channel::<u64>();
    start(move || {
        while let Ok(item) = from.recv() {
            if back_to.send(item).is_err() {
                break;
            }
        }
    });
    start(move || while to.send(1).is_ok() && back_from.recv().is_ok() {});
}

/// Spawns a task that nobody joins: the process ends with it.
fn start<T: 'static>(f: impl FnOnce() -> T + 'static) {
    drop(task::spawn_local(f));
}

fn compute(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {}
}
