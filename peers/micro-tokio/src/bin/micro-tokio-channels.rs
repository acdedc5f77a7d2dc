//! What tokio's channels cost between two tasks of its current-thread runtime.
//!
//! Prints one JSON line per figure, `{"what":"stream_128","ns":48.1}`: nanoseconds of elapsed time
//! for one hand-over of a ping-pong, or for one item of a stream. There is no rendezvous.

use std::time::Instant;

use tokio::sync::mpsc;

const ROUNDS: u32 = 300_000;
const ITEMS: u32 = 2_000_000;

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    // As a task of its own: `block_on` polls its own future differently from tasks.
    runtime.block_on(async { tokio::spawn(measure()).await })?;
    Ok(())
}

async fn measure() {
    ping_pong(ROUNDS / 10).await;
    print("ping_pong_1", ping_pong(ROUNDS).await);
    print("ping_pong_unbounded", ping_pong_unbounded(ROUNDS).await);
    print("stream_1", stream(ITEMS, 1).await);
    print("stream_128", stream(ITEMS, 128).await);
    print("stream_unbounded", stream_unbounded(ITEMS).await);
}

async fn ping_pong(rounds: u32) -> f64 {
    let (ping, mut pinged) = mpsc::channel(1);
    let (pong, mut ponged) = mpsc::channel(1);
    let start = Instant::now();
    let other = tokio::spawn(async move {
        while let Some(number) = pinged.recv().await {
            assert!(pong.send(number).await.is_ok());
        }
    });
    for round in 0..u64::from(rounds) {
        assert!(ping.send(round).await.is_ok());
        assert_eq!(ponged.recv().await, Some(round));
    }
    let ns = ns_each(start, rounds * 2);
    drop(ping);
    assert!(other.await.is_ok());
    ns
}

async fn ping_pong_unbounded(rounds: u32) -> f64 {
    let (ping, mut pinged) = mpsc::unbounded_channel();
    let (pong, mut ponged) = mpsc::unbounded_channel();
    let start = Instant::now();
    let other = tokio::spawn(async move {
        while let Some(number) = pinged.recv().await {
            assert!(pong.send(number).is_ok());
        }
    });
    for round in 0..u64::from(rounds) {
        assert!(ping.send(round).is_ok());
        assert_eq!(ponged.recv().await, Some(round));
    }
    let ns = ns_each(start, rounds * 2);
    drop(ping);
    assert!(other.await.is_ok());
    ns
}

async fn stream(items: u32, bound: usize) -> f64 {
    let (sender, mut receiver) = mpsc::channel(bound);
    let start = Instant::now();
    let other = tokio::spawn(async move {
        let mut sum = 0;
        while let Some(number) = receiver.recv().await {
            sum += number;
        }
        sum
    });
    let numbers = u64::from(items);
    for number in 0..numbers {
        assert!(sender.send(number).await.is_ok());
    }
    drop(sender);
    assert_eq!(other.await.ok(), Some(numbers * (numbers - 1) / 2));
    ns_each(start, items)
}

async fn stream_unbounded(items: u32) -> f64 {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let start = Instant::now();
    let other = tokio::spawn(async move {
        let mut sum = 0;
        while let Some(number) = receiver.recv().await {
            sum += number;
        }
        sum
    });
    let numbers = u64::from(items);
    for number in 0..numbers {
        assert!(sender.send(number).is_ok());
    }
    drop(sender);
    assert_eq!(other.await.ok(), Some(numbers * (numbers - 1) / 2));
    ns_each(start, items)
}

fn ns_each(start: Instant, count: u32) -> f64 {
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

fn print(what: &str, ns: f64) {
    println!("{{\"what\":\"{what}\",\"ns\":{ns:.2}}}");
}
