//! Medians, spreads, and ratios formed inside rounds. No clock, no I/O.

use serde::Serialize;

/// The middle of some values and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// Summarises the values, `None` if there are none.
pub fn summary(values: impl IntoIterator<Item = f64>) -> Option<Summary> {
    let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (&min, &max) = (sorted.first()?, sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    };
    Some(Summary { median, min, max })
}

/// Divides two servers' values round by round, where both have one, and summarises the quotients.
pub fn ratio(values: &[Option<f64>], baseline: &[Option<f64>]) -> Option<Summary> {
    let pairs = values.iter().zip(baseline);
    summary(pairs.filter_map(|(value, baseline)| Some((*value)? / (*baseline)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_whatever_the_order() {
        let odd = summary([9.0, 1.0, 5.0]).expect("three values");
        assert_eq!((odd.median, odd.min, odd.max), (5.0, 1.0, 9.0));
        let even = summary([8.0, 2.0, 4.0, 100.0]).expect("four values");
        assert_eq!(even.median, 6.0);
        assert_eq!(summary([]), None);
    }

    #[test]
    fn a_ratio_pairs_rounds_and_skips_those_with_a_gap() {
        // Medians of the sides would give 20/20 = 1; inside the rounds it is always 2.
        let values = [Some(2.0), Some(20.0), Some(200.0), None, Some(7.0)];
        let baseline = [Some(1.0), Some(10.0), Some(100.0), Some(20.0), None];
        let ratio = ratio(&values, &baseline).expect("three pairs");
        assert_eq!((ratio.median, ratio.min, ratio.max), (2.0, 2.0, 2.0));
    }
}
