//! A server's settings.

use std::io;
use std::time::Duration;

use fiveways_driver::Model;
use fiveways_runtime::Builder;

use crate::net::TcpStream;
use crate::server::complaints::OnError;

/// What happens to connections beyond the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Overload {
    /// They wait in the backlog until another connection ends.
    #[default]
    Wait,
    /// They are accepted and closed at once, so that clients can go elsewhere.
    Refuse,
}

/// How several processes listen on one port.
///
/// Measured with idle processes and forty consecutive connections (Linux 6, two processors): with a
/// listener for each process, one process wakes per connection, under every model, and connections
/// spread evenly (between 16:24 and 23:17 over two). One shared listener wakes all six of six; with
/// exclusive waits (`EPOLLEXCLUSIVE`) it wakes one, but always the same (40:0) unless each
/// re-registers at the end of the queue after a connection (20:20), which is possible only for
/// waits by `epoll`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ListenMode {
    /// One listener for each process, as [`ReusePort`](ListenMode::ReusePort), except under
    /// `blocking`, where one is shared: a client must not wait for a busy process while another is
    /// free.
    #[default]
    Auto,
    /// All processes accept from one listener. A queued connection goes to any process that is
    /// free, and to another one when a process dies: none is lost. Under the models that run on
    /// threads one process wakes per connection, in turn; under the others all idle processes wake.
    /// Refused under `signal`, whose listener notifies only one process.
    Shared,
    /// Each process has a listener of its own (`SO_REUSEPORT`); the kernel distributes connections
    /// by their addresses, so a busy or full process keeps those assigned to it. The supervisor
    /// keeps the listeners open: what is queued for a process that dies waits for its replacement.
    /// Only when processes die young repeatedly, so that the replacement is delayed for a second or
    /// longer, is their listener closed in the meantime: queued connections are reset, and the
    /// other processes get its share.
    ReusePort,
}

impl ListenMode {
    /// Returns `true` if each of several processes has a listener under this model.
    pub(crate) fn is_one_each(self, model: Model) -> bool {
        match self {
            ListenMode::Auto => model != Model::Blocking,
            ListenMode::Shared => false,
            ListenMode::ReusePort => true,
        }
    }
}

/// The maximum number of processes of one server.
const MOST_PROCESSES: usize = 4_096;

/// The maximum number of threads of a pool: the kernel's usual limit for a process.
const MOST_THREADS: usize = 32_768;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) model: Model,
    pub(crate) workers: usize,
    pub(crate) processes: usize,
    pub(crate) pool_size: Option<usize>,
    pub(crate) max_connections: usize,
    pub(crate) overload: Overload,
    pub(crate) listen_mode: ListenMode,
    /// `true` if other processes accept from the same listener.
    pub(crate) shares_listener: bool,
    pub(crate) backlog: i32,
    /// `None`: not set; the model decides.
    pub(crate) idle: Option<Option<Duration>>,
    pub(crate) read: Option<Duration>,
    pub(crate) write: Option<Duration>,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) nodelay: bool,
    pub(crate) drain: Duration,
    pub(crate) closes_idle: bool,
    pub(crate) spin: Duration,
    pub(crate) stack_size: usize,
    pub(crate) signals: bool,
    pub(crate) on_error: OnError,
    pub(crate) linger_close: Option<Duration>,
    pub(crate) user_timeout: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            model: Model::Auto,
            workers: 1,
            processes: 1,
            pool_size: None,
            max_connections: usize::MAX,
            overload: Overload::default(),
            listen_mode: ListenMode::default(),
            shares_listener: false,
            backlog: i32::MAX,
            idle: None,
            read: None,
            write: None,
            keepalive: Some(Duration::from_secs(60)),
            nodelay: true,
            drain: Duration::from_secs(10),
            closes_idle: false,
            spin: Builder::DEFAULT_SPIN,
            stack_size: Builder::DEFAULT_STACK_SIZE,
            signals: true,
            on_error: OnError::default(),
            linger_close: None,
            user_timeout: None,
        }
    }
}

impl Settings {
    /// Rejects sizes beyond what is supported.
    pub(crate) fn check(&self) -> io::Result<()> {
        let pool = self.pool_size.unwrap_or(1);
        let sizes = [
            ("workers", self.workers, Builder::MOST_WORKERS),
            ("processes", self.processes, MOST_PROCESSES),
            ("threads of a pool", pool, MOST_THREADS),
        ];
        for (what, count, most) in sizes {
            if count > most {
                let message = format!("{count} {what} are requested; the maximum is {most}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
        Ok(())
    }

    /// The effective idle limit.
    fn idle_limit(&self) -> Option<Duration> {
        let holds_a_thread = matches!(self.model, Model::Blocking | Model::Pool);
        self.idle.unwrap_or_else(|| holds_a_thread.then_some(Duration::from_secs(60)))
    }

    /// Prepares an accepted connection.
    pub(crate) fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(self.read)?;
        stream.set_write_timeout(self.write)?;
        stream.set_idle_timeout(self.idle_limit())?;
        stream.socket().limits.set_linger_close(self.linger_close);
        if self.user_timeout.is_some() {
            stream.set_user_timeout(self.user_timeout)?;
        }
        if self.keepalive.is_some() {
            stream.set_keepalive(self.keepalive)?;
        }
        if self.nodelay {
            stream.set_nodelay(true)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D22: one silent client blocked all others for ever. Where a client holds a thread that
    /// others need, it is limited by default.
    #[test]
    fn d22_a_silent_client_is_limited_where_it_holds_a_thread() {
        for model in Model::ALL {
            let settings = Settings { model, ..Settings::default() };
            let expected = match model {
                Model::Blocking | Model::Pool => Some(Duration::from_secs(60)),
                _ => None,
            };
            assert_eq!(settings.idle_limit(), expected, "{model}");
            let told = Settings { idle: Some(None), ..settings };
            assert_eq!(told.idle_limit(), None, "{model}: told otherwise");
        }
    }
}
