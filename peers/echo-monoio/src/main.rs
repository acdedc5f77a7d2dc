//! Echo on monoio's io_uring driver: the buffer is owned by the kernel while an operation runs.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};
use peers_launch::{Options, announce, listen};

/// Submission entries; fewer would make a turn over thousands of connections submit in pieces.
const RING_ENTRIES: u32 = 16 * 1024;

fn main() -> io::Result<()> {
    let options = Options::from_args()?;
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).build()?;
    runtime.block_on(serve(options.buffer_len))
}

async fn serve(buffer_len: usize) -> io::Result<()> {
    let listener = listen()?;
    announce(&listener)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        monoio::spawn(echo(stream, buffer_len));
    }
}

async fn echo(mut stream: TcpStream, buffer_len: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(buffer_len);
    loop {
        let (len, filled) = stream.read(buffer).await;
        if len? == 0 {
            return Ok(());
        }
        let (written, mut emptied) = stream.write_all(filled).await;
        written?;
        emptied.clear();
        buffer = emptied;
    }
}
