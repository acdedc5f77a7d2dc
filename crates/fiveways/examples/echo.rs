//! An echo server on any model: `cargo run --example echo -- uring`.
//!
//! The handler is plain blocking code; the model is a word on the command line.

use std::io::{self, BufRead, Write};

use fiveways::Model;
use fiveways::net::TcpStream;
use fiveways::server::Server;

fn main() -> io::Result<()> {
    let model = match std::env::args().nth(1) {
        Some(word) => word.parse().map_err(io::Error::other)?,
        None => Model::Auto,
    };
    let server = Server::bind("127.0.0.1:0")?.model(model);
    println!("listening on {}", server.local_addr()?);
    let report = server.serve(echo)?;
    eprintln!("{report:?}");
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.halves();
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        writer.write_all(bytes)?;
        let count = bytes.len();
        reader.consume(count);
    }
}
