//! Greedy tasks on tokio's current-thread runtime: `fairness-tokio KIND CROWD SECONDS`.

use std::io;
use std::time::{Duration, Instant};

use peers_fairness::{Job, note_tick};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

fn main() -> io::Result<()> {
    let job = Job::begin();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::spawn(serve(job)).await })?
}

async fn serve(job: Job) -> io::Result<()> {
    let greedy = TcpListener::bind("127.0.0.1:0").await?;
    let echo = TcpListener::bind("127.0.0.1:0").await?;
    tokio::spawn(async {
        loop {
            let asked = Instant::now();
            tokio::time::sleep(Duration::from_millis(1)).await;
            note_tick(asked);
        }
    });
    for _ in 0..if job.has_clients() { 0 } else { job.crowd } {
        be_greedy_alone(&job.kind);
    }
    let kind = job.kind.clone();
    let addrs = (greedy.local_addr()?, echo.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = greedy.accept().await {
            let kind = kind.clone();
            tokio::spawn(async move { be_greedy(&kind, stream).await });
        }
    });
    job.start_clients(addrs.0, addrs.1);
    loop {
        let (mut stream, _) = echo.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut buf = [0; 16];
            while stream.read_exact(&mut buf).await.is_ok() && stream.write_all(&buf).await.is_ok()
            {
            }
        });
    }
}

async fn be_greedy(kind: &str, mut stream: TcpStream) -> io::Result<()> {
    match kind {
        "collector" => {
            let mut stream = BufReader::with_capacity(64 * 1024, stream);
            let (mut line, mut lines) = (String::new(), 0_u64);
            while stream.read_line(&mut line).await? > 0 {
                lines += 1;
                line.clear();
            }
            println!("{lines}");
        }
        "read" => {
            let mut buf = vec![0; 64 * 1024];
            while stream.read(&mut buf).await? > 0 {}
        }
        "write" => {
            let bytes = vec![7; 64 * 1024];
            loop {
                stream.write_all(&bytes).await?;
            }
        }
        _ => {
            let mut request = [0; 64];
            loop {
                stream.read_exact(&mut request).await?;
                stream.write_all(&request).await?;
            }
        }
    }
    Ok(())
}

fn be_greedy_alone(kind: &str) {
    if kind == "yields" {
        tokio::spawn(async {
            loop {
                compute(Duration::from_micros(200));
                tokio::task::yield_now().await;
            }
        });
        return;
    }
    let (to, mut from) = mpsc::unbounded_channel::<u64>();
    let (back_to, mut back_from) = mpsc::unbounded_channel::<u64>();
    tokio::spawn(async move {
        while let Some(item) = from.recv().await {
            if back_to.send(item).is_err() {
                break;
            }
        }
    });
    tokio::spawn(async move { while to.send(1).is_ok() && back_from.recv().await.is_some() {} });
}

fn compute(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {}
}
