//! Looking at a program from outside: by signal, and by socket.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Instant;

use fiveways::inspect;
use fiveways_tests::patience::{LONG, eventually};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, kill_process};

/// The program that is looked at, see `src/bin/fiveways-inspected.rs`.
pub(crate) struct Inspected {
    child: Child,
    stderr: ChildStderr,
}

impl Inspected {
    /// Starts it; it plays this part, in this environment.
    pub(crate) fn start(part: &str, environment: &[(&str, &str)]) -> Inspected {
        Inspected::run(env!("CARGO_BIN_EXE_fiveways-inspected"), part, environment)
    }

    /// Starts the program of those who wait for each other, which has deadlocks reported.
    pub(crate) fn knotted(part: &str) -> Inspected {
        let program = env!("CARGO_BIN_EXE_fiveways-knotted");
        Inspected::run(program, part, &[("FIVEWAYS_DEADLOCK", "report")])
    }

    fn run(program: &str, part: &str, environment: &[(&str, &str)]) -> Inspected {
        let mut command = Command::new(program);
        command.arg(part).envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        // It is ready.
        let stdout = child.stdout.as_mut().expect("piped");
        stdout.read_exact(&mut [0]).expect("it says so");
        let stderr = child.stderr.take().expect("piped");
        Inspected { child, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn quit(&self) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a child has a number");
        kill_process(pid, Signal::QUIT).expect("it lives");
    }

    /// What it prints until this text has come.
    #[track_caller]
    pub(crate) fn stderr_until(&mut self, text: &str) -> String {
        let end = Instant::now() + LONG;
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = self.stderr.read(&mut piece).expect("it prints");
            bytes.extend_from_slice(&piece[..count]);
            let so_far = String::from_utf8_lossy(&bytes);
            if so_far.contains(text) {
                return so_far.into_owned();
            }
            assert!(count > 0 && Instant::now() < end, "no {text:?} in {so_far}");
        }
    }

    /// What it prints until it has ended.
    pub(crate) fn stderr_to_the_end(&mut self) -> String {
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).expect("text");
        text
    }

    fn connect(&self) -> UnixStream {
        let name = format!("fiveways-inspect-{}", self.id());
        let address = SocketAddr::from_abstract_name(name).expect("a short name");
        let stream = UnixStream::connect_addr(&address).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("a time limit");
        stream
    }
}

impl Drop for Inspected {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_quit_signal_prints_a_dump_and_the_program_goes_on() {
    let mut program = Inspected::start("idle", &[]);
    for _ in 0..2 {
        program.quit();
        let text = program.stderr_until("accept on fd");
        assert!(text.contains("'main'"), "{text}");
    }
}

#[test]
fn another_process_can_ask_for_a_dump() {
    let program = Inspected::start("idle", &[]);
    let dump = inspect::of_process(program.id(), true, None).expect("a dump");
    assert_eq!(dump.process, program.id());
    let text = dump.to_string();
    assert!(text.contains("accept on fd"), "{text}");
    assert!(text.contains("wait_for_nobody"), "{text}");
    assert!(inspect::processes().expect("a list").contains(&program.id()));
}

/// Nonsense, silence and hasty clients leave it answering.
#[test]
fn nonsense_does_not_keep_the_next_from_a_dump() {
    let program = Inspected::start("idle", &[]);
    let mut random = fastrand::Rng::with_seed(6);
    for _ in 0..50 {
        let bytes: Vec<u8> = (0..random.usize(0..400)).map(|_| random.u8(..)).collect();
        // It may hang up while we write.
        let _ = program.connect().write_all(&bytes);
    }
    let mut wrong = program.connect();
    wrong.write_all(b"dumb\n").expect("it reads");
    let mut answer = String::new();
    wrong.read_to_string(&mut answer).expect("text");
    assert_eq!(answer, "error: unknown request\n");
    // One that asks and does not read, one that says nothing.
    let mut deaf = program.connect();
    deaf.write_all(b"dump backtraces=1\n").expect("it reads");
    let _silent = program.connect();
    inspect::of_process(program.id(), false, Some(1)).expect("a dump all the same");
}

/// Descriptors that a client sends beside its question, or instead of it, are closed.
#[test]
fn descriptors_of_a_client_are_closed() {
    let program = Inspected::start("idle", &[]);
    let open =
        || std::fs::read_dir(format!("/proc/{}/fd", program.id())).expect("it lives").count();
    let before = open();
    let file = std::fs::File::open("/dev/null").expect("opens");
    let fds = [file.as_fd(); 8];
    let kept: Vec<_> = [&b"dump\n"[..], b"d", b"nonsense\n"]
        .into_iter()
        .cycle()
        .take(12)
        .map(|bytes| {
            let client = program.connect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)), "room for eight");
            let sent = sendmsg(&client, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
            assert_eq!(sent.expect("room"), bytes.len());
            client
        })
        .collect();
    inspect::of_process(program.id(), false, Some(1)).expect("a dump all the same");
    let most = before + kept.len();
    eventually("no descriptor but those of the clients", || open() <= most);
    drop(kept);
    eventually("no descriptor is left", || open() <= before);
}

/// Clients do not wait for each other.
#[test]
fn silent_and_slow_clients_shut_nobody_out() {
    let program = Inspected::start("many", &[]);
    let quickly = || {
        let began = Instant::now();
        inspect::of_process(program.id(), false, Some(1)).expect("a dump all the same");
        began.elapsed()
    };
    let silent: Vec<_> = (0..200).map(|_| program.connect()).collect();
    let took = quickly();
    assert!(took < LONG / 10, "{took:?} beside those who say nothing");
    // Each takes a little whenever it is asked to, and never all of some megabytes.
    let mut some = [0; 1024];
    let slow = [(); 8].map(|()| {
        let mut client = program.connect();
        client.write_all(b"dump backtraces=0\n").expect("it reads");
        client.read_exact(&mut some).expect("its answer begins");
        client
    });
    for mut client in &slow {
        let took = quickly();
        assert!(took < LONG / 10, "{took:?} beside those who take their time");
        client.read_exact(&mut some).expect("its answer goes on");
    }
    drop(silent);
}

#[test]
fn a_process_that_has_ended_refuses() {
    let program = Inspected::start("idle", &[]);
    let id = program.id();
    drop(program);
    let error = inspect::of_process(id, false, None).expect_err("nobody is there");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}
