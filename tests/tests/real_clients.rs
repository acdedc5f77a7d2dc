//! Unmodified real clients talk to every model: CPython's `socket` and `asyncio`, `socat`, `nc`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fiveways::Model;
use fiveways::service::Service;
use fiveways_tests::arena::Arena;
use fiveways_tests::stage::missing;

fn serve(model: Model, service: Service) -> Arena {
    let settings = |server: fiveways::server::Server| server.pool_size(64);
    Arena::with(model, settings, move |stream| service.serve(stream))
}

/// Runs a program with this input. `None`: it is not on this machine.
fn run(program: &str, args: &[&str], input: &[u8]) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            missing(&format!("the program {program}"), &error.to_string());
            return None;
        }
    };
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // It may answer before it has read everything.
    let feeding = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("our child");
    feeding.join().expect("no panic").expect("it reads its input");
    Some(output)
}

fn run_script(model: Model, name: &str) {
    let arena = serve(model, Service::Echo);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name);
    let script = script.to_str().expect("a path in UTF-8");
    let port = arena.addr().port().to_string();
    let manner = if arena.is_serial() { "serial" } else { "at-once" };
    if let Some(output) = run("python3", &[script, "127.0.0.1", &port, manner], b"") {
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} on {model}:\n{errors}");
        assert_eq!(output.stdout, b"ok\n");
    }
    arena.stop();
}

/// Sends lines through a program that copies its input to a socket and the socket to its output.
fn run_copier(model: Model, program: &str, args: impl Fn(u16) -> Vec<String>) {
    let arena = serve(model, Service::Upper);
    let input: String = (0..5_000).map(|number| format!("line {number}\n")).collect();
    let args = args(arena.addr().port());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let Some(output) = run(program, &args, input.as_bytes()) {
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} on {model}:\n{errors}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), input.to_uppercase());
    }
    arena.stop();
}

mod clients {
    use super::{Model, run_copier, run_script};

    pub(crate) fn cpython_socket(model: Model) {
        run_script(model, "echo_socket.py");
    }

    pub(crate) fn cpython_asyncio(model: Model) {
        run_script(model, "echo_asyncio.py");
    }

    pub(crate) fn socat(model: Model) {
        // It ends when the server has ended its side as well.
        let args = |port| vec!["-t60".into(), "-".into(), format!("TCP:127.0.0.1:{port}")];
        run_copier(model, "socat", args);
    }

    pub(crate) fn nc(model: Model) {
        let args = |port: u16| vec!["-N".into(), "127.0.0.1".into(), port.to_string()];
        run_copier(model, "nc", args);
    }
}

fiveways_tests::on_every_model! {
    clients:
        cpython_socket,
        cpython_asyncio,
        socat,
        nc;
}
