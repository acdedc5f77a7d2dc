//! Runs the greedy programs in interleaved rounds and prints a table:
//! `compare-fairness [ROUNDS [SECONDS [CROWDS]]]`, as in `compare-fairness 3 0.5 1,2,8`.
//!
//! A cell is "late tick / request" in milliseconds, for the median of the medians and for the
//! longest of all.

use std::path::Path;
use std::process::Command;

use peers_fairness::{Figures, KINDS};

const MODELS: [&str; 7] = ["tokio", "select", "poll", "epoll", "epoll-et", "signal", "uring"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let arg = |at: usize, default: &str| args.get(at).cloned().unwrap_or(default.to_owned());
    let rounds: usize = arg(1, "3").parse()?;
    let seconds = arg(2, "0.5");
    let own = std::env::current_exe()?;
    let directory = own.parent().ok_or("no directory")?;
    let mut random = fastrand::Rng::with_seed(1);
    println!("| greedy tasks | {} |", MODELS.join(" | "));
    println!("|---|{}", "---|".repeat(MODELS.len()));
    for kind in KINDS {
        for crowd in arg(3, "1,2,8").split(',') {
            let mut cells = vec![Vec::new(); MODELS.len()];
            let mut order: Vec<usize> = (0..MODELS.len()).collect();
            for _ in 0..rounds {
                random.shuffle(&mut order);
                for &at in &order {
                    cells[at].push(measure(directory, MODELS[at], [kind, crowd, &seconds])?);
                }
            }
            let cells: Vec<String> = cells.iter().map(|all| cell(all)).collect();
            println!("| {crowd} {kind} | {} |", cells.join(" | "));
        }
    }
    Ok(())
}

fn measure(directory: &Path, model: &str, job: [&str; 3]) -> Result<Figures, String> {
    let (program, model) = match model {
        "tokio" => ("fairness-tokio", ""),
        model => ("fairness-fiveways", model),
    };
    let mut command = Command::new("timeout");
    command.arg("20").arg(directory.join(program)).args(job).arg(model);
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| serde_json::from_str(line).ok())
        .ok_or_else(|| format!("{program} {job:?} {model}: {}", output.status))
}

fn cell(figures: &[Figures]) -> String {
    let middle = |of: fn(&Figures) -> f64| {
        let mut all: Vec<f64> = figures.iter().map(of).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2] / 1e3
    };
    let most = |of: fn(&Figures) -> f64| figures.iter().map(of).fold(0.0, f64::max) / 1e3;
    format!(
        "{:.2} / {:.2}, longest {:.1} / {:.1}",
        middle(|figures| figures.tick.median_us),
        middle(|figures| figures.request.median_us),
        most(|figures| figures.tick.longest_us),
        most(|figures| figures.request.longest_us),
    )
}
