//! A server: a listener, a handler, and a model to run it on.
//!
//! ```text
//!   Server::bind ─▶ settings ─▶ serve(handler)
//!                                 │ processes > 1: a supervisor forks children, each of them:
//!                                 ├─ blocking, threads, pool: accept here, serve on threads
//!                                 └─ other models: accept in a task, serve in tasks of all workers
//! ```
//!
//! One connection's trouble stays its own: a reset, an error or a panic of its handler ends that
//! connection only (D03, D28). Running out of descriptors pauses accepting; connections wait in the
//! backlog and none is lost (D19). A stop (SIGTERM, SIGINT, [`Control::stop`]) ends accepting, lets
//! connections finish until the drain deadline, then ends them; a second one ends them at once
//! (D29).

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

/// A bound server that does not serve yet.
///
/// Binds loopback unless told otherwise: give the address that you mean.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    settings: Settings,
    control: Control,
    ready: Ready,
}

/// What is called when the server is ready.
#[derive(Default)]
struct Ready(Option<OnReady>);

type OnReady = Box<dyn FnOnce(SocketAddr) -> io::Result<()> + Send>;

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready").field(&self.0.is_some()).finish()
    }
}

/// What a server did, told when it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Its counts. With several processes, the sum of what each reported at its end; a process
    /// that was killed or crashed reports nothing.
    pub stats: Stats,
    /// Connections that had to be ended because the drain deadline came (or a second stop); with
    /// several processes, in all of them.
    pub cut_short: usize,
}

impl Report {
    /// Adds what another process did.
    fn add(&mut self, other: &Report) {
        let mut counts = self.stats.to_array();
        for (count, more) in counts.iter_mut().zip(other.stats.to_array()) {
            *count += more;
        }
        self.stats = Stats::from_array(counts);
        self.cut_short += other.cut_short;
    }
}

/// What serves a connection: called once for each, in a task or on a thread.
///
/// Functions and closures that take a [`TcpStream`] and give `Result<(), E>` are handlers.
pub trait Handler: Send + Sync + 'static {
    /// What a connection may end with: [`io::Error`], `Box<dyn Error + Send + Sync>`,
    /// `anyhow::Error`, an error of your own.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// Serves one connection until its end.
    ///
    /// # Errors
    ///
    /// Whatever ended the connection; it is counted and heard ([`Server::on_error`]), and nobody
    /// else is concerned.
    fn serve(&self, stream: TcpStream) -> Result<(), Self::Error>;

    /// Prepares the process that serves; does nothing unless it is implemented.
    ///
    /// Called once before the first connection, on the thread that serves; with several
    /// [`processes`](Server::processes), in each of them, which may start threads from here on.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from serving: the server ends with it, or the one process, which is
    /// replaced.
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
    /// Binds to the first address that can be had, with the system's longest backlog.
    ///
    /// # Errors
    ///
    /// The kernel's, of the last address tried.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<Server> {
        let mut server = Server::new(TcpListener::bind(address)?)?;
        server.settings.listen_mode = ListenMode::Auto;
        Ok(server)
    }

    /// Binds with a backlog of its own and, on wish, with `SO_REUSEPORT`, so that several
    /// listeners share the port.
    ///
    /// # Errors
    ///
    /// The kernel's, of the last address tried.
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

    /// Serves on a listener that exists already. Several processes share it
    /// ([`ListenMode::Shared`]).
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a descriptor that is no TCP listener (a Unix listener, say, or a socket
    /// that does not listen); when there is no descriptor left.
    pub fn new(listener: TcpListener) -> io::Result<Server> {
        listener.check()?;
        let (mut settings, ready) = (Settings::default(), Ready::default());
        settings.listen_mode = ListenMode::Shared;
        Ok(Server { listener, settings, control: Control::new()?, ready })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// A handle to stop it and to read its counts, from anywhere.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Sets the model; `auto` unless set.
    pub fn model(mut self, model: Model) -> Server {
        self.settings.model = model;
        self
    }

    /// Sets how many workers (threads with coroutines) each process has; 1 unless set. Of no
    /// concern to the models that run on threads.
    pub fn workers(mut self, workers: usize) -> Server {
        self.settings.workers = workers.max(1);
        self
    }

    /// Sets how many processes serve; 1 unless set: no fork. More than one must be asked for before
    /// the program has started any thread. [`ListenMode`] says how they share the port.
    pub fn processes(mut self, processes: usize) -> Server {
        self.settings.processes = processes.max(1);
        self
    }

    /// Sets the number of threads of the model `pool`; four for each processor unless set.
    pub fn pool_size(mut self, threads: usize) -> Server {
        self.settings.pool_size = Some(threads.max(1));
        self
    }

    /// Limits the connections served at a time by each process, and says what happens to more
    ///.
    pub fn max_connections(mut self, limit: usize, overload: Overload) -> Server {
        self.settings.max_connections = limit.max(1);
        self.settings.overload = overload;
        self
    }

    /// Ends connections on which nothing moves for this long, neither in nor out, through whichever
    /// value for the connection; `None`: never. One minute unless set under `blocking` and
    /// `pool`, where a silent client holds a thread, else never.
    ///
    /// The handler's call that waits then fails, with a
    /// [`TimeoutError`](crate::net::TimeoutError) as its source.
    pub fn idle_timeout(mut self, limit: Option<Duration>) -> Server {
        self.settings.idle = Some(limit);
        self
    }

    /// Limits each read of a handler; no limit unless set.
    pub fn read_timeout(mut self, limit: Option<Duration>) -> Server {
        self.settings.read = limit;
        self
    }

    /// Limits each write of a handler; no limit unless set.
    pub fn write_timeout(mut self, limit: Option<Duration>) -> Server {
        self.settings.write = limit;
        self
    }

    /// Probes silent peers at this interval and gives dead ones up; 60 s unless set.
    pub fn keepalive(mut self, idle: Option<Duration>) -> Server {
        self.settings.keepalive = idle;
        self
    }

    /// Gives a peer up that does not acknowledge what was sent for this long
    /// (`TCP_USER_TIMEOUT`); the system's limit, some 15 minutes, unless set.
    pub fn user_timeout(mut self, limit: Option<Duration>) -> Server {
        self.settings.user_timeout = limit;
        self
    }

    /// Closes connections in order, within a time limit: says that nothing more comes, and reads
    /// what the client still sends until it closes too. `None`, unless set: closes at once.
    ///
    /// A connection that is closed while bytes of the client are unread, or still come, is reset:
    /// then the client may lose an answer that it has not read yet. That concerns handlers that
    /// answer without reading everything (a refusal, an error). The connection counts as served
    /// until it is closed.
    #[doc(alias = "lingering_close")]
    pub fn linger_close(mut self, limit: Option<Duration>) -> Server {
        self.settings.linger_close = limit;
        self
    }

    /// Calls `f` with each error that a handler ends with, and the peer of its connection.
    ///
    /// Unless set, a line on stderr tells of them, at most one a second, with a count of those
    /// that were left out; how connections end every day (the peer has gone, the idle limit, a
    /// stop) is left out there. `f` runs where the handler ran, and may block only where that may.
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

    /// Sends small writes at once (`TCP_NODELAY`); on unless turned off.
    pub fn nodelay(mut self, on: bool) -> Server {
        self.settings.nodelay = on;
        self
    }

    /// Sets how long connections may go on after a stop; 10 s unless set.
    pub fn drain(mut self, limit: Duration) -> Server {
        self.settings.drain = limit;
        self
    }

    /// Has a stop close connections that are idle between two requests; they go on until their
    /// clients end them, or the drain deadline comes, unless turned on.
    ///
    /// For protocols whose clients keep a connection for the next request. While the server drains,
    /// the reads of an idle connection end: the handler's next read gives 0, as if the client had
    /// closed, and the handler ends. Nothing else is done to the connection: what the handler
    /// writes is sent, and a request that has come meanwhile is read and served first.
    ///
    /// Idle is a connection on which the server moved bytes last and every byte that came was
    /// received, for some 50 ms; and one on which nothing has come, for half a second. One in the
    /// middle of a request is left until it was answered, or until the drain deadline. Protocols
    /// differ: where a client goes on with one request after it was sent something (`100
    /// Continue`), or sends what is never answered, a handler does better that ends by itself on
    /// [`Control::stopping`]. What a handler moves by the bare descriptor is not seen; once bytes
    /// of the client were received so, the connection is not idle any more.
    ///
    /// Half a request that came together with the one before keeps a connection from being idle if
    /// the handler reads by the `BufRead` of the stream itself. What lies in a buffer of the
    /// handler's own, such as a `BufReader`, counts as received, and the answer to the first
    /// request as one to both.
    #[doc(alias("keep_alive", "graceful_shutdown", "close_idle_connections"))]
    pub fn close_idle_on_stop(mut self, on: bool) -> Server {
        self.settings.closes_idle = on;
        self
    }

    /// Sets the longest spin before a worker sleeps; zero turns it off. See
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

    /// Stops gracefully on SIGINT and SIGTERM; on unless turned off.
    pub fn handle_signals(mut self, on: bool) -> Server {
        self.settings.signals = on;
        self
    }

    /// Has `tell` called once with the address, when clients may come and a signal stops the server
    /// in order: the place to say "listening on …", to write a file with the process number, or to
    /// tell a service manager. With several processes, before any is forked. An error of it ends
    /// the server.
    ///
    /// What is told *before* [`serve`](Server::serve) may be heard, and the signal be sent, before
    /// there is anybody to take it.
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
    /// Blocks the calling thread until the server has ended. Call it from a plain thread.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for more workers, processes or threads than any machine has room for. When
    /// the model is not to be had here, when processes are asked for too late or are to share a
    /// listener under a model that cannot, or when the listener itself fails.
    pub fn serve(self, handler: impl Handler) -> io::Result<Report> {
        self.settings.check()?;
        if self.settings.processes > 1 {
            return processes::supervise(self, Arc::new(handler));
        }
        self.serve_here(Arc::new(handler))
    }

    /// Takes what is to be called when the server is ready.
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
