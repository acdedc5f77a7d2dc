//! Cancelling is sound: at every suspension point, with data racing.
//!
//! For each k the script (see [`script`]) runs until its k-th call that waits, and is cancelled
//! exactly there. The awaited event comes before, after or at the same time. Then every byte,
//! connection and datagram must be found exactly once, by the script or by its successor, and a
//! late event must not be written into the stack that the script has left.

mod script;

use std::rc::Rc;
use std::time::Instant;

use fiveways::{Model, task};
use fiveways_tests::arena::in_task;
use fiveways_tests::patience::LONG;

use script::{Scene, Wait, perform};

/// When the data comes.
#[derive(Clone, Copy, Debug)]
enum Race {
    /// When the script has gone.
    Late,
    /// Just before the cancellation: the kernel may have completed already.
    Before,
    /// Just after it: the cancellation may not have reached the kernel.
    After,
    /// While another thread cancels.
    Amid,
}

/// The script's stack, as the next task finds it; see [`haunt`].
const HAUNTED: usize = 48 * 1024;

/// Occupies the stack that the script has left and checks that nothing is written into it.
#[inline(never)]
fn haunt(scene: &Scene, wait: Wait) {
    let mut memory = [0x5A_u8; HAUNTED];
    std::hint::black_box(&mut memory);
    scene.feed(wait);
    for _ in 0..200 {
        task::yield_now();
    }
    std::hint::black_box(&mut memory);
    assert!(memory.iter().all(|byte| *byte == 0x5A), "something wrote into a stack that was left");
}

/// Cancels the script at its first wait from call `k` on. False: it came to its end first.
fn cancel_at(k: usize, race: Race, stubborn: bool) -> bool {
    let scene = Scene::new();
    let theirs = Rc::clone(&scene);
    let script = task::spawn_local(move || perform(&theirs, stubborn));
    let began = Instant::now();
    let mut fed = 0;
    while scene.calls.get() < k && !script.is_finished() {
        assert!(began.elapsed() < LONG, "stuck at {:?}, call {fed}", scene.wait.get());
        if scene.calls.get() > fed {
            fed = scene.calls.get();
            scene.feed(scene.wait.get());
        } else if scene.wait.get() == Wait::Room {
            scene.feed(Wait::Room);
        }
        task::yield_now();
    }
    let reached = !script.is_finished();
    let wait = scene.wait.get();
    if reached {
        strike(&scene, &script, wait, race);
    }
    let ended = script.join_until(Instant::now() + LONG).expect("it ends");
    if let Err(error) = ended {
        assert!(error.is_cancelled(), "{error}");
    }
    if reached && matches!(race, Race::Late) {
        let theirs = Rc::clone(&scene);
        task::spawn_local(move || haunt(&theirs, wait)).join().expect("nothing was written");
    }
    scene.feed(Wait::Task);
    scene.settle();
    reached
}

fn strike(scene: &Rc<Scene>, script: &task::JoinHandle<()>, wait: Wait, race: Race) {
    match race {
        Race::Late => script.cancel(),
        Race::Before => {
            scene.feed(wait);
            script.cancel();
        }
        Race::After => {
            script.cancel();
            scene.feed(wait);
        }
        Race::Amid => std::thread::scope(|scope| {
            scope.spawn(|| script.cancel());
            scene.feed(wait);
        }),
    }
}

fn at_every_wait(model: Model, race: Race) {
    in_task(model, move || {
        for stubborn in [false, true] {
            let mut k = 1;
            while cancel_at(k, race, stubborn) {
                k += 1;
                assert!(k < 300, "the script has no end");
            }
            assert!(k > 20, "the script came to its end after {k} calls");
        }
    });
}

mod cancelling {
    use super::{Model, Race, at_every_wait};

    pub(crate) fn at_every_wait_with_nothing_there(model: Model) {
        at_every_wait(model, Race::Late);
    }

    pub(crate) fn at_every_wait_just_after_the_data(model: Model) {
        at_every_wait(model, Race::Before);
    }

    pub(crate) fn at_every_wait_just_before_the_data(model: Model) {
        at_every_wait(model, Race::After);
    }

    pub(crate) fn at_every_wait_while_the_data_come(model: Model) {
        at_every_wait(model, Race::Amid);
    }
}

mod ignoring {
    use std::cell::Cell;
    use std::io::Read;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;
    use std::time::Duration;

    use fiveways::net::UnixStream;
    use fiveways::{task, time};

    use super::{Model, in_task};

    /// Attempts after which a stubborn task gives in.
    const ATTEMPTS: u32 = 20_000;

    /// Runs `attempt` again and again in a task that `end` has been made of; it must be stopped by
    /// its neighbour, which needs the worker for that.
    fn is_stopped_by_its_neighbour(
        limit: Duration,
        cancelled: bool,
        attempt: impl Fn() + 'static,
    ) -> bool {
        let stop = Rc::new(Cell::new(false));
        let theirs = Rc::clone(&stop);
        let stubborn = task::spawn_local(move || {
            task::timeout(limit, || {
                for _ in 0..ATTEMPTS {
                    let _ = catch_unwind(AssertUnwindSafe(&attempt));
                    if theirs.get() {
                        return true;
                    }
                }
                false
            })
        });
        task::yield_now();
        if cancelled {
            stubborn.cancel();
        }
        let neighbour = task::spawn_local(move || {
            time::sleep(Duration::from_millis(2));
            stop.set(true);
        });
        neighbour.join().expect("no panic");
        stubborn.join().expect("it caught everything") == Ok(true)
    }

    /// A task that catches its cancellation and goes on, in a loop, does not keep its worker.
    pub(crate) fn a_task_that_catches_its_cancellation_lets_others_go_on(model: Model) {
        in_task(model, || {
            let nap = || time::sleep(Duration::from_secs(3600));
            assert!(is_stopped_by_its_neighbour(Duration::MAX, true, nap));
        });
    }

    pub(crate) fn a_task_that_catches_the_end_of_its_time_lets_others_go_on(model: Model) {
        in_task(model, || {
            assert!(is_stopped_by_its_neighbour(Duration::from_millis(1), false, task::yield_now));
        });
    }

    pub(crate) fn a_task_that_ignores_the_errors_of_late_calls_lets_others_go_on(model: Model) {
        in_task(model, || {
            let (near, _far) = UnixStream::pair().expect("a pair");
            let read = move || {
                (&near).read(&mut [0]).expect_err("it is late");
            };
            assert!(is_stopped_by_its_neighbour(Duration::from_millis(1), false, read));
        });
    }
}

fiveways_tests::on_cooperative_models! {
    ignoring:
        a_task_that_catches_its_cancellation_lets_others_go_on,
        a_task_that_catches_the_end_of_its_time_lets_others_go_on,
        a_task_that_ignores_the_errors_of_late_calls_lets_others_go_on;
    cancelling:
        at_every_wait_with_nothing_there,
        at_every_wait_just_after_the_data,
        at_every_wait_just_before_the_data,
        at_every_wait_while_the_data_come;
}
