//! What a thread is doing that does not answer: it is interrupted, and tells from its handler.
//!
//! ```text
//!   Free ──ask──▶ Asked ──handler──▶ Telling ──handler──▶ Told ──taken──▶ Free
//!                   └──────────── given up after a while ───────────────────┘
//! ```
//!
//! One at a time, in one buffer that exists from the beginning: the handler allocates nothing and
//! takes no lock. Walking the stack asks the loader where the unwind tables are, which is a lookup
//! without a lock since glibc 2.35.
#![expect(unsafe_code, reason = "the handler reads the running task's control block")]

use std::mem;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering,
};
use std::thread as threads;
use std::time::Duration;

use fiveways_coro::Fiber;
use fiveways_sys::generation::PerProcess;
use fiveways_sys::interrupt::{self, Interrupted, Thread};
use fiveways_sys::lock::{Mutex, MutexGuard};

use crate::clock;
use crate::identity::Identity;
use crate::worker::backtrace::{self, FRAMES_MAX};
use crate::worker::inbox::Inbox;
use crate::worker::with_worker;

/// How long a thread has to tell: a signal that it does not block reaches it at once.
const PATIENCE: Duration = Duration::from_millis(200);

const NAME_MAX: usize = 63;

const FREE: u8 = 0;
const ASKED: u8 = 1;
const TELLING: u8 = 2;
const TOLD: u8 = 3;

struct Answer {
    /// `FREE`, `ASKED` (by the asker), `TELLING`, `TOLD` (by the handler).
    state: AtomicU8,
    thread: AtomicI32,
    len: AtomicUsize,
    frames: [AtomicUsize; FRAMES_MAX],
    task: AtomicU64,
    place: AtomicPtr<Location<'static>>,
    name_len: AtomicUsize,
    name: [AtomicU8; NAME_MAX],
}

static ANSWER: Answer = Answer {
    state: AtomicU8::new(FREE),
    thread: AtomicI32::new(0),
    len: AtomicUsize::new(0),
    frames: [const { AtomicUsize::new(0) }; FRAMES_MAX],
    task: AtomicU64::new(0),
    place: AtomicPtr::new(ptr::null_mut()),
    name_len: AtomicUsize::new(0),
    name: [const { AtomicU8::new(0) }; NAME_MAX],
};

/// One asker at a time.
static ASKER: PerProcess<Mutex<()>> = PerProcess::new();

/// What a thread told of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity {
    /// The task that it runs, if it is a worker's.
    pub(crate) task: Option<Identity>,
    pub(crate) name: String,
    pub(crate) place: Option<&'static Location<'static>>,
    /// Where it stands: addresses, innermost first.
    pub(crate) frames: Vec<usize>,
}

/// Asks a worker's thread; `None` if it has ended or does not tell.
pub(crate) fn ask_worker(inbox: &Inbox) -> Option<Activity> {
    // Locked until it has told, or it could end and its number be given to another thread.
    let thread = inbox.thread.lock();
    ask(thread.as_ref().copied()?)
}

/// Asks a thread of this process; `None` if it has ended or does not tell.
pub(crate) fn ask(thread: Thread) -> Option<Activity> {
    prepare();
    let _alone = lock();
    ANSWER.thread.store(thread.number(), Ordering::Relaxed);
    ANSWER.state.store(ASKED, Ordering::Release);
    let asked = interrupt::interrupt(thread);
    let limit = clock::machine() + PATIENCE;
    while asked.is_ok() && ANSWER.state.load(Ordering::Acquire) != TOLD && clock::machine() < limit
    {
        threads::sleep(Duration::from_millis(1));
    }
    let given_up = ANSWER.state.compare_exchange(ASKED, FREE, Ordering::Relaxed, Ordering::Relaxed);
    if given_up.is_ok() {
        return None;
    }
    // It is at it.
    while ANSWER.state.load(Ordering::Acquire) != TOLD {
        threads::yield_now();
    }
    let told = take();
    ANSWER.state.store(FREE, Ordering::Relaxed);
    Some(told)
}

fn lock() -> MutexGuard<'static, ()> {
    ASKER.get(Mutex::default).lock()
}

/// Installs the handler, and walks a stack once: the first walk sets up tables.
fn prepare() {
    static IS_DONE: AtomicBool = AtomicBool::new(false);
    // Doing it twice does no harm, and nobody waits for a thread that a fork lacks.
    if !IS_DONE.load(Ordering::Relaxed) {
        drop(backtrace::own_frames());
        // Without a handler nobody tells.
        let _ = interrupt::observe(tell);
        IS_DONE.store(true, Ordering::Relaxed);
    }
}

fn take() -> Activity {
    let frames = ANSWER.frames.iter().take(ANSWER.len.load(Ordering::Relaxed));
    let name = ANSWER.name.iter().take(ANSWER.name_len.load(Ordering::Relaxed));
    let name: Vec<u8> = name.map(|byte| byte.load(Ordering::Relaxed)).collect();
    // SAFETY: required: null or a live place. The handler stores what a control block holds, and
    // places are static.
    let place = unsafe { ANSWER.place.load(Ordering::Relaxed).as_ref() };
    Activity {
        task: Identity::from_bits(ANSWER.task.load(Ordering::Relaxed)),
        name: String::from_utf8_lossy(&name).into_owned(),
        place,
        frames: frames.map(|frame| frame.load(Ordering::Relaxed)).collect(),
    }
}

/// Tells of this thread; runs in the signal handler.
fn tell(interrupted: Interrupted) {
    if ANSWER.thread.load(Ordering::Relaxed) != Thread::current().number() {
        return;
    }
    let claimed =
        ANSWER.state.compare_exchange(ASKED, TELLING, Ordering::Acquire, Ordering::Relaxed);
    if claimed.is_err() {
        return;
    }
    tell_frames(interrupted.instruction);
    ANSWER.task.store(0, Ordering::Relaxed);
    ANSWER.place.store(ptr::null_mut(), Ordering::Relaxed);
    ANSWER.name_len.store(0, Ordering::Relaxed);
    with_worker(|worker| {
        let Some(task) = worker.current() else { return };
        // SAFETY: required: a live task. It is the running one, on the stack that was interrupted.
        let block = unsafe { task.as_ref() };
        ANSWER.task.store(block.identity.to_bits(), Ordering::Relaxed);
        let place = ptr::from_ref(block.origin.place).cast_mut();
        ANSWER.place.store(place, Ordering::Relaxed);
        // SAFETY: required: from `into_raw`, and never dropped. It is only looked at.
        let fiber = mem::ManuallyDrop::new(unsafe { Fiber::from_raw(task) });
        let mut name = [0; NAME_MAX];
        let len = fiber.copy_name(&mut name);
        for (to, from) in ANSWER.name.iter().zip(&name[..len]) {
            to.store(*from, Ordering::Relaxed);
        }
        ANSWER.name_len.store(len, Ordering::Relaxed);
    });
    ANSWER.state.store(TOLD, Ordering::Release);
}

/// The frames from the interrupted one on; all of them, if that is not found.
fn tell_frames(interrupted: Option<usize>) {
    let mut len = 0;
    let mut push = |address: usize| {
        if let Some(place) = ANSWER.frames.get(len) {
            place.store(address, Ordering::Relaxed);
            len += 1;
        }
        len < FRAMES_MAX
    };
    let mut is_found = false;
    backtrace::walk(|address, _| {
        if !is_found && Some(address) == interrupted {
            is_found = true;
            // The instruction itself, where later frames give the one after their call.
            return push(address + 1);
        }
        !is_found || push(address)
    });
    if !is_found {
        backtrace::walk(|address, _| push(address));
    }
    ANSWER.len.store(len, Ordering::Relaxed);
}
