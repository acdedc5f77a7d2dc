//! A thousand conversations at once, in plain blocking code: clients and server in one process.
//!
//! Each task connects, asks, waits a moment as if it thought about the answer, and asks again.

use std::io::{self, BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use fiveways::net::TcpStream;
use fiveways::server::Server;
use fiveways::service::Service;
use fiveways::{task, time};

const CLIENTS: u32 = 1000;
const QUESTIONS: u32 = 5;

fn main() -> io::Result<()> {
    let server = Server::bind("127.0.0.1:0")?.handle_signals(false);
    let (address, control) = (server.local_addr()?, server.control());
    let serving = std::thread::spawn(move || server.serve(|stream| Service::Upper.serve(stream)));

    let started = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| task::spawn(move || converse(TcpStream::connect(address)?, number)))
        .collect();
    for client in clients {
        client.join().map_err(io::Error::other)??;
    }
    println!("{} answers in {:?}", CLIENTS * QUESTIONS, started.elapsed());

    control.stop();
    let report = serving.join().map_err(|_| io::Error::other("the server panicked"))??;
    println!("connections served: {}", report.stats.accepted);
    Ok(())
}

fn converse(stream: TcpStream, number: u32) -> io::Result<()> {
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut answer = String::new();
    for question in 0..QUESTIONS {
        writeln!(&stream, "client {number} asks {question}")?;
        answer.clear();
        answers.read_line(&mut answer)?;
        assert_eq!(answer, format!("CLIENT {number} ASKS {question}\n"));
        time::sleep(Duration::from_millis(20));
    }
    Ok(())
}
