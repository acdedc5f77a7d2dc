//! The functions that the workers run.

use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use fiveways::executor::{ProcessPool, Sizing, remote};
use fiveways_tests::patience::eventually;

static WORD: OnceLock<String> = OnceLock::new();
static BEGUN: Mutex<u32> = Mutex::new(0);

remote! {
    /// The square of a number.
    pub(crate) fn square(x: u64) -> u64 {
        x * x
    }

    pub(crate) fn pid() -> u32 {
        std::process::id()
    }

    pub(crate) fn fail(why: String) -> u64 {
        panic!("{why}")
    }

    pub(crate) fn exit(status: i32) {
        std::process::exit(status)
    }

    pub(crate) fn abort() {
        std::process::abort()
    }

    /// Makes a file, so that others see that it has begun, and hangs.
    pub(crate) fn hang(file: PathBuf) {
        std::fs::write(file, "").expect("a file can be made");
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }

    /// Sleeps and returns the process that has slept.
    pub(crate) fn nap(length: Duration) -> u32 {
        std::thread::sleep(length);
        std::process::id()
    }

    pub(crate) fn reverse(bytes: Vec<u8>) -> Vec<u8> {
        bytes.into_iter().rev().collect()
    }

    /// What can be read from standard input.
    pub(crate) fn read_stdin() -> Result<usize, String> {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(|error| error.to_string())
    }

    /// What another program can read from the standard input of this one.
    pub(crate) fn cat_stdin() -> Result<bool, String> {
        let status = Command::new("cat").status().map_err(|error| error.to_string())?;
        Ok(status.success())
    }

    /// Sets what this process works with.
    pub(crate) fn begin(word: String, times: usize) {
        *BEGUN.lock().expect("nobody panics") += 1;
        WORD.set(word.repeat(times)).expect("once in each process");
    }

    /// Its setting, how often it has begun, and its process.
    pub(crate) fn begun() -> (String, u32, u32) {
        let word = WORD.get().expect("it has begun").clone();
        (word, *BEGUN.lock().expect("nobody panics"), std::process::id())
    }

    /// Makes the file and dies; begins when it is there.
    pub(crate) fn begin_once_begun(file: PathBuf) {
        if std::fs::File::create_new(file).is_ok() {
            std::process::abort();
        }
    }

    pub(crate) fn begin_badly() -> Result<(), String> {
        Err("it rains".to_owned())
    }

    /// Writes this to whatever socket it finds, with a descriptor, and gives five.
    pub(crate) fn say(frames: Vec<Vec<u8>>) -> u64 {
        crate::intrusions::say(&frames);
        5
    }

    /// Has a thread do that some time after the answer.
    pub(crate) fn say_later(frames: Vec<Vec<u8>>) -> u64 {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(2));
            crate::intrusions::say(&frames);
        });
        5
    }

    /// Writes that and dies.
    pub(crate) fn say_and_abort(frames: Vec<Vec<u8>>) -> u64 {
        crate::intrusions::say(&frames);
        std::process::abort()
    }

    /// Forks; the copy comes back too, or panics. Gives the number of the copy.
    pub(crate) fn fork(panics: bool) -> u32 {
        let copy = crate::intrusions::fork();
        assert!(copy != 0 || !panics, "the copy panics");
        copy
    }

    /// Forks and dies; the copy writes its number to a file and lives on.
    pub(crate) fn fork_and_abort(file: PathBuf) -> u64 {
        if crate::intrusions::fork() == 0 {
            std::fs::write(&file, std::process::id().to_string()).expect("a file can be made");
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        eventually("the copy lives", || std::fs::read(&file).is_ok_and(|told| !told.is_empty()));
        std::process::abort()
    }

    /// A pool in a pool.
    pub(crate) fn sum_of_squares(numbers: Vec<u64>) -> u64 {
        let pool = pool(2);
        let squares = pool.map(numbers, square::call).expect("it is open");
        squares.map(|square| square.expect("no panic")).sum()
    }
}

pub(crate) fn pool(processes: usize) -> ProcessPool {
    ProcessPool::new(Sizing::Fixed(processes)).expect("main has asked")
}
