//! What pools of processes promise. Without the test harness: workers are this program again, so
//! its `main` must ask first whether it is one.
//!
//! It answers test runners as the harness does: `--list` names the tests, other words select them.
//! Started with `scene NAME` it plays a program whose end or whose words a test watches.

mod beginnings;
mod cpython;
mod scene;
mod support;
mod intrusions;
mod functions;
mod processes;

use std::collections::BTreeSet;
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fiveways::executor::{
    self, Call, Executor, Future, FutureError, ProcessPool, ReturnWhen, Sizing, SubmitError,
    ThreadPool, wait,
};
use fiveways::{runtime, task};
use fiveways_tests::leaks::descriptor_count;
use fiveways_tests::patience::{LONG, Watchdog, eventually};
use rustix::process::Signal;

use beginnings::{
    a_process_that_dies_in_its_initializer_fails_the_call_after_three,
    an_error_stands_for_its_chunk, an_initializer_that_cannot_be_sent_is_told,
    an_initializer_that_panics_breaks_the_pool,
    chunks_change_nothing_but_how_often_a_process_is_asked,
    each_process_is_initialized_once_before_its_first_call,
    the_failure_of_an_initializer_is_told_on_standard_error,
};
use cpython::{
    a_late_map_cancels_what_it_waited_for_and_the_rest, a_panic_in_map_comes_in_its_place,
    a_shutdown_passes_over_what_was_cancelled, a_shutdown_takes_no_more_and_does_what_it_has,
    a_shutdown_that_does_not_wait_lets_all_be_done, an_idle_process_is_used_again,
    as_completed_may_be_late, map_is_the_same_as_doing_it_here,
    states_answer_the_questions_for_them, waits_end_at_the_first_the_first_failure_and_the_last,
};
use functions::{
    abort, cat_stdin, exit, fail, nap, pid, pool, read_stdin, reverse, square, sum_of_squares,
};
use intrusions::{
    a_copy_of_a_worker_never_answers_and_ends_itself,
    a_copy_that_lives_on_does_not_hide_the_end_of_its_worker,
    a_frame_between_two_calls_shifts_no_answer, a_function_that_writes_a_frame_shifts_no_answer,
    an_answer_cut_short_tells_how_its_worker_ended,
};
use processes::{children, has_ended, is_alive, send};
use scene::{Scene, play};
use support::{Hung, error, value};

/// S004-22, S004-25, S004-26.
fn calls_run_in_other_processes_and_their_results_come_back() {
    let pool = pool(2);
    assert_eq!(value(pool.submit(square::call(12))), 144);
    let there = value(pool.submit(pid::call()));
    assert_ne!(there, std::process::id());
    assert_eq!(square(3), 9);
    let mapped = pool.map(0..50, square::call).expect("it is open");
    let mapped: Vec<_> = mapped.map(|square| square.expect("no panic")).collect();
    assert_eq!(mapped, (0..50).map(|x| x * x).collect::<Vec<_>>());
    assert!(mapped.len() == 50 && pool.processes().len() <= 2);
}

/// S004-24, C36, S004-21.
fn the_default_is_a_process_for_each_processor_and_never_more() {
    let cpus = std::thread::available_parallelism().expect("a number").get();
    assert_eq!(ProcessPool::default().size(), cpus);
    let pool = pool(3);
    let pids = pool.map([Duration::from_millis(5); 30], nap::call).expect("it is open");
    let pids: BTreeSet<_> = pids.map(|pid| pid.expect("no panic")).collect();
    assert!((1..=3).contains(&pids.len()), "{pids:?}");
}

/// S004-26.
fn a_panic_over_there_is_told_here_and_the_process_goes_on() {
    let pool = pool(1);
    let before = value(pool.submit(pid::call()));
    let error = error(pool.submit(fail::call("no way".to_owned())));
    assert_eq!(error.to_string(), "the work panicked: no way");
    assert!(error.is_panic());
    assert_eq!(value(pool.submit(pid::call())), before);
}

/// C36: as an issue of every pool of processes: the call fails, the pool does not.
fn a_process_that_dies_at_work_fails_its_call_and_is_replaced() {
    let pool = pool(1);
    let broken = |future| match error(future) {
        FutureError::BrokenWorker { pid, status } => (pid, status.expect("we collected it")),
        other => panic!("{other}"),
    };
    let first = value(pool.submit(pid::call()));
    let (pid, status) = broken(pool.submit(exit::call(3)));
    assert_eq!((pid, status.code()), (first, Some(3)));
    let (_, status) = broken(pool.submit(abort::call()));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(6));
    let hung = Hung::begin(&pool);
    let queued = pool.submit(square::call(5));
    let victim = hung.kill();
    let FutureError::BrokenWorker { pid, status } = hung.future.result().expect_err("killed")
    else {
        panic!("killed")
    };
    let status = status.expect("we collected it");
    assert_eq!(pid, victim);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert_eq!(value(queued), 25);
    let last = value(pool.submit(pid::call()));
    assert!(last != first && last != victim);
}

/// C36: a process that dies while it is idle fails no call.
fn a_process_that_dies_idle_is_replaced_without_a_word() {
    let pool = pool(1);
    for _ in 0..20 {
        let victim = value(pool.submit(pid::call()));
        send(victim, Signal::KILL);
        eventually("it is dead", || has_ended(victim));
        assert_ne!(value(pool.submit(pid::call())), victim);
    }
}

/// S004-22: bad calls are typed errors.
fn calls_that_cannot_be_understood_are_told() {
    let pool = pool(1);
    let unknown = error(pool.submit(Call::<u64>::named("no such function", &(1_u64,))));
    assert!(matches!(&unknown, FutureError::UnknownFunction(name) if name == "no such function"));
    let name = square::call(1).name().to_owned();
    let no_arguments = error(pool.submit(Call::<u64>::named(name.clone(), &())));
    assert!(matches!(no_arguments, FutureError::Undecodable(_)), "{no_arguments}");
    let more = error(pool.submit(Call::<u64>::named(name.clone(), &(1_u64, 2_u64))));
    assert_eq!(more.to_string(), "unreadable bytes: 1 bytes too many");
    let other_result = error(pool.submit(Call::<(u64, u64)>::named(name, &(1_u64,))));
    assert!(matches!(other_result, FutureError::Undecodable(_)), "{other_result}");
    // As no bytes can stand for it: a sequence whose length nobody knows.
    let endless = Call::<u64>::named("f", &Endless);
    assert!(matches!(pool.submit(endless), Err(SubmitError::Unencodable(_))));
    assert_eq!(value(pool.submit(square::call(2))), 4);
}

struct Endless;

impl serde::Serialize for Endless {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serde::ser::SerializeSeq::end(to.serialize_seq(None)?)
    }
}

/// S004-22.
fn large_arguments_and_results_go_both_ways() {
    let pool = pool(1);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let back = value(pool.submit(reverse::call(bytes.clone())));
    assert!(back.iter().eq(bytes.iter().rev()));
}

/// S004-22: what a worker reads is not what its pool sends.
fn standard_input_of_a_worker_is_empty() {
    let pool = pool(1);
    assert_eq!(value(pool.submit(read_stdin::call())), Ok(0));
    assert_eq!(value(pool.submit(cat_stdin::call())), Ok(true));
    assert_eq!(value(pool.submit(square::call(2))), 4);
}

/// S000-10, S004-27, C44.
fn shutdown_waits_for_all_calls_and_collects_the_processes() {
    let pool = pool(2);
    let futures: Vec<_> = (0..40)
        .map(|_| pool.submit(nap::call(Duration::from_millis(2))).expect("it is open"))
        .collect();
    pool.shutdown();
    assert!(futures.iter().all(Future::is_done));
    assert_eq!((pool.processes(), children()), (vec![], BTreeSet::new()));
    assert!(pool.submit(pid::call()).expect_err("it is shut down").is_shut_down());
}

/// S004-27.
fn a_dropped_pool_leaves_no_process_and_no_descriptor() {
    let before = descriptor_count();
    for _ in 0..5 {
        let pool = pool(2);
        let future = pool.submit(nap::call(Duration::from_millis(1))).expect("it is open");
        drop(pool);
        assert!(future.is_done());
    }
    assert_eq!((children(), descriptor_count()), (BTreeSet::new(), before));
}

/// S004-26, S004-27.
fn calls_that_have_not_begun_can_be_cancelled() {
    let pool = pool(1);
    let nap = pool.submit(nap::call(Duration::from_millis(50))).expect("it is open");
    eventually("it begins", || nap.is_running());
    let queued = [1, 2, 3].map(|x| pool.submit(square::call(x)).expect("it is open"));
    assert!(!nap.cancel() && queued[0].cancel());
    assert_eq!(pool.cancel_queued(), 2);
    nap.result().expect("no panic");
}

/// S004-22.
fn a_process_makes_room_after_its_share_of_calls() {
    let two = NonZero::new(2).expect("not zero");
    let builder = ProcessPool::builder().size(Sizing::Fixed(1)).calls_per_process(two);
    let pool = builder.build().expect("main has asked");
    let pids: Vec<_> = (0..6).map(|_| value(pool.submit(pid::call()))).collect();
    assert!(pids[0] == pids[1] && pids[2] == pids[3] && pids[4] == pids[5], "{pids:?}");
    assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 3);
}

/// S004-28, S004-29, C42.
fn callbacks_are_called_here_with_the_result() {
    let pool = pool(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&seen);
    let future = pool.submit(square::call(4)).expect("it is open");
    future.add_done_callback(move |future| {
        theirs.lock().expect("no panic").push((std::process::id(), future.result().ok()));
    });
    drop(pool);
    assert_eq!(*seen.lock().expect("no panic"), [(std::process::id(), Some(16))]);
}

/// S004-26: all on one worker: were it blocked, the second task would never run.
fn a_task_that_waits_for_a_call_is_suspended() {
    let runtime = runtime::Runtime::builder().build().expect("a runtime");
    runtime.block_on(|| {
        let pool = pool(1);
        let hung = Hung::begin(&pool);
        let theirs = hung.future.clone();
        let waiter = task::spawn_local(move || theirs.result());
        task::yield_now();
        assert!(!waiter.is_finished());
        hung.kill();
        let ended = waiter.join().expect("no panic");
        assert!(matches!(ended, Err(FutureError::BrokenWorker { .. })));
    });
}

/// S004-22.
fn pools_nest_and_are_exchangeable() {
    fn sum(pool: &impl Executor<Call<u64>, Output = u64>) -> u64 {
        let call = sum_of_squares::call(vec![1, 2, 3]);
        pool.submit(call).expect("it is open").result().expect("no panic")
    }
    assert_eq!(sum(&pool(1)), 14);
    assert_eq!(sum(&ThreadPool::default()), 14);
}

/// D50: work of another pool may wait for a call.
fn threads_may_wait_for_processes() {
    let (threads, processes) = (ThreadPool::new(Sizing::Fixed(1)), Arc::new(pool(1)));
    let threads = threads.expect("not zero");
    let theirs = Arc::clone(&processes);
    let work = move || value(theirs.submit(square::call(7)));
    assert_eq!(value(threads.submit(work)), 49);
}

/// C36: calls at random with deaths at random: each call has one end, and the right one.
fn a_storm_of_calls_and_deaths_comes_to_its_end() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let pool = pool(3);
    let mut futures = Vec::new();
    for x in 0..200_u64 {
        let call = match random.u32(..10) {
            0 => exit::call(1).discarding(),
            1 => fail::call("told".to_owned()),
            _ => square::call(x),
        };
        let future = pool.submit(call).expect("it is open");
        if random.u32(..8) == 0 {
            future.cancel();
        }
        futures.push((x, future));
        if random.u32(..20) == 0
            && let Some(victim) = random.choice(pool.processes())
        {
            send(victim, Signal::KILL);
        }
    }
    let waited =
        wait(futures.iter().map(|pair| pair.1.clone()), ReturnWhen::AllCompleted, Some(LONG));
    assert_eq!(waited.not_done.len(), 0, "seed {seed}");
    for (x, future) in futures {
        match future.result() {
            Ok(value) => assert_eq!(value, x * x, "seed {seed}"),
            Err(FutureError::Panicked(panic)) => assert_eq!(panic.message(), "told"),
            Err(FutureError::Cancelled | FutureError::BrokenWorker { .. }) => {}
            // Three processes in a row may die before they have the call.
            Err(FutureError::NoWorker(_)) => {}
            Err(error) => panic!("{error}, seed {seed}"),
        }
    }
    drop(pool);
    assert_eq!(children(), BTreeSet::new(), "seed {seed}");
}

/// So that different functions can be mixed.
trait Discarding {
    fn discarding(self) -> Call<u64>;
}

impl Discarding for Call<()> {
    fn discarding(self) -> Call<u64> {
        Call::named(self.name().to_owned(), &(1_i32,))
    }
}

/// S004-27: they die with their pool's process, however that dies and whatever they are doing.
fn workers_die_with_the_process_of_their_pool() {
    let mut scene = Scene::play("nap", Stdio::inherit());
    let pids: Vec<u32> = (0..2).map(|_| scene.line().parse().expect("a number")).collect();
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    scene.child.kill().expect("it lives");
    scene.child.wait().expect("our child");
    eventually("the workers die", || pids.iter().all(|pid| !is_alive(*pid)));
}

/// S004-29, D50.
fn a_panic_in_a_callback_is_told_on_standard_error() {
    let mut scene = Scene::play("callback", Stdio::piped());
    let told = scene.told();
    let line = "fiveways: the callback of a future has panicked: a callback's own fault";
    assert!(told.lines().any(|told| told == line), "{told}");
}

/// A worker without a pool says so and ends.
fn a_worker_that_somebody_started_by_hand_is_told() {
    let own = std::env::current_exe().expect("a path");
    let mut command = Command::new(own);
    let output = command.arg("--fiveways-worker").stdin(Stdio::null()).output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.starts_with("error: this worker process has no pool"), "{told}");
}

/// A test by name.
type Claim = (&'static str, fn());

macro_rules! claims {
    ($($name:ident),+ $(,)?) => { [$((stringify!($name), $name as fn())),+] };
}

const CLAIMS: &[Claim] = &claims![
    calls_run_in_other_processes_and_their_results_come_back,
    the_default_is_a_process_for_each_processor_and_never_more,
    a_panic_over_there_is_told_here_and_the_process_goes_on,
    a_process_that_dies_at_work_fails_its_call_and_is_replaced,
    a_process_that_dies_idle_is_replaced_without_a_word,
    calls_that_cannot_be_understood_are_told,
    large_arguments_and_results_go_both_ways,
    standard_input_of_a_worker_is_empty,
    shutdown_waits_for_all_calls_and_collects_the_processes,
    a_dropped_pool_leaves_no_process_and_no_descriptor,
    calls_that_have_not_begun_can_be_cancelled,
    a_process_makes_room_after_its_share_of_calls,
    callbacks_are_called_here_with_the_result,
    a_task_that_waits_for_a_call_is_suspended,
    pools_nest_and_are_exchangeable,
    threads_may_wait_for_processes,
    map_is_the_same_as_doing_it_here,
    a_panic_in_map_comes_in_its_place,
    a_late_map_cancels_what_it_waited_for_and_the_rest,
    states_answer_the_questions_for_them,
    waits_end_at_the_first_the_first_failure_and_the_last,
    as_completed_may_be_late,
    an_idle_process_is_used_again,
    a_shutdown_takes_no_more_and_does_what_it_has,
    a_shutdown_passes_over_what_was_cancelled,
    a_shutdown_that_does_not_wait_lets_all_be_done,
    a_storm_of_calls_and_deaths_comes_to_its_end,
    workers_die_with_the_process_of_their_pool,
    a_panic_in_a_callback_is_told_on_standard_error,
    a_worker_that_somebody_started_by_hand_is_told,
    each_process_is_initialized_once_before_its_first_call,
    an_initializer_that_panics_breaks_the_pool,
    the_failure_of_an_initializer_is_told_on_standard_error,
    a_process_that_dies_in_its_initializer_fails_the_call_after_three,
    an_initializer_that_cannot_be_sent_is_told,
    chunks_change_nothing_but_how_often_a_process_is_asked,
    an_error_stands_for_its_chunk,
    a_function_that_writes_a_frame_shifts_no_answer,
    a_frame_between_two_calls_shifts_no_answer,
    an_answer_cut_short_tells_how_its_worker_ended,
    a_copy_of_a_worker_never_answers_and_ends_itself,
    a_copy_that_lives_on_does_not_hide_the_end_of_its_worker,
];

fn main() {
    executor::serve_if_worker();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, scene] = &words[..]
        && first == "scene"
    {
        return play(scene);
    }
    let has = |word: &str| words.iter().any(|given| given == word);
    if has("--list") {
        // There are no ignored tests to name.
        let listed = CLAIMS.iter().filter(|_| !has("--ignored"));
        listed.for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let selected = |name: &str| CLAIMS.iter().all(|(known, _)| !has(known)) || has(name);
    let mut passed = 0;
    for (name, claim) in CLAIMS.iter().filter(|(name, _)| selected(name)) {
        let _watchdog = Watchdog::new((*name).to_owned(), 2 * LONG);
        claim();
        println!("test {name} ... ok");
        passed += 1;
    }
    println!("\ntest result: ok. {passed} passed; 0 failed");
}
