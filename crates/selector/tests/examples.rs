//! Every example server is started and used by plain std clients.

use std::collections::VecDeque;
use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long a client waits before the test fails: far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// An example server, ended when the test is over.
struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(example: &str) -> Server {
        Server::run(example, Command::new(binary(example)))
    }

    /// With so few descriptors that some clients have to wait.
    fn start_with_descriptors(example: &str, limit: u32) -> Server {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -n {limit} && exec \"$0\"")).arg(binary(example));
        Server::run(example, shell)
    }

    fn run(example: &str, mut command: Command) -> Server {
        // Its complaints are provoked by the test.
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start {example}: {error}"));
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("its first line");
        let addr = line.trim().strip_prefix("listening on ").expect("the promised line");
        let addr = addr.parse().expect("an address");
        Server { child, addr }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("it still runs");
        self.child.wait().expect("it ends");
    }
}

/// Where cargo puts examples: beside the directory of this test's own program.
fn binary(example: &str) -> PathBuf {
    let test = env::current_exe().expect("the path of this program");
    let built = test.parent().and_then(|deps| deps.parent()).expect("target/debug/deps/name");
    let path = built.join("examples").join(example);
    assert!(path.exists(), "{} is not built: run `cargo test` without --test", path.display());
    path
}

/// Bytes that differ from position to position and from client to client.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(step).collect()
}

/// Sends everything, closes the sending half, and reads to the end meanwhile.
fn echo_all(server: &Server, sent: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = server.connect();
    thread::scope(|scope| {
        let mut writer = stream.try_clone()?;
        scope.spawn(move || writer.write_all(sent).and_then(|()| writer.shutdown(Shutdown::Write)));
        let mut reply = Vec::with_capacity(sent.len());
        stream.read_to_end(&mut reply)?;
        Ok(reply)
    })
}

fn is_echoed(server: &Server, len: usize) {
    let sent = pattern(len, len as u64);
    let reply = echo_all(server, &sent).expect("a reply");
    assert_eq!(reply.len(), sent.len());
    assert!(reply == sent, "the bytes differ");
}

fn serves(example: &str) {
    let server = Server::start(example);
    is_echoed(&server, 0);
    is_echoed(&server, 64 * 1024);
    is_echoed(&server, 8 * 1024 * 1024);
    a_dialogue_is_answered(&server);
    a_reset_ends_only_its_own_connection(&server);
    clients_at_once_are_all_served(&server);
}

/// Request and reply in turn: each edge has to be seen.
fn a_dialogue_is_answered(server: &Server) {
    let mut stream = server.connect();
    for round in 0..200 {
        let sent = pattern(1 + round * 7, round as u64);
        stream.write_all(&sent).expect("write");
        let mut reply = vec![0; sent.len()];
        stream.read_exact(&mut reply).expect("read");
        assert_eq!(reply, sent);
    }
}

/// A client that closes with unread bytes resets the connection, in the middle of a big reply
/// (D26).
fn a_reset_ends_only_its_own_connection(server: &Server) {
    let mut steady = server.connect();
    for _ in 0..10 {
        let mut rude = server.connect();
        rude.write_all(&[7; 100_000]).expect("write");
        rude.read_exact(&mut [0]).expect("the reply has begun");
        drop(rude);
        steady.write_all(b"still there?").expect("write");
        let mut reply = [0; 12];
        steady.read_exact(&mut reply).expect("read");
        assert_eq!(&reply, b"still there?");
    }
}

fn clients_at_once_are_all_served(server: &Server) {
    let mut streams: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    for (at, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&pattern(100, at as u64)).expect("write");
    }
    for (at, stream) in streams.iter_mut().enumerate() {
        let mut reply = [0; 100];
        stream.read_exact(&mut reply).expect("read");
        assert_eq!(reply.as_slice(), pattern(100, at as u64));
    }
}

/// Out of descriptors a server waits, loses no queued client, and goes on (D19).
fn survives_running_out_of_descriptors(example: &str) {
    let server = Server::start_with_descriptors(example, 16);
    let mut waiting: VecDeque<TcpStream> = (0..40).map(|_| server.connect()).collect();
    while let Some(mut stream) = waiting.pop_front() {
        stream.write_all(b"hello").expect("write");
        let mut reply = [0; 5];
        stream.read_exact(&mut reply).expect("read");
        assert_eq!(&reply, b"hello");
    }
}

#[test]
fn a_server_by_level_survives_running_out_of_descriptors_d19() {
    survives_running_out_of_descriptors("echo_poll");
}

#[test]
fn a_server_by_edge_survives_running_out_of_descriptors_d19() {
    survives_running_out_of_descriptors("echo_epoll_et");
}

#[test]
fn a_server_by_signals_survives_running_out_of_descriptors_d19() {
    survives_running_out_of_descriptors("echo_signal");
}

#[test]
fn a_server_of_callbacks_survives_running_out_of_descriptors_d19() {
    survives_running_out_of_descriptors("echo_callbacks");
}

#[test]
fn echo_select_serves() {
    serves("echo_select");
}

#[test]
fn echo_poll_serves() {
    serves("echo_poll");
}

#[test]
fn echo_epoll_serves() {
    serves("echo_epoll");
}

#[test]
fn echo_epoll_et_serves() {
    serves("echo_epoll_et");
}

#[test]
fn echo_signal_serves() {
    serves("echo_signal");
}

#[test]
fn echo_nonblocking_serves() {
    serves("echo_nonblocking");
}

#[test]
fn echo_callbacks_serves() {
    serves("echo_callbacks");
}
