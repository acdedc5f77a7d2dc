//! `fiveways demo`: short programs that show one thing each.
//!
//! ```text
//!   args ─▶ run ─┬─ no name:   the list of demos
//!                ├─ --source:  the demo's own text, as compiled in
//!                └─ else:      one file of demo/, which says its lines and ends
//! ```
//!
//! The output of a demo is exact: times are given in whole seconds, whatever `--scale` makes of
//! them. Demos are written to be read: they use the library as any program would.

mod local;
mod order;
mod generator;
mod greenlet;
mod eat_play;
mod asyncio_hello;
mod coro;
mod deadlock;
mod rlock;
mod semaphore;
mod event;
mod queues;
mod pool;
mod mutex;
mod producer_consumer;
mod sticky;
mod spawn_styles;
mod stage;

use std::process::ExitCode;

use clap::{Args, Command, Subcommand};

use crate::error::CliError;

use stage::{Outcome, Pace, say};

/// Runs short programs that demonstrate one thing each
///
/// Without a name: lists them. Output goes to stdout; --source shows the source.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    #[command(subcommand)]
    demo: Option<Demo>,

    /// Print the demo's source instead of running it
    #[arg(long, global = true)]
    source: bool,

    /// Multiply all times by this factor; 0.1 is ten times as fast
    #[arg(long, global = true, default_value_t = Pace::default(), value_name = "FACTOR")]
    scale: Pace,
}

#[derive(Subcommand, Debug)]
enum Demo {
    Local(local::LocalArgs),
    Order(order::OrderArgs),
    Generator(generator::GeneratorArgs),
    Greenlet(greenlet::GreenletArgs),
    EatPlay(eat_play::EatPlayArgs),
    AsyncioHello(asyncio_hello::AsyncioHelloArgs),
    Coro(coro::CoroArgs),
    Deadlock(deadlock::DeadlockArgs),
    Rlock(rlock::RlockArgs),
    Semaphore(semaphore::SemaphoreArgs),
    Event(event::EventArgs),
    Queues(queues::QueuesArgs),
    Pool(pool::PoolArgs),
    Mutex(mutex::MutexArgs),
    ProducerConsumer(producer_consumer::ProducerConsumerArgs),
    Sticky(sticky::StickyArgs),
    SpawnStyles(spawn_styles::SpawnStylesArgs),
    #[command(external_subcommand)]
    Unknown(Vec<String>),
}

/// Runs the command.
pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode, CliError> {
    match &args.demo {
        None => list(),
        Some(Demo::Unknown(words)) => return Err(unknown(words)),
        Some(demo) if args.source => say!("{}", demo.source().trim_end()),
        Some(demo) => demo.run(args.scale).map_err(|error| {
            CliError::usage(format!("the demo ended early: {error}"))
                .hint("it needs threads, processes and a writable directory for temporary files")
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints one line per demo.
fn list() {
    let demos = Demo::augment_subcommands(Command::new("demo"));
    for demo in demos.get_subcommands() {
        let about = demo.get_about().map(ToString::to_string).unwrap_or_default();
        say!("{:<18} {about}", demo.get_name());
    }
}

fn unknown(words: &[String]) -> CliError {
    let name = words.first().map_or("", String::as_str);
    CliError::usage(format!("unknown demo '{name}'"))
        .hint("`fiveways demo` lists the demos there are")
}

impl Demo {
    fn run(&self, pace: Pace) -> Outcome {
        match self {
            Demo::Local(args) => local::run(args, pace),
            Demo::Order(args) => order::run(args, pace),
            Demo::Generator(args) => generator::run(args, pace),
            Demo::Greenlet(args) => greenlet::run(args, pace),
            Demo::EatPlay(args) => eat_play::run(args, pace),
            Demo::AsyncioHello(args) => asyncio_hello::run(args, pace),
            Demo::Coro(args) => coro::run(args, pace),
            Demo::Deadlock(args) => deadlock::run(args, pace),
            Demo::Rlock(args) => rlock::run(args),
            Demo::Semaphore(args) => semaphore::run(args, pace),
            Demo::Event(args) => event::run(args, pace),
            Demo::Queues(args) => queues::run(args, pace),
            Demo::Pool(args) => pool::run(args, pace),
            Demo::Mutex(args) => mutex::run(args, pace),
            Demo::ProducerConsumer(args) => producer_consumer::run(args, pace),
            Demo::Sticky(args) => sticky::run(args),
            Demo::SpawnStyles(args) => spawn_styles::run(args),
            Demo::Unknown(_) => Ok(()),
        }
    }

    fn source(&self) -> &'static str {
        match self {
            Demo::Local(_) => include_str!("demo/local.rs"),
            Demo::Order(_) => include_str!("demo/order.rs"),
            Demo::Generator(_) => include_str!("demo/generator.rs"),
            Demo::Greenlet(_) => include_str!("demo/greenlet.rs"),
            Demo::EatPlay(_) => include_str!("demo/eat_play.rs"),
            Demo::AsyncioHello(_) => include_str!("demo/asyncio_hello.rs"),
            Demo::Coro(_) => include_str!("demo/coro.rs"),
            Demo::Deadlock(_) => include_str!("demo/deadlock.rs"),
            Demo::Rlock(_) => include_str!("demo/rlock.rs"),
            Demo::Semaphore(_) => include_str!("demo/semaphore.rs"),
            Demo::Event(_) => include_str!("demo/event.rs"),
            Demo::Queues(_) => include_str!("demo/queues.rs"),
            Demo::Pool(_) => include_str!("demo/pool.rs"),
            Demo::Mutex(_) => include_str!("demo/mutex.rs"),
            Demo::ProducerConsumer(_) => include_str!("demo/producer_consumer.rs"),
            Demo::Sticky(_) => include_str!("demo/sticky.rs"),
            Demo::SpawnStyles(_) => include_str!("demo/spawn_styles.rs"),
            Demo::Unknown(_) => "",
        }
    }
}
