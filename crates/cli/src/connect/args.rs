//! The command line of `fiveways connect`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use fiveways::Model;
use humantime::Duration as Span;

use crate::connect::connection::Target;

/// Connects to a server: line by line, or with a load of exchanges
///
/// Without a message it is a line client: each line of stdin is trimmed and sent, and data from the
/// server is shown as it arrives. At the end of stdin it shuts down the sending side, shows the
/// remaining answers, and exits with status 0; if the server closes first, with status 1; after
/// Ctrl-C with status 130.
///
/// With --message, --mode, --count, --threads, --tasks or --hold it exchanges messages and replies,
/// reports the result of each connection on stderr, and exits with status 1 if any failed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fiveways connect 127.0.0.1:9000                                talk to a server
  printf 'a\\nb\\n' | fiveways connect --unix /run/echo.sock       send a file, print the answers
  fiveways connect 127.0.0.1:9000 --message hello --count 1000000 --check echo --quiet
  fiveways connect 127.0.0.1:9000 --threads 20 --hold 1s         20 clients at once
  fiveways connect 127.0.0.1:9000 --tasks 5000 --model uring     5,000 clients on coroutines
  fiveways connect 127.0.0.1:9000 --mode ping --message '{pid} hello'")]
pub(crate) struct ConnectArgs {
    /// Address of the server as HOST:PORT: 127.0.0.1:9000, [::1]:9000, localhost:9000
    #[arg(value_name = "ADDRESS", required_unless_present = "unix")]
    address: Option<String>,

    /// Connect to a Unix socket instead
    #[arg(long, value_name = "PATH", conflicts_with_all = ["address", "udp"])]
    unix: Option<PathBuf>,

    /// Send each line or message as a UDP datagram instead of over TCP
    #[arg(long)]
    udp: bool,

    /// Time limit of an attempt to connect; 0s: the system's limit
    #[arg(long, value_name = "TIME", default_value = "5s")]
    timeout: Span,

    /// Number of retries: after 100 ms, then after twice as long each time, 5 s at most
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retry: u32,

    /// Send lines and messages unchanged, without a line feed at the end
    #[arg(long)]
    pub(crate) raw: bool,

    /// Show received bytes unchanged; by default, text is shown as UTF-8, and invalid bytes as
    /// U+FFFD
    #[arg(long)]
    pub(crate) binary: bool,

    /// Prompt shown if stdin is a terminal
    #[arg(long, value_name = "TEXT", default_value = ">> ", help_heading = "Line client")]
    pub(crate) prompt: String,

    /// After the end of stdin, wait for answers until nothing has arrived for this long; 0s: until
    /// the server closes [default: 10s, for UDP 1s]
    #[arg(long, value_name = "TIME", help_heading = "Line client")]
    wait: Option<Span>,

    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// The options of the load forms.
#[derive(Args, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Message to send [default: hello]; {pid}, {c} and {n} are replaced by the process id, the
    /// number of the connection, and the number of the exchange
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,

    /// Exchanges per connection [default: 1; ping and polling: until Ctrl-C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Whether to send or to receive first [default: send-first]
    #[arg(long, value_enum)]
    mode: Option<Mode>,

    /// Make this many connections concurrently, each on a thread of its own
    #[arg(long, value_name = "N", conflicts_with = "tasks", value_parser = at_least_one)]
    threads: Option<usize>,

    /// Make this many connections concurrently, each on a coroutine
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    tasks: Option<usize>,

    /// The model for the coroutines: nonblocking (burns a core), select, poll, epoll, epoll-et,
    /// signal, uring, auto
    #[arg(long, value_name = "MODEL", default_value_t = Model::Auto, requires = "tasks")]
    pub(crate) model: Model,

    /// Stay silent for this long after the last message of a connection, before its reply is read
    /// and the connection closed
    #[arg(long, value_name = "TIME")]
    hold: Option<Span>,

    /// Pause between the exchanges of a connection
    #[arg(long, value_name = "TIME", default_value = "0s")]
    interval: Span,

    /// Size of a reply in bytes [default: as many as were sent; recv-first: any]
    #[arg(long, value_name = "N", conflicts_with_all = ["reply_line", "check"])]
    #[arg(value_parser = at_least_one)]
    reply_size: Option<usize>,

    /// A reply ends with a line feed
    #[arg(long, conflicts_with = "check")]
    reply_line: bool,

    /// Time limit of a reply; 0s: none
    #[arg(long, value_name = "TIME", default_value = "30s")]
    reply_timeout: Span,

    /// Expected content of replies, compared byte by byte
    #[arg(long, value_enum, value_name = "WHAT")]
    check: Option<Check>,

    /// Do not show replies (replies on several connections are never shown)
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Which side sends first, and how a reply is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Send, then receive
    SendFirst,
    /// Receive, then send: for servers that greet
    RecvFirst,
    /// As send-first, until Ctrl-C
    Ping,
    /// As ping, but poll for the reply without pause (burns a core)
    Polling,
}

/// The expected content of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Check {
    /// The bytes that were sent
    Echo,
    /// The bytes that were sent, ASCII letters in upper case
    Upper,
    /// Anything of the expected length
    None,
}

/// Where a reply ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// After as many bytes as were sent.
    AsSent,
    /// After this many bytes.
    Size(usize),
    /// After a line feed.
    Line,
    /// Wherever a read ends.
    Anything,
}

fn at_least_one(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(0) => Err("at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

fn unless_zero(span: Span) -> Option<Duration> {
    let time = Duration::from(span);
    (!time.is_zero()).then_some(time)
}

impl ConnectArgs {
    /// Returns `true` for a load, `false` for the line client.
    pub(crate) fn is_load(&self) -> bool {
        let load = &self.load;
        let many = load.threads.is_some() || load.tasks.is_some() || load.count.is_some();
        many || load.message.is_some() || load.mode.is_some() || load.hold.is_some()
    }

    /// The server's address.
    pub(crate) fn target(&self) -> Target {
        match (&self.unix, &self.address) {
            (Some(path), _) => Target::Unix(path.clone()),
            (None, address) => {
                let address = address.clone().unwrap_or_default();
                if self.udp { Target::Udp(address) } else { Target::Tcp(address) }
            }
        }
    }

    /// The time limit of an attempt to connect.
    pub(crate) fn connect_timeout(&self) -> Option<Duration> {
        unless_zero(self.timeout)
    }

    /// How long to wait for answers after the end of stdin.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let default = Duration::from_secs(if self.udp { 1 } else { 10 });
        self.wait.map_or(Some(default), unless_zero)
    }
}

impl LoadArgs {
    /// The message, with its placeholders.
    pub(crate) fn message(&self) -> &str {
        self.message.as_deref().unwrap_or("hello")
    }

    /// The mode.
    pub(crate) fn mode(&self) -> Mode {
        self.mode.unwrap_or(Mode::SendFirst)
    }

    /// Exchanges of each connection; `None`: without end.
    pub(crate) fn count(&self) -> Option<u64> {
        let endless = matches!(self.mode(), Mode::Ping | Mode::Polling);
        self.count.or(if endless { None } else { Some(1) })
    }

    /// The number of connections, and whether they are tasks.
    pub(crate) fn connections(&self) -> (usize, bool) {
        match self.tasks {
            Some(tasks) => (tasks, true),
            None => (self.threads.unwrap_or(1), false),
        }
    }

    /// The silence after the last message.
    pub(crate) fn hold(&self) -> Duration {
        self.hold.map_or(Duration::ZERO, Duration::from)
    }

    /// The pause between exchanges.
    pub(crate) fn interval(&self) -> Duration {
        self.interval.into()
    }

    /// The time limit of a reply.
    pub(crate) fn reply_timeout(&self) -> Option<Duration> {
        unless_zero(self.reply_timeout)
    }

    /// Where a reply ends.
    pub(crate) fn reply(&self) -> Reply {
        match (self.reply_size, self.reply_line, self.mode()) {
            (Some(size), ..) => Reply::Size(size),
            (None, true, _) => Reply::Line,
            (None, false, Mode::RecvFirst) => Reply::Anything,
            (None, false, _) => Reply::AsSent,
        }
    }

    /// The expected content of replies.
    pub(crate) fn check(&self) -> Check {
        self.check.unwrap_or(Check::None)
    }
}
