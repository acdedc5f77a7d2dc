//! Serving on threads: the models `blocking`, `threads` and `pool`.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fiveways_driver::Model;
use fiveways_sys::net::{self, wait_either};

use crate::net::{TcpListener, TcpStream};
use crate::server::Handler;
use crate::server::gate::{Gate, Verdict};
use crate::server::settings::{Overload, Settings};
use crate::server::stop::Control;
use crate::server::visit::Visit;

/// Threads of a pool for each processor, unless set: they mostly wait.
const POOL_PER_PROCESSOR: usize = 4;

/// How often `blocking` looks at the clock while it stops.
const LOOK: Duration = Duration::from_millis(5);

/// Serves until stopped; gives how many connections were cut short.
pub(crate) fn serve(
    listener: &TcpListener,
    settings: &Settings,
    control: &Control,
    gate: &Arc<Gate>,
    handler: Arc<impl Handler>,
) -> io::Result<usize> {
    let floor = Floor { listener, settings, control, gate, open: Arc::default() };
    listener.set_nonblocking(true)?;
    match settings.model {
        Model::Blocking => return floor.one_by_one(&*handler),
        Model::Pool => floor.with_pool(handler)?,
        _ => floor.accept_all(|visit| {
            let (visit, handler) = (visit.clone(), Arc::clone(&handler));
            let builder = thread::Builder::new().name("fiveways-conn".to_owned());
            let builder = builder.stack_size(settings.stack_size);
            builder.spawn(move || run(&*handler, visit)).map(drop)
        })?,
    }
    floor.drain()
}

/// Runs a handler; its panic ends here.
fn run(handler: &impl Handler, visit: Visit) {
    // The panic hook has told of it, and the pass has counted it.
    let _ = catch_unwind(AssertUnwindSafe(|| visit.serve(handler)));
}

/// What accepting on a plain thread needs to know.
struct Floor<'a> {
    listener: &'a TcpListener,
    settings: &'a Settings,
    control: &'a Control,
    gate: &'a Arc<Gate>,
    open: Arc<Open>,
}

impl Floor<'_> {
    /// Accepts until stopped.
    fn accept_all(&self, mut serve: impl FnMut(&Visit) -> io::Result<()>) -> io::Result<()> {
        let mut pauses = 0;
        while !self.control.is_stopping() {
            if self.settings.overload == Overload::Wait && self.gate.is_full() {
                self.pause(Duration::from_millis(20))?;
                continue;
            }
            let error = match self.listener.accept() {
                Ok((stream, _)) => {
                    pauses = 0;
                    self.admit(stream, &mut serve)?;
                    continue;
                }
                Err(error) => error,
            };
            match self.gate.judge(error, &mut pauses) {
                Verdict::Next => {}
                Verdict::Wait => {
                    wait_either(self.listener.as_fd(), self.control.bell(), None)?;
                }
                Verdict::Pause(time) => self.pause(time)?,
                Verdict::Broken(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn admit(
        &self,
        mut stream: TcpStream,
        serve: &mut impl FnMut(&Visit) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.gate.is_full() {
            self.gate.refuse();
            return Ok(());
        }
        if self.settings.apply(&stream).is_err() {
            // It has gone already, so thoroughly that it takes no options.
            self.gate.abort();
            return Ok(());
        }
        stream.set_ticket(self.open.add(stream.as_raw_fd()));
        let visit = Visit::new(stream, self.gate.enter());
        let mut failures = 0;
        // Out of threads: the connection waits until one is free.
        while serve(&visit).is_err() && !self.control.is_stopping() {
            self.pause(self.gate.exhausted(&mut failures))?;
        }
        Ok(())
    }

    /// Waits for a while, or until stopped.
    fn pause(&self, time: Duration) -> io::Result<()> {
        net::wait_ready(self.control.bell(), false, Some(Instant::now() + time)).map(drop)
    }

    /// Serves each connection to its end before accepting the next; gives how many were cut short.
    ///
    /// The handler holds this thread, so another one keeps the deadline of a stop. A handler that
    /// does not care for the end of its stream is waited for.
    fn one_by_one(&self, handler: &impl Handler) -> io::Result<usize> {
        thread::scope(|scope| {
            let (serving, ended) = mpsc::channel::<()>();
            let builder = thread::Builder::new().name("fiveways-stop".to_owned());
            let keeper = builder.spawn_scoped(scope, move || self.keep_deadline(&ended))?;
            let served = self.accept_all(|visit| {
                run(handler, visit.clone());
                Ok(())
            });
            drop(serving);
            self.control.stop_if_running();
            let cut_short = keeper.join().unwrap_or(Ok(0));
            served.and(cut_short)
        })
    }

    /// After a stop ends what is still being served when the time is over or force is asked for.
    fn keep_deadline(&self, ended: &mpsc::Receiver<()>) -> io::Result<usize> {
        while !self.control.is_stopping() {
            // The bell is not quietened: the acceptor is to hear it as well.
            net::wait_ready(self.control.bell(), false, None)?;
        }
        let deadline = Instant::now().checked_add(self.settings.drain);
        let mut cut_short = 0;
        while ended.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if late || self.control.is_forced() {
                cut_short = cut_short.max(self.gate.inside());
                self.open.shut_all();
            }
        }
        Ok(cut_short)
    }

    fn with_pool(&self, handler: Arc<impl Handler>) -> io::Result<()> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let size = self.settings.pool_size.unwrap_or(processors * POOL_PER_PROCESSOR);
        let (give, take) = mpsc::channel::<Visit>();
        let take = Arc::new(Mutex::new(take));
        for number in 0..size {
            let (take, handler) = (Arc::clone(&take), Arc::clone(&handler));
            let work = move || {
                loop {
                    let next = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match next {
                        Ok(visit) => run(&*handler, visit),
                        Err(_) => return,
                    }
                }
            };
            let builder = thread::Builder::new().name(format!("fiveways-pool-{number}"));
            builder.stack_size(self.settings.stack_size).spawn(work)?;
        }
        self.accept_all(|visit| give.send(visit.clone()).map_err(io::Error::other))
    }

    /// Waits for connections to end; ends those that are left when the time is over.
    fn drain(&self) -> io::Result<usize> {
        self.control.wait_for_drain(self.settings.drain)?;
        let cut_short = self.gate.inside();
        self.open.shut_all();
        // Their handlers see the end of the stream now; one that does not care is left behind.
        self.control.wait_for_drain(Duration::from_secs(1))?;
        Ok(cut_short)
    }
}

/// The connections that threads serve, so that they can be ended from outside.
///
/// A connection's ticket leaves the list before its descriptor is closed, and the list is locked
/// while descriptors in it are used: so the numbers in it are the connections' own.
#[derive(Debug, Default)]
pub(crate) struct Open {
    list: Mutex<HashMap<u64, RawFd>>,
    next: AtomicU64,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, RawFd>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Open>, fd: RawFd) -> Box<dyn Send + Sync> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, fd);
        Box::new(Ticket { open: Arc::clone(self), number })
    }

    #[expect(unsafe_code, reason = "descriptors in the list are kept open by their tickets")]
    fn shut_all(&self) {
        for fd in self.lock().values() {
            // SAFETY: required: open while borrowed. The list is locked, so no ticket can leave.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            // It may have been disconnected already.
            let _ = net::control(net::Control::Shutdown(fd, Shutdown::Both));
        }
    }
}

struct Ticket {
    open: Arc<Open>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.open.lock().remove(&self.number);
    }
}
