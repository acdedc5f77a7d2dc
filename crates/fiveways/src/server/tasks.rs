//! Serving on coroutines: all models that are not in [`threads`](super::threads).
//!
//! One task accepts; a connection's task goes to the worker with the fewest tasks. The acceptor's
//! slice ends as every task's does, so a storm of connections does not starve others (D15).

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fiveways_driver::Model;
use fiveways_runtime::{Handle, JoinHandle, Runtime, Spawn, clock, park, sleep_until};
use fiveways_sys::lock::Mutex;
use fiveways_sys::multiplex::select;

use crate::net::{TcpListener, TcpStream};
use crate::server::Handler;
use crate::server::accepted::Accepted;
use crate::server::admission::{Admission, Verdict};
use crate::server::backlog::{accept_queued, serve_held};
use crate::server::open::Open;
use crate::server::settings::{Overload, Settings};
use crate::server::stop::Control;
use crate::task::is_cancelled_error;

/// Serves until stopped; returns how many connections were cut short.
pub(crate) fn serve(
    listener: TcpListener,
    settings: &Settings,
    control: &Control,
    admission: &Arc<Admission>,
    handler: Arc<impl Handler>,
) -> io::Result<usize> {
    let runtime = Runtime::builder()
        .model(settings.model)
        .workers(settings.workers)
        .stack_size(settings.stack_size)
        .spin(settings.spin)
        .build()?;
    // The driver could never wait for it, and accepting would pause for ever.
    if settings.model == Model::Select && listener.as_raw_fd() >= select::LIMIT {
        let (fd, last) = (listener.as_raw_fd(), select::LIMIT - 1);
        let message =
            format!("the listener's descriptor, {fd}, is too large for select (0–{last})");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    // An accept that must not wait would keep the acceptor busy.
    listener.set_nonblocking(false)?;
    if let Some(reason) = runtime.handle().fell_back() {
        // `auto` reports the models it rejected: they differ in cost.
        eprintln!("fiveways: serving on {}: {reason}", runtime.handle().model());
    }
    let listener = Arc::new(listener);
    let open = settings.closes_idle.then(|| Arc::new(Open::new(true)));
    open.iter().for_each(|open| control.watch(open));
    let acceptor = Arc::new(Acceptor {
        runtime: runtime.handle().clone(),
        settings: settings.clone(),
        admission: Arc::clone(admission),
        handler,
        open,
        in_hand: Mutex::default(),
    });
    let accepting = acceptor.begin(&listener, StopOnDrop(control.clone()))?;
    control.wait_for_stop()?;
    control.begin_stop(settings.drain);
    accepting.cancel();
    let accepted = accepting.join();
    let admit = |stream| acceptor.admit(stream);
    acceptor.admit_in_hand();
    let held = accept_queued(listener, settings, control, admission, admit);
    control.tell_stopping();
    let unserved = serve_held(held, control, admission, admit)?;
    control.wait_for_drain()?;
    let cut_short = admission.inside() + unserved;
    // Cancels the remaining tasks and waits for them.
    drop(runtime);
    match accepted {
        Ok(Err(error)) if !is_cancelled_error(&error) => Err(error),
        Err(error) if !error.is_cancelled() => error.resume(),
        _ => Ok(cut_short),
    }
}

/// Stops the server when accepting ends, for whatever reason. If it ended by itself, the server has
/// nothing left to do; if a stop ended it, this must not count as the second one, which forces.
struct StopOnDrop(Control);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop_if_running();
    }
}

/// Makes the acceptor's driver forget the listener, which other processes may have open.
struct Forget(Arc<TcpListener>);

impl Drop for Forget {
    fn drop(&mut self) {
        self.0.leave();
    }
}

struct Acceptor<H> {
    runtime: Handle,
    settings: Settings,
    admission: Arc<Admission>,
    handler: Arc<H>,
    /// The connections, if a stop closes idle ones; otherwise no list is needed.
    open: Option<Arc<Open>>,
    /// The connection that waits for a stack.
    in_hand: Mutex<Option<Accepted>>,
}

impl<H: Handler> Acceptor<H> {
    /// Accepts in a task, until it is cancelled.
    fn begin(
        self: &Arc<Self>,
        listener: &Arc<TcpListener>,
        stop: StopOnDrop,
    ) -> io::Result<JoinHandle<io::Result<()>>> {
        let (this, listener) = (Arc::clone(self), Forget(Arc::clone(listener)));
        Spawn::new().name("accept").spawn_at(&self.runtime, 0, move || {
            let (_stop, listener) = (stop, listener);
            this.accept_all(&listener.0)
        })
    }

    /// Accepts until cancelled.
    fn accept_all(&self, listener: &TcpListener) -> io::Result<()> {
        let mut pauses = 0;
        loop {
            while self.settings.overload == Overload::Wait && self.admission.is_full() {
                self.admission.wait_for_leaver();
                if self.admission.is_full() {
                    park();
                }
            }
            let error = match listener.accept() {
                Ok((stream, _)) => {
                    pauses = 0;
                    self.admit(stream);
                    continue;
                }
                Err(error) => error,
            };
            match self.admission.judge(error, &mut pauses) {
                Verdict::Next | Verdict::Wait => {}
                Verdict::Pause(time) => pause(time),
                Verdict::Broken(error) => return Err(error),
            }
        }
    }

    /// Moves a connection whose descriptor is too large for `select` to a lower number, once one is
    /// free: running out of low numbers is treated as running out of descriptors. `None`: refused.
    fn within_reach(&self, mut stream: TcpStream) -> Option<TcpStream> {
        let is_high = |stream: &TcpStream| stream.socket().source().fd >= select::LIMIT;
        let mut failures = 0;
        while self.runtime.model() == Model::Select && is_high(&stream) {
            tell_of_high_numbers();
            if self.settings.overload == Overload::Refuse {
                self.admission.refuse();
                return None;
            }
            match stream.try_clone() {
                // The kernel assigns the lowest free number.
                Ok(lower) if !is_high(&lower) => stream = lower,
                _ => pause(self.admission.exhausted(&mut failures)),
            }
        }
        Some(stream)
    }

    fn admit(&self, stream: TcpStream) {
        if self.admission.is_full() {
            self.admission.refuse();
            return;
        }
        let Some(mut stream) = self.within_reach(stream) else { return };
        if self.settings.apply(&stream).is_err() {
            // The connection is closed to the point that options cannot be set.
            self.admission.abort();
            return;
        }
        if let Some(open) = &self.open {
            open.add(&mut stream);
        }
        let accepted = Accepted::new(stream, self.admission.enter());
        self.start(&accepted);
    }

    /// Starts the task of a connection. If no stack is available, the connection waits until one
    /// is, or until the stop is over.
    fn start(&self, accepted: &Accepted) {
        let mut failures = 0;
        while !self.admission.is_over() {
            let (theirs, handler) = (accepted.clone(), Arc::clone(&self.handler));
            let worker = self.runtime.least_busy();
            let how = Spawn::new().name("connection");
            match how.spawn_at(&self.runtime, worker, move || theirs.serve(&*handler)) {
                // Detached: it ends with the runtime.
                Ok(task) => return drop(task),
                Err(_) => {
                    *self.in_hand.lock() = Some(accepted.clone());
                    // Cancellation unwinds the acceptor from here.
                    pause(self.admission.exhausted(&mut failures));
                    *self.in_hand.lock() = None;
                }
            }
        }
    }

    /// Admits the connection that the acceptor held when it was cancelled.
    fn admit_in_hand(&self) {
        let left = self.in_hand.lock().take();
        left.iter().for_each(|accepted| self.start(accepted));
    }
}

/// Reports once per process what `select` cannot do.
fn tell_of_high_numbers() {
    static IS_TOLD: AtomicBool = AtomicBool::new(false);
    let limit = select::LIMIT;
    if !IS_TOLD.swap(true, Ordering::Relaxed) {
        eprintln!(
            "fiveways: select cannot watch descriptors from {limit} on: further connections wait \
             until lower ones are free (epoll has no such limit)"
        );
    }
}

fn pause(time: Duration) {
    sleep_until(clock::now() + time);
}
