//! Many users, one ticket: the course's ticket program, whose data is a file.
//!
//! Each user checks whether a ticket is left, thinks, and buys it. Without a mutex all of them see
//! the same last ticket; with one they come one after the other. Threads share a mutex, processes a
//! lock on the file.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fiveways::executor::{Call, Executor, ProcessPool, Sizing, ThreadPool, remote};
use fiveways::sync::Mutex;
use fiveways::time;

use super::stage::{Outcome, Pace, say};

/// Many users, one ticket: sold once, or often without a mutex
#[derive(Args, Debug)]
pub(super) struct MutexArgs {
    /// Let them check and buy without a lock
    #[arg(long)]
    unlocked: bool,

    /// Each user is a process instead of a thread
    #[arg(long)]
    processes: bool,
}

const USERS: usize = 10;

/// One at a time, among the threads of this process.
static COUNTER: Mutex<()> = Mutex::new(());

remote! {
    /// One user's visit; returns whether they got a ticket.
    fn visit(tickets: PathBuf, think: Duration, locked: bool) -> Result<bool, String> {
        let buy = || {
            let file = File::options().read(true).write(true).open(&tickets)?;
            if !locked {
                return buy(&file, think);
            }
            let _turn = COUNTER.lock().expect("nobody panics");
            // For processes; released when the file is closed.
            file.lock()?;
            buy(&file, think)
        };
        buy().map_err(|error: io::Error| error.to_string())
    }
}

/// Checks, thinks, buys.
fn buy(file: &File, think: Duration) -> io::Result<bool> {
    let left = tickets_left(file)?;
    time::sleep(think);
    if left > 0 {
        write_tickets(file, left - 1)?;
    }
    Ok(left > 0)
}

/// Numbers have a fixed width, so that none is read half written. This race is about tickets.
const WIDTH: usize = 4;

fn tickets_left(file: &File) -> io::Result<u32> {
    let mut digits = [0; WIDTH];
    file.read_exact_at(&mut digits, 0)?;
    let number = str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn write_tickets(file: &File, left: u32) -> io::Result<()> {
    file.write_all_at(format!("{left:0WIDTH$}").as_bytes(), 0)
}

/// The file with the tickets; removed on drop.
struct Tickets {
    path: PathBuf,
}

impl Tickets {
    fn new(count: u32) -> io::Result<Tickets> {
        let name = format!("fiveways-tickets-{:x}", fastrand::u64(..));
        let path = env::temp_dir().join(name);
        write_tickets(&File::create_new(&path)?, count)?;
        Ok(Tickets { path })
    }
}

impl Drop for Tickets {
    fn drop(&mut self) {
        // It may already be removed.
        let _ = fs::remove_file(&self.path);
    }
}

pub(super) fn run(args: &MutexArgs, pace: Pace) -> Outcome {
    let size = Sizing::Fixed(USERS);
    if args.processes {
        sell(&ProcessPool::new(size)?, "processes", !args.unlocked, pace)
    } else {
        sell(&ThreadPool::new(size)?, "threads", !args.unlocked, pace)
    }
}

fn sell<P>(pool: &P, users: &str, locked: bool, pace: Pace) -> Outcome
where
    P: Executor<Call<Result<bool, String>>, Output = Result<bool, String>>,
{
    let with = if locked { "with" } else { "without" };
    say!("1 ticket, {USERS} users ({users}), {with} a mutex");
    let tickets = Tickets::new(1)?;
    let think = pace.seconds(0.2);
    let visits = pool.map(0..USERS, |_| visit::call(tickets.path.clone(), think, locked))?;
    let mut sold = 0;
    for bought in visits {
        sold += usize::from(bought??);
    }
    let left = tickets_left(&File::open(&tickets.path)?)?;
    drop(tickets);
    say!("sold {sold}, left {left}");
    Ok(())
}
