//! Echo on smol's parts: async-io for readiness, a single-threaded executor for the tasks.

use std::io;
use std::net::{TcpListener, TcpStream};

use async_executor::LocalExecutor;
use async_io::Async;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use peers_launch::{Options, announce, listen};

fn main() -> io::Result<()> {
    let options = Options::from_args()?;
    let executor = LocalExecutor::new();
    // `async_io::block_on` turns this thread into the one that waits for events.
    async_io::block_on(executor.run(serve(&executor, options.buffer_len)))
}

async fn serve(executor: &LocalExecutor<'_>, buffer_len: usize) -> io::Result<()> {
    let listener = listen()?;
    announce(&listener)?;
    let listener: Async<TcpListener> = Async::new(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        executor.spawn(echo(stream, buffer_len)).detach();
    }
}

async fn echo(mut stream: Async<TcpStream>, buffer_len: usize) -> io::Result<()> {
    stream.get_ref().set_nodelay(true)?;
    let mut buffer = vec![0; buffer_len];
    loop {
        let len = stream.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..len]).await?;
    }
}
