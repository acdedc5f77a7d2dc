//! Echo with one blocking thread per connection, on nothing but std.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

use peers_launch::{Options, announce, listen};

/// Small, so that thousands of threads fit; the buffer is on the heap.
const STACK_LEN: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let options = Options::from_args()?;
    let listener = listen()?;
    listener.set_nonblocking(false)?;
    announce(&listener)?;
    loop {
        let (stream, _) = listener.accept()?;
        let buffer_len = options.buffer_len;
        let builder = thread::Builder::new().stack_size(STACK_LEN);
        // A client's reset ends its own thread; there is nobody to tell.
        builder.spawn(move || drop(echo(stream, buffer_len)))?;
    }
}

fn echo(mut stream: TcpStream, buffer_len: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; buffer_len];
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..len])?;
    }
}
