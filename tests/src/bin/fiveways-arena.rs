//! A server for tests, in a process of its own.
//!
//! `fiveways-arena MODEL [name=value …]` prints its address and serves until SIGTERM. Names:
//! `service`, `workers`, `processes`, `pool`, `limit`, `refuse`, `drain_ms`, `close_idle`,
//! `idle_ms`, `fails`, `mode` (`shared`, `reuse-port`) and `nofile`, the limit of descriptors. The
//! line `counts` on its standard input is answered with its counts (one process only); the end of
//! its standard input ends it. At its end it tells its counts once more, and how many connections
//! were cut short.

use std::io::{self, BufRead, Write};
use std::str::FromStr;
use std::time::Duration;

use fiveways::Model;
use fiveways::net::TcpStream;
use fiveways::server::{Control, ListenMode, Overload, Server, Stats};
use fiveways::service::Service;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

fn main() -> io::Result<()> {
    // The test may be killed; nothing of it may stay.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let model = words.first().and_then(|word| word.parse::<Model>().ok()).unwrap_or(Model::Auto);
    if let Some(limit) = setting::<u64>(&words, "nofile") {
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum })?;
    }
    let service = setting(&words, "service").unwrap_or(Service::Echo);
    let processes = setting(&words, "processes").unwrap_or(1_usize);
    let server = set_up(&words, model)?;
    if processes == 1 {
        let control = server.control();
        std::thread::spawn(move || answer(&control));
    }
    let serving = server.processes(processes).on_ready(|address| {
        println!("{address}");
        io::stdout().flush()
    });
    let fails = setting(&words, "fails").unwrap_or(0) != 0;
    let report = serving.serve(move |stream: TcpStream| match fails {
        true => Err(io::Error::other("fails as it must")),
        false => service.serve(stream),
    })?;
    println!("{} cut_short={}", told(&report.stats), report.cut_short);
    Ok(())
}

fn set_up(words: &[String], model: Model) -> io::Result<Server> {
    let mode = match setting::<String>(words, "mode").as_deref() {
        Some("reuse-port") => ListenMode::ReusePort,
        Some("shared") => ListenMode::Shared,
        _ => ListenMode::Auto,
    };
    let mut server = Server::bind_with("127.0.0.1:0", u32::MAX, mode)?.model(model);
    if let Some(workers) = setting(words, "workers") {
        server = server.workers(workers);
    }
    if let Some(size) = setting(words, "pool") {
        server = server.pool_size(size);
    }
    if let Some(limit) = setting(words, "limit") {
        let refuse = setting(words, "refuse").unwrap_or(false);
        let overload = if refuse { Overload::Refuse } else { Overload::Wait };
        server = server.max_connections(limit, overload);
    }
    if let Some(drain) = setting(words, "drain_ms") {
        server = server.drain(Duration::from_millis(drain));
    }
    if let Some(on) = setting(words, "close_idle") {
        server = server.close_idle_on_stop(on);
    }
    if let Some(idle) = setting(words, "idle_ms") {
        server = server.idle_timeout(Some(Duration::from_millis(idle)));
    }
    Ok(server)
}

fn setting<T: FromStr>(words: &[String], name: &str) -> Option<T> {
    let pairs = words.iter().filter_map(|word| word.split_once('='));
    pairs.filter(|pair| pair.0 == name).find_map(|pair| pair.1.parse().ok())
}

fn told(stats: &Stats) -> String {
    format!(
        "connections={} accepted={} refused={} exhausted={}",
        stats.connections, stats.accepted, stats.refused, stats.exhausted,
    )
}

/// Answers questions until the test goes away.
fn answer(control: &Control) {
    for _ in io::stdin().lock().lines().map_while(Result::ok) {
        println!("{}", told(&control.stats()));
        let _ = io::stdout().flush();
    }
    std::process::exit(3);
}
