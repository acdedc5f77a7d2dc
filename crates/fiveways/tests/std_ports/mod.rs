//! What the ports of std's test suites share: every case runs on plain threads and in tasks of
//! every model, with one worker and, where a second one is interesting, with two.
//!
//! The cases themselves were written from the behaviours that std's suites for these types check;
//! they carry the same names. A case is a function that gives `io::Result<()>`; it starts others
//! with [`go`] and waits for them with [`Handle::join`] or a [`bell`], which do the right thing on
//! threads and in tasks. On a runtime with two workers `go` starts tasks on the other worker.
#![allow(dead_code, reason = "each suite uses a part of it")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use fiveways::Model;
use fiveways::net::{TcpListener, TcpStream, UnixStream};
use fiveways::runtime::{Runtime, current};
use fiveways::task;

/// After this long a case hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a case runs.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Threads,
    Tasks { model: Model, workers: usize },
}

impl Place {
    pub(crate) const fn tasks(model: Model) -> Place {
        Place::Tasks { model, workers: 1 }
    }

    pub(crate) const fn two_workers(model: Model) -> Place {
        Place::Tasks { model, workers: 2 }
    }
}

/// Runs a case in a place; panics with its panic, its error, or its silence.
pub(crate) fn run(place: Place, case: fn() -> io::Result<()>) {
    if let Place::Tasks { model, .. } = place
        && let Err(error) = fiveways::support(model)
    {
        assert!(std::env::var_os("CI").is_none(), "the model {model} is missing: {error}");
        eprintln!("left out: the model {model} is missing here: {error}");
        return;
    }
    let (tell, told) = channel();
    let running = thread::spawn(move || {
        let result = match place {
            Place::Threads => case(),
            Place::Tasks { model, workers } => {
                let runtime = Runtime::builder().model(model).workers(workers).build();
                runtime.expect("the model is supported").block_on(case)
            }
        };
        // Nobody listens any more after the patience has ended.
        let _ = tell.send(result);
    });
    match told.recv_timeout(PATIENCE) {
        Ok(result) => result.expect("the case succeeds"),
        Err(RecvTimeoutError::Timeout) => panic!("the case hangs"),
        Err(RecvTimeoutError::Disconnected) => {
            resume_unwind(running.join().expect_err("it told nothing because it panicked"));
        }
    }
}

/// Makes a test of each case in each place.
macro_rules! everywhere {
    ($($case:ident),* $(,)?) => {
        everywhere!(@ threads, Place::Threads, $($case)*);
        everywhere!(@ nonblocking, Place::tasks(Model::Nonblocking), $($case)*);
        everywhere!(@ select, Place::tasks(Model::Select), $($case)*);
        everywhere!(@ poll, Place::tasks(Model::Poll), $($case)*);
        everywhere!(@ epoll, Place::tasks(Model::Epoll), $($case)*);
        everywhere!(@ epoll_et, Place::tasks(Model::EpollEt), $($case)*);
        everywhere!(@ signal, Place::tasks(Model::Signal), $($case)*);
        everywhere!(@ uring, Place::tasks(Model::Uring), $($case)*);
        everywhere!(@ poll_two, Place::two_workers(Model::Poll), $($case)*);
        everywhere!(@ epoll_two, Place::two_workers(Model::EpollEt), $($case)*);
        everywhere!(@ signal_two, Place::two_workers(Model::Signal), $($case)*);
        everywhere!(@ uring_two, Place::two_workers(Model::Uring), $($case)*);
    };
    (@ $name:ident, $place:expr, $($case:ident)*) => {
        mod $name {
            #[allow(unused_imports, reason = "a thread has no model")]
            use fiveways::Model;
            use crate::std_ports::{Place, run};

            $(
                #[test]
                fn $case() {
                    run($place, crate::$case);
                }
            )*
        }
    };
}

pub(crate) use everywhere;

/// Something that was started by [`go`].
pub(crate) enum Handle<T> {
    Thread(thread::JoinHandle<T>),
    Task(task::JoinHandle<T>),
}

/// Starts something beside the caller: a task in a task, a thread on a thread.
pub(crate) fn go<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Handle<T> {
    if !task::in_task() {
        return Handle::Thread(thread::spawn(f));
    }
    let last = current().workers() - 1;
    Handle::Task(task::Builder::new().worker(last).spawn(f).expect("there is memory for a stack"))
}

impl<T> Handle<T> {
    /// Waits for its end and gives its value; panics with its panic.
    pub(crate) fn join(self) -> T {
        match self {
            Handle::Thread(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Handle::Task(task) => task.join().unwrap_or_else(|error| error.resume()),
        }
    }
}

/// Rings, from another thread or task.
pub(crate) struct Hammer(UnixStream);

/// Waits for its hammer.
pub(crate) struct Bell(UnixStream);

/// Makes a way to tell another thread or task that something has happened.
pub(crate) fn bell() -> io::Result<(Hammer, Bell)> {
    let (hammer, bell) = UnixStream::pair()?;
    Ok((Hammer(hammer), Bell(bell)))
}

impl Hammer {
    /// Rings once.
    pub(crate) fn ring(&self) -> io::Result<()> {
        (&self.0).write_all(&[0])
    }
}

impl Bell {
    /// Waits for one ring.
    pub(crate) fn wait(&self) -> io::Result<()> {
        (&self.0).read_exact(&mut [0])
    }
}

/// Free ports of the loopback addresses, IPv4 and IPv6.
pub(crate) fn each_ip(case: impl Fn(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    case((Ipv4Addr::LOCALHOST, 0).into())?;
    case((Ipv6Addr::LOCALHOST, 0).into())
}

/// Asserts that a result is an error of one of some kinds.
#[track_caller]
pub(crate) fn assert_kind<T: std::fmt::Debug>(result: io::Result<T>, kinds: &[io::ErrorKind]) {
    let error = result.expect_err("it must fail");
    assert!(kinds.contains(&error.kind()), "{error:?}");
}

/// A folder of its own, gone with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// Makes it.
    pub(crate) fn new() -> io::Result<Folder> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fiveways-unix-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Folder(path))
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is left to the system's cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A name that no other test has.
pub(crate) fn abstract_address() -> io::Result<UnixAddr> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    UnixAddr::from_abstract_name(format!("fiveways/{}/{number}", std::process::id()))
}

/// A listener, and the address to find it at.
pub(crate) fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Both ends of a connection.
pub(crate) fn connected(address: SocketAddr) -> io::Result<(TcpStream, TcpStream)> {
    let (listener, address) = listen(address)?;
    let client = TcpStream::connect(address)?;
    let (server, _) = listener.accept()?;
    Ok((client, server))
}

/// A free port.
pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
