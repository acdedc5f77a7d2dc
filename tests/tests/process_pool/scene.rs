//! Programs whose end or whose words a test watches: this one again, with `scene NAME`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use fiveways::executor::{FutureError, ProcessPool, Sizing};
use fiveways_tests::patience::eventually;

use crate::functions::{fail, nap, pool, square};

/// A program that a test watches.
pub(crate) struct Scene {
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Scene {
    pub(crate) fn play(name: &str, stderr: Stdio) -> Scene {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["scene", name]).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Scene { child, stdout }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    /// What it has said on standard error when it has ended well.
    pub(crate) fn told(&mut self) -> String {
        let mut told = String::new();
        let mut stderr = self.child.stderr.take().expect("piped");
        stderr.read_to_string(&mut told).expect("text");
        assert!(self.child.wait().expect("our child").success(), "{told}");
        told
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays a scene, in the program that is watched.
pub(crate) fn play(scene: &str) {
    let pool = pool(2);
    match scene {
        "nap" => {
            let hours = [Duration::from_secs(3600); 2];
            let naps = pool.map(hours, nap::call).expect("it is open");
            eventually("both work", || pool.processes().len() == 2);
            pool.processes().iter().for_each(|pid| println!("{pid}"));
            naps.for_each(drop);
        }
        "callback" => {
            let future = pool.submit(square::call(1)).expect("it is open");
            // By an unwinding that no hook tells of.
            let fault = || std::panic::resume_unwind(Box::new("a callback's own fault"));
            future.add_done_callback(move |_| fault());
            assert_eq!(future.result().expect("no panic"), 1);
        }
        "initializer" => {
            let pool = ProcessPool::builder().initializer(fail::call("not today".to_owned()));
            let pool = pool.size(Sizing::Fixed(1)).build().expect("main has asked");
            let future = pool.submit(square::call(1)).expect("it is open");
            assert!(matches!(future.result(), Err(FutureError::BrokenPool)));
        }
        other => panic!("no scene {other}"),
    }
}
