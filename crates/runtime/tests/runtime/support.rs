//! Runtimes, sockets and time limits for the tests.
#![expect(unsafe_code, reason = "operations are performed by hand")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fiveways_driver::{Loan, Model, Op, Source};
use fiveways_runtime::{Builder, Runtime, close, perform};

/// Longer than anything here takes; a test that waits that long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// `ECANCELED`, the error that refuses a cancelled task.
pub(crate) const CANCELED: i32 = 125;

/// The models with coroutines, in the order of reports.
pub(crate) const MODELS: [Model; 7] = [
    Model::Nonblocking,
    Model::Select,
    Model::Poll,
    Model::Epoll,
    Model::EpollEt,
    Model::Signal,
    Model::Uring,
];

/// Runs a test on a fresh runtime of every model.
pub(crate) fn on_every_model(workers: usize, claim: impl Fn(&Runtime)) {
    for model in MODELS {
        eprintln!("on {model}");
        claim(&runtime_of(model, workers));
    }
}

/// A runtime over epoll, which every machine has.
pub(crate) fn runtime(workers: usize) -> Runtime {
    runtime_of(Model::Epoll, workers)
}

pub(crate) fn runtime_of(model: Model, workers: usize) -> Runtime {
    builder(model, workers).build().expect("the model is to be had here")
}

pub(crate) fn builder(model: Model, workers: usize) -> Builder {
    Runtime::builder().model(model).workers(workers)
}

/// Waits on the test's thread until a condition holds.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::yield_now();
    }
}

/// Runs `f` on a thread of its own and returns its value; fails if it takes too long.
pub(crate) fn in_time<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (tx, rx) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let value = f();
        let _ = tx.send(());
        value
    });
    if rx.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("it takes for ever");
    }
    thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// One end of a stream, for tasks and threads.
pub(crate) struct Socket {
    fd: Option<OwnedFd>,
    source: Source,
}

impl Socket {
    pub(crate) fn new(fd: impl Into<OwnedFd>) -> Socket {
        let fd = fd.into();
        let generation = NEXT.fetch_add(1, Ordering::Relaxed);
        Socket { source: Source { fd: fd.as_raw_fd(), generation }, fd: Some(fd) }
    }

    pub(crate) fn recv_by(&self, buf: &mut [u8], by: Option<Instant>) -> io::Result<usize> {
        let (source, len) = (self.source, buf.len());
        let op = Op::Recv { source, buf: buf.as_mut_ptr(), len, flags: 0 };
        // SAFETY: required: the buffer and the descriptor stay. They are borrowed.
        unsafe { perform(op, by) }
    }

    pub(crate) fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv_by(buf, None)
    }

    pub(crate) fn send(&self, buf: &[u8]) -> io::Result<usize> {
        let (source, len) = (self.source, buf.len());
        let op = Op::Send { source, buf: buf.as_ptr(), len, flags: 0 };
        // SAFETY: required: the buffer and the descriptor stay. They are borrowed.
        unsafe { perform(op, None) }
    }

    pub(crate) fn fill(&self) -> io::Result<Option<Loan>> {
        let mut loan = None;
        let op = Op::Fill { source: self.source, loan: &raw mut loan };
        // SAFETY: required: the place for the loan stays. It is a local.
        unsafe { perform(op, None) }?;
        Ok(loan)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            close(self.source, fd);
        }
    }
}

/// A stream whose near end is for tasks and whose far end is std's.
pub(crate) fn pair() -> (Socket, UnixStream) {
    let (near, far) = UnixStream::pair().expect("a pair");
    (Socket::new(near), far)
}

/// Runs a function when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Runs one test of this program in a process of its own, with `FIVEWAYS_CHILD` set.
pub(crate) fn in_a_child(test: &str, before: &str) -> Output {
    let program = std::env::current_exe().expect("our own path");
    let script = format!("{before} exec \"$0\" --exact {test} --nocapture --test-threads 1");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(program).env("FIVEWAYS_CHILD", test);
    command.output().expect("a child")
}

/// Returns `true` in that child process.
pub(crate) fn is_child() -> bool {
    std::env::var_os("FIVEWAYS_CHILD").is_some()
}
