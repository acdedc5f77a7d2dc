//! Echo on tokio's current-thread runtime.
//!
//! Two idioms. The usual one reads into a buffer that each connection owns and writes it back.
//! With `--hot` a connection waits for readiness and reads into one 64 KiB buffer shared by all,
//! so that the buffer stays in the cache: the best we know how to get out of tokio, and the
//! counterpart of our `BufRead`. Only a reply the socket does not take at once is copied.

use std::cell::RefCell;
use std::io;

use peers_launch::{Options, announce, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HOT_BUFFER_LEN: usize = 64 * 1024;

thread_local! {
    static HOT_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; HOT_BUFFER_LEN]);
}

fn main() -> io::Result<()> {
    let options = Options::from_args()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(serve(&options))
}

async fn serve(options: &Options) -> io::Result<()> {
    let listener = listen()?;
    announce(&listener)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        if options.has("--hot") {
            tokio::spawn(echo_hot(stream));
        } else {
            tokio::spawn(echo(stream, options.buffer_len));
        }
    }
}

async fn echo(mut stream: TcpStream, buffer_len: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; buffer_len];
    loop {
        let len = stream.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..len]).await?;
    }
}

async fn echo_hot(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        stream.readable().await?;
        let rest = match HOT_BUFFER.with_borrow_mut(|buffer| echo_once(&stream, buffer)) {
            Ok(None) => return Ok(()),
            Ok(Some(rest)) => rest,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        if !rest.is_empty() {
            stream.write_all(&rest).await?;
        }
    }
}

/// Reads once and writes it back. Answers what the socket would not take, or `None` at the end.
fn echo_once(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<Vec<u8>>> {
    let len = stream.try_read(buffer)?;
    if len == 0 {
        return Ok(None);
    }
    let written = match stream.try_write(&buffer[..len]) {
        Ok(written) => written,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    Ok(Some(buffer[written..len].to_vec()))
}
