//! The course's event: cars wait for a traffic light, between threads and between processes.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use clap::Args;
use fiveways::process::{self, Child, Command, Stdio};
use fiveways::sync::{Barrier, Event};
use fiveways::time;

use super::stage::{Outcome, Pace, say};

/// Cars wait for the green light, as threads or processes
#[derive(Args, Debug)]
pub(super) struct EventArgs {
    /// Each car is a process of its own
    #[arg(long)]
    processes: bool,

    /// Be this car, and wait for the light of the parent process
    #[arg(long, value_name = "NUMBER", hide = true)]
    car: Option<usize>,
}

const CARS: usize = 3;

/// The environment variable that passes the light to a process.
const LIGHT: &str = "FIVEWAYS_DEMO_LIGHT";

pub(super) fn run(args: &EventArgs, pace: Pace) -> Outcome {
    match args.car {
        Some(car) => drive_in_process(car),
        None if args.processes => between_processes(pace),
        None => between_threads(pace),
    }
}

/// The light is green when the event is set.
fn colour(is_set: bool) -> &'static str {
    if is_set { "green" } else { "red" }
}

fn between_threads(pace: Pace) -> Outcome {
    let start = Instant::now();
    say!("the light is red");
    let (light, waiting) = (Arc::new(Event::new()), Arc::new(Barrier::new(CARS + 1)));
    let cars = (1..=CARS).map(|car| {
        let (light, waiting) = (Arc::clone(&light), Arc::clone(&waiting));
        thread::spawn(move || {
            say!("car {car} waits");
            waiting.wait();
            light.wait();
            say!("car {car} drives at {}", colour(light.is_set()));
        })
    });
    let cars: Vec<_> = cars.collect();
    waiting.wait();
    time::sleep(pace.seconds(3.0));
    say!("the light is green");
    light.set();
    for car in cars {
        car.join().expect("it does not panic");
    }
    // A car that comes now need not wait at all.
    light.wait();
    say!("a late car drives on: the light is {}", colour(light.is_set()));
    light.clear();
    say!("the light is {}", colour(light.is_set()));
    say!("took {}", pace.since(start));
    Ok(())
}

fn between_processes(pace: Pace) -> Outcome {
    say!("the light is red");
    let light = process::SharedEvent::new()?;
    let mut cars = Vec::new();
    for car in 1..=CARS {
        let mut child = start_car(car, &light)?;
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        // It reports that it waits.
        say!("{}", lines.next().ok_or("a car did not come")??);
        cars.push((child, lines));
    }
    time::sleep(pace.seconds(3.0));
    say!("the light is green");
    light.set();
    for (mut child, lines) in cars {
        for line in lines {
            say!("{}", line?);
        }
        child.wait()?;
    }
    Ok(())
}

fn start_car(car: usize, light: &process::SharedEvent) -> io::Result<Child> {
    Command::new(env::current_exe()?)
        .args(["demo", "event", "--car", &car.to_string()])
        .event(LIGHT, light)?
        .stdout(Stdio::piped())
        .spawn()
}

fn drive_in_process(car: usize) -> Outcome {
    let light = process::SharedEvent::from_env(LIGHT)?;
    say!("car {car} waits");
    light.wait()?;
    say!("car {car} drives at {}", colour(light.is_set()?));
    Ok(())
}
