//! `fiveways serve`: a ready-made service on any model.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use fiveways::Model;
use fiveways::inspect;
use fiveways::net::TcpStream;
use fiveways::server::{Handler, ListenMode, Overload, Server};
use fiveways::service::Service;
use fiveways_sys::errno;
use humantime::Duration as Span;

use crate::error::CliError;

/// Serves a ready-made service on any model
///
/// Prints `listening on ADDRESS` on stdout when clients may connect, and under the model auto a
/// second line, such as `auto takes uring`. SIGINT or SIGTERM ends it gracefully: it stops
/// accepting, lets connections finish for the time given by --drain, and exits with status 0; a
/// second signal ends it at once.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// The service: echo, upper, greet (`ok` once and for each line), sink (answers nothing)
    #[arg(long, default_value_t = Service::Echo)]
    service: Service,

    /// The I/O model: blocking, threads, pool, nonblocking (burns a core), select, poll, epoll,
    /// epoll-et, signal, uring, auto
    #[arg(long, default_value_t = Model::Auto)]
    model: Model,

    /// Threads with coroutines in each process; ignored by blocking, threads and pool
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    workers: u16,

    /// Processes that share the port; one that dies is replaced
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    processes: u16,

    /// Address to listen on; port 0 picks a free one. The default is reachable only from this
    /// machine
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    bind: String,

    /// Length of the kernel's accept queue [default: the system's maximum]
    #[arg(long, value_name = "N")]
    backlog: Option<u32>,

    /// A listener for each process (SO_REUSEPORT): the default, except under blocking
    #[arg(long)]
    reuse_port: bool,

    /// One listener for all processes
    #[arg(long, conflicts_with = "reuse_port")]
    share_listener: bool,

    /// Threads of the model pool [default: four per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32768))]
    pool: Option<u16>,

    /// Maximum number of connections of each process
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,

    /// What happens to connections beyond the maximum
    #[arg(long, value_enum, default_value_t = OverloadArg::Wait)]
    overload: OverloadArg,

    /// End connections on which no byte moves for this long (such as 30s); 0s: never
    ///
    /// The default is one minute under blocking and pool, where a silent client holds a thread, and
    /// never under the other models.
    #[arg(long, value_name = "TIME")]
    idle_timeout: Option<Span>,

    /// Time limit of each read of a connection
    #[arg(long, value_name = "TIME")]
    read_timeout: Option<Span>,

    /// Time limit of each write of a connection
    #[arg(long, value_name = "TIME")]
    write_timeout: Option<Span>,

    /// Probe silent peers at this interval and close connections to dead ones; 0s: never
    #[arg(long, value_name = "TIME", default_value = "60s")]
    keepalive: Span,

    /// How long connections may continue after a stop
    #[arg(long, value_name = "TIME", default_value = "10s")]
    drain: Span,

    /// Close connections that are idle between two requests when stopping
    #[arg(long)]
    close_idle_on_stop: bool,

    /// Longest time a worker spins before it sleeps, in microseconds, while spinning pays; 0: never
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 50)]
    spin: u64,

    /// Bytes reserved for the stack of a connection; memory is used only as it is touched
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    stack_size: usize,
}

/// What happens to connections beyond the maximum.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OverloadArg {
    /// They wait until another ends
    Wait,
    /// They are closed at once
    Refuse,
}

/// Runs the command.
pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode, CliError> {
    // A server needs as many descriptors as it may have.
    fiveways_sys::process::raise_descriptor_limit();
    let mode = match (args.reuse_port, args.share_listener) {
        (true, _) => ListenMode::ReusePort,
        (_, true) => ListenMode::Shared,
        _ => ListenMode::Auto,
    };
    let backlog = args.backlog.unwrap_or(u32::MAX);
    let server = Server::bind_with(args.bind.as_str(), backlog, mode)
        .map_err(|error| bind_error(&args.bind, &error))?;
    let model = fiveways::resolve(args.model).map_err(|error| model_error(args.model, &error))?;
    let taken = (model != args.model).then_some(model);
    let server = configure(server, args).on_ready(move |address| announce(address, taken));
    match server.serve(Watched(args.service)) {
        Ok(report) => {
            if report.cut_short > 0 {
                eprintln!("{} connections were cut short", report.cut_short);
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(serve_error(&error)),
    }
}

/// A service in processes that can be inspected.
struct Watched(Service);

impl Handler for Watched {
    type Error = io::Error;

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        self.0.serve(stream)
    }

    /// Enables `fiveways dump` and `top`, and a dump on stderr at SIGQUIT.
    fn begin(&self) -> io::Result<()> {
        if let Err(error) = inspect::listen().and_then(|()| inspect::on_sigquit()) {
            eprintln!("fiveways: cannot be inspected: {error}");
        }
        Ok(())
    }
}

/// Adds a hint to an error of serving.
fn serve_error(error: &io::Error) -> CliError {
    let failed = CliError::usage(format!("cannot serve: {error}"));
    match error.raw_os_error() {
        Some(errno::EMFILE) => failed.hint("raise the limit of descriptors: ulimit -n"),
        Some(errno::ENFILE) => failed.hint("the system has no descriptor left: fs.file-max"),
        Some(errno::ENOMEM) => failed.hint("use fewer --workers or a smaller --stack-size"),
        _ => failed,
    }
}

fn configure(server: Server, args: &ServeArgs) -> Server {
    let overload = match args.overload {
        OverloadArg::Wait => Overload::Wait,
        OverloadArg::Refuse => Overload::Refuse,
    };
    let mut server = server
        .model(args.model)
        .workers(args.workers.into())
        .processes(args.processes.into())
        .max_connections(args.max_connections.unwrap_or(usize::MAX), overload)
        .read_timeout(args.read_timeout.map(Duration::from))
        .write_timeout(args.write_timeout.map(Duration::from))
        .keepalive(unless_zero(args.keepalive))
        .drain(args.drain.into())
        .close_idle_on_stop(args.close_idle_on_stop)
        .spin(Duration::from_micros(args.spin))
        .stack_size(args.stack_size);
    if let Some(threads) = args.pool {
        server = server.pool_size(threads.into());
    }
    if let Some(limit) = args.idle_timeout {
        server = server.idle_timeout(unless_zero(limit));
    }
    server
}

fn unless_zero(time: Span) -> Option<Duration> {
    let time = Duration::from(time);
    (!time.is_zero()).then_some(time)
}

/// Reports where it listens, before any fork, so that it is reported once; then which model `auto`
/// took.
fn announce(address: SocketAddr, taken: Option<Model>) -> io::Result<()> {
    let mut lines = format!("listening on {address}\n");
    if let Some(model) = taken {
        lines.push_str(&format!("auto takes {model}\n"));
    }
    let mut stdout = io::stdout().lock();
    let told = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
    told.map_err(|error| io::Error::other(format!("cannot report the address: {error}")))
}

fn bind_error(bind: &str, error: &io::Error) -> CliError {
    let message = format!("cannot listen on '{bind}': {error}");
    if error.raw_os_error() == Some(errno::EMFILE) {
        return CliError::usage(message).hint("raise the limit of descriptors: ulimit -n");
    }
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there: choose another port, or port 0 for a free one"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege: choose a higher one, or grant CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        _ => "give an address as HOST:PORT, such as 127.0.0.1:9000 or [::1]:9000",
    };
    CliError::usage(message).hint(hint)
}

fn model_error(model: Model, error: &io::Error) -> CliError {
    CliError::usage(format!("the model {model} is not available here: {error}"))
        .hint("--model auto takes the best model that this machine has")
}
