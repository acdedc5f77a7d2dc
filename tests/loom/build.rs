//! Copies the product's files with a few exact changes, so that they compile over loom.
//!
//! A change that finds nothing fails the build: the copies cannot fall behind the product. One more
//! change, a mistake on purpose, can be asked for with `FIVEWAYS_LOOM_MISTAKE`: the file, what is
//! replaced and by what, apart by lines of `---`. `cargo xtask loom --mistakes` does.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What is replaced, and by what.
type Change = (&'static str, &'static str);

/// Atomics and locks are loom's.
const SYNC: Change = ("use std::sync::", "use crate::over_loom::sync::");
const LOCK: Change = ("use fiveways_sys::lock::", "use crate::over_loom::lock::");
/// Loom's atomics cannot be made by the compiler.
const MAKING: Change = ("const fn new", "fn new");
/// Neither can its thread-locals.
const LOCAL: Change = ("thread_local! {", "loom::thread_local! {");
const CONST: Change = ("= const {", "= {");
const LOOK: Change = ("HERE.get()", "HERE.with(Cell::get)");
const KEEP: Change = ("HERE.set(Some(new))", "HERE.with(|here| here.set(Some(new)))");

/// A cell that is used by two, one after the other.
const CELL: Change = ("use std::cell::", "use crate::over_loom::cell::");
/// All threads of a model are one to std, which cannot say which of them unwinds.
const THREAD: Change = ("use std::thread;", "use crate::over_loom::thread;");

/// The files, by module; the changes that each needs.
const PRODUCT: &[(&str, &str, &[Change])] = &[
    ("wait_queue", "runtime/src/park/wait_queue.rs", &[SYNC, MAKING]),
    ("reason", "runtime/src/reason.rs", &[SYNC]),
    ("identity", "runtime/src/identity.rs", &[LOCAL, CONST, LOOK, KEEP]),
    ("exchange/mod", "fiveways/src/exchange/mod.rs", &[LOCK]),
    ("exchange/wait_slots", "fiveways/src/exchange/wait_slots.rs", &[MAKING, CELL]),
    ("exchange/store", "fiveways/src/exchange/store.rs", &[MAKING]),
    ("queue/mod", "fiveways/src/queue/mod.rs", &[]),
    ("queue/error", "fiveways/src/queue/error.rs", &[]),
    ("queue/fifo", "fiveways/src/queue/fifo.rs", &[SYNC]),
    ("queue/lifo", "fiveways/src/queue/lifo.rs", &[SYNC]),
    ("queue/priority", "fiveways/src/queue/priority.rs", &[SYNC]),
    ("queue/joinable", "fiveways/src/queue/joinable.rs", &[SYNC]),
    ("queue/method", "fiveways/src/queue/method.rs", &[]),
    ("sync/channel/mod", "fiveways/src/sync/channel/mod.rs", &[]),
    ("sync/channel/chan", "fiveways/src/sync/channel/chan.rs", &[SYNC]),
    ("sync/channel/receiver", "fiveways/src/sync/channel/receiver.rs", &[SYNC]),
    ("sync/channel/sender", "fiveways/src/sync/channel/sender.rs", &[SYNC]),
    ("sync/mpsc", "fiveways/src/sync/mpsc.rs", &[]),
    (
        "sync/select/mod",
        "fiveways/src/sync/select/mod.rs",
        &[
            ("mod readiness;\n", ""),
            ("use self::readiness::{Watchable, has_polled};\n", ""),
            ("Option<Watchable>", "Option<()>"),
            ("!has_polled(arms, first_in_time(arms).map(|(_, at)| at))\n", "true\n"),
            ("pub use self::readiness::{Watch, Watched};\n", ""),
            ("#[doc(hidden)]\npub use self::readiness::ReadinessArm;\n", ""),
        ],
    ),
    ("sync/select/arms", "fiveways/src/sync/select/arms.rs", &[]),
    ("sync/barrier", "fiveways/src/sync/barrier.rs", &[LOCK, MAKING]),
    ("sync/wait_group", "fiveways/src/sync/wait_group.rs", &[SYNC, LOCK]),
    ("sync/once_lock", "fiveways/src/sync/once_lock.rs", &[MAKING]),
    ("sync/lazy_lock", "fiveways/src/sync/lazy_lock.rs", &[LOCK, MAKING]),
    ("sync/reentrant", "fiveways/src/sync/reentrant.rs", &[SYNC, MAKING]),
    ("sync/condvar", "fiveways/src/sync/condvar.rs", &[SYNC, LOCK, MAKING]),
    ("sync/event", "fiveways/src/sync/event.rs", &[SYNC, LOCK, MAKING]),
    ("sync/semaphore", "fiveways/src/sync/semaphore.rs", &[SYNC, LOCK, MAKING]),
    ("sync/rwlock", "fiveways/src/sync/rwlock.rs", &[SYNC, MAKING]),
    ("sync/shared", "fiveways/src/sync/shared.rs", &[SYNC, LOCK, MAKING]),
    ("sync/once", "fiveways/src/sync/once.rs", &[SYNC, LOCK, MAKING]),
    ("sync/mutex", "fiveways/src/sync/mutex.rs", &[SYNC, MAKING]),
    (
        "sync/exclusive",
        "fiveways/src/sync/exclusive.rs",
        // A hundred looks are a hundred times as many orders, and no other ones.
        &[SYNC, LOCK, MAKING, ("SPINS: u32 = 100", "SPINS: u32 = 1"), ("std::hint", "loom::hint")],
    ),
    ("sync/poison", "fiveways/src/sync/poison.rs", &[SYNC, MAKING, THREAD]),
];

/// The modules of the copies, without those whose parent is a copy itself.
const ROOTS: &[&str] = &["wait_queue", "reason", "identity", "exchange/mod", "queue/mod"];
const LOCKS: &[&str] = &[
    "channel/mod",
    "mpsc",
    "select/mod",
    "barrier",
    "wait_group",
    "once_lock",
    "lazy_lock",
    "reentrant",
    "condvar",
    "event",
    "semaphore",
    "rwlock",
    "shared",
    "once",
    "mutex",
    "exclusive",
    "poison",
];
const NAMES: &str = "pub use barrier::Barrier;
pub use condvar::Condvar;
pub use event::Event;
pub use mutex::{Mutex, MutexGuard};
pub use lazy_lock::LazyLock;
pub use once::Once;
pub use once_lock::OnceLock;
pub use reentrant::ReentrantMutex;
pub use rwlock::RwLock;
pub use semaphore::{BoundedSemaphore, Semaphore};
pub use wait_group::WaitGroup;
";

fn main() {
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo says where"));
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates");
    println!("cargo::rerun-if-env-changed=FIVEWAYS_LOOM_MISTAKE");
    let mistake = env::var("FIVEWAYS_LOOM_MISTAKE").ok();
    let mistake: Vec<&str> = mistake.iter().flat_map(|text| text.split("\n---\n")).collect();
    let mut made = mistake.is_empty();
    for &(module, file, changes) in PRODUCT {
        let source = crates.join(file);
        println!("cargo::rerun-if-changed={}", source.display());
        let mut text = fs::read_to_string(&source)
            .unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        if let [of, from, to] = mistake[..]
            && of == file
        {
            text = changed(&text, (from, to), file);
            made = true;
        }
        for &change in changes {
            text = changed(&text, change, file);
        }
        let copy = out.join(module).with_extension("rs");
        fs::create_dir_all(copy.parent().expect("it is in a folder")).expect("can be made");
        fs::write(&copy, text).expect("the build directory can be written");
    }
    assert!(made, "the mistake names no file of the models: {mistake:?}");
    fs::write(out.join("product.rs"), tree(&out)).expect("the build directory can be written");
}

fn changed(text: &str, (from, to): (&str, &str), file: &str) -> String {
    assert!(text.contains(from), "{file} holds no `{from}` any more");
    text.replace(from, to)
}

/// The source that declares the copies as modules.
fn tree(out: &Path) -> String {
    let mut text = String::new();
    for root in ROOTS {
        declare(&mut text, &out.join(root));
    }
    text += "/// The locks and channels.\npub mod sync {\n";
    for lock in LOCKS {
        declare(&mut text, &out.join("sync").join(lock));
    }
    text + NAMES + "}\n"
}

fn declare(text: &mut String, file: &Path) {
    let mut name = file.file_name().expect("a file").to_string_lossy().into_owned();
    if name == "mod" {
        let folder = file.parent().expect("in a folder").file_name().expect("with a name");
        name = folder.to_string_lossy().into_owned();
    }
    let path = file.with_extension("rs");
    let _ = writeln!(text, "#[path = {path:?}]\npub mod {name};");
}
