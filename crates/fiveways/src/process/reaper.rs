//! Children whose handles were dropped before they ended, and the thread that collects them.
//!
//! The thread waits for the pidfds of all of them, and ends when none is left. If it cannot be
//! started, or there is no descriptor, they are checked whenever a child is started or dropped.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::{io, thread};

use fiveways_runtime::ServiceThread;
use fiveways_sys::lock::{Mutex, MutexGuard};
use fiveways_sys::multiplex::epoll::{Epoll, EventFlags};
use fiveways_sys::process::child;
use fiveways_sys::process::generation::PerProcess;
use fiveways_sys::process::{Patience, Pid};

/// The orphans of this process; a fork has none.
static REAPER: PerProcess<Mutex<Reaper>> = PerProcess::new();

#[derive(Default)]
struct Reaper {
    orphans: Vec<Orphan>,
    /// Readable when one of them has ended. `Some` while the thread runs.
    epoll: Option<Arc<Epoll>>,
}

struct Orphan {
    pid: u32,
    /// If `None`, the process id is used; it is not reused before the child is collected.
    pidfd: Option<OwnedFd>,
    /// `true` if the thread waits for it. Then the thread collects it, so that it knows when to
    /// end.
    watched: bool,
}

impl Orphan {
    /// Collects it if it has ended; returns `false` then.
    fn may_run(&mut self) -> bool {
        if self.pidfd.is_none() {
            let pid = Pid::from_raw(self.pid as i32).expect("a child has a number");
            match child::open(pid) {
                Ok(Some(pidfd)) => self.pidfd = Some(pidfd),
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
        let pidfd = self.pidfd.as_ref().expect("it is there now");
        matches!(child::collect(pidfd.as_fd(), Patience::Look), Ok(None))
    }
}

fn lock() -> MutexGuard<'static, Reaper> {
    REAPER.get(Mutex::default).lock()
}

/// Collects the orphans that have ended and are not watched by the thread.
pub(super) fn collect() {
    lock().orphans.retain_mut(|orphan| orphan.watched || orphan.may_run());
}

/// Hands over a child that may be running, to be collected when it has ended.
pub(super) fn leave(pid: u32, pidfd: Option<OwnedFd>) {
    let mut reaper = lock();
    let watched = pidfd.as_ref().is_some_and(|pidfd| {
        let added = |epoll: &Epoll| epoll.add(pidfd.as_fd(), EventFlags::IN, 0);
        reaper.watched().is_ok_and(|epoll| added(epoll).is_ok())
    });
    reaper.orphans.push(Orphan { pid, pidfd, watched });
}

impl Reaper {
    /// Collects all that have ended. Returns `true` if the thread still waits for one.
    fn collect(&mut self, epoll: &Epoll) -> bool {
        self.orphans.retain_mut(|orphan| {
            let may_run = orphan.may_run();
            if let (false, true, Some(pidfd)) = (may_run, orphan.watched, &orphan.pidfd) {
                // Otherwise it would stay open as long as a process that is just being forked has
                // it.
                let _ = epoll.delete(pidfd.as_fd());
            }
            may_run
        });
        self.orphans.iter().any(|orphan| orphan.watched)
    }

    /// Returns the epoll of the thread, which is started if it does not run.
    fn watched(&mut self) -> io::Result<&Epoll> {
        if self.epoll.is_none() {
            let new = Arc::new(Epoll::new()?);
            let theirs = Arc::clone(&new);
            let life = move || serve(&theirs);
            thread::Builder::new().name("fiveways-reaper".to_owned()).spawn(life)?;
            self.epoll = Some(new);
        }
        Ok(self.epoll.as_ref().expect("it is there now"))
    }
}

/// The main loop of the thread: until there are no orphans.
fn serve(epoll: &Epoll) {
    let _onlooker = ServiceThread::enter();
    let mut events = Vec::with_capacity(16);
    loop {
        events.clear();
        let waited = epoll.wait(&mut events, None);
        let broken = waited.is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        let mut reaper = lock();
        if !reaper.collect(epoll) || broken {
            reaper.epoll = None;
            reaper.orphans.iter_mut().for_each(|orphan| orphan.watched = false);
            return;
        }
    }
}
