//! Signals as data, standard input as data, and what a signal does when nobody waits for it.

mod awaited {
    use std::time::{Duration, Instant};

    use fiveways::Model;
    use fiveways::signal::{self, SIGUSR1, SIGUSR2, Signals};
    use fiveways::{task, time};
    use fiveways_tests::arena::{in_task, in_task_of};
    use fiveways_tests::patience::LONG;
    use signal_hook::low_level::raise;

    /// S000-07: a sleep suspends its task only; a plain thread sleeps itself.
    pub(crate) fn a_sleep_stops_nobody_else(model: Model) {
        const NAP: Duration = Duration::from_millis(100);
        in_task(model, || {
            let started = Instant::now();
            let naps: Vec<_> = (0..1_000).map(|_| task::spawn_local(|| time::sleep(NAP))).collect();
            naps.into_iter().for_each(|nap| nap.join().expect("no panic"));
            // One after the other they would take 100 seconds.
            assert!(started.elapsed() >= NAP && started.elapsed() < LONG);
        });
        let started = Instant::now();
        time::sleep(NAP / 10);
        assert!(started.elapsed() >= NAP / 10);
    }

    /// A signal ends the wait of one task; others of its worker go on meanwhile.
    pub(crate) fn a_task_waits_for_a_signal(model: Model) {
        in_task(model, || {
            let signals = Signals::new([SIGUSR1, SIGUSR2]).expect("descriptors");
            assert_eq!(signals.try_wait(), None);
            let raising = task::spawn_local(|| {
                time::sleep(Duration::from_millis(5));
                raise(SIGUSR1).expect("it is handled");
            });
            assert_eq!(signals.wait().expect("it works"), SIGUSR1);
            raising.join().expect("no panic");
            // Several of a kind are one; different ones are not.
            for signal in [SIGUSR2, SIGUSR1, SIGUSR1, SIGUSR2] {
                raise(signal).expect("it is handled");
            }
            let soon = Instant::now() + Duration::from_millis(5);
            assert_eq!(signals.wait_until(soon).expect("it works"), Some(SIGUSR1));
            assert_eq!(signals.try_wait(), Some(SIGUSR2));
            assert_eq!(signals.wait_until(soon).expect("it works"), None);
        });
    }

    /// Everybody who receives a signal gets it; of several that wait for the same receiver, one.
    pub(crate) fn signals_go_to_every_receiver_and_to_one_of_its_tasks(model: Model) {
        in_task_of(model, 2, || {
            let mine = Signals::new([SIGUSR1]).expect("descriptors");
            let shared = Signals::new([SIGUSR1, SIGUSR2]).expect("descriptors");
            let shared = std::sync::Arc::new(shared);
            let waiting: Vec<_> = (0..2)
                .map(|worker| {
                    let shared = std::sync::Arc::clone(&shared);
                    let waiting = move || shared.wait().expect("it works");
                    task::Builder::new().worker(worker).spawn(waiting).expect("a stack")
                })
                .collect();
            time::sleep(Duration::from_millis(5));
            raise(SIGUSR1).expect("it is handled");
            raise(SIGUSR2).expect("it is handled");
            let mut taken: Vec<_> =
                waiting.into_iter().map(|waiting| waiting.join().expect("no panic")).collect();
            taken.sort_unstable();
            assert_eq!(taken, [SIGUSR1, SIGUSR2]);
            assert_eq!(mine.wait().expect("it works"), SIGUSR1);
        });
    }

    pub(crate) fn waits_for_signals_are_cancelled_and_limited(model: Model) {
        in_task(model, || {
            let waiting = task::spawn_local(|| signal::wait(SIGUSR1));
            time::sleep(Duration::from_millis(2));
            waiting.cancel();
            let error = waiting.join().expect("it is told by an error").expect_err("cancelled");
            assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
            let started = Instant::now();
            let limited = task::timeout(Duration::from_millis(10), || signal::wait(SIGUSR2));
            let error = limited.expect("it is told by an error").expect_err("late");
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
            assert!(started.elapsed() < LONG / 2);
            // Ctrl-C is one of them.
            let pressing = task::spawn_local(|| {
                time::sleep(Duration::from_millis(5));
                raise(signal::SIGINT).expect("it is handled");
            });
            signal::ctrl_c().expect("it works");
            pressing.join().expect("no panic");
        });
    }
}

mod roles {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, ChildStdout, Command, Stdio};

    use fiveways::Model;
    use fiveways_tests::stage::missing;
    use rustix::process::{Pid, Signal, kill_process};

    pub(crate) struct Role {
        child: Child,
        output: BufReader<ChildStdout>,
    }

    impl Role {
        pub(crate) fn start(words: &[&str], stdin: Stdio) -> Role {
            let mut command = Command::new(env!("CARGO_BIN_EXE_fiveways-role"));
            let mut child =
                command.args(words).stdin(stdin).stdout(Stdio::piped()).spawn().expect("it starts");
            let output = BufReader::new(child.stdout.take().expect("piped"));
            Role { child, output }
        }

        fn line(&mut self) -> String {
            let mut line = String::new();
            self.output.read_line(&mut line).expect("it comes");
            line.trim_end().to_owned()
        }

        fn signal(&self, signal: Signal) {
            let pid = Pid::from_raw(self.child.id() as i32).expect("a child has a number");
            kill_process(pid, signal).expect("it lives");
        }

        /// Waits for its end; the signal that ended it.
        fn ended_by(&mut self) -> Option<i32> {
            self.child.wait().expect("ours").signal()
        }
    }

    impl Drop for Role {
        fn drop(&mut self) {
            // It may have ended already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// After `serve` has returned, SIGTERM and SIGINT end the process again; a server that serves
    /// after that is stopped by them again.
    pub(crate) fn signals_do_what_they_did_before_when_a_server_has_ended(model: Model) {
        for last in [Signal::TERM, Signal::INT] {
            let mut role = Role::start(&["serve-and-stay", model.name()], Stdio::null());
            for _ in 0..2 {
                let address: SocketAddr = role.line().parse().expect("an address");
                let mut client = TcpStream::connect(address).expect("it listens");
                client.read_exact(&mut [0; 5]).expect("it serves");
                role.signal(Signal::TERM);
                drop(client);
                assert_eq!(role.line(), "served");
            }
            role.signal(last);
            assert_eq!(role.ended_by(), Some(last.as_raw()));
        }
    }

    /// The same for waits for signals: a signal that is not awaited any more ends the process.
    pub(crate) fn a_signal_that_nobody_awaits_any_more_ends_the_process(model: Model) {
        let mut role = Role::start(&["signals", model.name()], Stdio::piped());
        assert_eq!(role.line(), "ready");
        role.signal(Signal::HUP);
        assert_eq!(role.line(), "signal 1");
        role.signal(Signal::USR1);
        assert_eq!(role.line(), "signal 10");
        role.signal(Signal::TERM);
        assert_eq!(role.line(), "signal 15");
        assert_eq!(role.line(), "then None");
        assert_eq!(role.line(), "gone");
        role.signal(Signal::HUP);
        assert_eq!(role.ended_by(), Some(1));
    }

    /// S000-08: a task that reads lines from a pipe does not stop its worker.
    pub(crate) fn lines_are_read_while_others_go_on(model: Model) {
        let mut role = Role::start(&["lines", model.name()], Stdio::piped());
        let mut stdin = role.child.stdin.take().expect("piped");
        stdin.write_all("grüße\nhalf a li".as_bytes()).expect("it reads");
        assert_eq!(role.line(), "line grüße");
        // While it waits for the rest of the line, the other task comes to its end.
        assert_eq!(role.line(), "ticked");
        stdin.write_all(b"ne\r\n\nlast").expect("it reads");
        assert_eq!(role.line(), "line half a line");
        assert_eq!(role.line(), "line", "an empty one");
        drop(stdin);
        assert_eq!(role.line(), "line last");
        assert_eq!(role.line(), "end");
        assert_eq!(role.ended_by(), None);
    }

    /// S000-08: the mode of standard input is everybody's who has it, the shell's above all: it is
    /// not touched.
    pub(crate) fn the_mode_of_standard_input_is_left_alone(model: Model) {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let ours = reader.try_clone().expect("a descriptor");
        let mut role = Role::start(&["lines", model.name()], Stdio::from(reader));
        // It waits by now, or has waited.
        assert_eq!(role.line(), "ticked");
        writer.write_all(b"x\n").expect("room");
        assert_eq!(role.line(), "line x");
        let flags = rustix::fs::fcntl_getfl(&ours).expect("it is open").bits();
        assert_eq!(flags & (libc::O_NONBLOCK | libc::O_ASYNC) as u32, 0, "flags {flags:o}");
        drop(writer);
        assert_eq!(role.line(), "end");
    }

    /// S000-08: at a terminal, where the end (Ctrl-D) is not for ever.
    pub(crate) fn lines_are_read_from_a_terminal(model: Model) {
        const PLAYER: &str = r#"
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
screen = b""
def until(text):
    global screen
    while not screen.endswith(text):
        screen += os.read(fd, 4096)
until(b"ticked\r\n")
os.write(fd, b"one\n")
until(b"line one\r\n")
os.write(fd, b"two\n")
until(b"line two\r\n")
os.write(fd, b"\x04")
until(b"end\r\n")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
        let role = env!("CARGO_BIN_EXE_fiveways-role");
        let mut python = Command::new("python3");
        let output = python.args(["-c", PLAYER, role, "lines", model.name()]).output();
        match output {
            Ok(output) => {
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{errors}");
            }
            Err(error) => missing("the program python3", &error.to_string()),
        }
    }

    /// S000-08: regular files and devices are standard inputs, too.
    pub(crate) fn lines_of_a_file_are_read(model: Model) {
        let path = std::env::temp_dir().join(format!("fiveways-lines-{}", std::process::id()));
        let text: String = (0..5_000).map(|number| format!("number {number}\n")).collect();
        std::fs::write(&path, text).expect("room on the disk");
        let file = std::fs::File::open(&path).expect("just written");
        std::fs::remove_file(&path).expect("just written");
        let mut role = Role::start(&["lines", model.name()], Stdio::from(file));
        let mut number = 0;
        loop {
            let line = role.line();
            match line.as_str() {
                "ticked" => {}
                "end" => break,
                line => {
                    assert_eq!(line, format!("line number {number}"));
                    number += 1;
                }
            }
        }
        assert_eq!(number, 5_000);
        let mut role = Role::start(&["lines", model.name()], Stdio::null());
        assert_eq!((role.line().as_str(), role.line().as_str()), ("ticked", "end"));
    }
}

/// The last signal is one like the others. (Under the model `signal` it is the driver's.)
#[test]
fn the_highest_signal_is_received() {
    use std::time::Instant;

    use fiveways::signal::Signals;
    use fiveways_tests::patience::LONG;
    use signal_hook::low_level::raise;

    let last = libc::SIGRTMAX();
    let signals = Signals::new([last]).expect("descriptors");
    raise(last).expect("it is handled");
    assert_eq!(signals.wait_until(Instant::now() + LONG).expect("it works"), Some(last));
}

fiveways_tests::on_cooperative_models! {
    awaited:
        a_sleep_stops_nobody_else,
        a_task_waits_for_a_signal,
        signals_go_to_every_receiver_and_to_one_of_its_tasks,
        waits_for_signals_are_cancelled_and_limited;
    roles:
        a_signal_that_nobody_awaits_any_more_ends_the_process,
        lines_are_read_while_others_go_on,
        the_mode_of_standard_input_is_left_alone,
        lines_are_read_from_a_terminal,
        lines_of_a_file_are_read;
}

fiveways_tests::on_every_model! {
    roles:
        signals_do_what_they_did_before_when_a_server_has_ended;
}
