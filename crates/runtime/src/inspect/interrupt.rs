//! What a thread that does not answer is doing: it is interrupted, and reports from its handler.
//!
//! ```text
//!   Free ──ask──▶ Asked ──handler──▶ Answering ──handler──▶ Answered ──taken──▶ Free
//!                   └──given up after a while──▶ Free
//! ```
//!
//! One thread is asked at a time, with one static buffer: the handler allocates nothing and takes
//! no lock. Walking the stack asks the loader for the unwind tables, a lookup without a lock since
//! glibc 2.35.
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
use fiveways_sys::lock::{Mutex, MutexGuard};
use fiveways_sys::process::generation::PerProcess;
use fiveways_sys::thread::interrupt::{self, Interrupted, Thread};

use crate::clock;
use crate::identity::Identity;
use crate::worker::backtrace::{self, FRAMES_MAX};
use crate::worker::inbox::Inbox;
use crate::worker::with_worker;

/// How long a thread has to answer: a signal that it does not block reaches it at once.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);

const NAME_MAX: usize = 63;

const FREE: u8 = 0;
const ASKED: u8 = 1;
const ANSWERING: u8 = 2;
const ANSWERED: u8 = 3;

struct Answer {
    /// `FREE`, `ASKED` (by the asker), `ANSWERING`, `ANSWERED` (by the handler).
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

/// Held by the asker: one at a time.
static ASKER: PerProcess<Mutex<()>> = PerProcess::new();

/// What an interrupted thread has reported of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity {
    /// The running task, if the thread is a worker's.
    pub(crate) task: Option<Identity>,
    pub(crate) name: String,
    pub(crate) place: Option<&'static Location<'static>>,
    /// The thread's backtrace: addresses, innermost first.
    pub(crate) frames: Vec<usize>,
}

/// Asks a worker's thread; returns `None` if it has ended or does not answer.
pub(crate) fn ask_worker(inbox: &Inbox) -> Option<Activity> {
    // Locked until the answer, or the thread could end and its number be given to another one.
    let thread = inbox.thread.lock();
    ask(thread.as_ref().copied()?)
}

/// Asks a thread of this process; returns `None` if it has ended or does not answer.
pub(crate) fn ask(thread: Thread) -> Option<Activity> {
    prepare();
    let _alone = lock();
    ANSWER.thread.store(thread.number(), Ordering::Relaxed);
    ANSWER.state.store(ASKED, Ordering::Release);
    let asked = interrupt::interrupt(thread);
    let limit = clock::machine() + ANSWER_TIMEOUT;
    while asked.is_ok()
        && ANSWER.state.load(Ordering::Acquire) != ANSWERED
        && clock::machine() < limit
    {
        threads::sleep(Duration::from_millis(1));
    }
    let given_up = ANSWER.state.compare_exchange(ASKED, FREE, Ordering::Relaxed, Ordering::Relaxed);
    if given_up.is_ok() {
        return None;
    }
    // The handler is running.
    while ANSWER.state.load(Ordering::Acquire) != ANSWERED {
        threads::yield_now();
    }
    let activity = take();
    ANSWER.state.store(FREE, Ordering::Relaxed);
    Some(activity)
}

fn lock() -> MutexGuard<'static, ()> {
    ASKER.get(Mutex::default).lock()
}

/// Installs the handler, and walks a stack once: the first walk sets up tables.
fn prepare() {
    static IS_DONE: AtomicBool = AtomicBool::new(false);
    // Done twice it does no harm; a `Once` could wait for a thread that a fork lacks.
    if !IS_DONE.load(Ordering::Relaxed) {
        drop(backtrace::own_frames());
        // Without a handler no thread answers.
        let _ = interrupt::observe(answer);
        IS_DONE.store(true, Ordering::Relaxed);
    }
}

fn take() -> Activity {
    let frames = ANSWER.frames.iter().take(ANSWER.len.load(Ordering::Relaxed));
    let name = ANSWER.name.iter().take(ANSWER.name_len.load(Ordering::Relaxed));
    let name: Vec<u8> = name.map(|byte| byte.load(Ordering::Relaxed)).collect();
    // SAFETY: required: null or a live place. The handler stores a place from a control block, and
    // places are static.
    let place = unsafe { ANSWER.place.load(Ordering::Relaxed).as_ref() };
    Activity {
        task: Identity::from_bits(ANSWER.task.load(Ordering::Relaxed)),
        name: String::from_utf8_lossy(&name).into_owned(),
        place,
        frames: frames.map(|frame| frame.load(Ordering::Relaxed)).collect(),
    }
}

/// Reports what this thread does; runs in the signal handler.
fn answer(interrupted: Interrupted) {
    if ANSWER.thread.load(Ordering::Relaxed) != Thread::current().number() {
        return;
    }
    let claimed =
        ANSWER.state.compare_exchange(ASKED, ANSWERING, Ordering::Acquire, Ordering::Relaxed);
    if claimed.is_err() {
        return;
    }
    store_frames(interrupted.instruction);
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
    ANSWER.state.store(ANSWERED, Ordering::Release);
}

/// Stores the frames from the interrupted one on; all of them, if that is not found.
fn store_frames(interrupted: Option<usize>) {
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
            // This is the instruction itself; later frames hold the one after their call.
            return push(address + 1);
        }
        !is_found || push(address)
    });
    if !is_found {
        backtrace::walk(|address, _| push(address));
    }
    ANSWER.len.store(len, Ordering::Relaxed);
}
