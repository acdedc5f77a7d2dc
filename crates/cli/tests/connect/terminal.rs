//! The line client at a terminal.

use std::process::Command;

use crate::server::{echo, serve};
use crate::support::PROGRAM;

/// Runs the program in a pseudo-terminal and plays a script against it: for each step, wait until
/// the screen ends with a text, then type another. Prints the screen and the status.
const PLAYER: &str = r#"
import os, pty, select, sys
program, address, steps = sys.argv[1], sys.argv[2], sys.argv[3:]
pid, fd = pty.fork()
if pid == 0:
    os.execv(program, [program, "connect", address])
screen = b""
def look():
    global screen
    ready, _, _ = select.select([fd], [], [], 60)
    if not ready:
        sys.exit("nothing came; the screen: %r" % screen)
    try:
        more = os.read(fd, 4096)
    except OSError:
        more = b""
    screen += more
    return more
for wait, key in zip(steps[::2], steps[1::2]):
    while not screen.endswith(wait.encode()):
        if not look():
            sys.exit("it ended; the screen: %r" % screen)
    os.write(fd, key.encode().decode("unicode_escape").encode("latin-1"))
while look():
    pass
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.write(repr(screen.decode()) + " " + str(status))
"#;

fn play(address: &str, steps: &[&str]) -> String {
    let mut python = Command::new("python3");
    python.args(["-c", PLAYER, PROGRAM, address]).args(steps);
    let output = python.output().expect("python3 starts");
    let (stdout, stderr) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(stdout).expect("it is text")
}

#[test]
fn s001_93_the_prompt_comes_back_after_each_answer_and_ctrl_d_ends() {
    let screen =
        play(&serve(echo), &[">> ", r"hello\n", "hello\r\n>> ", r"\n", "\r\n>> ", r"\x04"]);
    // A prompt that came back too early, because the answer was late, was taken away again.
    let screen = screen.replace(r">> \r\x1b[K", "");
    // The terminal itself echoes what is typed.
    assert_eq!(screen, r"'>> hello\r\nhello\r\n>> \r\n>> \r\n' 0");
}

#[test]
fn d24_ctrl_c_at_the_prompt_ends_with_status_130() {
    let screen = play(&serve(echo), &[">> ", r"\x03"]);
    assert_eq!(screen, r"'>> ^C\r\ninterrupted\r\n' 130");
}

#[test]
fn d24_the_servers_end_at_the_prompt_is_told_on_a_line_of_its_own() {
    let screen = play(&serve(drop), &[]);
    let ended = r"error: the server closed the connection\r\n' 1";
    assert!(screen.ends_with(ended), "{screen}");
}
