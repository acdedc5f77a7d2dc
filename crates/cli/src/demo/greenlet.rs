//! Explicit switches from one function to another: the program that the course announces under
//! greenlet (what it shows there is gevent's).
//!
//! `eat` and `play` switch to each other, also from a nested helper, which needs no special syntax,
//! and pass a value along. Nothing switches implicitly: a greenlet that sleeps (`--sleep`) blocks
//! the other.

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use fiveways::greenlet::Greenlet;
use fiveways::time;

use super::stage::{Outcome, Pace, say};

/// Two functions that switch to each other explicitly
#[derive(Args, Debug)]
pub(super) struct GreenletArgs {
    /// Let each of them sleep one second: it blocks both
    #[arg(long)]
    sleep: bool,
}

/// The value passed in a switch.
type Name = &'static str;

/// An ordinary helper; its callers need not know that it switches.
fn pause_for(other: &Greenlet<Name>, name: Name) -> Name {
    other.switch(name)
}

fn eat(name: Name, play: &Greenlet<Name>, nap: Option<Duration>) -> Name {
    say!("{name} eat 1");
    nap.inspect(|nap| time::sleep(*nap));
    let answer = pause_for(play, name);
    say!("{answer} eat 2");
    play.switch(answer)
}

fn play(name: Name, eat: &Greenlet<Name>, nap: Option<Duration>) -> Name {
    say!("{name} play 1");
    nap.inspect(|nap| time::sleep(*nap));
    let answer = eat.switch(name);
    say!("{answer} play 2");
    "done"
}

pub(super) fn run(args: &GreenletArgs, pace: Pace) -> Outcome {
    let start = Instant::now();
    let nap = args.sleep.then(|| pace.seconds(1.0));
    // Each must refer to the other: the first finds the second in a cell.
    let second = Rc::new(OnceCell::new());
    let found = Rc::clone(&second);
    let first = Greenlet::new(move |name| {
        let other = found.get().expect("it is set before the first switch");
        eat(name, other, nap)
    });
    let other = first.clone();
    let second = second.get_or_init(|| Greenlet::new(move |name| play(name, &other, nap)));
    // A greenlet that ends returns to its parent: here.
    let answer = first.switch("egon");
    say!("{answer}: play is {}, eat is {}", state(second), state(&first));
    if nap.is_some() {
        say!("took {}", pace.since(start));
    }
    Ok(())
}

fn state(greenlet: &Greenlet<Name>) -> &'static str {
    if greenlet.is_dead() { "dead" } else { "suspended" }
}
