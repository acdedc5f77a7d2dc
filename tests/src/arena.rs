//! A server on a model, in a thread of the test's own process; and tasks on a model.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream as Client};
use std::thread;

use fiveways::Model;
use fiveways::net::{TcpListener, TcpStream};
use fiveways::runtime::Runtime;
use fiveways::server::{Control, Handler, Report, Server, Stats};

use crate::client;
use crate::patience::eventually;

/// A server that serves until it is stopped or dropped.
#[derive(Debug)]
pub struct Arena {
    model: Model,
    addr: SocketAddr,
    control: Control,
    serving: Option<thread::JoinHandle<io::Result<Report>>>,
}

impl Arena {
    /// Serves with a handler.
    pub fn new(model: Model, handler: impl Handler) -> Arena {
        Arena::with(model, |server| server, handler)
    }

    /// Serves with a handler and settings of its own.
    pub fn with(
        model: Model,
        settings: impl FnOnce(Server) -> Server,
        handler: impl Handler,
    ) -> Arena {
        let server = Server::bind("127.0.0.1:0").expect("a port");
        let server = settings(server.model(model).handle_signals(false));
        let addr = server.local_addr().expect("an address");
        let control = server.control();
        let name = format!("serve-{model}");
        let serving = thread::Builder::new().name(name).spawn(move || server.serve(handler));
        let serving = Some(serving.expect("a thread for the server"));
        Arena { model, addr, control, serving }
    }

    /// The model.
    pub fn model(&self) -> Model {
        self.model
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its control.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Its counts.
    pub fn stats(&self) -> Stats {
        self.control.stats()
    }

    /// A client with time limits.
    pub fn connect(&self) -> Client {
        client::connect(self.addr)
    }

    /// Waits until this many connections are being served.
    #[track_caller]
    pub fn wait_for_connections(&self, count: usize) {
        let what = format!("{count} connections on {}", self.model);
        eventually(&what, || self.stats().connections == count);
    }

    /// Does it serve one connection at a time?
    pub fn is_serial(&self) -> bool {
        self.model == Model::Blocking
    }

    /// Lets connections finish, ends the server and gives its report.
    ///
    /// # Panics
    ///
    /// When it fails, or a connection had to be cut short.
    #[track_caller]
    pub fn stop(mut self) -> Report {
        let report = self.end();
        assert_eq!(report.cut_short, 0, "connections were cut short: {report:?}");
        assert_eq!(report.stats.connections, 0, "connections are left: {report:?}");
        report
    }

    /// Waits for the end after a stop.
    ///
    /// # Panics
    ///
    /// When the server fails.
    #[track_caller]
    pub fn end(&mut self) -> Report {
        self.control.stop();
        self.join()
    }

    /// Waits for the end.
    ///
    /// # Panics
    ///
    /// When the server fails.
    #[track_caller]
    pub fn join(&mut self) -> Report {
        let serving = self.serving.take().expect("a server ends once");
        let report = serving.join().expect("the server does not panic");
        report.expect("the server does not fail")
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            // The test has failed, or does not care: by force.
            self.control.stop();
            self.control.stop();
            let _ = serving.join();
        }
    }
}

/// Echoes through plain `Read` and `Write`, as any handler for threads does.
///
/// # Errors
///
/// Of the stream.
pub fn echo_by_read(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        let count = stream.read(&mut buf)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..count])?;
    }
}

/// Runs `f` as a task of a model's runtime, and checks that no task is left.
#[track_caller]
pub fn in_task<T: Send + 'static>(model: Model, f: impl FnOnce() -> T + Send + 'static) -> T {
    in_task_of(model, 1, f)
}

/// Runs `f` as a task of a model's runtime with several workers, and checks that no task is left.
#[track_caller]
pub fn in_task_of<T: Send + 'static>(
    model: Model,
    workers: usize,
    f: impl FnOnce() -> T + Send + 'static,
) -> T {
    let runtime = Runtime::builder().model(model).workers(workers).build();
    let runtime = runtime.expect("the model is there");
    let value = runtime.block_on(f);
    let tasks = || runtime.handle().stats().tasks.iter().sum::<usize>();
    eventually("all tasks have ended", || tasks() == 0);
    value
}

/// A connected pair of streams over loopback; to be called in a task.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let near = TcpStream::connect(addr).expect("connects");
    let (far, _) = listener.accept().expect("accepts");
    near.set_nodelay(true).expect("takes options");
    far.set_nodelay(true).expect("takes options");
    (near, far)
}
