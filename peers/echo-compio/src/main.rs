//! Echo on compio's io_uring driver.
//!
//! The usual idiom owns a buffer per connection. With `--multishot` one multishot receive per
//! connection delivers buffers of a shared ring: compio's own fast path.

use std::io;
use std::num::NonZero;

use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncReadMulti, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;
use futures_lite::StreamExt;
use peers_launch::{Options, announce, listen};

/// Submission entries, as for the other rings.
const RING_ENTRIES: u32 = 4096;

/// Buffers of the shared ring, and the bytes of each.
const POOL_LEN: NonZero<u16> = NonZero::new(256).expect("256 is not zero");
const POOL_BUFFER_LEN: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let options = Options::from_args()?;
    let mut proactor = ProactorBuilder::new();
    proactor.capacity(RING_ENTRIES).single_issuer(true).coop_taskrun(true).taskrun_flag(true);
    proactor.defer_taskrun(true);
    proactor.buffer_pool_size(POOL_LEN).buffer_pool_buffer_len(POOL_BUFFER_LEN);
    let runtime = RuntimeBuilder::new().with_proactor(proactor).build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: Options) -> io::Result<()> {
    let listener = listen()?;
    announce(&listener)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        if options.has("--multishot") {
            compio::runtime::spawn(echo_multishot(stream, options.buffer_len)).detach();
        } else {
            compio::runtime::spawn(echo(stream, options.buffer_len)).detach();
        }
    }
}

async fn echo(mut stream: TcpStream, buffer_len: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(buffer_len);
    loop {
        let (len, filled) = stream.read(buffer).await.into();
        if len? == 0 {
            return Ok(());
        }
        let (written, mut emptied) = stream.write_all(filled).await.into();
        written?;
        emptied.clear();
        buffer = emptied;
    }
}

async fn echo_multishot(stream: TcpStream, buffer_len: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (&stream, &stream);
    let mut pieces = std::pin::pin!(reader.read_multi(0));
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => writer.write_all(piece).await.0?,
            // The ring is used up, which ended the receive; asking for the next piece arms it
            // again. One piece read into a buffer of its own lets the others go on first.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                let (len, filled) = (&stream).read(Vec::with_capacity(buffer_len)).await.into();
                if len? == 0 {
                    return Ok(());
                }
                writer.write_all(filled).await.0?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
