//! Stopping: on a signal or on request, gracefully at first and by force the second time (D29).
//!
//! ```text
//!   0 running ──stop──▶ 1 draining ──stop──▶ 2 forced
//! ```
//!
//! The number only grows; it is written by signal handlers and by [`Control::stop`], both of which
//! then ring the bell (an eventfd) on which the serving thread sleeps.
//!
//! With several processes, each has a bell that its supervisor shares and rings with more than one
//! stroke: the number that the child then reads is an [`Order`]. A signal from elsewhere makes a
//! child drain and never forces it: a signal sent to the whole process group (by Ctrl-C, by a
//! service manager) reaches both the child and its supervisor, and must not count twice.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fiveways_runtime::clock;
use fiveways_sys::event_fd::EventFd;
use fiveways_sys::net::wait_ready;
use fiveways_sys::process::{Pid, Signal, kill};

use crate::server::counts::{Counts, Stats};
use crate::server::open::{LOOK, Open};
use crate::signal::{SIGINT, SIGTERM, Watch};
use crate::sync::Event;

/// Stops a server and reads its counts, from anywhere; cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    inner: Arc<Inner>,
}

/// An order from a supervisor to a child, in strokes of the bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Order {
    /// Stop, and let connections finish.
    Drain = 1 << 32,
    /// End the remaining connections.
    Force = 1 << 48,
}

/// What a signal does to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnSignal {
    /// Stops; a second one forces.
    Stop,
    /// Stops, however often it comes.
    Drain,
    /// Only wakes the serving thread.
    Look,
}

#[derive(Debug)]
struct Inner {
    stops: AtomicU32,
    bell: EventFd,
    counts: Counts,
    /// Set to notify handlers of a stop.
    stopping: Event,
    /// When remaining connections are ended; known from the first phase of a stop on.
    drained_by: OnceLock<Option<Instant>>,
    /// The connections of which idle ones are closed at a stop.
    idle: OnceLock<Arc<Open>>,
    /// In a child process: the supervisor's id, and the control of the child's own server.
    child: OnceLock<(Pid, Control)>,
}

impl Control {
    pub(crate) fn new() -> io::Result<Control> {
        Ok(Control::with_bell(EventFd::new()?))
    }

    /// Makes a control that receives orders by this bell.
    pub(crate) fn with_bell(bell: EventFd) -> Control {
        let counts = Counts::default();
        let (stops, child) = (AtomicU32::new(0), OnceLock::new());
        let (stopping, drained_by, idle) = (Event::new(), OnceLock::new(), OnceLock::new());
        let inner = Inner { stops, bell, counts, stopping, drained_by, idle, child };
        Control { inner: Arc::new(inner) }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    /// Turns this, in a child process, into a control of the whole server, which `supervisor` keeps
    /// up.
    pub(crate) fn hand_over(&self, supervisor: Pid, child: Control) {
        let _ = self.inner.child.set((supervisor, child));
    }

    /// Stops the server gracefully; a second call stops it by force. With several processes, stops
    /// all of them, from any of them.
    pub fn stop(&self) {
        if let Some((supervisor, _)) = self.inner.child.get() {
            // If the supervisor has ended, its children are being ended as well.
            let _ = kill(*supervisor, Signal::TERM);
            return;
        }
        self.inner.stops.fetch_add(1, Ordering::SeqCst);
        self.nudge();
    }

    /// Stops the server gracefully unless it is stopping already: for a server that ends by itself.
    pub(crate) fn stop_if_running(&self) {
        self.inner.stops.fetch_max(1, Ordering::SeqCst);
        self.nudge();
    }

    /// The server's counts; all zero before it serves. In one of several processes, those of that
    /// process.
    pub fn stats(&self) -> Stats {
        match self.inner.child.get() {
            Some((_, own)) => own.inner.counts.stats(),
            None => self.inner.counts.stats(),
        }
    }

    /// The event that is set when the server stops. A handler that waits for anything but its
    /// stream, or that may end a connection between two requests, waits for this event as well.
    ///
    /// It is set by the serving thread, after the listener was closed. With several processes, each
    /// has its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{BufRead, Write};
    /// use std::{io, thread};
    ///
    /// use fiveways::net::TcpStream;
    /// use fiveways::select;
    /// use fiveways::server::Server;
    ///
    /// # fn main() -> io::Result<()> {
    /// let server = Server::bind("127.0.0.1:0")?;
    /// let address = server.local_addr()?;
    /// let control = server.control();
    /// let theirs = control.clone();
    /// let serving = thread::spawn(move || {
    ///     server.serve(move |mut stream: TcpStream| -> io::Result<()> {
    ///         stream.write_all(b"hello\n")?;
    ///         let mut line = String::new();
    ///         loop {
    ///             select! {
    ///                 wait(theirs.stopping()) => return stream.write_all(b"bye\n"),
    ///                 readable(stream) -> ready => ready?,
    ///             }
    ///             if stream.read_line(&mut line)? == 0 {
    ///                 return Ok(());
    ///             }
    ///         }
    ///     })
    /// });
    /// let mut client = io::BufReader::new(std::net::TcpStream::connect(address)?);
    /// let mut line = String::new();
    /// client.read_line(&mut line)?;
    /// control.stop();
    /// client.read_line(&mut line)?;
    /// assert_eq!(line, "hello\nbye\n");
    /// serving.join().expect("it does not panic")?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("shutdown", "graceful", "CancellationToken"))]
    pub fn stopping(&self) -> &Event {
        match self.inner.child.get() {
            Some((_, own)) => &own.inner.stopping,
            None => &self.inner.stopping,
        }
    }

    /// Returns `true` if a stop was requested.
    pub fn is_stopping(&self) -> bool {
        match self.inner.child.get() {
            Some((_, own)) => own.is_asked_to_stop(),
            None => self.is_asked_to_stop(),
        }
    }

    fn is_asked_to_stop(&self) -> bool {
        self.inner.stops.load(Ordering::SeqCst) > 0
    }

    /// Returns `true` if a stop was requested twice.
    pub(crate) fn is_forced(&self) -> bool {
        self.inner.stops.load(Ordering::SeqCst) > 1
    }

    /// Wakes the serving thread.
    pub(crate) fn nudge(&self) {
        self.inner.bell.add_one();
    }

    /// Resets the bell and carries out its orders.
    pub(crate) fn hush(&self) {
        let strokes = self.inner.bell.take();
        if strokes >= Order::Force as u64 {
            self.inner.stops.fetch_max(2, Ordering::SeqCst);
        } else if strokes >= Order::Drain as u64 {
            self.inner.stops.fetch_max(1, Ordering::SeqCst);
        }
    }

    /// Resets the bell where two threads sleep on it, unless both must hear it: a thread that was
    /// woken by a stroke and finds the bell reset goes on sleeping. During a stop the bell keeps
    /// ringing.
    pub(crate) fn hush_beside(&self) {
        self.hush();
        if self.is_stopping() {
            self.nudge();
        }
    }

    /// The bell's descriptor, for waiting for it together with something else.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.inner.bell.as_fd()
    }

    /// Blocks the thread until a stop is requested.
    pub(crate) fn wait_for_stop(&self) -> io::Result<()> {
        while !self.is_stopping() {
            wait_ready(self.bell(), false, None)?;
            self.hush();
        }
        Ok(())
    }

    /// Begins a stop: connections have this long to finish.
    pub(crate) fn begin_stop(&self, drain: Duration) {
        self.inner.drained_by.get_or_init(|| clock::after(drain));
    }

    /// Records `open`, so that a stop closes its idle connections, if it is set to.
    pub(crate) fn watch(&self, open: &Arc<Open>) {
        if open.closes_idle() {
            self.inner.idle.get_or_init(|| Arc::clone(open));
        }
    }

    /// Closes idle connections, if the server is stopping and is set to close them. Called
    /// repeatedly.
    pub(crate) fn close_idle(&self) {
        let open = self.inner.idle.get().filter(|_| self.inner.drained_by.get().is_some());
        if let Some(open) = open {
            open.close_idle();
        }
    }

    /// When a thread that waits for connections to end must check next.
    fn next_look(&self) -> Option<Instant> {
        let look = self.inner.idle.get().map(|_| clock::now() + LOOK);
        self.inner.drained_by.get().copied().flatten().into_iter().chain(look).min()
    }

    /// Notifies handlers of the stop.
    pub(crate) fn tell_stopping(&self) {
        self.inner.stopping.set();
    }

    /// Returns `true` if the drain deadline has passed or a second stop made it irrelevant.
    pub(crate) fn is_over(&self) -> bool {
        let drained_by = self.inner.drained_by.get().copied().flatten();
        self.is_forced() || drained_by.is_some_and(|at| at <= clock::now())
    }

    /// Blocks the thread while the condition holds, until the stop is over. The condition is
    /// checked whenever the bell rings.
    pub(crate) fn wait_while(&self, mut condition: impl FnMut() -> bool) -> io::Result<()> {
        while condition() && !self.is_over() {
            self.close_idle();
            wait_ready(self.bell(), false, clock::to_machine(self.next_look()))?;
            self.hush();
        }
        Ok(())
    }

    /// Blocks the thread until all connections have ended, or the stop is over.
    pub(crate) fn wait_for_drain(&self) -> io::Result<()> {
        self.wait_while(|| self.stats().connections > 0)
    }

    /// Blocks the thread, for a short time, until all connections have ended: they have been shut
    /// down. Does not block after a forced stop.
    pub(crate) fn wait_for_ended(&self, moment: Duration) -> io::Result<()> {
        let end = Some(clock::machine() + moment);
        while self.stats().connections > 0 && !self.is_forced() {
            if !wait_ready(self.bell(), false, end)? {
                break;
            }
            self.hush();
        }
        Ok(())
    }

    /// Stops on SIGINT and SIGTERM for as long as the result lives.
    pub(crate) fn on_signals(&self, what: OnSignal) -> io::Result<OnSignals> {
        let watches = [SIGINT, SIGTERM].map(|signal| self.on_signal(signal, what));
        Ok(OnSignals::new(watches.into_iter().collect::<io::Result<_>>()?))
    }

    /// Acts on a signal, and rings the bell.
    pub(crate) fn on_signal(&self, signal: i32, what: OnSignal) -> io::Result<Watch> {
        let control = self.clone();
        // An atomic operation and a write to an eventfd: a signal handler may do both.
        Watch::new(signal, move || {
            let stops = &control.inner.stops;
            match what {
                OnSignal::Stop => _ = stops.fetch_add(1, Ordering::SeqCst),
                OnSignal::Drain => _ = stops.fetch_max(1, Ordering::SeqCst),
                OnSignal::Look => {}
            }
            control.nudge();
        })
    }
}

/// Signals that stop a server; on drop, their previous handling is restored.
#[derive(Debug)]
pub(crate) struct OnSignals {
    _watches: Vec<Watch>,
}

impl OnSignals {
    pub(crate) fn new(watches: Vec<Watch>) -> OnSignals {
        OnSignals { _watches: watches }
    }
}
