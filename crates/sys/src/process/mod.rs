//! Processes and threads: creating, ending, collecting, placing and timing them.
//!
//! Role: the server's process supervision (`fork`, [`wait`], [`kill`]) and the instrument that
//! starts servers and reads their clocks.
//!
//! References: fork(2), waitpid(2), pidfd_open(2), prctl(2), sched_setaffinity(2),
//! clock_getcpuclockid(3), getrlimit(2), proc(5).
#![expect(unsafe_code, reason = "fork, and a clock id that rustix cannot name")]

pub mod child;
pub mod generation;
pub mod set_once;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{self, PidfdFlags, Resource, Rlimit, WaitOptions, WaitStatus};
use rustix::thread::CpuSet;
use rustix::time::{ClockId, clock_gettime};

pub use rustix::process::{Pid, Signal};

/// Which of the two processes is running after [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// This is the new process.
    Child,
    /// This is the old process, and the new one has this id.
    Parent(Pid),
}

/// Creates a copy of this process with only this thread in it.
///
/// # Errors
///
/// The error of fork(2): `EAGAIN` at the limit of processes, `ENOMEM`.
///
/// # Safety
///
/// The process must have no other thread (see [`thread_count`]): a lock that another thread held
/// at this moment, the allocator's among them, is held for ever in the child. The child owns copies
/// of all descriptors, and drops what the parent's copies also drop (files are removed twice).
pub unsafe fn fork() -> io::Result<Forked> {
    // SAFETY: required: what the child does is safe after fork. Passed on to our caller, who has
    // one thread, so that the child may do whatever the parent may.
    let answer = unsafe { libc::fork() };
    match Pid::from_raw(answer) {
        _ if answer < 0 => Err(io::Error::last_os_error()),
        Some(child) => Ok(Forked::Parent(child)),
        None => Ok(Forked::Child),
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// Returns `true` if it exited with status zero.
    pub fn is_success(self) -> bool {
        self == Exit::Status(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Status(status) => write!(f, "exit status {status}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Whether [`wait`] may sleep until there is something to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Sleep until a child ends.
    Sleep,
    /// Look once.
    Look,
}

/// Collects a child that has ended: the given one, or any.
///
/// Returns `None` if none has ended and `patience` is [`Patience::Look`]. Interruptions by signals
/// are waited out under [`Patience::Sleep`], so a supervisor that must see its own signals waits
/// for [`pidfd`]s instead.
///
/// # Errors
///
/// `ECHILD` when there is no such child.
#[doc(alias = "waitpid")]
pub fn wait(child: Option<Pid>, patience: Patience) -> io::Result<Option<(Pid, Exit)>> {
    let options = match patience {
        Patience::Sleep => WaitOptions::empty(),
        Patience::Look => WaitOptions::NOHANG,
    };
    loop {
        match process::waitpid(child, options) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(None) => return Ok(None),
            Ok(Some((pid, status))) => {
                if let Some(exit) = exit_of(status) {
                    return Ok(Some((pid, exit)));
                }
            }
        }
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    let by_signal = || status.terminating_signal().map(Exit::Signal);
    status.exit_status().map(Exit::Status).or_else(by_signal)
}

/// Opens a descriptor that becomes readable when the process ends.
///
/// # Errors
///
/// `ESRCH` when there is no such process, `ENOSYS` before Linux 5.3.
#[doc(alias = "pidfd_open")]
pub fn pidfd(pid: Pid) -> io::Result<OwnedFd> {
    Ok(process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Sends a signal to the process of a [`pidfd`], which cannot be mistaken for a later one.
///
/// # Errors
///
/// `ESRCH` when it has been collected, `EPERM` when it is not ours, `EINVAL` for what is no signal.
#[doc(alias = "pidfd_send_signal")]
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let (call, fd, no_info) = (libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), 0_usize);
    // SAFETY: required: a null or valid `siginfo_t`. It is null.
    let answer = unsafe { libc::syscall(call, fd, signal, no_info, 0) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends a signal to a process.
///
/// # Errors
///
/// `ESRCH` when there is no such process, `EPERM` when it is not ours.
pub fn kill(pid: Pid, signal: Signal) -> io::Result<()> {
    Ok(process::kill_process(pid, signal)?)
}

/// Sends a signal to every process of a group.
///
/// # Errors
///
/// `ESRCH` when there is no such group, `EPERM` when none of it is ours.
#[doc(alias = "killpg")]
pub fn kill_group(group: Pid, signal: Signal) -> io::Result<()> {
    Ok(process::kill_process_group(group, signal)?)
}

/// Returns the id of this process.
pub fn id() -> Pid {
    process::getpid()
}

/// Returns the id of the process that started this one; `None` if that is outside our pid
/// namespace.
pub fn parent_id() -> Option<Pid> {
    process::getppid()
}

/// Requests a signal for the end of the *thread* that started this process (`PR_SET_PDEATHSIG`).
///
/// Not inherited by `fork`. A parent that ended before the call sends nothing: compare
/// [`parent_id`] with the id it should have, afterwards.
pub fn set_parent_death_signal(signal: Option<Signal>) -> io::Result<()> {
    Ok(process::set_parent_process_death_signal(signal)?)
}

/// Returns the processors this thread may run on, in ascending order.
#[doc(alias = "sched_getaffinity")]
pub fn affinity() -> io::Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// Restricts this thread, and those it starts later, to the given processors.
///
/// Allocates nothing, so it may be called between fork and exec.
///
/// # Errors
///
/// `EINVAL` when none of them exists and is allowed.
#[doc(alias = "sched_setaffinity")]
pub fn set_affinity(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus.iter().filter(|&&cpu| cpu < CpuSet::MAX_CPU) {
        set.set(cpu);
    }
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Returns the processor time a process has used: all its threads, also those that have ended, in
/// user and kernel mode, to the nanosecond. Its child processes count for themselves.
///
/// # Errors
///
/// `EINVAL` or `ESRCH` when there is no such process.
#[doc(alias = "clock_getcpuclockid")]
pub fn cpu_time_of(pid: Pid) -> io::Result<Duration> {
    // The kernel's names of processor clocks: the inverted id, then two for "as the scheduler
    // counts it" (include/linux/posix-timers_types.h, CPUCLOCK_SCHED).
    let clock = (!pid.as_raw_nonzero().get() << 3) | 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: required: valid for writes of one timespec; no clock id is harmful.
    let answer = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut time) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Returns the processor time this thread has used.
pub fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Returns the number of threads of this process, this one included.
///
/// # Errors
///
/// Those of reading `/proc/self/task`.
pub fn thread_count() -> io::Result<usize> {
    std::fs::read_dir("/proc/self/task")?.try_fold(0, |count, entry| entry.map(|_| count + 1))
}

/// How many descriptors this process may have open; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// The present limit.
    pub soft: Option<u64>,
    /// How far `soft` may be raised without privilege.
    pub hard: Option<u64>,
}

/// Returns the limit on descriptors (`RLIMIT_NOFILE`).
pub fn descriptor_limit() -> DescriptorLimit {
    let limit = process::getrlimit(Resource::Nofile);
    DescriptorLimit { soft: limit.current, hard: limit.maximum }
}

/// Sets the limit on descriptors.
///
/// # Errors
///
/// `EPERM` when raising `hard` without privilege, `EINVAL` when `soft` is above `hard`.
pub fn set_descriptor_limit(limit: DescriptorLimit) -> io::Result<()> {
    let limit = Rlimit { current: limit.soft, maximum: limit.hard };
    Ok(process::setrlimit(Resource::Nofile, limit)?)
}

/// Raises the soft limit on descriptors to the hard one, and returns the limits that hold then.
pub fn raise_descriptor_limit() -> DescriptorLimit {
    let limit = descriptor_limit();
    let raised = DescriptorLimit { soft: limit.hard, ..limit };
    match set_descriptor_limit(raised) {
        Ok(()) => raised,
        Err(_) => limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Instant;

    fn pid_of(child: &std::process::Child) -> Pid {
        Pid::from_raw(child.id() as i32).expect("a child has a positive id")
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "collected by the function under test")]
    fn a_killed_child_reports_its_signal_and_its_pidfd_becomes_readable() {
        let child = Command::new("sleep").arg("600").spawn().expect("sleep starts");
        let pid = pid_of(&child);
        let pidfd = pidfd(pid).expect("a pidfd");
        assert_eq!(wait(Some(pid), Patience::Look).expect("look"), None);
        kill(pid, Signal::TERM).expect("it is ours");
        let deadline = Some(Instant::now() + Duration::from_secs(20));
        use std::os::fd::AsFd;
        send_signal(pidfd.as_fd(), 0).expect("not collected yet");
        assert!(crate::net::wait_ready(pidfd.as_fd(), false, deadline).expect("poll"));
        let ended = wait(Some(pid), Patience::Sleep).expect("it is our child");
        assert_eq!(ended, Some((pid, Exit::Signal(15))));
        assert_eq!(Exit::Signal(15).to_string(), "signal 15");
        assert!(kill(pid, Signal::TERM).is_err(), "collected: the id is free");
        assert!(send_signal(pidfd.as_fd(), 15).is_err(), "collected");
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "collected by the function under test")]
    fn an_exit_status_is_reported_as_it_was_given() {
        let child = Command::new("sh").args(["-c", "exit 7"]).spawn().expect("sh starts");
        let pid = pid_of(&child);
        assert_eq!(wait(Some(pid), Patience::Sleep).expect("ours"), Some((pid, Exit::Status(7))));
        assert!(Exit::Status(0).is_success() && !Exit::Status(7).is_success());
    }

    #[test]
    fn the_cpu_clock_of_a_process_counts_its_work_and_no_sleep() {
        let before = cpu_time_of(id()).expect("our own clock");
        let thread_before = thread_cpu_time();
        while thread_cpu_time() - thread_before < Duration::from_millis(20) {
            std::hint::black_box(0);
        }
        let used = cpu_time_of(id()).expect("our own clock") - before;
        assert!(used >= Duration::from_millis(20), "{used:?} after 20 ms of work");
        let mut sleeper = Command::new("sleep").arg("600").spawn().expect("sleep starts");
        let idle = cpu_time_of(pid_of(&sleeper)).expect("a child's clock");
        assert!(idle < Duration::from_millis(500), "{idle:?} of a sleeping process");
        sleeper.kill().expect("ours");
        sleeper.wait().expect("ours");
        assert!(cpu_time_of(pid_of(&sleeper)).is_err());
    }

    #[test]
    fn affinity_is_of_the_calling_thread_and_refuses_the_empty_set() {
        std::thread::spawn(|| {
            let all = affinity().expect("affinity");
            let last = *all.last().expect("one processor at least");
            set_affinity(&[last]).expect("an allowed processor");
            assert_eq!(affinity().expect("affinity"), [last]);
            assert!(set_affinity(&[]).is_err());
        })
        .join()
        .expect("the thread's claims hold");
    }

    #[test]
    fn threads_are_counted() {
        let (tx, rx) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || rx.recv());
        assert!(thread_count().expect("proc") >= 2);
        drop(tx);
        assert!(thread.join().expect("it ends").is_err());
    }

    #[test]
    fn the_descriptor_limit_is_raised_to_the_hard_one_and_no_further() {
        let raised = raise_descriptor_limit();
        assert_eq!(raised.soft, raised.hard);
        assert_eq!(descriptor_limit(), raised);
        if let Some(hard) = raised.hard {
            let above = DescriptorLimit { soft: Some(hard + 1), hard: Some(hard) };
            assert!(set_descriptor_limit(above).is_err());
        }
    }
}
