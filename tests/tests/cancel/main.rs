//! Cancelling is sound: at every suspension point, with data racing.
//!
//! For each k the script (see [`script`]) runs until its k-th call that waits, and is cancelled
//! exactly there. Whatever it was waiting for comes before, after or at the same time. Then every
//! byte, connection and datagram must be found exactly once, by the script or by who comes after
//! it, and what comes late must not be written into the stack that the script has left.

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

fiveways_tests::on_cooperative_models! {
    cancelling:
        at_every_wait_with_nothing_there,
        at_every_wait_just_after_the_data,
        at_every_wait_just_before_the_data,
        at_every_wait_while_the_data_come;
}
