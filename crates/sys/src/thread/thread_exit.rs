//! Whether a thread has begun to destroy its thread-locals.
//!
//! Frames that are suspended may borrow a thread-local, and must neither run nor be unwound once
//! that is destroyed. Rust registers each destructor of a thread-local with the C library, which
//! calls them when the thread ends or calls `exit`, the newest first. So a destructor of our own (a
//! *mark*) that is newer than all others when frames are suspended runs before any thread-local is
//! destroyed that the frames can refer to:
//!
//! ```text
//!   list of the C library     B ◀── A ◀── mark     frames that borrow A are suspended here
//!   later                     B ◀── A ◀── mark ◀── C
//!   the thread ends           C, then mark (unwinds them), then A
//! ```
//!
//! A mark that runs has all suspended frames [unwound](unwind_by): afterwards A cannot be borrowed
//! any more, not even by a thread that a frame has lent it to, since a frame that lends waits for
//! the borrower. If nothing can be unwound, the destructors of A and B are not run at all. That is
//! so in `exit`, which runs them while the frames of its caller still exist: the process ends, and
//! the thread-locals are leaked.
//!
//! Marks cannot be taken back, and a new one is needed only if something was registered since the
//! last. The head of the C library's list shows that. No symbol exports it, so it is searched for
//! among the thread-locals of that library: the one word that points to the last registration,
//! which points to the one before. If it is not found, each mark is a new one: correct, but 32
//! bytes are kept until the thread ends.
#![expect(unsafe_code, reason = "the C library's list of destructors is raw memory")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::ops::Range;
use std::process;
use std::ptr;

use crate::fault::write_to_stderr;
use crate::process::set_once::SetOnce;

/// A moment in the life of the calling thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(u64);

impl Epoch {
    /// Returns `true` if no thread-local of the calling thread that existed at that moment is
    /// destroyed.
    #[inline]
    pub fn lasts(self) -> bool {
        ENDING.with(|ending| ending.marks_run.get()) == self.0
    }
}

/// Returns this moment of the calling thread, and ensures that the thread's end will be noticed.
///
/// # Panics
///
/// If [`prepare`] returns an error.
#[inline]
pub fn epoch() -> Epoch {
    ENDING.with(|ending| {
        if !ending.is_marked() {
            ending.mark();
        }
        Epoch(ending.marks_run.get())
    })
}

/// Checks whether the ends of threads can be noticed here.
///
/// # Errors
///
/// `Unsupported` if the C library does not know destructors of thread-locals.
pub fn prepare() -> io::Result<()> {
    register().map(|_| ())
}

/// Unwinds all suspended frames of the calling thread that may borrow its thread-locals, unless
/// `exits` is true: the process ends. Returns `true` if some frames are left.
pub type Unwind = fn(exits: bool) -> bool;

static UNWIND: SetOnce<Unwind> = SetOnce::new();

/// Sets the function that unwinds frames before a thread destroys what they may borrow; once per
/// process.
#[inline]
pub fn unwind_by(unwind: Unwind) {
    UNWIND.get_or_init(|| unwind);
}

/// A period in which a thread runs frames that cannot be unwound: only `exit` can end it then.
#[derive(Debug)]
pub struct Inside(PhantomData<*const ()>);

/// Begins such a period, which lasts as long as the value. See [`keep_mark`].
pub fn inside() -> Inside {
    ENDING.with(|ending| ending.inside.set(ending.inside.get() + 1));
    Inside(PhantomData)
}

impl Drop for Inside {
    fn drop(&mut self) {
        ENDING.with(|ending| ending.inside.set(ending.inside.get() - 1));
    }
}

/// Ensures that no thread-local of the calling thread that exists now is destroyed by an `exit` in
/// such a [period](inside). To be called whenever frames were suspended.
///
/// Does nothing if ends cannot be noticed. If the head of the list is not known, thread-locals that
/// are first used after the first call are not protected.
#[inline]
pub fn keep_mark() {
    ENDING.with(|ending| {
        if !ending.is_marked() {
            ending.mark_again();
        }
    });
}

/// `__cxa_thread_atexit_impl`: the destructor, its argument, and an address in the object that must
/// stay loaded for it.
type Register = unsafe extern "C" fn(Destructor, *const c_void, *const c_void) -> c_int;
type Destructor = unsafe extern "C" fn(*const c_void);

fn register() -> io::Result<Register> {
    static FOUND: SetOnce<Option<Register>> = SetOnce::new();
    let found = FOUND.get_or_init(|| {
        let name = c"__cxa_thread_atexit_impl".as_ptr();
        // SAFETY: required: a name that ends. It is a literal.
        let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name) };
        // SAFETY: required: null or a function of that type. It is what glibc exports by that name,
        // and a null is `None`.
        unsafe { mem::transmute::<*mut c_void, Option<Register>>(symbol) }
    });
    found.ok_or_else(|| {
        let message = "the C library lacks __cxa_thread_atexit_impl (glibc 2.18 has it), by which \
                       the end of a thread is noticed";
        io::Error::new(io::ErrorKind::Unsupported, message)
    })
}

/// The state of the calling thread. Without a destructor, so that it can be used until the very
/// end.
struct Ending {
    /// Marks that have run.
    marks_run: Cell<u64>,
    /// The address of the head of the C library's list; null if it is not known.
    head: Cell<*const *const Record>,
    /// The last mark; [`NONE`] if there is none, or if it has run.
    newest: Cell<*const Record>,
    /// Whether the head was searched for.
    looked: Cell<bool>,
    /// The number of [`Inside`] values.
    inside: Cell<u32>,
}

thread_local! {
    static ENDING: Ending = const {
        Ending {
            marks_run: Cell::new(0),
            head: Cell::new(ptr::null()),
            newest: Cell::new(NONE),
            looked: Cell::new(false),
            inside: Cell::new(0),
        }
    };
}

/// Points to no record, and is not the head of an empty list either.
const NONE: *const Record = ptr::without_provenance(1);

/// An entry of the C library's list.
#[repr(C)]
#[derive(Clone, Copy)]
struct Record {
    destructor: usize,
    argument: *const c_void,
    object: usize,
    next: *const Record,
}

impl Ending {
    /// Returns `true` if the newest of the registered destructors is one of our marks.
    #[inline]
    fn is_marked(&self) -> bool {
        let head = self.head.get();
        // SAFETY: required: readable. It was found to be the head of this thread's list, which
        // stays as long as the thread.
        !head.is_null() && unsafe { head.read_volatile() } == self.newest.get()
    }

    #[cold]
    fn mark(&self) {
        let register = register().expect("callers are prepared");
        if !self.looked.replace(true) {
            self.head.set(find_head(register).unwrap_or(ptr::null()));
        }
        add(register, 0);
        let head = self.head.get();
        if !head.is_null() {
            // SAFETY: required: readable. As in `is_marked`.
            self.newest.set(unsafe { head.read_volatile() });
        }
    }

    /// As [`Ending::mark`], if a mark is missing; without a known head, which costs memory for
    /// good, only once.
    #[cold]
    fn mark_again(&self) {
        let is_known = !self.head.get().is_null();
        if register().is_ok() && (is_known || !self.looked.get()) {
            self.mark();
        }
    }

    /// The mark: runs before all destructors that were registered earlier.
    fn run_mark(&self) {
        // Its record is freed, and another record may get the same address.
        self.newest.set(NONE);
        let is_inside = self.inside.get() > 0;
        // The main thread ends with its process.
        let exits = is_inside || rustix::thread::gettid() == rustix::process::getpid();
        let is_left = is_inside || UNWIND.get().is_some_and(|unwind| unwind(exits));
        self.marks_run.set(self.marks_run.get() + 1);
        if is_left {
            self.leave_the_rest();
        }
    }

    /// Leaks the thread-locals that are not yet destroyed.
    fn leave_the_rest(&self) {
        let head = self.head.get().cast_mut();
        if head.is_null() {
            let message =
                b"fiveways: a thread ends whose thread-locals are borrowed by frames that \
                            cannot be unwound\n";
            write_to_stderr(message);
            process::abort();
        }
        // SAFETY: required: writable, and of this type. It was found to be the head of this
        // thread's list, which the C library goes through from its head again after each
        // destructor.
        unsafe { head.write_volatile(ptr::null()) };
    }
}

/// The arguments that marks are registered with; they distinguish marks while the head is searched
/// for.
static ARGUMENTS: [u8; 2] = [0; 2];

fn add(register: Register, which: usize) {
    let argument = ptr::from_ref(&ARGUMENTS[which]).cast();
    // SAFETY: required: a function that may be called at the thread's end. It is part of the object
    // that `argument` lies in, and touches nothing that could be gone.
    unsafe { register(run_mark, argument, argument) };
}

extern "C" fn run_mark(_: *const c_void) {
    ENDING.with(Ending::run_mark);
}

/// Searches the C library's thread-locals for the head of the calling thread's list.
fn find_head(register: Register) -> Option<*const *const Record> {
    let block = thread_locals_of(register as usize)?;
    let words = block.step_by(size_of::<usize>()).map(|at| at as *const *const Record);
    let words: Vec<_> = words.collect();
    let mut first = Vec::with_capacity(words.len());
    add(register, 0);
    // SAFETY: required: readable. They are words of this thread's block.
    first.extend(words.iter().map(|word| unsafe { word.read_volatile() }));
    add(register, 1);
    let mut heads = words.iter().zip(first).filter(|(word, first)| is_head(**word, *first));
    let (head, _) = heads.next()?;
    heads.next().is_none().then_some(*head)
}

/// Returns `true` if the word points to the second mark, which points to the first, where the word
/// has pointed before.
fn is_head(word: *const *const Record, first: *const Record) -> bool {
    // SAFETY: required: readable. Callers took it from this thread's block.
    let second = unsafe { word.read_volatile() };
    let has_argument =
        |record: &Record, which: usize| record.argument == ptr::from_ref(&ARGUMENTS[which]).cast();
    let second = if second == first { None } else { read(second) };
    let second = second.filter(|second| has_argument(second, 1) && second.next == first);
    second.is_some() && read(first).is_some_and(|first| has_argument(&first, 0))
}

/// Reads what may be a record, or any other memory.
fn read(record: *const Record) -> Option<Record> {
    let last = record.wrapping_byte_add(size_of::<Record>() - size_of::<usize>());
    let readable = record.is_aligned() && is_readable(record.addr()) && is_readable(last.addr());
    // SAFETY: required: readable and aligned. It was asked; a record crosses one page's end at
    // most, and any bytes are a record.
    readable.then(|| unsafe { record.read_volatile() })
}

/// Returns `true` if the eight bytes at this address can be read. The kernel reads a set of signals
/// before it rejects the invalid operation.
fn is_readable(address: usize) -> bool {
    const NOTHING: c_int = -1;
    let none = ptr::null_mut::<c_void>();
    // SAFETY: required: nothing. Memory that is not there is refused, and nothing is done.
    let answer =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, NOTHING, address, none, 8_usize) };
    answer == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
}

/// Returns the addresses of the calling thread's block of thread-locals of the object that has this
/// code.
fn thread_locals_of(code: usize) -> Option<Range<usize>> {
    let mut search = Search { code, found: None };
    // SAFETY: required: a callback for what it is called with. `look` takes a `Search`.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    search.found
}

struct Search {
    code: usize,
    found: Option<Range<usize>>,
}

unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
    // SAFETY: required: live. The C library calls this with it.
    let info = unsafe { &*info };
    // SAFETY: required: live and ours. `thread_locals_of` passes it, and waits.
    let search = unsafe { &mut *search.cast::<Search>() };
    // SAFETY: required: so many headers. It is what they are given for.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let has_code = headers.iter().any(|header| {
        let begin = info.dlpi_addr.wrapping_add(header.p_vaddr) as usize;
        let end = begin.wrapping_add(header.p_memsz as usize);
        header.p_type == libc::PT_LOAD && (begin..end).contains(&search.code)
    });
    let block = info.dlpi_tls_data as usize;
    let words = headers.iter().find(|header| header.p_type == libc::PT_TLS);
    if let Some(words) = words.filter(|_| has_code && block != 0) {
        let len = words.p_memsz as usize & !(size_of::<usize>() - 1);
        search.found = Some(block..block + len);
    }
    c_int::from(has_code)
}

#[cfg(test)]
mod tests {
    use std::cell::OnceCell;
    use std::sync::mpsc::{Sender, channel};
    use std::thread;

    use super::*;

    /// Reports in its destructor whether a moment lasts.
    struct Teller(&'static str, OnceCell<(Epoch, Sender<(&'static str, bool)>)>);

    impl Drop for Teller {
        fn drop(&mut self) {
            let (moment, tx) = self.1.get().expect("it is set");
            tx.send((self.0, moment.lasts())).expect("it is received");
        }
    }

    thread_local! {
        static BEFORE: Teller = const { Teller("before", OnceCell::new()) };
        static AFTER: Teller = const { Teller("after", OnceCell::new()) };
    }

    #[test]
    fn a_moment_lasts_until_the_first_thread_local_that_it_has_seen_is_destroyed() {
        let (tx, rx) = channel();
        let ended = thread::spawn(move || {
            BEFORE.with(|_| ());
            // An early mark is older than the one that counts.
            epoch();
            AFTER.with(|_| ());
            let second = epoch();
            BEFORE.with(|before| before.1.set((second, tx.clone())).expect("it is unset"));
            AFTER.with(|after| after.1.set((second, tx)).expect("it is unset"));
            assert!(second.lasts());
        });
        ended.join().expect("it does not panic");
        assert_eq!(rx.iter().collect::<Vec<_>>(), [("after", false), ("before", false)]);

        let (tx, rx) = channel();
        let ended = thread::spawn(move || {
            BEFORE.with(|_| ());
            let first = epoch();
            BEFORE.with(|before| before.1.set((first, tx.clone())).expect("it is unset"));
            AFTER.with(|after| after.1.set((first, tx)).expect("it is unset"));
        });
        ended.join().expect("it does not panic");
        assert_eq!(rx.iter().collect::<Vec<_>>(), [("after", true), ("before", false)]);
    }

    #[test]
    fn a_mark_is_kept_until_something_else_is_registered() {
        thread_local!(static OTHER: Teller = const { Teller("other", OnceCell::new()) });
        let (tx, _told) = channel();
        let thread = thread::spawn(move || {
            let newest = || ENDING.with(|ending| (ending.newest.get(), ending.is_marked()));
            let first = epoch();
            let mark = newest();
            assert!(mark.1, "the head of the list was not found");
            assert_eq!(epoch(), first);
            assert_eq!(newest(), mark);
            OTHER.with(|other| other.1.set((first, tx)).expect("it is unset"));
            assert!(!newest().1);
            assert_eq!(epoch(), first);
            assert_ne!(newest().0, mark.0);
        });
        thread.join().expect("it does not panic");
    }
}
