//! Several rounds of one figure: the median for the eye, the extremes and the rounds themselves for the doubting.

use serde::Serialize;

/// The figures of all rounds of one measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All of them, in the order in which they were taken.
    pub rounds: Vec<f64>,
}

impl Spread {
    /// The spread of `rounds`; `None` if there were none.
    #[must_use]
    pub fn of(rounds: Vec<f64>) -> Option<Self> {
        let median = median(&rounds)?;
        let min = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let max = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self {
            median,
            min,
            max,
            rounds,
        })
    }
}

/// The middle figure, or the mean of the two middle ones; `None` of no figures.
#[must_use]
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn a_spread_keeps_the_order_of_its_rounds() {
        let spread = Spread::of(vec![2.0, 9.0, 4.0]).expect("three rounds");
        assert_eq!((spread.median, spread.min, spread.max), (4.0, 2.0, 9.0));
        assert_eq!(spread.rounds, [2.0, 9.0, 4.0]);
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
