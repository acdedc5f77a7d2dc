//! Running the program under test, with a watchdog instead of hope.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// After this long a program hangs, and is ended so that the test can say so.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_fiveways");

/// A running program whose input and output the test holds.
pub(crate) struct Talk {
    child: Arc<Mutex<Child>>,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    notes: Receiver<String>,
    stderr: String,
    _watchdog: Sender<()>,
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Runs `fiveways connect` with some input to its end.
pub(crate) fn connect(args: &[&str], input: &[u8]) -> Finished {
    let mut talk = Talk::start(args);
    let mut stdin = talk.stdin.take().expect("it was not taken");
    let input = input.to_vec();
    // A program that ends early does not read it all.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let finished = talk.finish();
    writer.join().expect("the writer does not panic");
    finished
}

impl Talk {
    /// Starts `fiveways connect`.
    pub(crate) fn start(args: &[&str]) -> Talk {
        let mut command = Command::new(PROGRAM);
        command.arg("connect").args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("it is piped"));
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (tell, notes) = channel();
        thread::spawn(move || {
            for line in stderr.lines() {
                let _ = tell.send(line.expect("stderr is text"));
            }
        });
        let child = Arc::new(Mutex::new(child));
        let (watchdog, over) = channel::<()>();
        let watched = Arc::clone(&child);
        thread::spawn(move || {
            if over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = watched.lock().expect("nobody panics with it").kill();
            }
        });
        Talk { child, stdin, stdout, notes, stderr: String::new(), _watchdog: watchdog }
    }

    /// Types a line.
    pub(crate) fn say(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("the input was not ended");
        stdin.write_all(text.as_bytes()).expect("the program reads its input");
    }

    /// Types the same for as long as it is read; tells how often so far.
    pub(crate) fn flood(&mut self, text: &'static str) -> Arc<AtomicUsize> {
        let mut stdin = self.stdin.take().expect("the input was not ended");
        let fed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&fed);
        thread::spawn(move || {
            while stdin.write_all(text.as_bytes()).is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        fed
    }

    /// Waits until this is the next line on stderr.
    pub(crate) fn expect_note(&mut self, text: &str) {
        assert_eq!(self.notes.recv().expect("it is told"), text);
    }

    /// Waits until this is the next thing shown.
    pub(crate) fn expect(&mut self, text: &str) {
        let mut shown = vec![0; text.len()];
        self.stdout.read_exact(&mut shown).expect("it is shown");
        assert_eq!(String::from_utf8_lossy(&shown), text);
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let id = self.child.lock().expect("nobody panics with it").id().to_string();
        let killed = Command::new("kill").args(["-INT", &id]).status().expect("kill starts");
        assert!(killed.success());
    }

    /// Waits for the end; the input stays as it is.
    pub(crate) fn finish(mut self) -> Finished {
        let mut stdout = Vec::new();
        self.stdout.read_to_end(&mut stdout).expect("stdout can be read");
        for line in self.notes {
            self.stderr += &line;
            self.stderr.push('\n');
        }
        let stderr = self.stderr;
        let status: ExitStatus =
            self.child.lock().expect("nobody panics with it").wait().expect("it ends");
        assert_ne!(status.to_string(), "signal: 9 (SIGKILL)", "it hung: {stderr}");
        Finished { code: status.code(), stdout, stderr }
    }
}

impl Finished {
    /// What was shown.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("text is shown")
    }
}
