//! A server: a listener, a handler, and a model to run it on.
//!
//! ```text
//!   Server::bind ─▶ settings ─▶ serve(handler)
//!                                 │ processes > 1: a supervisor forks children, each of them:
//!                                 ├─ blocking, threads, pool: accept here, serve on threads
//!                                 └─ other models: accept in a task, serve in tasks of all workers
//! ```
//!
//! A fault of one connection stays its own: a reset, an error or a panic of its handler ends that
//! connection only. Running out of descriptors pauses accepting; connections wait in the backlog
//! and none is lost. A stop (SIGTERM, SIGINT, [`Control::stop`]) ends accepting and lets
//! connections finish until the drain deadline, then ends them; a second stop ends them at once.

mod processes;
mod tasks;
mod threads;
mod turns;
mod backlog;
mod link;
mod accepted;
mod admission;
mod stop;
mod open;
mod settings;
mod complaints;
mod counts;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fiveways_driver::Model;

use crate::net::{TcpListener, TcpStream, ToSocketAddrs};

pub use counts::Stats;
pub use settings::{ListenMode, Overload};
pub use stop::Control;

use admission::Admission;
use complaints::OnError;
use settings::Settings;
use stop::OnSignal;

/// A bound server that is not serving yet.
///
/// Binds loopback unless told otherwise: give the address that you mean.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    settings: Settings,
    control: Control,
    ready: Ready,
}

/// The function to call when the server is ready.
#[derive(Default)]
struct Ready(Option<OnReady>);

type OnReady = Box<dyn FnOnce(SocketAddr) -> io::Result<()> + Send>;

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready").field(&self.0.is_some()).finish()
    }
}

/// What a server did, returned when it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Its counts. With several processes, the sum of what each reported at its end; a process that
    /// was killed or crashed reports nothing.
    pub stats: Stats,
    /// Connections that were ended at the drain deadline or by a second stop; with several
    /// processes, in all of them.
    pub cut_short: usize,
}

impl Report {
    /// Adds the report of another process.
    fn add(&mut self, other: &Report) {
        let mut counts = self.stats.to_array();
        for (count, more) in counts.iter_mut().zip(other.stats.to_array()) {
            *count += more;
        }
        self.stats = Stats::from_array(counts);
        self.cut_short += other.cut_short;
    }
}

/// Serves connections: called once for each, in a task or on a thread.
///
/// Functions and closures that take a [`TcpStream`] and return `Result<(), E>` are handlers.
pub trait Handler: Send + Sync + 'static {
    /// The error that a connection may end with: [`io::Error`], `Box<dyn Error + Send + Sync>`,
    /// `anyhow::Error`, or your own type.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// Serves one connection until its end.
    ///
    /// # Errors
    ///
    /// Any error that ended the connection. It is counted and reported ([`Server::on_error`]);
    /// other connections are not affected.
    fn serve(&self, stream: TcpStream) -> Result<(), Self::Error>;

    /// Prepares the process that serves; the default does nothing.
    ///
    /// Called once before the first connection, on the thread that serves; with several
    /// [`processes`](Server::processes), once in each of them. Threads may be started from here on.
    ///
    /// # Errors
    ///
    /// Any error that prevents serving: the server ends with it. With several processes, only that
    /// process ends, and is replaced.
    #[doc(alias("post_fork", "post_worker_init"))]
    fn begin(&self) -> io::Result<()> {
        Ok(())
    }
}

impl<F, E> Handler for F
where
    F: Fn(TcpStream) -> Result<(), E> + Send + Sync + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    type Error = E;

    fn serve(&self, stream: TcpStream) -> Result<(), E> {
        self(stream)
    }
}

impl Server {
    /// Binds to the first address that can be bound, with the system's maximum backlog.
    ///
    /// # Errors
    ///
    /// The error of resolving the address or, if no address can be bound, that of the last one
    /// tried: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` for a privileged port, and
    /// others.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<Server> {
        let mut server = Server::new(TcpListener::bind(address)?)?;
        server.settings.listen_mode = ListenMode::Auto;
        Ok(server)
    }

    /// Binds with the given backlog and, if requested, with `SO_REUSEPORT`, so that several
    /// listeners share the port.
    ///
    /// # Errors
    ///
    /// The error of resolving the address or, if no address can be bound, that of the last one
    /// tried.
    pub fn bind_with(
        address: impl ToSocketAddrs,
        backlog: u32,
        mode: ListenMode,
    ) -> io::Result<Server> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        let reuse_port = mode == ListenMode::ReusePort;
        let listener = crate::net::each(address, |address| {
            TcpListener::bind_with(&address, backlog, true, reuse_port)
        })?;
        let mut server = Server::new(listener)?;
        server.settings.listen_mode = mode;
        server.settings.backlog = backlog;
        Ok(server)
    }

    /// Serves on an existing listener. Several processes share it ([`ListenMode::Shared`]).
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the descriptor is not a TCP listener (for example a Unix listener, or a
    /// socket that does not listen); an error of the kernel if no descriptor is left.
    pub fn new(listener: TcpListener) -> io::Result<Server> {
        listener.check()?;
        let (mut settings, ready) = (Settings::default(), Ready::default());
        settings.listen_mode = ListenMode::Shared;
        Ok(Server { listener, settings, control: Control::new()?, ready })
    }

    /// The address to which the server is bound.
    ///
    /// # Errors
    ///
    /// An error of `getsockname(2)`, in practice only lack of kernel memory.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns a handle that stops the server and reads its counts from any thread.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Sets the model; the default is `auto`.
    pub fn model(mut self, model: Model) -> Server {
        self.settings.model = model;
        self
    }

    /// Sets how many workers (threads with coroutines) each process has; the default is 1. Ignored
    /// by the models that run on threads.
    pub fn workers(mut self, workers: usize) -> Server {
        self.settings.workers = workers.max(1);
        self
    }

    /// Sets how many processes serve; the default is 1, which does not fork. More than one requires
    /// that the program has not started a thread yet. [`ListenMode`] describes how they share the
    /// port.
    pub fn processes(mut self, processes: usize) -> Server {
        self.settings.processes = processes.max(1);
        self
    }

    /// Sets the number of threads of the model `pool`; the default is four per processor.
    pub fn pool_size(mut self, threads: usize) -> Server {
        self.settings.pool_size = Some(threads.max(1));
        self
    }

    /// Limits the number of connections that each process serves at a time; `overload` says what
    /// happens to more.
    pub fn max_connections(mut self, limit: usize, overload: Overload) -> Server {
        self.settings.max_connections = limit.max(1);
        self.settings.overload = overload;
        self
    }

    /// Ends connections on which no byte moves for this long in either direction, counted over all
    /// clones of the stream; `None`: never. The default is one minute under `blocking` and `pool`,
    /// where a silent client holds a thread, and `None` under the other models.
    ///
    /// A call of the handler that is waiting then fails, with a
    /// [`TimeoutError`](crate::net::TimeoutError) as its source.
    pub fn idle_timeout(mut self, limit: Option<Duration>) -> Server {
        self.settings.idle = Some(limit);
        self
    }

    /// Limits the duration of each read of a handler; the default is no limit.
    pub fn read_timeout(mut self, limit: Option<Duration>) -> Server {
        self.settings.read = limit;
        self
    }

    /// Limits the duration of each write of a handler; the default is no limit.
    pub fn write_timeout(mut self, limit: Option<Duration>) -> Server {
        self.settings.write = limit;
        self
    }

    /// Probes silent peers at this interval and closes connections to dead ones; the default is 60
    /// s.
    pub fn keepalive(mut self, idle: Option<Duration>) -> Server {
        self.settings.keepalive = idle;
        self
    }

    /// Closes a connection whose peer does not acknowledge sent data for this long
    /// (`TCP_USER_TIMEOUT`); the default is the system's limit, about 15 minutes.
    pub fn user_timeout(mut self, limit: Option<Duration>) -> Server {
        self.settings.user_timeout = limit;
        self
    }

    /// Closes connections gracefully, within a time limit: shuts down the sending side, then reads
    /// and discards what the client still sends until it closes too. The default, `None`, closes at
    /// once.
    ///
    /// If a connection is closed while bytes of the client are unread or still arriving, it is
    /// reset, and the client may lose an answer that it has not read yet. That concerns handlers
    /// that answer without reading everything (a refusal, an error). The connection counts as being
    /// served until it is closed.
    #[doc(alias = "lingering_close")]
    pub fn linger_close(mut self, limit: Option<Duration>) -> Server {
        self.settings.linger_close = limit;
        self
    }

    /// Calls `f` with each error that a handler ends with, and the address of the connection's
    /// peer.
    ///
    /// By default a line on stderr reports them, at most one per second, with a count of those left
    /// out; normal ends of connections (the peer closed it, the idle limit, a stop) are not
    /// reported there. `f` runs where the handler ran, and may block only if a handler may block
    /// there.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use fiveways::net::TcpStream;
    /// use fiveways::server::Server;
    ///
    /// fn refuse(stream: TcpStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ///     Err("not today".into())
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = Server::bind("127.0.0.1:4000")?;
    /// server.on_error(|peer, error| eprintln!("{peer}: {error}")).serve(refuse)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_error(
        mut self,
        f: impl Fn(SocketAddr, Box<dyn Error + Send + Sync>) + Send + Sync + 'static,
    ) -> Server {
        self.settings.on_error = OnError::new(f);
        self
    }

    /// Sends small writes at once (`TCP_NODELAY`); the default is `true`.
    pub fn nodelay(mut self, on: bool) -> Server {
        self.settings.nodelay = on;
        self
    }

    /// Sets how long connections may continue after a stop; the default is 10 s.
    pub fn drain(mut self, limit: Duration) -> Server {
        self.settings.drain = limit;
        self
    }

    /// Makes a stop close connections that are idle between two requests. The default is `false`:
    /// they continue until their clients close them or the drain deadline comes.
    ///
    /// For protocols whose clients keep a connection open for the next request. While the server
    /// drains, the reads of an idle connection end: the handler's next read returns 0, as if the
    /// client had closed, and the handler ends. The connection is not changed otherwise: what the
    /// handler writes is sent, and a request that has arrived in the meantime is read and served
    /// first.
    ///
    /// A connection is idle if the server was the last to send and every byte that arrived was
    /// received, for about 50 ms; or if nothing has arrived on it, for half a second. One in the
    /// middle of a request continues until the request is answered or the drain deadline comes.
    /// Protocols differ: if a client continues one request after it was sent something (`100
    /// Continue`), or sends data that is never answered, the handler should end by itself on
    /// [`Control::stopping`]. Bytes that a handler moves through the raw descriptor are not seen;
    /// after it has received bytes of the client in this way, the connection does not count as idle
    /// any more.
    ///
    /// Half a request that arrived together with the previous one keeps a connection from being
    /// idle if the handler reads through the `BufRead` of the stream itself. Bytes in a buffer of
    /// the handler's own, such as a `BufReader`, count as received, and the answer to the first
    /// request as one to both.
    #[doc(alias("keep_alive", "graceful_shutdown", "close_idle_connections"))]
    pub fn close_idle_on_stop(mut self, on: bool) -> Server {
        self.settings.closes_idle = on;
        self
    }

    /// Sets the longest time a worker spins before it sleeps; zero turns spinning off. See
    /// [`Builder::spin`](crate::runtime::Builder::spin).
    pub fn spin(mut self, limit: Duration) -> Server {
        self.settings.spin = limit;
        self
    }

    /// Sets the stack size of handlers.
    pub fn stack_size(mut self, bytes: usize) -> Server {
        self.settings.stack_size = bytes;
        self
    }

    /// Stops gracefully on SIGINT and SIGTERM; the default is `true`.
    pub fn handle_signals(mut self, on: bool) -> Server {
        self.settings.signals = on;
        self
    }

    /// Calls `tell` once with the address, when clients may connect and a signal stops the server
    /// gracefully: the place to print "listening on …", to write a PID file, or to notify a service
    /// manager. With several processes it is called before any is forked. If it returns an error,
    /// the server ends with that error.
    ///
    /// A notification that is sent *before* [`serve`](Server::serve) may reach its receiver, and
    /// the receiver's signal the process, before the signal handlers are installed.
    #[doc(alias("sd_notify", "when_ready"))]
    pub fn on_ready(
        mut self,
        tell: impl FnOnce(SocketAddr) -> io::Result<()> + Send + 'static,
    ) -> Server {
        self.ready = Ready(Some(Box::new(tell)));
        self
    }

    /// Serves until stopped.
    ///
    /// # Suspends
    ///
    /// Blocks the calling thread until the server has ended. Call it on a plain thread.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for more workers, processes or threads than are supported. Also fails if the
    /// model is not available on this machine, if several processes are requested after the program
    /// has started a thread or are to share a listener under a model that cannot, and if the
    /// listener itself fails.
    pub fn serve(self, handler: impl Handler) -> io::Result<Report> {
        self.settings.check()?;
        if self.settings.processes > 1 {
            return processes::supervise(self, Arc::new(handler));
        }
        self.serve_here(Arc::new(handler))
    }

    /// Takes the function to call when the server is ready.
    fn take_ready(&mut self) -> impl FnOnce() -> io::Result<()> + use<> {
        let (tell, address) = (self.ready.0.take(), self.local_addr());
        move || tell.map_or(Ok(()), |tell| tell(address?))
    }

    /// Serves in this process.
    fn serve_here(mut self, handler: Arc<impl Handler>) -> io::Result<Report> {
        let ready = self.take_ready();
        let Server { listener, settings, control, .. } = self;
        let _signals = settings.signals.then(|| control.on_signals(OnSignal::Stop)).transpose()?;
        handler.begin()?;
        ready()?;
        let admission = Arc::new(Admission::new(&settings, control.clone()));
        let cut_short = if settings.model.is_cooperative() {
            tasks::serve(listener, &settings, &control, &admission, handler)
        } else {
            threads::serve(listener, &settings, &control, &admission, handler)
        };
        admission.complaints().end();
        Ok(Report { stats: control.stats(), cut_short: cut_short? })
    }
}
