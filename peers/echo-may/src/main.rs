//! Echo on may: stackful coroutines, one scheduler worker.

use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, IntoRawFd};

use may::net::{TcpListener, TcpStream};
use peers_launch::{Options, announce, listen};

fn main() -> io::Result<()> {
    let options = Options::from_args()?;
    may::config().set_workers(1);
    let listener = listen()?;
    announce(&listener)?;
    let fd = listener.into_raw_fd();
    // SAFETY: `fd` was just released by its only owner and is an open listening socket.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    // The accept loop is itself a coroutine: on the main thread it would block a second thread.
    let accepting = may::go!(move || accept(&listener, options.buffer_len));
    accepting.join().map_err(|_| io::Error::other("the accept loop panicked"))?
}

fn accept(listener: &TcpListener, buffer_len: usize) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        // A client's reset ends its own coroutine; there is nobody to tell.
        may::go!(move || drop(echo(stream, buffer_len)));
    }
}

fn echo(mut stream: TcpStream, buffer_len: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // On the heap: may's default stack would not hold a large buffer.
    let mut buffer = vec![0; buffer_len];
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..len])?;
    }
}
