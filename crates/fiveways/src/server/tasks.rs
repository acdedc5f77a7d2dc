//! Serving on coroutines: every other model.
//!
//! One task accepts; a connection's task goes to the worker with the fewest. After a batch of
//! accepts the acceptor lets others go first, so a storm of connections starves nobody (D15).

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fiveways_driver::Model;
use fiveways_runtime::{Handle, JoinHandle, Runtime, Spawn, park, sleep_until, yield_now};
use fiveways_sys::select;

use crate::net::{TcpListener, TcpStream};
use crate::server::Handler;
use crate::server::gate::{Gate, Verdict};
use crate::server::settings::{Overload, Settings};
use crate::server::stop::Control;
use crate::server::visit::Visit;

/// Connections accepted before others are let go first.
const BATCH: u32 = 32;

/// Serves until stopped; gives how many connections were cut short.
pub(crate) fn serve(
    listener: TcpListener,
    settings: &Settings,
    control: &Control,
    gate: &Arc<Gate>,
    handler: Arc<impl Handler>,
) -> io::Result<usize> {
    let runtime = Runtime::builder()
        .model(settings.model)
        .workers(settings.workers)
        .stack_size(settings.stack_size)
        .spin(settings.spin)
        .build()?;
    // It could never be waited for, and accepting would pause for ever.
    if settings.model == Model::Select && listener.as_raw_fd() >= select::LIMIT {
        let (fd, last) = (listener.as_raw_fd(), select::LIMIT - 1);
        let message =
            format!("the listener's descriptor, {fd}, is too large for select (0–{last})");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    // Whose accept is not to wait would keep the acceptor busy.
    listener.set_nonblocking(false)?;
    if let Some(reason) = runtime.handle().fell_back() {
        // `auto` says what it gave up: the models differ in what they cost.
        eprintln!("fiveways: serving on {}: {reason}", runtime.handle().model());
    }
    let acceptor = Acceptor {
        listener,
        runtime: runtime.handle().clone(),
        settings: settings.clone(),
        gate: Arc::clone(gate),
        handler,
    };
    let stop = StopOnDrop(control.clone());
    let accepting: JoinHandle<io::Result<()>> =
        Spawn::new().name("accept").spawn_at(runtime.handle(), 0, move || {
            let _stop = stop;
            acceptor.accept_all()
        })?;
    control.wait_for_stop()?;
    accepting.cancel();
    let accepted = accepting.join();
    control.wait_for_drain(settings.drain)?;
    let cut_short = gate.inside();
    // Cancels what is left and waits for it.
    drop(runtime);
    match accepted {
        Ok(Err(error)) if !is_cancelled(&error) => Err(error),
        Err(error) if !error.is_cancelled() => error.resume(),
        _ => Ok(cut_short),
    }
}

/// Stops the server when accepting ends, in whatever way. Ended by itself, the server has nothing
/// left to do; ended by a stop, this must not count as the second one, which forces.
struct StopOnDrop(Control);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop_if_running();
    }
}

fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(fiveways_sys::errno::ECANCELED)
}

struct Acceptor<H> {
    listener: TcpListener,
    runtime: Handle,
    settings: Settings,
    gate: Arc<Gate>,
    handler: Arc<H>,
}

impl<H: Handler> Acceptor<H> {
    /// Accepts until cancelled.
    fn accept_all(&self) -> io::Result<()> {
        let mut pauses = 0;
        let mut batch = 0;
        loop {
            while self.settings.overload == Overload::Wait && self.gate.is_full() {
                self.gate.wait_for_leaver();
                if self.gate.is_full() {
                    park();
                }
            }
            batch += 1;
            if batch % BATCH == 0 {
                yield_now();
            }
            let error = match self.listener.accept() {
                Ok((stream, _)) => {
                    pauses = 0;
                    self.admit(stream);
                    continue;
                }
                Err(error) => error,
            };
            match self.gate.judge(error, &mut pauses) {
                Verdict::Next | Verdict::Wait => {}
                Verdict::Pause(time) => pause(time),
                Verdict::Broken(error) => return Err(error),
            }
        }
    }

    fn admit(&self, stream: TcpStream) {
        if self.gate.is_full() {
            self.gate.refuse();
            return;
        }
        if self.settings.apply(&stream).is_err() {
            // It has gone already, so thoroughly that it takes no options.
            self.gate.abort();
            return;
        }
        let visit = Visit::new(stream, self.gate.enter());
        let mut failures = 0;
        loop {
            let (theirs, handler) = (visit.clone(), Arc::clone(&self.handler));
            let worker = self.runtime.least_busy();
            let how = Spawn::new().name("connection");
            match how.spawn_at(&self.runtime, worker, move || theirs.serve(&*handler)) {
                // Detached: the runtime's end is its end.
                Ok(task) => return drop(task),
                // Out of stacks: the connection waits until one is free.
                Err(_) => pause(self.gate.exhausted(&mut failures)),
            }
        }
    }
}

fn pause(time: Duration) {
    sleep_until(Instant::now() + time);
}
