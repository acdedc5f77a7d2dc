//! Child processes: awaited, talked to, ended, left alone; and events that cross processes.

mod children {
    use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use fiveways::Model;
    use fiveways::process::{Child, Command, SharedEvent, StatusLost, Stdio};
    use fiveways::{task, time};
    use fiveways_tests::arena::{in_task, in_task_of};
    use fiveways_tests::client::{expect_noise, send_noise};
    use fiveways_tests::patience::{LONG, Watchdog, eventually};

    const ROLE: &str = env!("CARGO_BIN_EXE_fiveways-role");

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn line(reader: &mut impl BufRead) -> String {
        let mut line = String::new();
        reader.read_line(&mut line).expect("it comes");
        line
    }

    /// S000-07: waiting for a child suspends the task and not its worker.
    pub(crate) fn a_task_waits_for_a_child_and_others_go_on(model: Model) {
        in_task(model, || {
            // It ends when we say so, and only another task of this worker says so.
            let mut child = shell("read order; exit 7").stdin(Stdio::piped()).spawn().expect("sh");
            let mut stdin = child.stdin.take().expect("piped");
            let telling = task::spawn_local(move || {
                time::sleep(Duration::from_millis(5));
                stdin.write_all(b"go\n").expect("it reads");
            });
            let status = child.wait().expect("ours");
            assert_eq!(status.code(), Some(7));
            assert_eq!(child.wait().expect("the same again"), status);
            assert_eq!(child.try_wait().expect("the same again"), Some(status));
            child.kill().expect("it has ended");
            child.terminate().expect("it has ended");
            telling.join().expect("no panic");
        });
    }

    /// S000-07: so does starting one, which takes its time.
    pub(crate) fn a_task_that_starts_a_program_lets_others_go_on(model: Model) {
        let _watchdog = Watchdog::new("the start of a program".to_owned(), LONG);
        in_task(model, || {
            let (mut order, mut tell) = std::io::pipe().expect("a descriptor");
            let mut command = shell("exit 6");
            command.before_exec(move || {
                end_with_parent()?;
                order.read_exact(&mut [0])
            });
            // The program starts when we say so, and only another task of this worker says so.
            let starting = task::spawn_local(move || {
                let status = command.spawn()?.wait()?;
                // The command is still there.
                Ok::<_, std::io::Error>((status.code(), command.status()?.code()))
            });
            task::yield_now();
            tell.write_all(b"go").expect("it is read");
            let codes = starting.join().expect("no panic").expect("sh");
            assert_eq!(codes, (Some(6), Some(6)));
        });
    }

    /// A child that wants to end with its parent ends with the program, not with a worker.
    pub(crate) fn a_child_outlives_the_worker_that_had_it_started(model: Model) {
        let runtime = fiveways::runtime::Runtime::builder().model(model).build();
        let runtime = runtime.expect("it is supported");
        let (stdin, mut stdout, mut child) = runtime.block_on(|| {
            let mut cat = Command::new("cat");
            cat.stdin(Stdio::piped()).stdout(Stdio::piped());
            cat.before_exec(end_with_parent);
            let mut child = cat.spawn().expect("cat");
            (child.stdin.take(), child.stdout.take(), child)
        });
        drop(runtime);
        stdin.expect("piped").write_all(b"alive").expect("it reads");
        let mut answer = String::new();
        stdout.as_mut().expect("piped").read_to_string(&mut answer).expect("it comes");
        assert_eq!(answer, "alive");
        assert!(child.wait().expect("ours").success());
    }

    fn end_with_parent() -> std::io::Result<()> {
        let kill = rustix::process::Signal::KILL;
        Ok(rustix::process::set_parent_process_death_signal(Some(kill))?)
    }

    /// What happens between fork and exec.
    trait Before {
        fn before_exec(&mut self, f: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static);
    }

    impl Before for Command {
        #[expect(unsafe_code, reason = "code between fork and exec")]
        fn before_exec(&mut self, f: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static) {
            // SAFETY: required: safe between fork and exec. It is system calls only.
            unsafe { std::os::unix::process::CommandExt::pre_exec(self.as_std(), f) };
        }
    }

    pub(crate) fn a_wait_has_a_time_limit(model: Model) {
        in_task(model, || {
            let mut child = Command::new("sleep").arg("600").spawn().expect("sleep");
            let limit = Duration::from_millis(20);
            let started = Instant::now();
            assert_eq!(child.wait_timeout(limit).expect("ours"), None);
            assert!(started.elapsed() >= limit && started.elapsed() < LONG / 2);
            assert_eq!(child.try_wait().expect("ours"), None);
            child.kill().expect("ours");
            let status = child.wait_timeout(LONG).expect("ours").expect("it was killed");
            assert_eq!(status.signal(), Some(9));
            let mut child = Command::new("sleep").arg("600").spawn().expect("sleep");
            child.terminate().expect("ours");
            assert_eq!(child.wait().expect("ours").signal(), Some(15));
            let scope = task::timeout(limit, || {
                let mut child = Command::new("sleep").arg("600").spawn().expect("sleep");
                let error = child.wait_timeout(LONG).expect_err("the scope is over first");
                child.kill().expect("ours");
                error.kind()
            });
            assert_eq!(scope, Ok(ErrorKind::TimedOut));
        });
    }

    /// A child that fills both pipes is read from both.
    pub(crate) fn output_is_read_however_much_of_it(model: Model) {
        in_task(model, || {
            let script = "for i in 1 2 3 4 5 6 7 8; do head -c 100000 /dev/zero >&2; \
                          head -c 100000 /dev/zero; done; exit 3";
            let output = shell(script).output().expect("sh");
            assert_eq!((output.stdout.len(), output.stderr.len()), (800_000, 800_000));
            assert_eq!(output.status.code(), Some(3));
            // One that closes its outputs and goes on; one that has none.
            let output = shell("exec >&- 2>&-; exit 4").output().expect("sh");
            assert_eq!(output.status.code(), Some(4));
            let mut command = shell("echo nobody hears it; exit 5");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            assert_eq!(command.output().expect("sh").status.code(), Some(5));
            assert_eq!(command.status().expect("sh").code(), Some(5));
        });
    }

    /// Both directions at once, more than the pipes hold.
    pub(crate) fn a_child_is_talked_to_through_its_pipes(model: Model) {
        const MUCH: usize = 2_000_000;
        in_task(model, || {
            let mut cat = Command::new("cat");
            let mut child = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
            let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
            let feeding = task::spawn_local(move || {
                send_noise(stdin.expect("piped"), 0, MUCH).expect("it reads");
            });
            let mut stdout = stdout.expect("piped");
            expect_noise(&mut stdout, 0, MUCH);
            feeding.join().expect("no panic");
            assert_eq!(stdout.read(&mut [0]).expect("the end"), 0);
            assert!(child.wait().expect("ours").success());
            // One child's output is another's input, in the mode that it expects.
            let mut first = shell("echo some words").stdout(Stdio::piped()).spawn().expect("sh");
            let between = first.stdout.take().expect("piped");
            let output = Command::new("cat").stdin(between).output().expect("cat");
            assert_eq!(output.stdout, b"some words\n");
            assert!(first.wait().expect("ours").success());
            // A child that does not read any more is an error, not a signal.
            let mut gone = shell("exec <&-; echo closed; read nothing <&1");
            let mut gone = gone.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh");
            assert_eq!(line(&mut BufReader::new(gone.stdout.take().expect("piped"))), "closed\n");
            let mut stdin = gone.stdin.take().expect("piped");
            let error = stdin.write_all(b"x").expect_err("nobody reads");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            gone.kill().expect("ours");
            gone.wait().expect("ours");
        });
    }

    /// As std's: nothing asked for needs no waiting, whatever the pipe holds.
    pub(crate) fn nothing_is_read_or_written_at_once(model: Model) {
        in_task(model, || {
            let mut cat = Command::new("cat");
            let mut child = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
            let mut stdout = child.stdout.take().expect("piped");
            let soon = Duration::from_secs(10);
            let nothing = task::timeout(soon, || stdout.read(&mut []));
            assert_eq!(nothing.expect("in time").expect("in time"), 0);
            // Nobody reads what it gives, so in the end it takes nothing more.
            let mut stdin = child.stdin.take().expect("piped");
            let full = task::timeout(Duration::from_millis(20), || send_noise(&stdin, 0, 1 << 20));
            full.expect("told by an error").expect_err("it is full");
            let nothing = task::timeout(soon, || stdin.write(&[]));
            assert_eq!(nothing.expect("in time").expect("in time"), 0);
            child.kill().expect("ours");
            child.wait().expect("ours");
        });
    }

    pub(crate) fn waits_for_children_are_cancelled(model: Model) {
        in_task(model, || {
            let mut cat = Command::new("cat");
            let mut child = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
            let mut stdout = child.stdout.take().expect("piped");
            let reading = task::spawn_local(move || (stdout.read(&mut [0]), stdout));
            let stdin = child.stdin.take().expect("piped");
            let waiting = task::spawn_local(move || (child.wait(), child));
            time::sleep(Duration::from_millis(5));
            reading.cancel();
            waiting.cancel();
            let (read, mut stdout) = reading.join().expect("it is told by an error");
            assert_eq!(read.expect_err("cancelled").raw_os_error(), Some(libc::ECANCELED));
            let (waited, mut child) = waiting.join().expect("it is told by an error");
            assert_eq!(waited.expect_err("cancelled").raw_os_error(), Some(libc::ECANCELED));
            // Nothing was lost by that.
            assert_eq!(child.try_wait().expect("ours"), None);
            (&stdin).write_all(b"still there").expect("it reads");
            drop(stdin);
            let mut answer = String::new();
            stdout.read_to_string(&mut answer).expect("it comes");
            assert_eq!(answer, "still there");
            assert!(child.wait().expect("ours").success());
        });
    }

    /// Dropped children go on, and do not stay behind as zombies.
    pub(crate) fn dropped_children_are_collected(model: Model) {
        in_task(model, || {
            let exists = |id: u32| Path::new(&format!("/proc/{id}")).exists();
            let mut child = shell("read end").stdin(Stdio::piped()).spawn().expect("sh");
            let (id, stdin) = (child.id(), child.stdin.take());
            drop(child);
            assert!(exists(id), "it goes on");
            drop(stdin);
            eventually("it ends and is collected", || !exists(id));
            let many: Vec<Child> =
                (0..20).map(|_| Command::new("true").spawn().expect("true")).collect();
            let ids: Vec<u32> = many.iter().map(Child::id).collect();
            drop(many);
            eventually("all are collected", || !ids.iter().any(|id| exists(*id)));
        });
    }

    pub(crate) fn what_cannot_be_started_is_an_error(model: Model) {
        in_task(model, || {
            let error = Command::new("/no/such/program").spawn().expect_err("there is none");
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let error = Command::new("/").output().expect_err("no program");
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            let error = shell(":").current_dir("/no/such/place").status().expect_err("no place");
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let mut command = shell("echo $A-$B-$C; pwd");
            command.env("A", "1").envs([("B", "2"), ("C", "3")]).env_remove("C").current_dir("/");
            assert_eq!(command.output().expect("sh").stdout, b"1-2-\n/\n");
        });
    }

    /// S004-08, S004-09, C77: processes and tasks wait for an event: none goes on before it is set,
    /// all go on when it is, and a later wait returns at once.
    pub(crate) fn an_event_lets_every_process_go(model: Model) {
        const CHILDREN: usize = 4;
        let start = SharedEvent::new().expect("a descriptor");
        // Some wait as tasks, some as plain threads.
        let models = [model, Model::Threads];
        let mut children: Vec<Child> = (0..CHILDREN)
            .map(|number| {
                let mut command = Command::new(ROLE);
                command.args(["wait-for-event", models[number % 2].name()]);
                command.event("START", &start).expect("a descriptor");
                command.stdout(Stdio::piped()).spawn().expect("the role starts")
            })
            .collect();
        let mut outputs: Vec<_> = children
            .iter_mut()
            .map(|child| BufReader::new(child.stdout.take().expect("piped")))
            .collect();
        let set_at = in_task_of(model, 2, move || {
            for output in &mut outputs {
                assert_eq!(line(output), "waiting\n");
            }
            let start = std::sync::Arc::new(start);
            let waiting: Vec<_> = (0..3)
                .map(|_| {
                    let start = std::sync::Arc::clone(&start);
                    task::spawn(move || start.wait().map(|()| nanos()))
                })
                .collect();
            assert!(!start.wait_timeout(Duration::from_millis(20)).expect("it works"));
            assert!(!start.is_set().expect("it works"));
            assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
            let set_at = nanos();
            start.set();
            for output in &mut outputs {
                let went_at: u128 = line(output).trim().parse().expect("a time");
                let late = went_at.checked_sub(set_at).expect("none goes on before");
                assert!(late < LONG.as_nanos(), "{late} ns late");
            }
            for waiting in waiting {
                let went_at = waiting.join().expect("no panic").expect("it works");
                assert!(went_at >= set_at);
            }
            start.wait().expect("it is set");
            assert!(start.is_set().expect("it works"));
            start.set();
            start.clear();
            assert!(!start.is_set().expect("it works"), "however often it was set");
            assert!(!start.wait_timeout(Duration::ZERO).expect("it works"));
            set_at
        });
        assert!(set_at > 0);
        for child in &mut children {
            assert!(child.wait().expect("ours").success());
        }
    }

    /// What SIGCHLD does, until this is dropped.
    struct Ignoring(libc::sighandler_t);

    impl Ignoring {
        #[expect(unsafe_code, reason = "nothing safe ignores a signal")]
        fn children() -> Ignoring {
            // SAFETY: required: a disposition. It is one.
            Ignoring(unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) })
        }
    }

    impl Drop for Ignoring {
        #[expect(unsafe_code, reason = "nothing safe ignores a signal")]
        fn drop(&mut self) {
            // SAFETY: required: a disposition. It was there before.
            unsafe { libc::signal(libc::SIGCHLD, self.0) };
        }
    }

    /// A program that ran has been started, also when the kernel collects it by itself; and what it
    /// has written is not lost because nobody can tell how it ended.
    pub(crate) fn programs_are_started_while_sigchld_is_ignored(model: Model) {
        in_task(model, || {
            let _ignoring = Ignoring::children();
            for _ in 0..50 {
                let mut child = Command::new("true").spawn().expect("it runs");
                let error = child.wait().expect_err("nobody can tell");
                assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
                child.kill().expect("it has ended");
            }
            for _ in 0..20 {
                let error = shell("echo out; echo err >&2").output().expect_err("nobody can tell");
                let lost = error.downcast::<StatusLost>().expect("it has written");
                assert_eq!((&*lost.stdout, &*lost.stderr), (&b"out\n"[..], &b"err\n"[..]));
            }
        });
    }

    /// Nothing is needed to have a dropped child collected but its end.
    pub(crate) fn a_dropped_child_leaves_no_zombie(model: Model) {
        in_task(model, || {
            let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
            let (id, stdin) = (child.id(), child.stdin.take());
            drop(child);
            let process = format!("/proc/{id}");
            assert!(Path::new(&process).exists(), "it reads");
            drop(stdin);
            eventually("it is collected", || !Path::new(&process).exists());
        });
    }

    /// A child ends with its handle, if that is asked for, and is collected.
    pub(crate) fn a_child_can_be_killed_by_its_drop(model: Model) {
        in_task(model, || {
            let child = Command::new("sleep").arg("600").kill_on_drop(true).spawn().expect("sleep");
            let process = format!("/proc/{}", child.id());
            drop(child);
            eventually("it is killed", || !Path::new(&process).exists());
            let waiting = task::spawn_local(|| {
                let mut command = shell("echo $$; exec sleep 600");
                command.kill_on_drop(true).output().map(drop)
            });
            task::yield_now();
            waiting.cancel();
            assert!(!matches!(waiting.join(), Ok(Ok(()))), "it was cancelled");
        });
    }

    /// A limit for a child's output keeps what has come.
    pub(crate) fn late_output_is_kept(model: Model) {
        in_task(model, || {
            let mut command = shell("echo one; echo two >&2; read order; echo three; exit 5");
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().expect("sh");
            let mut stdin = child.stdin.take().expect("piped");
            let soon = Duration::from_millis(2);
            let end = Instant::now() + LONG;
            while child.collected() != (b"one\n", b"two\n") {
                assert!(Instant::now() < end, "{:?}", child.collected());
                assert!(child.wait_with_output_timeout(soon).expect("it is read").is_none());
            }
            stdin.write_all(b"go\n").expect("it reads");
            let output = child.wait_with_output_timeout(LONG).expect("it is read").expect("ended");
            assert_eq!((&*output.stdout, &*output.stderr), (&b"one\nthree\n"[..], &b"two\n"[..]));
            assert_eq!(output.status.code(), Some(5));
        });
    }

    fn nanos() -> u128 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec as u128 * 1_000_000_000 + now.tv_nsec as u128
    }
}

use std::process::Command;

use fiveways::process::SharedEvent;

fiveways_tests::on_cooperative_models! {
    children:
        a_task_waits_for_a_child_and_others_go_on,
        a_task_that_starts_a_program_lets_others_go_on,
        a_child_outlives_the_worker_that_had_it_started,
        a_wait_has_a_time_limit,
        output_is_read_however_much_of_it,
        a_child_is_talked_to_through_its_pipes,
        nothing_is_read_or_written_at_once,
        waits_for_children_are_cancelled,
        dropped_children_are_collected,
        programs_are_started_while_sigchld_is_ignored,
        a_dropped_child_leaves_no_zombie,
        a_child_can_be_killed_by_its_drop,
        late_output_is_kept,
        what_cannot_be_started_is_an_error,
        an_event_lets_every_process_go;
}

/// All of it from plain threads.
#[test]
fn plain_threads_wait_for_children_too() {
    let output = fiveways::process::Command::new("sh").args(["-c", "echo a; echo b >&2"]).output();
    let output = output.expect("sh");
    assert_eq!((&*output.stdout, &*output.stderr), (&b"a\n"[..], &b"b\n"[..]));
    let mut child = fiveways::process::Command::from(Command::new("sleep"));
    let mut child = child.arg("600").spawn().expect("sleep");
    let soon = std::time::Duration::from_millis(5);
    assert_eq!(child.wait_timeout(soon).expect("ours"), None);
    child.kill().expect("ours");
    assert!(!child.wait().expect("ours").success());
}

/// S004-09: what the environment names must be an event.
#[test]
fn only_events_are_taken_for_events() {
    let missing = SharedEvent::from_env("FIVEWAYS_NO_SUCH_VARIABLE").expect_err("it is not set");
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    // `PATH` is set and no number; the others are checked in a child, where they can be set.
    let wrong = SharedEvent::from_env("PATH").expect_err("no event");
    assert_eq!(wrong.kind(), std::io::ErrorKind::InvalidData);
    for value in ["1", "99999", "-1", "4294967297", ""] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fiveways-role"));
        command.args(["wait-for-event", "threads"]).env("START", value);
        let output = command.output().expect("the role starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains("names no event"), "{errors}");
    }
}
