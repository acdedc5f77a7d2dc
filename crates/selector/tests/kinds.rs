//! Properties of single kinds: exclusive registrations, pauses, and a waker that does not fit.
#![expect(unsafe_code, reason = "reserves descriptor numbers by libc")]

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fiveways_selector::{
    Epoll, Events, FdTooLarge, Interest, Kind, Nonblocking, Select, Selector, Token, TooManyPolled,
    Trigger,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Descriptor numbers are one for the process: tests that count or use them up take turns.
static NUMBERS: Mutex<()> = Mutex::new(());

#[test]
fn a_shared_listener_is_watched_exclusively() {
    let _alone = NUMBERS.lock().expect("no test failed");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let mut selectors = [Epoll::new().expect("epoll"), Epoll::et().expect("epoll")];
    for selector in &mut selectors {
        selector.register_exclusive(listener.as_fd(), Token(1)).expect("register");
        let modified = selector.modify(listener.as_fd(), Interest::READABLE, Token(1));
        assert_eq!(modified.expect_err("not this one").kind(), ErrorKind::InvalidInput);
    }
    let addr = listener.local_addr().expect("its address");
    let _client = TcpStream::connect(addr).expect("connect");
    let mut reported = 0;
    for selector in &mut selectors {
        let mut events = Events::with_capacity(4);
        selector.wait(&mut events, Some(Instant::now())).expect("wait");
        reported += events.iter().filter(|event| event.is_readable()).count();
        selector.deregister(listener.as_fd()).expect("deregister");
        assert!(selector.is_empty());
    }
    assert!(reported >= 1, "at least one reports it");
}

#[test]
fn a_pause_is_kept_only_before_the_deadline_d12() {
    let _alone = NUMBERS.lock().expect("no test failed");
    let pause = Duration::from_millis(40);
    let mut selector = Nonblocking::with_pause(pause).expect("a selector");
    let (_ours, theirs) = UnixStream::pair().expect("a pair");
    selector.register(theirs.as_fd(), Interest::READABLE, Token(1)).expect("register");
    let mut events = Events::with_capacity(4);
    let before = Instant::now();
    selector.wait(&mut events, None).expect("wait");
    assert!(before.elapsed() >= pause);
    assert_eq!(events.len(), 1);

    // A hundred pauses would take seconds, and an hour is longer than anything here takes.
    let mut selector = Nonblocking::with_pause(Duration::from_secs(3600)).expect("a selector");
    selector.register(theirs.as_fd(), Interest::READABLE, Token(1)).expect("register");
    for _ in 0..100 {
        selector.wait(&mut events, Some(Instant::now())).expect("wait");
        assert_eq!(events.len(), 1);
    }
    selector.waker().wake();
    let end = Instant::now() + PATIENCE;
    selector.wait(&mut events, Some(end)).expect("wait");
    assert!(Instant::now() < end, "ended by the wake");
}

#[test]
fn spinning_claims_at_once_without_a_pause() {
    let _alone = NUMBERS.lock().expect("no test failed");
    let mut selector = Nonblocking::new().expect("a selector");
    assert_eq!(selector.capabilities().trigger, Trigger::Always);
    let (_ours, theirs) = UnixStream::pair().expect("a pair");
    let both = Interest::READABLE | Interest::WRITABLE;
    selector.register(theirs.as_fd(), both, Token(1)).expect("register");
    let mut events = Events::with_capacity(4);
    // Without deadline and without anything to read: a selector that asks would wait for ever.
    selector.modify(theirs.as_fd(), Interest::READABLE, Token(1)).expect("modify");
    selector.wait(&mut events, None).expect("wait");
    assert!(events.iter().all(|event| event.is_readable() && !event.is_writable()));
    assert_eq!(events.len(), 1);
}

#[test]
fn select_itself_is_refused_when_its_waker_does_not_fit_d21() {
    let _alone = NUMBERS.lock().expect("no test failed");
    let file = fs::File::open("/dev/null").expect("a file");
    let mut taken: Vec<OwnedFd> = Vec::new();
    while taken.last().is_none_or(|fd| fd.as_raw_fd() < 1024) {
        // SAFETY: required: nothing; duplicates to the lowest free number.
        let fd = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) };
        assert!(fd >= 0, "descriptors ran out");
        // SAFETY: required: open and without another owner. It was just made.
        taken.push(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    let error = Select::new().expect_err("refused");
    assert!(error.get_ref().is_some_and(|inner| inner.is::<FdTooLarge>()), "{error}");
    assert!(error.to_string().contains("too large for select"), "{error}");
}

/// C11, C12: more than 1,024 descriptors are waited for; more than the soft limit are refused by
/// name. The limit is the process's, so the test runs in one of its own.
#[test]
fn poll_waits_for_as_many_as_the_limit_of_descriptors_c11_c12() {
    const CHILD: &str = "FIVEWAYS_POLL_LIMIT";
    if std::env::var_os(CHILD).is_none() {
        let name = "poll_waits_for_as_many_as_the_limit_of_descriptors_c11_c12";
        let mut command = std::process::Command::new(std::env::current_exe().expect("a path"));
        let output = command.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output();
        let output = output.expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let set_limit = |soft: u64| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: required: a valid place for the answer. It is on the stack.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
        limit.rlim_cur = soft;
        // SAFETY: required: a valid limit. It is on the stack.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    };
    set_limit(4_000);
    let mut selector = Kind::Poll.open().expect("poll");
    let pairs: Vec<_> = (0..1_200).map(|_| UnixStream::pair().expect("a pair")).collect();
    for (at, (_, theirs)) in pairs.iter().enumerate() {
        selector.register(theirs.as_fd(), Interest::READABLE, Token(at as u64)).expect("taken");
    }
    (&pairs[1_150].0).write_all(b"x").expect("room");
    let mut events = Events::with_capacity(8);
    selector.wait(&mut events, Some(Instant::now() + PATIENCE)).expect("more than 1,024");
    assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(1_150)]);

    // With the waker there is one entry more than registrations.
    set_limit(1_201);
    selector.wait(&mut events, Some(Instant::now())).expect("as many as the limit");
    set_limit(1_200);
    let error = selector.wait(&mut events, Some(Instant::now())).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let too_many = error.get_ref().and_then(|inner| inner.downcast_ref::<TooManyPolled>());
    let too_many = too_many.unwrap_or_else(|| panic!("{error}"));
    assert_eq!((too_many.entries, too_many.limit), (1_201, 1_200));
    assert!(error.to_string().contains("1201 descriptors"), "{error}");
    // Fewer are waited for again.
    selector.deregister(pairs[0].1.as_fd()).expect("it was registered");
    selector.wait(&mut events, Some(Instant::now())).expect("as many as the limit");
}

#[test]
fn no_descriptor_is_left_behind() {
    let _alone = NUMBERS.lock().expect("no test failed");
    let open = || fs::read_dir("/proc/self/fd").expect("the list").count();
    let before = open();
    for kind in Kind::ALL {
        for _ in 0..20 {
            let mut selector = kind.open().expect("a selector");
            let waker = selector.waker();
            let (mut ours, theirs) = UnixStream::pair().expect("a pair");
            selector.register(theirs.as_fd(), Interest::READABLE, Token(1)).expect("register");
            ours.write_all(b"x").expect("write");
            let end = Some(Instant::now() + PATIENCE);
            selector.wait(&mut Events::with_capacity(4), end).expect("wait");
            drop(selector);
            waker.wake();
        }
    }
    assert_eq!(open(), before);
}
