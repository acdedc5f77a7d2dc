//! `fiveways dump` and `fiveways top` look into a running `fiveways serve`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fiveways");

/// A server, until it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server, and a client that it has answered.
struct Served {
    server: Running,
    _stdout: BufReader<ChildStdout>,
    _client: TcpStream,
}

impl Served {
    fn start(args: &[&str]) -> Served {
        let mut command = Command::new(PROGRAM);
        command.arg("serve").args(args).stdout(Stdio::piped());
        let mut server = command.spawn().expect("the program starts");
        let mut stdout = BufReader::new(server.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it tells its address");
        let addr = line.trim().strip_prefix("listening on ").expect("an address");
        let mut client = TcpStream::connect(addr).expect("it listens");
        client.write_all(b"x").expect("it reads");
        client.read_exact(&mut [0]).expect("it answers");
        Served { server: Running(server), _stdout: stdout, _client: client }
    }

    fn id(&self) -> String {
        self.server.0.id().to_string()
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn a_dump_tells_of_the_acceptor_and_the_connection() {
    let served = Served::start(&["--model", "epoll", "--workers", "2"]);
    let output = run(&["dump", &served.id()]);
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told} {}", text(&output.stderr));
    assert!(told.contains("runtime: model epoll, 2 workers"), "{told}");
    assert!(told.contains("accept on fd "), "{told}");
    assert!(told.contains("recv on fd "), "{told}");
    // What was called, and by whom; not how it waits.
    assert!(told.contains("fiveways::service::Service::serve"), "{told}");
    assert!(!told.contains("fiveways_runtime::"), "{told}");
}

#[test]
fn a_dump_as_json_is_json() {
    let served = Served::start(&["--model", "epoll"]);
    let output = run(&["dump", &served.id(), "--format", "json", "--no-backtraces"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["process"], served.server.0.id());
    let tasks = told["runtimes"][0]["workers"][0]["tasks"].as_array().expect("tasks");
    assert_eq!(tasks.len(), 2, "{told}");
    assert!(tasks.iter().all(|task| task["state"] == "waiting"), "{told}");
}

#[test]
fn top_shows_workers_and_tasks_once_where_there_is_no_terminal() {
    let served = Served::start(&["--model", "epoll", "--workers", "2"]);
    for args in [&["top", &served.id(), "--once"][..], &["top", &served.id()]] {
        let output = run(args);
        let told = text(&output.stdout);
        assert!(output.status.success(), "{told} {}", text(&output.stderr));
        assert!(told.contains("2 workers, 2 tasks"), "{told}");
        assert!(told.contains("accept on fd "), "{told}");
        assert!(!told.contains('\u{1b}'), "{told:?}");
    }
}

/// Each of several processes lets look in, before anybody has come.
#[test]
fn processes_without_a_connection_let_look_in() {
    let server = Command::new(PROGRAM)
        .args(["serve", "--model", "epoll", "--processes", "2"])
        .stdout(Stdio::piped())
        .spawn();
    let server = Running(server.expect("the program starts"));
    let id = server.0.id().to_string();
    let end = Instant::now() + Duration::from_secs(30);
    let children = loop {
        let told = text(&run(&["dump", &id]).stderr);
        let children = told.split_once("hint: its children listen: ").map(|(_, names)| {
            let names = names.split(|c: char| !c.is_ascii_digit()).filter(|name| !name.is_empty());
            names.map(str::to_owned).collect::<Vec<_>>()
        });
        match children {
            Some(children) if children.len() == 2 => break children,
            _ => assert!(Instant::now() < end, "{told}"),
        }
    };
    for child in children {
        let told = || text(&run(&["dump", &child]).stdout);
        while !told().contains("accept on fd ") {
            assert!(Instant::now() < end, "{}", told());
        }
    }
}

#[test]
fn a_process_that_only_supervises_names_its_children() {
    let served = Served::start(&["--model", "epoll", "--processes", "2"]);
    let output = run(&["dump", &served.id()]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("hint: its children listen: "), "{told}");
    let (_, children) = told.split_once("its children listen: ").expect("a hint");
    let ids = children.split(|c: char| !c.is_ascii_digit()).filter(|id| !id.is_empty());
    let dumps: Vec<_> = ids.map(|id| text(&run(&["dump", id]).stdout)).collect();
    assert_eq!(dumps.len(), 2, "{told}");
    assert!(dumps.iter().all(|dump| dump.contains("accept on fd ")), "{dumps:?}");
    // One has the connection.
    assert!(dumps.iter().any(|dump| dump.contains("recv on fd ")), "{dumps:?}");
}

#[test]
fn a_process_that_does_not_listen_is_an_error_with_a_hint() {
    let output = run(&["dump", &std::process::id().to_string()]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(told.starts_with("error: cannot inspect process "), "{told}");
    assert!(told.contains("\n\nhint: "), "{told}");
}
