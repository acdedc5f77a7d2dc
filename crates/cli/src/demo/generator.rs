//! Two functions that alternate by `yield`: the course's generator program.
//!
//! Only the producer is called; `send` switches to the consumer, and its next `yield_` back. They
//! alternate on one thread, and that saves no time: if the consumer sleeps (`--sleep`), the
//! producer sleeps with it.

use std::time::{Duration, Instant};

use clap::Args;
use fiveways::generator::{Generator, Yielder};
use fiveways::time;

use super::stage::{Outcome, Pace, say};

/// Two functions that alternate by yield: it saves no waiting
#[derive(Args, Debug)]
pub(super) struct GeneratorArgs {
    /// Let the consumer sleep this many seconds per value
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
    sleep: Option<u32>,
}

fn consumer(me: &Yielder<u32, ()>, nap: Option<Duration>) {
    loop {
        let x = me.yield_(());
        if let Some(nap) = nap {
            time::sleep(nap);
        }
        say!("处理了数据: {x}");
    }
}

pub(super) fn run(args: &GeneratorArgs, pace: Pace) -> Outcome {
    let start = Instant::now();
    let nap = args.sleep.map(|seconds| pace.seconds(seconds.into()));
    let mut consumer = Generator::new(move |me| consumer(me, nap));
    // To its first `yield_`: before that nothing receives a value.
    consumer.start()?;
    for i in 0..3 {
        consumer.send(i)?;
        say!("发送了数据: {i}");
    }
    if nap.is_some() {
        say!("took {}", pace.since(start));
    }
    Ok(())
}
