//! The arms of a `select!` that watch descriptors.
//!
//! A plain thread that waits for nothing else polls them itself. Otherwise each has a scout that
//! waits for its descriptor and then selects the waiter: in a task, another task of the same
//! worker, through the worker's driver; on a plain thread, another thread, in `poll(2)`. A scout is
//! cancelled, and has ended, before `select!` returns.
//!
//! Streams of this library are watched by their own descriptor and generation; everything else by a
//! duplicate, so that no driver confuses it with state that it holds for the same number.
#![expect(unsafe_code, reason = "a scout waits on a stream that its arm has borrowed")]

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use fiveways_driver::{Op, Source};
use fiveways_runtime::{
    JoinHandle, Selection, Spawn, WaitQueue, Waiter, assert_may_park, clock, hand_to_thread,
    in_task, perform, thread_scope, without_interruption, yield_now,
};
use fiveways_sys::event_fd::EventFd;
use fiveways_sys::lock::{Mutex, MutexGuard};
use fiveways_sys::multiplex::poll;
use fiveways_sys::net;

use crate::descriptor::Descriptor;
use crate::net::stream::Stream;
use crate::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use crate::sync::select::{Arm, Arms};

/// Objects that a [`select!`](crate::select) can watch for readiness.
///
/// For other objects that have a descriptor, pass [`BorrowedFd`](std::os::fd::AsFd::as_fd).
pub trait Watch {
    #[doc(hidden)]
    fn watched(&self) -> Watched<'_>;
}

/// How an object is watched.
#[doc(hidden)]
pub struct Watched<'a>(How<'a>);

#[derive(Clone, Copy)]
enum How<'a> {
    Stream(&'a Stream),
    Descriptor(BorrowedFd<'a>),
}

/// An entry for a plain thread's poll.
pub(super) type Watchable = poll::Entry;

/// Waits for readiness.
#[doc(hidden)]
pub struct ReadinessArm<'a> {
    how: How<'a>,
    writable: bool,
    found: Arc<Mutex<Found>>,
    scout: Option<Scout>,
}

/// The result of a scout, and the waiter it is for.
#[derive(Default)]
struct Found {
    /// Kept if the arm is not chosen, and ignored then.
    answer: Option<io::Result<()>>,
    queue: WaitQueue,
}

enum Scout {
    Task(JoinHandle<()>),
    /// The eventfd that cancels it, and the channel that it drops at its end.
    Thread(Arc<EventFd>, Receiver<Infallible>),
}

impl<'a> ReadinessArm<'a> {
    /// Makes an arm that waits until the object is readable, at its end, or in error.
    pub fn readable(what: &'a impl Watch) -> ReadinessArm<'a> {
        ReadinessArm::new(what, false)
    }

    /// Makes an arm that waits until the object is writable, or in error.
    pub fn writable(what: &'a impl Watch) -> ReadinessArm<'a> {
        ReadinessArm::new(what, true)
    }

    fn new(what: &'a impl Watch, writable: bool) -> ReadinessArm<'a> {
        let Watched(how) = what.watched();
        ReadinessArm { how, writable, found: Arc::default(), scout: None }
    }

    /// Returns whether it could be watched at all, after the arm was chosen.
    pub fn finish(self) -> io::Result<()> {
        lock(&self.found).answer.take().unwrap_or(Ok(()))
    }

    /// Returns `true` if it is ready now.
    fn look(&self) -> io::Result<bool> {
        if let (How::Stream(stream), false) = (self.how, self.writable)
            && stream.is_ahead()
        {
            return Ok(true);
        }
        net::wait_ready(self.how.fd(), self.writable, Some(clock::machine()))
    }

    /// Starts a scout.
    fn watch(&self, number: Selection) -> io::Result<Scout> {
        let found = Arc::clone(&self.found);
        let tell = move |result: io::Result<()>| {
            let mut found = lock(&found);
            found.answer = Some(result);
            let chosen = found.queue.select_first(number);
            drop(found);
            if let Some(unparker) = chosen {
                unparker.unpark();
            }
        };
        let writable = self.writable;
        if !in_task() {
            return thread_scout(self.how.fd(), writable, tell);
        }
        // Checked now: later there would be a scout, whose end must be waited for.
        assert_may_park(None);
        let spawn = Spawn::new().name("select");
        let task = match self.how {
            How::Stream(stream) => {
                let source = stream.socket.source();
                spawn.spawn_local(move || tell_unless_called_back(wait(source, writable), tell))
            }
            How::Descriptor(fd) => {
                let descriptor = Descriptor::new_shared(net::duplicate(fd)?);
                spawn.spawn_local(move || {
                    tell_unless_called_back(descriptor.wait(writable, None), tell);
                })
            }
        };
        task.map(Scout::Task)
    }
}

/// Waits on a stream that its arm has borrowed.
fn wait(source: Source, writable: bool) -> io::Result<()> {
    let op = if writable { Op::Writable { source } } else { Op::Readable { source } };
    // SAFETY: required: the descriptor stays open. The arm borrows its socket, and the scout has
    // ended before `select!` returns or unwinds.
    unsafe { perform(op, None) }.map(drop)
}

/// A scout that is cancelled returns no result.
fn tell_unless_called_back(result: io::Result<()>, tell: impl FnOnce(io::Result<()>)) {
    if !fiveways_runtime::is_cancelled() {
        tell(result);
    }
}

/// A thread that polls until the descriptor is ready or the scout is cancelled.
fn thread_scout(
    fd: BorrowedFd<'_>,
    writable: bool,
    tell: impl FnOnce(io::Result<()>) + Send + 'static,
) -> io::Result<Scout> {
    let fd = net::duplicate(fd)?;
    let back = Arc::new(EventFd::new()?);
    let call = Arc::clone(&back);
    let (ends, ended) = mpsc::channel();
    let scouting = move || {
        let mut table = [entry(fd.as_fd(), writable), poll::Entry::new(call.as_fd(), poll::IN)];
        let result = poll(&mut table, None);
        if table[1].answer() == 0 {
            tell(result);
        }
        drop((fd, call));
        drop(ends);
    };
    // An idle helper thread or a new one: this never waits for a thread.
    if let Err(scouting) = hand_to_thread(Box::new(scouting)) {
        thread::Builder::new().name("select".to_owned()).spawn(scouting)?;
    }
    Ok(Scout::Thread(back, ended))
}

fn entry(fd: BorrowedFd<'_>, writable: bool) -> poll::Entry {
    poll::Entry::new(fd, if writable { poll::OUT } else { poll::IN })
}

/// On a plain thread, waits for descriptors and deadlines, the first of which is `until`, if there
/// is nothing else to wait for; otherwise returns `false`.
pub(super) fn has_polled(arms: &Arms<'_, '_>, until: Option<Instant>) -> bool {
    if in_task() || !arms.iter().all(|arm| arm.watched().is_some() || arm.time().is_some()) {
        return false;
    }
    let mut table: Vec<_> = arms.iter().filter_map(|arm| arm.watched()).collect();
    if table.is_empty() {
        return false;
    }
    let scope = thread_scope();
    if scope.is_some_and(|scope| scope <= clock::now()) {
        // No arm was ready: the `timeout` scope ends this wait, as any other.
        yield_now();
    }
    poll(&mut table, until.into_iter().chain(scope).min()).is_ok()
}

/// Waits until an entry of the table is ready, or the deadline has passed.
fn poll(table: &mut [poll::Entry], until: Option<Instant>) -> io::Result<()> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(clock::now()));
        match poll::poll(table, left) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(drop),
        }
    }
}

impl Scout {
    /// Cancels it and waits for its end.
    fn end(self) {
        // A scout's result does not matter any more; it does not panic.
        match self {
            Scout::Task(task) => {
                task.cancel();
                let _ = without_interruption(|| task.join());
            }
            Scout::Thread(back, ended) => {
                back.add_one();
                let _ = ended.recv();
            }
        }
    }
}

impl Arm for ReadinessArm<'_> {
    fn attempt(&mut self) -> bool {
        // Without a scout there is nothing to wait for.
        if matches!(lock(&self.found).answer, Some(Err(_))) {
            return true;
        }
        match self.look() {
            Ok(ready) => ready,
            Err(error) => {
                lock(&self.found).answer = Some(Err(error));
                true
            }
        }
    }

    unsafe fn join(&mut self, waiter: Pin<&Waiter>, number: Selection) -> bool {
        // The scout of an earlier attempt may have another number.
        self.end();
        lock(&self.found).queue.enqueue(waiter);
        match self.watch(number) {
            Ok(scout) => self.scout = Some(scout),
            Err(error) => lock(&self.found).answer = Some(Err(error)),
        }
        self.scout.is_some()
    }

    fn leave(&self, waiter: Pin<&Waiter>, _number: Selection) {
        lock(&self.found).queue.remove(waiter);
    }

    fn end(&mut self) {
        if let Some(scout) = self.scout.take() {
            scout.end();
        }
    }

    fn must_end(&self) -> bool {
        true
    }

    fn watched(&self) -> Option<Watchable> {
        Some(entry(self.how.fd(), self.writable))
    }
}

fn lock(found: &Mutex<Found>) -> MutexGuard<'_, Found> {
    found.lock()
}

impl<'a> How<'a> {
    fn fd(self) -> BorrowedFd<'a> {
        match self {
            How::Stream(stream) => stream.socket.as_fd(),
            How::Descriptor(fd) => fd,
        }
    }
}

impl<W: Watch + ?Sized> Watch for &W {
    fn watched(&self) -> Watched<'_> {
        (**self).watched()
    }
}

impl<W: Watch + ?Sized> Watch for &mut W {
    fn watched(&self) -> Watched<'_> {
        (**self).watched()
    }
}

/// Streams of this library.
macro_rules! watch_streams {
    ($($type:ty),+) => {$(
        impl Watch for $type {
            fn watched(&self) -> Watched<'_> {
                Watched(How::Stream(self.stream()))
            }
        }
    )+};
}

/// Objects that have a descriptor, and no bytes that were received and not used.
macro_rules! watch_descriptors {
    ($($type:ty),+) => {$(
        impl Watch for $type {
            fn watched(&self) -> Watched<'_> {
                Watched(How::Descriptor(self.as_fd()))
            }
        }
    )+};
}

watch_streams!(TcpStream, UnixStream);

watch_descriptors!(
    TcpListener,
    UdpSocket,
    UnixListener,
    UnixDatagram,
    BorrowedFd<'_>,
    std::os::fd::OwnedFd,
    std::fs::File,
    io::PipeReader,
    io::PipeWriter,
    io::Stdin,
    std::net::TcpListener,
    std::net::TcpStream,
    std::net::UdpSocket,
    std::os::unix::net::UnixDatagram,
    std::os::unix::net::UnixListener,
    std::os::unix::net::UnixStream,
    std::process::ChildStderr,
    std::process::ChildStdin,
    std::process::ChildStdout
);
