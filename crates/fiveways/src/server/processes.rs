//! Several processes: a supervisor that forks children and replaces those that die.
//!
//! Forking is safe only while the program has one thread, so this refuses to begin later. The
//! supervisor itself never starts a thread: it sleeps on the bell, which signal handlers ring.
//!
//! Children are ordered to drain, and to end by force, over a channel of their own ([`link`]); a
//! signal sent to one of them, or to the whole process group, makes them drain.
//!
//! A child that dies is replaced, at first immediately; a slot whose children die young waits
//! longer each time, up to [`LONGEST_PAUSE`].

use std::io;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fiveways_driver::Model;
use fiveways_runtime::clock;
use fiveways_sys::net::wait_ready;
use fiveways_sys::process::{self, Forked, Patience, Pid, Signal};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};

use crate::net::TcpListener;
use crate::server::link::{ChildHandle, ParentHandle, link};
use crate::server::stop::{Control, OnSignal, OnSignals, Order};
use crate::server::{Handler, Report, Server};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The longest time clients wait for a process that is to be replaced.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// Extra time for children after the drain deadline, before they are killed.
const GRACE: Duration = Duration::from_secs(3);

/// The death of a child that lived this long counts as a first one.
const GROWN_UP: Duration = Duration::from_secs(10);

/// A child process, or the pause before the next.
struct Slot {
    child: Option<(Pid, ChildHandle)>,
    /// With a listener for each process: that of this slot.
    listener: Option<TcpListener>,
    born: Instant,
    pause: Duration,
    next: Instant,
}

impl Slot {
    /// Lets a pause pass before the next child, and a longer one the next time. During a long pause
    /// the other processes get this one's share of the connections.
    fn wait_longer(&mut self, now: Instant) {
        self.next = now + self.pause;
        if self.pause >= LONG_PAUSE {
            self.listener = None;
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

/// Forks the children and waits for their end.
pub(crate) fn supervise(mut server: Server, handler: Arc<impl Handler>) -> io::Result<Report> {
    if process::thread_count()? != 1 {
        let message = "several processes must be asked for before the program starts a thread";
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    // An error that would make every child fail is reported before there is any.
    fiveways_driver::support(server.settings.model)?;
    let one_each = server.settings.listen_mode.is_one_each(server.settings.model);
    if !one_each && server.settings.model == Model::Signal {
        let message = "under the model signal a shared listener tells one of several processes \
                       only: bind with ListenMode::ReusePort, or choose another model";
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    let control = Control::new()?;
    let ready = server.take_ready();
    let signals = [(SIGINT, OnSignal::Stop), (SIGTERM, OnSignal::Stop), (SIGCHLD, OnSignal::Look)];
    let signals = signals.map(|(signal, what)| control.on_signal(signal, what));
    let mut supervisor = Supervisor {
        server: Some(server),
        control,
        signals: Some(OnSignals::new(signals.into_iter().collect::<io::Result<_>>()?)),
        handler,
        slots: Vec::new(),
        one_each,
        sum: Report::default(),
    };
    supervisor.prepare()?;
    ready()?;
    supervisor.run()
}

struct Supervisor<H> {
    /// Taken by a child when it begins.
    server: Option<Server>,
    control: Control,
    signals: Option<OnSignals>,
    handler: Arc<H>,
    slots: Vec<Slot>,
    /// `true` if each process has a listener. Then this one only keeps the address.
    one_each: bool,
    /// The sum of the reports of children that have ended.
    sum: Report,
}

impl<H: Handler> Supervisor<H> {
    /// Makes the slots, and a listener for each. The first slot has the existing listener, with
    /// what is queued at it.
    fn prepare(&mut self) -> io::Result<()> {
        let Some(server) = &mut self.server else { return Ok(()) };
        let now = clock::now();
        let slot =
            |_| Slot { child: None, listener: None, born: now, pause: FIRST_PAUSE, next: now };
        self.slots.extend((0..server.settings.processes).map(slot));
        server.settings.shares_listener = !self.one_each;
        if !self.one_each {
            return Ok(());
        }
        server.listener.allow_more()?;
        let reserved = TcpListener::reserve(&server.local_addr()?)?;
        self.slots[0].listener = Some(mem::replace(&mut server.listener, reserved));
        (0..self.slots.len()).try_for_each(|at| self.listen(at))
    }

    /// Makes the listener of a slot, if it needs one and has none.
    fn listen(&mut self, at: usize) -> io::Result<()> {
        let slot = &mut self.slots[at];
        let Some(server) = self.server.as_ref().filter(|_| self.one_each) else { return Ok(()) };
        if slot.listener.is_none() {
            let (address, backlog) = (server.local_addr()?, server.settings.backlog);
            slot.listener = Some(TcpListener::bind_with(&address, backlog, true, true)?);
        }
        Ok(())
    }

    fn run(&mut self) -> io::Result<Report> {
        let kept = self.keep_serving();
        // Whatever the reason for the end, no child is left behind.
        let ended = self.end();
        kept.and(ended)
    }

    /// Keeps the number of children constant until a stop.
    fn keep_serving(&mut self) -> io::Result<()> {
        while !self.is_stopping() {
            self.fill()?;
            self.sleep(self.slots.iter().filter(|s| s.child.is_none()).map(|s| s.next).min())?;
            self.reap()?;
        }
        Ok(())
    }

    /// Returns `true` if a stop was requested, by a signal or through the server's control.
    fn is_stopping(&self) -> bool {
        let asked = self.server.as_ref().is_some_and(|server| server.control.is_stopping());
        asked || self.control.is_stopping()
    }

    /// Forks children for the empty slots whose pause is over.
    fn fill(&mut self) -> io::Result<()> {
        for at in 0..self.slots.len() {
            let now = clock::now();
            if self.slots[at].child.is_some() || self.slots[at].next > now {
                continue;
            }
            match self.fork(at) {
                Ok(child) => {
                    self.slots[at].child = Some(child);
                    self.slots[at].born = now;
                }
                Err(error) if self.slots.iter().all(|slot| slot.child.is_none()) => {
                    return Err(error);
                }
                Err(error) => {
                    eprintln!("fiveways: a process could not be started: {error}");
                    self.slots[at].wait_longer(now);
                }
            }
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "forking is safe in programs of one thread only")]
    fn fork(&mut self, at: usize) -> io::Result<(Pid, ChildHandle)> {
        self.listen(at)?;
        let parent = process::id();
        let (ours, theirs) = link()?;
        // SAFETY: required: no other thread. Checked at the beginning; the supervisor starts none.
        match unsafe { process::fork() }? {
            Forked::Parent(child) => Ok((child, ours)),
            Forked::Child => {
                drop(ours);
                self.be_child(at, parent, theirs)
            }
        }
    }

    /// The whole life of a child; never returns.
    fn be_child(&mut self, at: usize, parent: Pid, line: ParentHandle) -> ! {
        if let (Some(server), Some(ours)) = (&mut self.server, self.slots[at].listener.take()) {
            server.listener = ours;
        }
        // The listeners of the other children, and the channels to them, are not for this child.
        self.slots.clear();
        let code = match self.serve_child(parent, &line) {
            Ok(report) => {
                line.report(&report);
                0
            }
            Err(error) => {
                eprintln!("fiveways: process {}: {error}", std::process::id());
                1
            }
        };
        std::process::exit(code)
    }

    fn serve_child(&mut self, parent: Pid, line: &ParentHandle) -> io::Result<Report> {
        process::set_parent_death_signal(Some(Signal::TERM))?;
        if process::parent_id() != Some(parent) {
            // It died before the notification was requested.
            return Err(io::Error::other("the supervisor has gone"));
        }
        let mut server = self.server.take().expect("a child begins once");
        let own = line.control()?;
        server.control.hand_over(parent, own.clone());
        server.control = own;
        // The child's handlers are installed before the supervisor's are removed: a signal between
        // them would reach nobody.
        let _signals = server.control.on_signals(OnSignal::Drain)?;
        self.signals = None;
        if self.control.is_stopping() {
            // It came before the child's handlers were installed; the child has a copy of the
            // supervisor's count.
            server.control.stop_if_running();
        }
        server.settings.signals = false;
        server.settings.processes = 1;
        server.serve_here(Arc::clone(&self.handler))
    }

    /// Sleeps until the bell rings or the time has come.
    fn sleep(&self, until: Option<Instant>) -> io::Result<()> {
        wait_ready(self.control.bell(), false, clock::to_machine(until))?;
        self.control.hush();
        Ok(())
    }

    /// Collects children that have died. Waits for each of this server's by its id: the program may
    /// have other children, which other code waits for.
    fn reap(&mut self) -> io::Result<()> {
        let stopping = self.is_stopping();
        for slot in &mut self.slots {
            let Some(pid) = slot.child.as_ref().map(|child| child.0) else { continue };
            let Some(exit) = end_of(pid)? else { continue };
            if let Some(report) = slot.child.take().and_then(|(_, handle)| handle.report()) {
                self.sum.add(&report);
            }
            let now = clock::now();
            if now - slot.born > GROWN_UP {
                slot.pause = FIRST_PAUSE;
            }
            slot.wait_longer(now);
            if !stopping {
                let pid = pid.as_raw_pid();
                eprintln!("fiveways: process {pid} has ended ({exit}) and will be replaced");
            }
        }
        Ok(())
    }

    /// Ends the children: gracefully, then by force.
    fn end(&mut self) -> io::Result<Report> {
        // Listeners are closed here too: they must not outlive those of the children.
        self.slots.iter_mut().for_each(|slot| slot.listener = None);
        let drain = self.server.take().map_or(Duration::ZERO, |server| server.settings.drain);
        self.control.stop_if_running();
        self.order_all(Order::Drain);
        // The children keep the drain deadline; this only makes sure of it.
        let deadline = clock::after(drain.saturating_add(GRACE));
        let mut forced = false;
        while self.slots.iter().any(|slot| slot.child.is_some()) {
            self.sleep(Some(clock::now() + Duration::from_millis(200)))?;
            self.reap()?;
            if !forced && self.control.is_forced() {
                forced = true;
                self.order_all(Order::Force);
            }
            if deadline.is_some_and(|deadline| clock::now() > deadline) {
                self.kill_all();
            }
        }
        Ok(self.sum)
    }

    fn order_all(&self, order: Order) {
        for (_, child) in self.slots.iter().filter_map(|slot| slot.child.as_ref()) {
            child.order(order);
        }
    }

    fn kill_all(&self) {
        for (child, _) in self.slots.iter().filter_map(|slot| slot.child.as_ref()) {
            // It may have died just before.
            let _ = process::kill(*child, Signal::KILL);
        }
    }
}

/// Describes how a child has ended, if it has.
fn end_of(child: Pid) -> io::Result<Option<String>> {
    match process::wait(Some(child), Patience::Look) {
        // Other code has collected it, or SIGCHLD is ignored, so that children are not kept for
        // waiting.
        Err(error) if error.raw_os_error() == Some(fiveways_sys::errno::ECHILD) => {
            Ok(Some("exit status unknown".to_owned()))
        }
        result => Ok(result?.map(|(_, exit)| exit.to_string())),
    }
}
