//! The load generator: many connections, one request in flight on each, every reply byte checked.
//!
//! A closed loop: a connection sends the next request when its reply is complete. A server that
//! stalls receives fewer requests, so the latencies are those of a closed loop (coordinated
//! omission), as the report says.
//!
//! ```text
//!  connect 1, exchanges | connect the rest, one exchange each | warm-up | window | drain, close
//!           FirstConnected                        AllConnected     WindowStarts  WindowEnds
//! ```
//!
//! Bounds: every phase ends by itself, by its time limit, or when no connection is left; a failed
//! connection is counted once and not replaced. So a dead server ends a run early, and a silent one
//! costs the time limit of one request. A request's time is counted in checks, at least 50 ms
//! apart: a pause of the whole machine counts as one check, and not as a fault of the server.
//!
//! One thread, one edge-triggered epoll of its own; while measuring it allocates nothing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fiveways_sys::multiplex::epoll::{Epoll, Event, EventFlags};
use fiveways_sys::{errno, process};
use hdrhistogram::Histogram;

use crate::connection::{Connection, Progress, Reading};
use crate::failure::{Failure, Failures};
use crate::socket::Socket;
use crate::statistics::Percentiles;
use crate::workload::{Payload, Service, Workload};

const EVENTS: usize = 512;
const BUFFER: usize = 64 << 10;
/// Exchanges of the first connection: enough to touch every buffer that a server fills in turn, so
/// that these are not counted as memory of later connections.
const FIRST_EXCHANGES: usize = 600;
/// How often overdue requests are searched: the unit in which their time limit is counted.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// Longer latencies count as this: one minute, far above any time limit.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// The plan of a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Where the server listens.
    pub address: SocketAddr,
    /// The workload.
    pub workload: &'a Workload,
    /// How long to send requests before measuring.
    pub warm_up: Duration,
    /// How long to measure.
    pub window: Duration,
    /// The time limits.
    pub limits: Limits,
    /// Ends the run early when it becomes `true`; its measurements are useless then.
    pub interrupt: &'a AtomicBool,
}

/// Time limits of a run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For making all connections together.
    pub connect: Duration,
    /// For each reply, and for the server's close at the end.
    pub request: Duration,
}

/// A moment of a run at which the caller may want to read the server's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// One connection is open and idle after many exchanges.
    FirstConnected,
    /// All connections are open and idle after an exchange each.
    AllConnected,
    /// Counting starts.
    WindowStarts,
    /// Counting has ended.
    WindowEnds,
}

/// The measurements of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Requests completed inside the window.
    pub requests: u64,
    /// How long the window was.
    pub window: Duration,
    /// Their latencies; `None` if there were none. The maximum includes requests that were in
    /// flight when the window ended.
    pub latency: Option<Percentiles>,
    /// Failures of the whole run.
    pub failures: Failures,
    /// Processor time the generator used inside the window.
    pub generator_cpu: Duration,
}

/// Runs a plan on this thread, and calls `observe` at its moments.
///
/// Failures of connections are counted, and never end the run as an error.
///
/// # Errors
///
/// Only those of the generator itself: no epoll instance, no descriptors left for it.
pub fn run(plan: &Plan<'_>, observe: &mut dyn FnMut(Moment)) -> io::Result<Outcome> {
    let mut generator = Generator::new(plan)?;
    let connect_by = Instant::now() + plan.limits.connect;
    generator.connect(1, connect_by)?;
    generator.exchange_once();
    generator.exchange_often();
    observe(Moment::FirstConnected);
    generator.connect(plan.workload.connections, connect_by)?;
    generator.exchange_once();
    observe(Moment::AllConnected);
    let outcome = generator.measure(observe);
    generator.drain();
    // The longest latency of a server that stopped answering is in a request in flight at the end.
    let max_ns = generator.latency.max();
    let latency = outcome.latency.map(|latency| Percentiles { max_ns, ..latency });
    generator.close();
    Ok(Outcome { failures: generator.failures, latency, ..outcome })
}

/// Whether a connection sends the next request after a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Ask,
    Rest,
}

struct Generator<'a> {
    plan: &'a Plan<'a>,
    payload: Payload,
    epoll: Epoll,
    events: Vec<Event>,
    /// By index; `None` after a failure.
    connections: Vec<Option<Connection>>,
    /// Connections whose next request waits for its turn.
    due: Vec<usize>,
    /// `due` while it is processed: kept for its allocation.
    due_now: Vec<usize>,
    buf: Vec<u8>,
    alive: usize,
    in_flight: usize,
    failures: Failures,
    requests: u64,
    latency: Histogram<u64>,
    check_at: Instant,
    /// A request that was found waiting more often than this is overdue.
    checks_max: u32,
}

impl<'a> Generator<'a> {
    fn new(plan: &'a Plan<'a>) -> io::Result<Generator<'a>> {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).map_err(io::Error::other)?;
        let count = plan.workload.connections;
        Ok(Generator {
            plan,
            payload: Payload::new(plan.workload),
            epoll: Epoll::new()?,
            events: Vec::with_capacity(EVENTS),
            connections: Vec::with_capacity(count),
            due: Vec::with_capacity(count),
            due_now: Vec::with_capacity(count),
            buf: vec![0; BUFFER],
            alive: 0,
            in_flight: 0,
            failures: Failures::default(),
            requests: 0,
            latency,
            check_at: Instant::now(),
            checks_max: checks_in(plan.limits.request),
        })
    }

    /// Opens connections until there are `count`, including failed ones.
    fn connect(&mut self, count: usize, deadline: Instant) -> io::Result<()> {
        while self.connections.len() < count && !self.is_interrupted() {
            let index = self.connections.len();
            let connection = match self.open(index, deadline) {
                Ok(connection) => connection,
                Err(error) if is_out_of_descriptors(&error) => return Err(error),
                Err(_) => {
                    self.failures.count(Failure::Connect);
                    self.connections.push(None);
                    continue;
                }
            };
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            self.epoll.add(connection.as_fd(), flags, index as u64)?;
            self.alive += 1;
            self.in_flight += usize::from(connection.is_asking());
            self.connections.push(Some(connection));
        }
        Ok(())
    }

    fn open(&self, index: usize, deadline: Instant) -> io::Result<Connection> {
        let socket = Socket::connect(self.plan.address, deadline)?;
        if self.payload.service() == Service::Sink {
            socket.shrink_send_buffer(self.plan.workload.size.bytes().max(4096))?;
        }
        Ok(Connection::new(socket, index, &self.payload))
    }

    /// Receives the greetings, then makes one exchange on every connection that has had none.
    fn exchange_once(&mut self) {
        self.drain();
        self.ask_all(Next::Rest, |connection| connection.number() == 0);
        self.drain();
    }

    /// Makes many exchanges, one after the other, within the time limit of a request.
    fn exchange_often(&mut self) {
        let until = Instant::now() + self.plan.limits.request;
        for _ in 0..FIRST_EXCHANGES {
            if self.is_over() || Instant::now() >= until {
                return;
            }
            self.ask_all(Next::Rest, |_| true);
            self.drain();
        }
    }

    fn measure(&mut self, observe: &mut dyn FnMut(Moment)) -> Outcome {
        self.ask_all(Next::Ask, |_| true);
        self.pump(Next::Ask, Instant::now() + self.plan.warm_up);
        observe(Moment::WindowStarts);
        self.latency.reset();
        self.requests = 0;
        let (start, cpu_before) = (Instant::now(), process::thread_cpu_time());
        self.pump(Next::Ask, start + self.plan.window);
        // On a slow machine the window is extended until it has a request.
        while self.requests == 0 && !self.is_over() {
            self.pump(Next::Ask, Instant::now() + CHECK_EVERY);
        }
        let window = start.elapsed();
        let generator_cpu = process::thread_cpu_time() - cpu_before;
        observe(Moment::WindowEnds);
        let latency = percentiles(&self.latency);
        let requests = self.requests;
        Outcome { requests, window, latency, failures: self.failures, generator_cpu }
    }

    /// Lets the exchanges in flight end, within the time limit of a request.
    fn drain(&mut self) {
        while self.in_flight > 0 && !self.is_interrupted() {
            self.pump(Next::Rest, Instant::now() + CHECK_EVERY);
        }
    }

    fn ask_all(&mut self, next: Next, is_chosen: impl Fn(&Connection) -> bool) {
        for index in 0..self.connections.len() {
            let Some(connection) = &self.connections[index] else { continue };
            if !connection.is_asking() && is_chosen(connection) {
                self.ask(index, Instant::now(), next);
            }
        }
    }

    /// Handles events until the given time, until no connection is left or, when resting, in
    /// flight.
    fn pump(&mut self, next: Next, until: Instant) {
        loop {
            let now = Instant::now();
            if self.is_check_due(now) {
                self.fail_overdue();
            }
            let is_rested = next == Next::Rest && self.in_flight == 0;
            if now >= until || self.is_over() || is_rested {
                return;
            }
            let timeout = match self.due.is_empty() {
                true => until.min(self.check_at).saturating_duration_since(now),
                false => Duration::ZERO,
            };
            self.turn(next, timeout);
        }
    }

    fn turn(&mut self, next: Next, timeout: Duration) {
        self.wait(timeout);
        for at in 0..self.events.len() {
            let event = self.events[at];
            let flags = event.flags;
            let closing = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
            let reading = match flags.intersects(closing) {
                true => Reading::UntilEmpty,
                false => Reading::UntilShort,
            };
            self.advance(event.data.u64() as usize, reading, next);
        }
        std::mem::swap(&mut self.due, &mut self.due_now);
        for at in 0..self.due_now.len() {
            if next == Next::Ask {
                self.ask(self.due_now[at], Instant::now(), next);
            }
        }
        self.due_now.clear();
    }

    fn wait(&mut self, timeout: Duration) {
        self.events.clear();
        // The only possible error, an interruption by a signal, is a turn without events.
        let _ = self.epoll.wait(&mut self.events, Some(timeout));
    }

    #[inline]
    fn advance(&mut self, index: usize, reading: Reading, next: Next) {
        let Some(connection) = &mut self.connections[index] else { return };
        match connection.advance(&self.payload, &mut self.buf, reading) {
            Ok(Progress::Waiting) => {}
            Ok(Progress::Answered) => {
                let now = self.record(index);
                if next == Next::Ask {
                    self.ask(index, now, next);
                }
            }
            Err(failure) => self.fail(index, failure),
        }
    }

    #[inline]
    fn ask(&mut self, index: usize, now: Instant, next: Next) {
        let Some(connection) = &mut self.connections[index] else { return };
        self.in_flight += 1;
        match connection.ask(&self.payload, now) {
            Ok(Progress::Waiting) => {}
            // Only a request without a reply ends here. The next one waits for its turn, or one
            // connection would keep all others from being served.
            Ok(Progress::Answered) => {
                self.record(index);
                if next == Next::Ask {
                    self.due.push(index);
                }
            }
            Err(failure) => self.fail(index, failure),
        }
    }

    /// Counts a completed exchange; returns the time.
    #[inline]
    fn record(&mut self, index: usize) -> Instant {
        let now = Instant::now();
        if let Some(connection) = &self.connections[index] {
            let latency = now.saturating_duration_since(connection.asked_at());
            self.latency.saturating_record(latency.as_nanos() as u64);
        }
        self.requests += 1;
        self.in_flight -= 1;
        now
    }

    fn fail(&mut self, index: usize, failure: Failure) {
        // Closing removes it from the epoll instance too: nothing else holds its description.
        if let Some(connection) = self.connections[index].take() {
            self.failures.count(failure);
            self.alive -= 1;
            self.in_flight -= usize::from(connection.is_asking());
        }
    }

    fn is_interrupted(&self) -> bool {
        self.plan.interrupt.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.alive == 0 || self.is_interrupted()
    }

    fn is_check_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.check_at;
        if is_due {
            self.check_at = now + CHECK_EVERY;
        }
        is_due
    }

    fn fail_overdue(&mut self) {
        for index in 0..self.connections.len() {
            let is_overdue = self.connections[index].as_mut().is_some_and(|connection| {
                connection.is_asking() && connection.count_check() > self.checks_max
            });
            if is_overdue {
                self.fail(index, Failure::TimedOut);
            }
        }
    }

    /// Half-closes every connection and waits for the server to close each.
    fn close(&mut self) {
        for index in 0..self.connections.len() {
            let Some(connection) = &self.connections[index] else { continue };
            if let Err(error) = connection.finish() {
                self.fail(index, Failure::of(&error));
            }
        }
        let mut checks = 0;
        while !self.is_over() && checks <= self.checks_max {
            let now = Instant::now();
            checks += u32::from(self.is_check_due(now));
            self.wait(self.check_at.saturating_duration_since(now));
            for at in 0..self.events.len() {
                let event = self.events[at];
                self.look_for_close(event.data.u64() as usize);
            }
        }
        for index in 0..self.connections.len() {
            self.fail(index, Failure::TimedOut);
        }
    }

    fn look_for_close(&mut self, index: usize) {
        let Some(connection) = &self.connections[index] else { return };
        match connection.is_closed(&mut self.buf) {
            Ok(false) => {}
            Ok(true) => {
                self.connections[index] = None;
                self.alive -= 1;
            }
            Err(failure) => self.fail(index, failure),
        }
    }
}

fn checks_in(limit: Duration) -> u32 {
    let checks = limit.as_nanos().div_ceil(CHECK_EVERY.as_nanos());
    u32::try_from(checks).unwrap_or(u32::MAX)
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(errno::EMFILE | errno::ENFILE))
}

fn percentiles(latency: &Histogram<u64>) -> Option<Percentiles> {
    (!latency.is_empty()).then(|| Percentiles {
        p50_ns: latency.value_at_quantile(0.5),
        p99_ns: latency.value_at_quantile(0.99),
        p999_ns: latency.value_at_quantile(0.999),
        max_ns: latency.max(),
    })
}
