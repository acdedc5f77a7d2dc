//! The main loop of a worker process: answering the calls of its pool.
//!
//! ```text
//!   main thread    hello ▸ call ▸ answer ▸ call ▸ answer … ▸ quit: exits with 0
//!   reader thread  reads calls from the socket and passes them on; when the socket ends without a
//!                  quit, the pool's process is gone, and it kills this one, in whatever call
//! ```
//!
//! A function may fork, and its copy of this process may return from it: the copy must not answer,
//! and ends itself.
//!
//! The socket arrives as standard input: the only way to pass a descriptor down without code
//! between fork and exec. It is moved away at once, so that code that reads standard input does not
//! read from it.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use fiveways_sys::fault::write_to_stderr;
use fiveways_sys::pipe::keep_on_exec;
use fiveways_sys::process::{Signal, id, kill};

use crate::executor::failure::message_of;
use crate::executor::rpc::call;
use crate::executor::rpc::wire::{Answer, Request, write_hello};
use crate::net::UnixStream;

/// The only argument of a worker process.
pub(in crate::executor) const MARK: &str = "--fiveways-worker";

/// false → true, when `main` has called [`serve_if_worker`].
static GUARDED: AtomicBool = AtomicBool::new(false);

/// Returns `true` if worker processes would recognise themselves as such.
pub(in crate::executor) fn is_guarded() -> bool {
    GUARDED.load(Ordering::Relaxed)
}

/// Serves the calls of a [`ProcessPool`](crate::executor::ProcessPool) if this process is one of
/// its workers, and then exits; otherwise returns at once.
///
/// Workers start as this same program. So `main` calls this first, before it reads arguments,
/// starts threads or opens anything.
///
/// # Examples
///
/// See [`ProcessPool`](crate::executor::ProcessPool).
#[doc(alias = "freeze_support")]
pub fn serve_if_worker() {
    GUARDED.store(true, Ordering::Relaxed);
    let mut arguments = env::args_os().skip(1);
    let marked = arguments.next().is_some_and(|argument| argument == MARK);
    if !marked || arguments.next().is_some() {
        return;
    }
    match take_socket().and_then(serve) {
        Ok(()) => process::exit(0),
        Err(error) => {
            // Not by the macro, which panics if stderr is closed.
            let _ = writeln!(io::stderr(), "error: this worker process has no pool: {error}");
            process::exit(2);
        }
    }
}

/// Takes the socket from standard input and replaces that by an empty file.
#[expect(unsafe_code, reason = "descriptor 0 is closed and opened again")]
fn take_socket() -> io::Result<UnixStream> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    // SAFETY: required: an open descriptor that nobody else owns. It was just duplicated, so it is
    // open. std's handle only names the number, and nobody reads before there is a file behind it
    // again: `main` has just begun.
    drop(unsafe { OwnedFd::from_raw_fd(0) });
    let nothing = File::open("/dev/null")?;
    if nothing.as_raw_fd() != 0 {
        return Err(io::Error::other("a thread was started before serve_if_worker was called"));
    }
    // Programs that a call starts inherit it as well.
    keep_on_exec(nothing.as_fd())?;
    let _ = nothing.into_raw_fd();
    Ok(UnixStream::from(socket))
}

fn serve(mut socket: UnixStream) -> io::Result<()> {
    write_hello(&mut socket)?;
    let (tell, told) = mpsc::channel();
    let calls = socket.try_clone()?;
    let reader = thread::Builder::new().name("fiveways-calls".to_owned());
    reader.spawn(move || read_calls(calls, &tell))?;
    answer_calls(&mut socket, &told);
    Ok(())
}

/// Forwards calls, and ends the process when the pool is gone.
fn read_calls(mut socket: UnixStream, tell: &Sender<Request>) {
    while let Ok(Some(request)) = Request::read(&mut socket) {
        let quits = request == Request::Quit;
        // The main thread receives until it quits.
        let _ = tell.send(request);
        if quits {
            return;
        }
    }
    end_now();
}

/// Answers calls until it is asked to quit.
fn answer_calls(socket: &mut UnixStream, told: &Receiver<Request>) {
    let own = id();
    while let Ok(Request::Call { number, name, arguments }) = told.recv() {
        let answered = catch_unwind(AssertUnwindSafe(|| call::run(&name, &arguments)));
        let answer = answered.unwrap_or_else(|payload| {
            let answer = Answer::Panicked(message_of(payload.as_ref()).to_owned());
            // Its drop might panic as well; the process must continue.
            std::mem::forget(payload);
            answer
        });
        // The kernel is asked: libc may have cached the id of the original.
        if id() != own {
            write_to_stderr(b"fiveways: a fork of a worker process came back from its call\n");
            end_now();
        }
        if answer.write(socket, number).is_err() {
            end_now();
        }
    }
}

/// Ends this process without running any more of its code.
fn end_now() -> ! {
    // It cannot fail for the process itself.
    let _ = kill(id(), Signal::KILL);
    process::abort();
}
