//! The common base of all demos: printing lines, and the pace of time.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::exit;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How a demo, or a part of it, ends.
pub(super) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Prints a line on stdout, formatted as by `println!`.
macro_rules! say {
    ($($part:tt)*) => {
        $crate::demo::stage::say_line(format_args!($($part)*))
    };
}
pub(super) use say;

/// Prints a line on stdout. Ends the program if stdout is closed.
pub(super) fn say_line(line: fmt::Arguments<'_>) {
    // In one piece: lines of several threads and processes do not mix.
    let line = format!("{line}\n");
    match io::stdout().lock().write_all(line.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit(0),
        Err(error) => {
            eprintln!("error: cannot write to stdout: {error}");
            exit(2);
        }
        Ok(()) => {}
    }
}

/// How long a second of a demo is, in seconds of the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(f64);

impl Default for Pace {
    fn default() -> Pace {
        Pace(1.0)
    }
}

impl Pace {
    /// This many seconds of the demo.
    pub(super) fn seconds(self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.0)
    }

    /// The time since `start`, in whole seconds of the demo: `2 s`.
    pub(super) fn since(self, start: Instant) -> String {
        format!("{:.0} s", start.elapsed().as_secs_f64() / self.0)
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Pace, String> {
        match text.parse() {
            Ok(scale) if (0.001..=1000.0).contains(&scale) => Ok(Pace(scale)),
            Ok(_) => Err("not between 0.001 and 1000".to_owned()),
            Err(_) => Err("not a number".to_owned()),
        }
    }
}
