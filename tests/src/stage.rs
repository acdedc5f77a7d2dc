//! Running one behaviour on one model.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fiveways::Model;

use crate::leaks::Tally;
use crate::patience::Watchdog;

/// A test that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(100);

/// One test at a time: tests count descriptors and threads of the process.
static ALONE: Mutex<()> = Mutex::new(());

/// The models for which the macros here make tests.
pub const LISTED: [Model; 11] = [
    Model::Blocking,
    Model::Threads,
    Model::Pool,
    Model::Nonblocking,
    Model::Select,
    Model::Poll,
    Model::Epoll,
    Model::EpollEt,
    Model::Signal,
    Model::Uring,
    Model::Auto,
];

/// Runs a behaviour on a model and looks for what it left behind.
///
/// # Panics
///
/// When the behaviour does, when it leaves descriptors or threads behind, and, if `CI=true`, when
/// this machine lacks the model.
pub fn run(name: &str, model: Model, behaviour: fn(Model)) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(reason) = fiveways::support(model) {
        missing(&format!("the model {model}"), &reason.to_string());
        return;
    }
    let _watchdog = Watchdog::new(format!("{name} on {model}"), LIMIT);
    let before = Tally::now();
    behaviour(model);
    before.check();
}

/// Says aloud that something a test needs is not on this machine.
///
/// # Panics
///
/// When the environment says `CI=true`: there everything has to be tested.
pub fn missing(what: &str, reason: &str) {
    eprintln!("NOT TESTED: {what} is not to be had here: {reason}");
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!in_ci, "{what} must be there when CI=true: {reason}");
}

/// Makes a test for each model of each behaviour.
#[macro_export]
macro_rules! on_every_model {
    ($($place:ident: $($name:ident),+ $(,)?;)+) => {
        $($($crate::tests_of! { $place $name,
            blocking Blocking, threads Threads, pool Pool, nonblocking Nonblocking, select Select,
            poll Poll, epoll Epoll, epoll_et EpollEt, signal Signal, uring Uring, auto Auto
        })+)+
    };
}

/// Makes a test for each cooperative model of each behaviour.
#[macro_export]
macro_rules! on_cooperative_models {
    ($($place:ident: $($name:ident),+ $(,)?;)+) => {
        $($($crate::tests_of! { $place $name,
            nonblocking Nonblocking, select Select, poll Poll, epoll Epoll, epoll_et EpollEt,
            signal Signal, uring Uring, auto Auto
        })+)+
    };
}

/// The tests of one behaviour.
#[doc(hidden)]
#[macro_export]
macro_rules! tests_of {
    ($place:ident $name:ident, $($test:ident $model:ident),+) => {
        mod $name {
            $(
                #[test]
                fn $test() {
                    let model = fiveways::Model::$model;
                    $crate::stage::run(stringify!($name), model, super::$place::$name);
                }
            )+
        }
    };
}
