//! One callback for each source, and the loop that calls them (S002-30 to S002-32).
//!
//! A callback that fails or panics ends its own registration and nothing else: never the loop
//! (D26). It is never ignored (D28): [`Reactor::on_end`] reports each end, and failures are
//! counted.
//!
//! While a callback runs it is out of its registration, and the reactor is consistent: it may add,
//! change and remove any source, its own too.

use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Instant;

use crate::contract::Selector;
use crate::event::{Event, Interest};
use crate::registry::{Key, Registry};
use crate::waker::Waker;

/// The future of a registration after its callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It goes on unchanged.
    Continue,
    /// It goes on and is watched for this from now on. Makes no system call if nothing changes.
    Watch(Interest),
    /// It ends: the source is deregistered, then dropped.
    End,
}

/// How a registration ended.
#[derive(Debug)]
pub enum End {
    /// Its callback returned [`Flow::End`].
    Done,
    /// Its callback failed.
    Failed(io::Error),
    /// Its callback panicked, with this payload.
    Panicked(Box<dyn Any + Send>),
}

type Callback = Box<dyn FnMut(&mut Reactor, Event) -> io::Result<Flow>>;

/// Calls a callback whenever its source is ready.
///
/// # Examples
///
/// A server that answers each connection with its own bytes, shortened: bytes that cannot be
/// written at once have to be kept and written later, as `examples/echo_callbacks.rs` does.
///
/// ```
/// use std::io::{ErrorKind, Read, Write};
/// use std::net::{TcpListener, TcpStream};
///
/// use fiveways_selector::{Event, Flow, Interest, Reactor};
///
/// fn accept(reactor: &mut Reactor, listener: &TcpListener, _: Event) -> std::io::Result<Flow> {
///     let (stream, _) = listener.accept()?;
///     reactor.add(stream, Interest::READABLE, read)?;
///     Ok(Flow::Continue)
/// }
///
/// fn read(reactor: &mut Reactor, mut stream: &TcpStream, _: Event) -> std::io::Result<Flow> {
///     let mut buf = [0; 1024];
///     let len = stream.read(&mut buf)?;
///     stream.write_all(&buf[..len])?;
///     if len == 0 {
///         reactor.stop();
///     }
///     Ok(if len == 0 { Flow::End } else { Flow::Continue })
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let client = std::thread::spawn(move || -> std::io::Result<Vec<u8>> {
///     let mut stream = TcpStream::connect(addr)?;
///     stream.write_all(b"hello")?;
///     stream.shutdown(std::net::Shutdown::Write)?;
///     let mut reply = Vec::new();
///     stream.read_to_end(&mut reply)?;
///     Ok(reply)
/// });
///
/// let mut reactor = Reactor::new()?;
/// reactor.add(listener, Interest::READABLE, accept)?;
/// reactor.run()?;
/// assert_eq!(client.join().expect("the client ends")?, b"hello");
/// # Ok(())
/// # }
/// ```
pub struct Reactor {
    /// A callback is absent while it runs.
    registry: Registry<Rc<dyn AsFd>, Option<Callback>>,
    on_end: Option<Box<dyn FnMut(Key, End)>>,
    failures: u64,
    stopping: bool,
}

impl Reactor {
    /// Opens a reactor over the [`best`](crate::best) selector.
    pub fn new() -> io::Result<Reactor> {
        Ok(Reactor::over(Registry::new()?))
    }

    /// Creates a reactor over a selector that watches nothing yet.
    ///
    /// With an edge-triggered selector, callbacks have to drain their sources.
    pub fn with_selector(selector: Box<dyn Selector>) -> Reactor {
        Reactor::over(Registry::with_selector(selector))
    }

    fn over(registry: Registry<Rc<dyn AsFd>, Option<Callback>>) -> Reactor {
        Reactor { registry, on_end: None, failures: 0, stopping: false }
    }

    /// Begins to watch a source, which the reactor owns from now on.
    ///
    /// # Errors
    ///
    /// As [`Selector::register`]; the source and the callback are dropped.
    pub fn add<F: AsFd + 'static>(
        &mut self,
        source: F,
        interest: Interest,
        mut callback: impl FnMut(&mut Reactor, &F, Event) -> io::Result<Flow> + 'static,
    ) -> io::Result<Key> {
        let source = Rc::new(source);
        let watched: Rc<dyn AsFd> = source.clone();
        let callback: Callback = Box::new(move |reactor, event| callback(reactor, &source, event));
        self.registry.register(watched, interest, Some(callback))
    }

    /// Changes what a source is watched for.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if the registration has ended.
    pub fn watch(&mut self, key: Key, interest: Interest) -> io::Result<()> {
        self.registry.modify(key, interest)
    }

    /// Ends a registration: its source is deregistered, then dropped. Neither its callback nor
    /// [`on_end`](Reactor::on_end) is called any more.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if it has ended before.
    pub fn remove(&mut self, key: Key) -> io::Result<()> {
        self.registry.unregister(key).map(drop)
    }

    /// Sets the function that is called when a registration ends by itself.
    pub fn on_end(&mut self, report: impl FnMut(Key, End) + 'static) {
        self.on_end = Some(Box::new(report));
    }

    /// Returns how many registrations ended by an error or a panic.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Returns the number of registered sources.
    pub fn len(&self) -> usize {
        self.registry.len()
    }

    /// Returns `true` if nothing is registered.
    pub fn is_empty(&self) -> bool {
        self.registry.is_empty()
    }

    /// Returns a handle that ends a turn from any thread.
    pub fn waker(&self) -> Waker {
        self.registry.waker()
    }

    /// Ends [`run`](Reactor::run) after the running callback.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Calls callbacks until one calls [`stop`](Reactor::stop) or nothing is registered.
    ///
    /// # Suspends
    ///
    /// Blocks the thread while nothing is ready.
    ///
    /// # Errors
    ///
    /// Only errors that make the selector useless; never an error of a callback.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.stopping && !self.is_empty() {
            self.turn(None)?;
        }
        self.stopping = false;
        Ok(())
    }

    /// Waits once, until a source is ready, the deadline or a wake, and calls the callbacks of the
    /// ready sources.
    ///
    /// # Errors
    ///
    /// As [`run`](Reactor::run).
    pub fn turn(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.registry.select(deadline)?;
        while !self.stopping
            && let Some(ready) = self.registry.next_ready()
        {
            let (key, event) = (ready.key, ready.event);
            if let Some(callback) = ready.data.take() {
                self.call(key, event, callback);
            }
        }
        Ok(())
    }

    fn call(&mut self, key: Key, event: Event, mut callback: Callback) {
        // Unwind safety: the state that the callback may leave half done is its own and ends with
        // it; the reactor is consistent while it runs.
        let answer = catch_unwind(AssertUnwindSafe(|| callback(self, event)));
        let end = match answer {
            Ok(Ok(Flow::Continue)) => None,
            Ok(Ok(Flow::Watch(interest))) => match self.registry.modify(key, interest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Some(End::Failed(error)),
                _ => None,
            },
            Ok(Ok(Flow::End)) => Some(End::Done),
            Ok(Err(error)) => Some(End::Failed(error)),
            Err(payload) => Some(End::Panicked(payload)),
        };
        match end {
            Some(end) => self.end(key, end),
            None => {
                // Absent when the callback removed itself.
                if let Some((_, place)) = self.registry.get_mut(key) {
                    *place = Some(callback);
                }
            }
        }
    }

    fn end(&mut self, key: Key, end: End) {
        // The callback may have removed its registration before it failed.
        let _ = self.registry.unregister(key);
        if !matches!(end, End::Done) {
            self.failures += 1;
        }
        if let Some(report) = &mut self.on_end {
            report(key, end);
        }
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("registry", &self.registry)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}
