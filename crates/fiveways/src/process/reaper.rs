//! Children whose handles were dropped before they had ended, and the thread that collects them.
//!
//! The thread waits for the pidfds of all of them, and ends when there are none left. If it cannot
//! be started, or there is no descriptor, they are looked at whenever a child is started or
//! dropped.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::{io, thread};

use fiveways_runtime::ServiceThread;
use fiveways_sys::child;
use fiveways_sys::epoll::{Epoll, EventFlags};
use fiveways_sys::generation::PerProcess;
use fiveways_sys::lock::{Mutex, MutexGuard};
use fiveways_sys::process::{Patience, Pid};

/// The orphans of this process; a fork has none.
static REAPER: PerProcess<Mutex<Reaper>> = PerProcess::new();

#[derive(Default)]
struct Reaper {
    orphans: Vec<Orphan>,
    /// Readable when one of them has ended. There, if the thread is.
    epoll: Option<Arc<Epoll>>,
}

struct Orphan {
    pid: u32,
    /// Without it the number tells; it is nobody else's while it is our child's.
    pidfd: Option<OwnedFd>,
    /// Does the thread wait for it? Then the thread collects it, so that it knows when to end.
    watched: bool,
}

impl Orphan {
    /// Collects it if it has ended.
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

/// Collects the orphans that have ended and that the thread does not wait for.
pub(super) fn collect() {
    lock().orphans.retain_mut(|orphan| orphan.watched || orphan.may_run());
}

/// Leaves a child that may run to be collected when it has ended.
pub(super) fn leave(pid: u32, pidfd: Option<OwnedFd>) {
    let mut reaper = lock();
    let watched = pidfd.as_ref().is_some_and(|pidfd| {
        let added = |epoll: &Epoll| epoll.add(pidfd.as_fd(), EventFlags::IN, 0);
        reaper.watched().is_ok_and(|epoll| added(epoll).is_ok())
    });
    reaper.orphans.push(Orphan { pid, pidfd, watched });
}

impl Reaper {
    /// Collects all that have ended. Is there one that the thread waits for?
    fn collect(&mut self, epoll: &Epoll) -> bool {
        self.orphans.retain_mut(|orphan| {
            let may_run = orphan.may_run();
            if let (false, true, Some(pidfd)) = (may_run, orphan.watched, &orphan.pidfd) {
                // By itself it would stay as long as a process that is just being forked has it.
                let _ = epoll.delete(pidfd.as_fd());
            }
            may_run
        });
        self.orphans.iter().any(|orphan| orphan.watched)
    }

    /// What the thread waits for; it is started if there is none.
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

/// The life of the thread: until there are no orphans.
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
