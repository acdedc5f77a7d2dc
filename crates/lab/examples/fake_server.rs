//! A server with the face of `fiveways serve`, for testing the instrument: threads and `std` alone.
//!
//! The model's name decides how it behaves, so that a comparison meets every kind of trouble:
//!
//! | model | behaviour |
//! |-------|-----------|
//! | `threads`, `pool`, `blocking` | serves well |
//! | `auto` | serves well, and says that it takes `epoll` |
//! | `epoll` | serves well, after starting slowly |
//! | `signal` | declines to start: `error:` line, exit status 2 |
//! | `select` | crashes at its start |
//! | `poll` | never says where it listens |
//! | `uring` | changes one byte of what it answers, now and then |
//! | `nonblocking` | dies after some requests |
//! | `epoll-et` | serves well, then stops with exit status 3 |

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, thread};

static ANSWERS: AtomicU64 = AtomicU64::new(0);

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    assert_eq!(args.first().map(String::as_str), Some("serve"), "started as a server");
    let model = option(&args, "--model");
    match model.as_str() {
        "signal" => {
            eprintln!("a line before\nerror: this machine has no signals\n\nhint: buy some");
            exit(2);
        }
        "select" => exit(101),
        "poll" => loop {
            thread::park();
        },
        // Not synchronisation: being slow is the behaviour.
        "epoll" => thread::sleep(Duration::from_millis(150)),
        _ => {}
    }
    let status = if model == "epoll-et" { 3 } else { 0 };
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM])?;
    thread::spawn(move || {
        signals.forever().next();
        if status != 0 {
            eprintln!("error: could not drain");
        }
        exit(status)
    });
    let listener = TcpListener::bind(option(&args, "--bind"))?;
    println!("some banner");
    println!("listening on {}", listener.local_addr()?);
    if model == "auto" {
        println!("auto takes epoll");
    }
    let service = option(&args, "--service");
    for stream in listener.incoming() {
        let (stream, service, model) = (stream?, service.clone(), model.clone());
        thread::spawn(move || serve(stream, &service, &model));
    }
    Ok(())
}

fn option(args: &[String], name: &str) -> String {
    let at = args.iter().position(|arg| arg == name);
    let value = at.and_then(|at| args.get(at + 1));
    value.unwrap_or_else(|| panic!("option {name} is missing")).clone()
}

fn serve(mut stream: TcpStream, service: &str, model: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buf = vec![0; 64 << 10];
    if service == "greet" {
        stream.write_all(b"ok\n")?;
    }
    loop {
        let count = stream.read(&mut buf)?;
        if count == 0 {
            return Ok(());
        }
        let answers = ANSWERS.fetch_add(1, Ordering::Relaxed);
        let bytes = &mut buf[..count];
        match model {
            "uring" if answers % 50 == 49 => bytes[count / 2] ^= 1,
            "nonblocking" if answers == 500 => {
                eprintln!("error: out of patience");
                exit(1);
            }
            _ => {}
        }
        match service {
            "echo" => stream.write_all(bytes)?,
            "upper" => stream.write_all(&bytes.to_ascii_uppercase())?,
            "greet" => {
                let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
                stream.write_all(&b"ok\n".repeat(lines))?;
            }
            _ => {}
        }
    }
}
