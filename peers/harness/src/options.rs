//! The command line, and the plan it amounts to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

use crate::cell::{self, Cell};
use crate::peer::{self, Peer};

/// Measures Fiveways beside its rivals and prints ratios.
#[derive(Debug, Parser)]
#[command(name = "compare-peers", version, about)]
pub struct Options {
    /// Measures resident memory per idle connection instead of throughput
    #[arg(long, group = "mode")]
    pub memory: bool,

    /// Measures the processor time of an idle server instead of throughput
    #[arg(long, group = "mode")]
    pub idle: bool,

    /// Measures spawn, join and yield instead of throughput
    #[arg(long, group = "mode")]
    pub micro: bool,

    /// Rounds; every server has one turn in each
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,

    /// Loads as CONNECTIONSxBYTES [default: 1, 64, 1000, 8000 x 64, 4096; 1, 64 x 65536]
    #[arg(long, value_delimiter = ',', value_name = "CELL")]
    pub cells: Vec<Cell>,

    /// Servers by name, `epoll` for `fiveways-epoll` too [default: all]
    #[arg(long, value_delimiter = ',', value_name = "SERVER")]
    pub only: Vec<String>,

    /// Length of the measured window (with --idle: 3 unless given)
    #[arg(long)]
    pub seconds: Option<f64>,

    /// Load before the measured window
    #[arg(long, default_value_t = 0.3, value_name = "SECONDS")]
    pub warmup: f64,

    /// Decides the order of servers in each round
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Connections of --memory
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,

    /// Rivals' buffer per connection [default: 16384, for longer messages 65536, with --memory 512]
    #[arg(long, value_name = "BYTES")]
    pub buffer: Option<usize>,

    /// Lets the generator spin instead of sleeping while no reply is there
    #[arg(long)]
    pub spin_client: bool,

    /// Processor of the server
    #[arg(long, default_value_t = 0, value_name = "CPU")]
    pub server_cpu: usize,

    /// Processor of the load generator
    #[arg(long, default_value_t = 1, value_name = "CPU")]
    pub client_cpu: usize,

    /// Directory of Fiveways' release build [default: target/release of the repository]
    #[arg(long, value_name = "DIR")]
    pub fiveways: Option<PathBuf>,

    /// Writes all samples and medians as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Writes the tables as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    Compare,
    Memory,
    Idle,
    Micro,
}

/// The command line with defaults filled in and names resolved.
#[derive(Debug)]
pub struct Plan {
    pub peers: Vec<Peer>,
    pub cells: Vec<Cell>,
    pub rounds: usize,
    pub window: Duration,
    pub warmup: Duration,
    pub seed: u64,
    pub connections: usize,
    pub buffer_len: Option<usize>,
    pub spin_client: bool,
    pub server_cpu: usize,
    pub client_cpu: usize,
    pub fiveways: PathBuf,
}

const DEFAULT_WINDOW: f64 = 1.2;
const DEFAULT_IDLE_WINDOW: f64 = 3.0;

impl Options {
    pub fn mode(&self) -> Mode {
        match (self.memory, self.idle, self.micro) {
            (true, _, _) => Mode::Memory,
            (_, true, _) => Mode::Idle,
            (_, _, true) => Mode::Micro,
            _ => Mode::Compare,
        }
    }

    /// Fills in defaults and resolves names.
    pub fn plan(&self) -> Result<Plan, String> {
        if self.rounds == 0 || self.server_cpu == self.client_cpu {
            return Err("at least one round, and two different processors, are needed".into());
        }
        let fiveways = self.fiveways.clone().unwrap_or_else(default_fiveways);
        let window = if self.idle { DEFAULT_IDLE_WINDOW } else { DEFAULT_WINDOW };
        Ok(Plan {
            peers: peer::select(&self.only, &fiveways)?,
            cells: if self.cells.is_empty() { cell::all() } else { self.cells.clone() },
            rounds: self.rounds,
            window: duration("--seconds", self.seconds.unwrap_or(window))?,
            warmup: duration("--warmup", self.warmup)?,
            seed: self.seed,
            connections: self.connections,
            buffer_len: self.buffer,
            spin_client: self.spin_client,
            server_cpu: self.server_cpu,
            client_cpu: self.client_cpu,
            fiveways,
        })
    }
}

fn duration(flag: &str, seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{flag} {seconds}: {error}"))
}

fn default_fiveways() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    repository.unwrap_or(Path::new(".")).join("target/release")
}
