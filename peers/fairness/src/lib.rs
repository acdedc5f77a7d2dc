//! What the programs share that are measured beside greedy tasks: the clients, and the figures.
//!
//! A program serves two listeners from one worker on one processor: connections of the first are
//! greedy, those of the second are echoed. It also runs a ticker of 1 ms. Clients are threads of
//! std on another processor; the one that asks for echoes is preferred by the kernel there, so that
//! its figures are about the server.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What greedy tasks do.
pub const KINDS: [&str; 6] = ["collector", "read", "write", "pipeline", "channels", "yields"];

/// What happens before the figures are taken.
const WARM_UP: Duration = Duration::from_millis(150);

/// How late ticks came, in nanoseconds.
static TICKS: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// What a program is to do, from its arguments: `KIND CROWD SECONDS MODEL`.
pub struct Job {
    /// One of [`KINDS`].
    pub kind: String,
    /// Greedy tasks, or pairs of them.
    pub crowd: usize,
    /// How long figures are taken.
    pub window: Duration,
    /// For Fiveways.
    pub model: String,
}

impl Job {
    /// Reads the arguments, and puts this process on the server's processor.
    ///
    /// # Panics
    ///
    /// When an argument is missing or no number.
    pub fn begin() -> Job {
        run_on(0);
        let mut args = std::env::args().skip(1);
        let mut next = || args.next().unwrap_or_default();
        let kind = next();
        let crowd = next().parse().expect("KIND CROWD SECONDS MODEL");
        let seconds = next().parse().expect("KIND CROWD SECONDS MODEL");
        Job { kind, crowd, window: Duration::from_secs_f64(seconds), model: next() }
    }

    /// Do the greedy tasks have connections?
    pub fn has_clients(&self) -> bool {
        !matches!(self.kind.as_str(), "channels" | "yields")
    }

    /// Starts the clients; they end the process when the figures are printed.
    pub fn start_clients(self, greedy: SocketAddr, echo: SocketAddr) {
        for _ in 0..if self.has_clients() { self.crowd } else { 0 } {
            let kind = self.kind.clone();
            thread::spawn(move || {
                run_on(1);
                // It ends with the process.
                let _ = be_greedy(&kind, greedy);
            });
        }
        thread::spawn(move || {
            run_on(1);
            prefer();
            let requests = ask(echo, self.window).expect("the server answers");
            let ticks = TICKS.lock().expect("not poisoned").clone();
            let figures = Figures { tick: summary(ticks), request: summary(requests) };
            println!("{}", serde_json::to_string(&figures).expect("plain data"));
            std::process::exit(0);
        });
    }
}

/// Notes a tick that was asked for at `asked`, for 1 ms later.
pub fn note_tick(asked: Instant) {
    let late = asked.elapsed().saturating_sub(Duration::from_millis(1));
    TICKS.lock().expect("not poisoned").push(late.as_nanos() as u64);
}

/// Microseconds: the median and the longest.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The median.
    pub median_us: f64,
    /// The longest.
    pub longest_us: f64,
}

/// What a program prints.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// How late ticks came.
    pub tick: Summary,
    /// How long a request took.
    pub request: Summary,
}

fn summary(mut ns: Vec<u64>) -> Summary {
    ns.sort_unstable();
    let us = |ns: Option<&u64>| ns.map_or(f64::NAN, |ns| *ns as f64 / 1e3);
    Summary { median_us: us(ns.get(ns.len() / 2)), longest_us: us(ns.last()) }
}

/// Asks for an echo every 2 ms; gives how long each took.
fn ask(addr: SocketAddr, window: Duration) -> io::Result<Vec<u64>> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    let mut once = || -> io::Result<u64> {
        let begun = Instant::now();
        stream.write_all(b"is anybody there")?;
        stream.read_exact(&mut [0; 16])?;
        let took = begun.elapsed();
        thread::sleep(Duration::from_millis(2));
        Ok(took.as_nanos() as u64)
    };
    let end = Instant::now() + WARM_UP;
    while Instant::now() < end {
        once()?;
    }
    TICKS.lock().expect("not poisoned").clear();
    let end = Instant::now() + window;
    let mut took = Vec::new();
    while Instant::now() < end {
        took.push(once()?);
    }
    Ok(took)
}

/// Uses a connection as fast as the server lets it.
fn be_greedy(kind: &str, addr: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    match kind {
        "collector" => flood(&mut stream, &b"cpu.load:17|g\n".repeat(5000)),
        "read" => flood(&mut stream, &[7; 64 * 1024]),
        "write" => drain(&mut stream),
        _ => {
            let mut answers = stream.try_clone()?;
            thread::spawn(move || {
                run_on(1);
                let _ = drain(&mut answers);
                let _ = answers.shutdown(Shutdown::Both);
            });
            flood(&mut stream, &[7; 16 * 1024])
        }
    }
}

fn flood(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    loop {
        stream.write_all(bytes)?;
    }
}

fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut buf = vec![0; 256 * 1024];
    while stream.read(&mut buf)? > 0 {}
    Ok(())
}

/// Keeps this thread, and those it will start, on a processor.
fn run_on(cpu: usize) {
    // SAFETY: required: a set of processors. All zeroes is the empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: required: a number within the set. It is 0 or 1.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: required: a valid set. It is a local.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
}

/// Has the kernel run this thread as soon as it can, where that is allowed. A nice value is not
/// enough: a thread that wakes up waits for the slices of those that run.
fn prefer() {
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: required: a valid parameter. It changes this thread's own class, or fails.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) };
}
