//! From samples to summaries: medians, spreads, and ratios inside each round.
//!
//! Invariant I7: no clock, socket or thread here; same input, same numbers. All figures are rounded
//! to the precision of the measurement, so that reports do not show noise as digits.
//!
//! Method: a sample is one window of one model in one round. Throughputs are compared within a
//! round, where the models ran on the machine at nearly the same time; the ratios of all rounds are
//! then summarised by their median and their extremes. Nothing is averaged, nothing discarded.

use serde::Serialize;

/// Latencies of one sample, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of the requests took no longer.
    pub p50_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// 999 of 1000 took no longer.
    pub p999_ns: u64,
    /// None took longer.
    pub max_ns: u64,
}

/// One window of one model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Requests completed.
    pub requests: u64,
    /// How long it was.
    pub window_ns: u64,
    /// Processor time the server used, in all its threads and processes.
    pub server_cpu_ns: u64,
    /// Processor time the generator used.
    pub generator_cpu_ns: u64,
    /// Latencies of these requests.
    pub latency: Percentiles,
    /// Memory that one idle connection adds to the server; `None` with a single connection.
    pub rss_bytes_per_connection: Option<f64>,
}

impl Sample {
    /// Requests completed in a second.
    pub fn requests_per_second(&self) -> f64 {
        self.requests as f64 * 1e9 / self.window_ns as f64
    }
}

/// A median with its extremes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The value in the middle, or between the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Median of the distances from the median: the usual distance of a round.
    pub median_deviation: f64,
}

impl Spread {
    /// Summarises values, rounded to this many decimals; `None` if there are none.
    pub fn of(values: &[f64], decimals: i32) -> Option<Spread> {
        let middle = median(values)?;
        let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
        let round = |value| rounded(value, decimals);
        Some(Spread {
            median: round(middle),
            min: round(values.iter().copied().fold(f64::INFINITY, f64::min)),
            max: round(values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            median_deviation: round(median(&distances)?),
        })
    }

    /// The distance of the farthest value from the median.
    pub fn reach(&self) -> f64 {
        (self.max - self.median).max(self.median - self.min)
    }
}

/// The value in the middle, or halfway between the two in the middle; `None` if there are none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    match sorted.len() % 2 {
        1 => Some(upper),
        _ => Some((sorted[middle - 1] + upper) / 2.0),
    }
}

/// Rounds to this many decimals (negative: to tens, hundreds).
pub fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

/// Latencies of a model, in microseconds: medians over its rounds, and the largest of all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the requests took no longer.
    pub p50: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// 999 of 1000 took no longer.
    pub p999: f64,
    /// None took longer, in any round.
    pub max: f64,
}

/// The summary of a model's samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Throughput.
    pub requests_per_second: Spread,
    /// Latency.
    pub latency_us: Latency,
    /// Processor time of the server for a request, median over rounds.
    pub cpu_us_per_request: f64,
    /// Memory an idle connection adds to the server, median over rounds.
    pub rss_bytes_per_connection: Option<f64>,
    /// Processors the server kept busy, median over rounds.
    pub server_cpus: f64,
    /// Processors the generator kept busy, median over rounds: near one, it was the limit.
    pub generator_cpus: f64,
}

impl Summary {
    /// Summarises samples; `None` if there are none, or if none completed a request.
    pub fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Option<Summary> {
        let kept = |sample: &&Sample| sample.requests > 0 && sample.window_ns > 0;
        let samples: Vec<&Sample> = samples.into_iter().filter(kept).collect();
        let each = |f: &dyn Fn(&Sample) -> f64| -> Vec<f64> {
            samples.iter().map(|sample| f(sample)).collect()
        };
        let middle = |f: &dyn Fn(&Sample) -> f64, decimals| {
            median(&each(f)).map(|value| rounded(value, decimals))
        };
        let us =
            |pick: fn(&Percentiles) -> u64| middle(&|sample| pick(&sample.latency) as f64 / 1e3, 3);
        let rss: Vec<f64> =
            samples.iter().filter_map(|sample| sample.rss_bytes_per_connection).collect();
        let max = samples.iter().map(|sample| sample.latency.max_ns).max()?;
        Some(Summary {
            requests_per_second: Spread::of(&each(&Sample::requests_per_second), 1)?,
            latency_us: Latency {
                p50: us(|latency| latency.p50_ns)?,
                p99: us(|latency| latency.p99_ns)?,
                p999: us(|latency| latency.p999_ns)?,
                max: rounded(max as f64 / 1e3, 3),
            },
            cpu_us_per_request: middle(
                &|sample| sample.server_cpu_ns as f64 / 1e3 / sample.requests as f64,
                3,
            )?,
            rss_bytes_per_connection: median(&rss).map(|bytes| rounded(bytes, 0)),
            server_cpus: middle(&|sample| share(sample.server_cpu_ns, sample.window_ns), 3)?,
            generator_cpus: middle(&|sample| share(sample.generator_cpu_ns, sample.window_ns), 3)?,
        })
    }
}

fn share(cpu_ns: u64, window_ns: u64) -> f64 {
    cpu_ns as f64 / window_ns as f64
}

/// Throughputs of one model, by round; `None` if there is no clean sample.
pub type Rounds = Vec<Option<f64>>;

/// For each model, its throughput in each round as a ratio to the best of that same round.
///
/// Only models whose flag is set can be the best; the others had another workload and are shown in
/// addition.
pub fn ratios_to_best(models: &[(bool, Rounds)]) -> Vec<Option<Spread>> {
    let rounds = models.iter().map(|(_, rounds)| rounds.len()).max().unwrap_or(0);
    let at = |rounds: &Rounds, round: usize| rounds.get(round).copied().flatten();
    let best_of = |round: usize| {
        let contenders = models.iter().filter(|(is_contender, _)| *is_contender);
        contenders.filter_map(|(_, rounds)| at(rounds, round)).max_by(f64::total_cmp)
    };
    let best: Rounds = (0..rounds).map(best_of).collect();
    models.iter().map(|(_, rounds)| ratio(rounds, &best)).collect()
}

/// The ratio of two models' throughputs, round by round, summarised.
pub fn ratio(model: &Rounds, other: &Rounds) -> Option<Spread> {
    let both = model.iter().zip(other).filter_map(|(a, b)| Some(a.as_ref()? / b.as_ref()?));
    Spread::of(&both.collect::<Vec<f64>>(), 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sample(requests: u64, cpu_us: u64) -> Sample {
        Sample {
            requests,
            window_ns: 500_000_000,
            server_cpu_ns: requests * cpu_us * 1000,
            generator_cpu_ns: 250_000_000,
            latency: Percentiles {
                p50_ns: requests,
                p99_ns: requests * 2,
                p999_ns: requests * 3,
                max_ns: requests * 4,
            },
            rss_bytes_per_connection: Some(requests as f64),
        }
    }

    #[test]
    fn the_median_is_the_middle_one_or_halfway_between_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn a_spread_has_extremes_usual_distance_and_reach() {
        let spread = Spread::of(&[1.0, 2.0, 3.0, 4.0, 10.0], 2).expect("values");
        assert_eq!((spread.median, spread.min, spread.max), (3.0, 1.0, 10.0));
        assert_eq!((spread.median_deviation, spread.reach()), (1.0, 7.0));
        assert_eq!(Spread::of(&[], 2), None);
        let third = Spread::of(&[1.0 / 3.0], 3).expect("a value");
        assert_eq!((third.median, third.reach()), (0.333, 0.0));
    }

    #[test]
    fn one_bad_round_does_not_move_a_summary_but_its_worst_latency_stays() {
        let good = [sample(1000, 3), sample(1010, 3), sample(990, 3)];
        let bad = Sample {
            latency: Percentiles { max_ns: 9_000_000, ..good[0].latency },
            ..sample(10, 90)
        };
        let summary = Summary::of(good.iter().chain([&bad, &sample(1005, 3)])).expect("samples");
        assert_eq!(summary.requests_per_second.median, 2000.0);
        assert_eq!(summary.requests_per_second.min, 20.0);
        assert_eq!(summary.cpu_us_per_request, 3.0);
        assert_eq!(summary.latency_us.p50, 1.0);
        assert_eq!(summary.latency_us.max, 9000.0);
        assert_eq!(summary.rss_bytes_per_connection, Some(1000.0));
        assert_eq!(summary.generator_cpus, 0.5);
    }

    #[test]
    fn windows_without_a_request_are_no_samples() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[sample(0, 1)]), None);
    }

    #[test]
    fn ratios_are_taken_inside_each_round() {
        // The second round met a slower machine; which model was better in it is as clear as in the
        // first.
        let a = (true, vec![Some(100.0), Some(50.0), Some(100.0)]);
        let b = (true, vec![Some(90.0), Some(45.0), Some(110.0)]);
        let ratios = ratios_to_best(&[a, b]);
        let (a, b) = (ratios[0].expect("a"), ratios[1].expect("b"));
        assert_eq!((a.median, a.min, a.max), (1.0, 0.9091, 1.0));
        assert_eq!((b.median, b.min, b.max), (0.9, 0.9, 1.0));
    }

    #[test]
    fn who_did_other_work_is_never_the_best() {
        let contender = (true, vec![Some(100.0)]);
        let other = (false, vec![Some(200.0)]);
        let ratios = ratios_to_best(&[contender, other]);
        assert_eq!(ratios[0].expect("a").median, 1.0);
        assert_eq!(ratios[1].expect("b").median, 2.0);
    }

    #[test]
    fn a_missing_round_is_left_out_of_the_ratios() {
        let a = (true, vec![Some(100.0), None]);
        let b = (true, vec![None, Some(10.0)]);
        let c = (true, vec![None, None]);
        let ratios = ratios_to_best(&[a, b, c]);
        assert_eq!(ratios[0].expect("a").median, 1.0);
        assert_eq!(ratios[1].expect("b").median, 1.0);
        assert_eq!(ratios[2], None);
        assert!(ratios_to_best(&[]).is_empty());
    }
}
