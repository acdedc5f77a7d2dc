//! Serving on threads: the models `blocking`, `threads` and `pool`.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use fiveways_driver::Model;
use fiveways_runtime::{clock, contain};
use fiveways_sys::lock::Mutex;
use fiveways_sys::net;

use crate::net::{TcpListener, TcpStream};
use crate::server::Handler;
use crate::server::accepted::Accepted;
use crate::server::admission::{Admission, Verdict};
use crate::server::backlog::{accept_queued, serve_held};
use crate::server::open::Open;
use crate::server::settings::{Overload, Settings};
use crate::server::stop::Control;
use crate::server::turns::Turns;

/// Threads of a pool per processor, by default: they mostly wait.
const POOL_PER_PROCESSOR: usize = 4;

/// How often `blocking` checks the clock while it stops.
const LOOK: Duration = Duration::from_millis(5);

/// Serves until stopped; returns how many connections were cut short.
pub(crate) fn serve(
    listener: TcpListener,
    settings: &Settings,
    control: &Control,
    admission: &Arc<Admission>,
    handler: Arc<impl Handler>,
) -> io::Result<usize> {
    listener.set_nonblocking(true)?;
    let turns = Turns::new(settings.shares_listener, &listener, control.bell())?;
    let door = Mutex::new(Some(Arc::new(listener)));
    let open = Arc::new(Open::new(settings.closes_idle));
    control.watch(&open);
    let floor = Floor { door, turns, settings, control, admission, open };
    match settings.model {
        Model::Blocking => floor.one_by_one(&*handler),
        Model::Pool => floor.with_pool(handler),
        _ => floor.all_at_once(|accepted| {
            let (accepted, handler) = (accepted.clone(), Arc::clone(&handler));
            let builder = thread::Builder::new().name("fiveways-conn".to_owned());
            let builder = builder.stack_size(settings.stack_size);
            builder.spawn(move || run(&*handler, accepted)).map(drop)
        }),
    }
}

/// Runs a handler and catches its panic.
fn run(handler: &impl Handler, accepted: Accepted) {
    // The panic hook has reported it, and the guard has counted it.
    contain(|| accepted.serve(handler));
}

/// The state of accepting on plain threads.
struct Floor<'a> {
    /// The listener, until a stop takes it. A thread that accepts or waits holds it only for that
    /// long, so that it is closed even while a handler runs.
    door: Mutex<Option<Arc<TcpListener>>>,
    turns: Turns,
    settings: &'a Settings,
    control: &'a Control,
    admission: &'a Arc<Admission>,
    open: Arc<Open>,
}

impl Floor<'_> {
    /// Accepts until stopped.
    fn accept_all(&self, mut serve: impl FnMut(&Accepted) -> io::Result<()>) -> io::Result<()> {
        let mut pauses = 0;
        while !self.control.is_stopping() {
            if self.settings.overload == Overload::Wait && self.admission.is_full() {
                self.wait_for_leaver()?;
                continue;
            }
            let Some(listener) = self.door.lock().clone() else { break };
            let error = match listener.accept() {
                Ok((stream, _)) => {
                    drop(listener);
                    pauses = 0;
                    self.admit(stream, &mut serve);
                    continue;
                }
                Err(error) => error,
            };
            match self.admission.judge(error, &mut pauses) {
                Verdict::Next => {}
                Verdict::Wait => {
                    self.turns.wait(&listener, self.control.bell())?;
                    self.control.hush_beside();
                }
                Verdict::Pause(time) => self.pause(time),
                Verdict::Broken(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn admit(&self, mut stream: TcpStream, serve: &mut impl FnMut(&Accepted) -> io::Result<()>) {
        if self.admission.is_full() {
            self.admission.refuse();
            return;
        }
        if self.settings.apply(&stream).is_err() {
            // The connection is closed to the point that options cannot be set.
            self.admission.abort();
            return;
        }
        self.open.add(&mut stream);
        let accepted = Accepted::new(stream, self.admission.enter());
        let mut failures = 0;
        // Out of threads: the connection waits until one can be started.
        while serve(&accepted).is_err() && !self.control.is_over() {
            self.pause(self.admission.exhausted(&mut failures));
        }
    }

    /// Waits until a connection ends, or until stopped.
    fn wait_for_leaver(&self) -> io::Result<()> {
        self.admission.ring_for_leaver();
        if self.admission.is_full() {
            net::wait_ready(self.control.bell(), false, None)?;
            self.control.hush_beside();
        }
        Ok(())
    }

    /// Waits for a while, or until stopped.
    fn pause(&self, time: Duration) {
        if self.control.is_stopping() {
            return thread::sleep(time);
        }
        // If it fails, the pause is short.
        let _ = net::wait_ready(self.control.bell(), false, Some(clock::machine() + time));
        self.control.hush_beside();
    }

    /// Serves all connections that come, concurrently as far as `serve` can; returns how many were
    /// cut short.
    fn all_at_once(&self, mut serve: impl FnMut(&Accepted) -> io::Result<()>) -> io::Result<usize> {
        self.accept_all(&mut serve)?;
        let mut admit = |stream| self.admit(stream, &mut serve);
        let held = self.close_door(&mut admit);
        let unserved = serve_held(held, self.control, self.admission, admit)?;
        self.control.wait_for_drain()?;
        let cut_short = self.admission.inside() + unserved;
        self.open.shut_all();
        // Their handlers see the end of the stream now; a handler that ignores it is left behind.
        self.control.wait_for_ended(Duration::from_secs(1))?;
        Ok(cut_short)
    }

    /// Begins a stop: accepts what is queued, closes the listener, and notifies handlers. Returns
    /// the connections above the limit.
    fn close_door(&self, admit: impl FnMut(TcpStream)) -> VecDeque<TcpStream> {
        self.control.begin_stop(self.settings.drain);
        let listener = self.door.lock().take();
        let queued = |listener: Arc<TcpListener>| {
            self.turns.leave(&listener);
            accept_queued(listener, self.settings, self.control, self.admission, admit)
        };
        let held = listener.map(queued).unwrap_or_default();
        self.control.tell_stopping();
        held
    }

    /// Serves each connection to its end before accepting the next; returns how many were cut
    /// short.
    ///
    /// The handler holds this thread, so another one closes the listener at a stop, hands over what
    /// was queued, and enforces the deadline. A handler that ignores the end of its stream is
    /// waited for.
    fn one_by_one(&self, handler: &impl Handler) -> io::Result<usize> {
        thread::scope(|scope| {
            let (serving, ended) = mpsc::channel::<()>();
            let (give, queued) = mpsc::channel();
            let builder = thread::Builder::new().name("fiveways-stop".to_owned());
            let keeper = move || self.stop_beside(give, &ended);
            let keeper = builder.spawn_scoped(scope, keeper)?;
            let mut serve = |accepted: &Accepted| {
                run(handler, accepted.clone());
                Ok(())
            };
            let served = self.accept_all(&mut serve);
            self.control.stop_if_running();
            let mut unserved = 0;
            for stream in queued {
                match self.control.is_over() {
                    true => unserved += 1,
                    false => self.admit(stream, &mut serve),
                }
            }
            drop(serving);
            let cut_short = keeper.join().unwrap_or(Ok(0));
            served.and(cut_short).map(|cut_short| cut_short + unserved)
        })
    }

    /// Stops while another thread serves. Ends what is still being served at the drain deadline.
    fn stop_beside(
        &self,
        give: mpsc::Sender<TcpStream>,
        ended: &mpsc::Receiver<()>,
    ) -> io::Result<usize> {
        while !self.control.is_stopping() {
            net::wait_ready(self.control.bell(), false, None)?;
            self.control.hush_beside();
        }
        // The receiver waits until all senders are dropped.
        let mut give_one = |stream| _ = give.send(stream);
        self.close_door(&mut give_one).into_iter().for_each(give_one);
        drop(give);
        let mut cut_short = 0;
        while ended.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
            self.control.hush_beside();
            self.control.close_idle();
            if self.control.is_over() {
                cut_short = cut_short.max(self.admission.inside());
                self.open.shut_all();
            }
        }
        Ok(cut_short)
    }

    fn with_pool(&self, handler: Arc<impl Handler>) -> io::Result<usize> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let size = self.settings.pool_size.unwrap_or(processors * POOL_PER_PROCESSOR);
        let (give, take) = mpsc::channel::<Accepted>();
        let take = Arc::new(Mutex::new(take));
        for number in 0..size {
            let (take, handler) = (Arc::clone(&take), Arc::clone(&handler));
            let work = move || {
                loop {
                    let next = take.lock().recv();
                    match next {
                        Ok(accepted) => run(&*handler, accepted),
                        Err(_) => return,
                    }
                }
            };
            let builder = thread::Builder::new().name(format!("fiveways-pool-{number}"));
            builder.stack_size(self.settings.stack_size).spawn(work)?;
        }
        self.all_at_once(|accepted| give.send(accepted.clone()).map_err(io::Error::other))
    }
}
