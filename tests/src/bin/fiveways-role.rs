//! The other process of tests that need two: `fiveways-role ROLE [words …]`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::handoff::{self, Detached};
use fiveways::net::{TcpStream, UnixStream};
use fiveways::process::SharedEvent;
use fiveways::runtime::Runtime;
use fiveways::server::Server;
use fiveways::{signal, task, time};
use rustix::process::Signal;

fn main() -> io::Result<()> {
    // The test may be killed; nothing of it may stay.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words {
        ["serve-passed", model] => on(model, serve_passed),
        ["hold-passed", model] => on(model, hold_passed),
        ["wait-for-event", model] => on(model, wait_for_event),
        ["lines", model] => on(model, lines),
        ["serve-and-stay", model] => serve_and_stay(model),
        ["signals", model] => on(model, signals),
        _ => Err(io::Error::other(format!("no such role: {words:?}"))),
    }
}

/// Runs a role as a task of the model, or on the main thread if the model has none.
fn on(model: &str, role: fn() -> io::Result<()>) -> io::Result<()> {
    let model: Model = model.parse().map_err(io::Error::other)?;
    if model.is_cooperative() {
        Runtime::builder().model(model).build()?.block_on(role)
    } else {
        role()
    }
}

fn say(word: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{word}")?;
    stdout.flush()
}

/// The channel, which is our standard input.
fn channel() -> io::Result<UnixStream> {
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Receives connections, answers each line of a session with its number until an empty line, and
/// sends the connection back with what is left of it.
fn serve_passed() -> io::Result<()> {
    let mut channel = channel()?;
    while let Some(connection) = handoff::receive::<TcpStream>(&mut channel, None)? {
        let mut stream = connection.into_stream()?;
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            stream.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            writeln!(stream, "{number} {}", line.trim_end())?;
        }
        let mut connection = stream.detach()?;
        connection.add_unsent(b"back\n");
        handoff::send(&mut channel, connection, None)?;
    }
    Ok(())
}

/// Receives a connection and does nothing with it.
fn hold_passed() -> io::Result<()> {
    let mut channel = channel()?;
    let held: Option<Detached> = handoff::receive(&mut channel, None)?;
    say(if held.is_some() { "held" } else { "nothing" })?;
    time::sleep(Duration::from_secs(3600));
    drop(held);
    Ok(())
}

/// Says that it waits, waits, and says when that was over.
fn wait_for_event() -> io::Result<()> {
    let start = SharedEvent::from_env("START")?;
    say("waiting")?;
    start.wait()?;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    say(&format!("{}", now.tv_sec as u128 * 1_000_000_000 + now.tv_nsec as u128))
}

/// Repeats the lines of its standard input; a second task of the same worker counts meanwhile, and
/// the count at the end is told.
fn lines() -> io::Result<()> {
    let ticking = task::in_task().then(|| {
        task::spawn_local(|| {
            for _ in 0..20 {
                time::sleep(Duration::from_millis(1));
            }
            say("ticked")
        })
    });
    for line in fiveways::io::stdin().lines() {
        say(&format!("line {}", line?))?;
    }
    if let Some(ticking) = ticking {
        ticking.join().map_err(io::Error::other)??;
    }
    say("end")
}

/// Serves until it is told to stop, serves again, and stays.
fn serve_and_stay(model: &str) -> io::Result<()> {
    let model: Model = model.parse().map_err(io::Error::other)?;
    for _ in 0..2 {
        let server = Server::bind("127.0.0.1:0")?.model(model);
        say(&server.local_addr()?.to_string())?;
        server.serve(|mut stream: TcpStream| {
            stream.write_all(b"hello")?;
            stream.read(&mut [0]).map(drop)
        })?;
        say("served")?;
    }
    std::thread::sleep(Duration::from_secs(3600));
    Ok(())
}

/// Tells which signals come, until SIGTERM, and waits for its end then.
fn signals() -> io::Result<()> {
    let signals = signal::Signals::new([signal::SIGHUP, signal::SIGUSR1, signal::SIGTERM])?;
    say("ready")?;
    loop {
        let signal = signals.wait()?;
        say(&format!("signal {signal}"))?;
        if signal == signal::SIGTERM {
            break;
        }
    }
    let late = signals.wait_until(Instant::now() + Duration::from_millis(5))?;
    say(&format!("then {late:?}"))?;
    drop(signals);
    say("gone")?;
    // Read to the end, so that the test decides when this ends.
    BufReader::new(io::stdin()).lines().map_while(Result::ok).for_each(drop);
    Ok(())
}
