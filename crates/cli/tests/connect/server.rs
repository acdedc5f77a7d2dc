//! Small servers for the program under test to talk to.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use fiveways_sys::net::{Control, control};

/// Serves each connection on a thread of its own; tells the address.
pub(crate) fn serve(handle: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            thread::spawn(move || handle(stream));
        }
    });
    address
}

/// Answers with the same bytes until the client ends.
pub(crate) fn echo(mut stream: TcpStream) {
    let mut reader = stream.try_clone().expect("a descriptor is free");
    let _ = std::io::copy(&mut reader, &mut stream);
}

/// Answers each datagram with itself.
pub(crate) fn serve_udp_echo() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("it is bound").to_string();
    thread::spawn(move || {
        let mut buf = [0; 2048];
        while let Ok((count, from)) = socket.recv_from(&mut buf) {
            let _ = socket.send_to(&buf[..count], from);
        }
    });
    address
}

/// A path for a socket that nobody else uses.
pub(crate) fn socket_path() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("fiveways-connect-{}-{number}.sock", std::process::id());
    std::env::temp_dir().join(name)
}

/// An echo at a path.
pub(crate) fn serve_unix_echo() -> PathBuf {
    let path = socket_path();
    let listener = UnixListener::bind(&path).expect("the path is free");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut reader = stream.try_clone().expect("a descriptor is free");
                let _ = std::io::copy(&mut reader, &mut stream);
            });
        }
    });
    path
}

/// Leaves room for a single connection in a listener's backlog.
pub(crate) fn shorten_backlog(listener: &impl AsFd) {
    control(Control::Listen(listener.as_fd(), 0)).expect("it listens already");
}

/// A port where nobody listens (it was free a moment ago).
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").to_string()
}

/// Reads exactly so much.
pub(crate) fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("the client sends it");
    bytes
}

/// Sends at once, whatever it is.
pub(crate) fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.set_nodelay(true).expect("it is TCP");
    stream.write_all(bytes).expect("the client receives it");
}
