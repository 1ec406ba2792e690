//! Every statistic against an independent implementation: tables made with SciPy and statsmodels by
//! `notebooks/reference_statistics.py`.

mod table;

use rekindle_stats::{
    Arrivals, BetaBelief, DetectorState, Dispersion, LogHistogram, Probability, Sample, Share,
    ShareRise, benjamini_hochberg, chi_squared_quantile, combined, difference_interval,
    fisher_greater, normal_quantile, rank_sum, robust_z, slower_share, student_quantile,
    student_tails,
};
use table::{number, numbers, rows};

fn share(hits: &str, total: &str) -> Share {
    Share::new(
        hits.parse().expect("a count"),
        total.parse().expect("a count"),
    )
    .expect("a share")
}

fn check(what: &[&str], found: f64, expected: &str, tolerance: f64) {
    let expected = number(expected);
    let error = (found - expected).abs() / expected.abs().max(1e-3);
    assert!(error < tolerance, "{what:?}: {found}, not {expected}");
}

#[test]
fn chi_squared() {
    for row in rows(include_str!("reference/chi_squared.csv")) {
        let degrees = row[0].parse().expect("a count");
        let found = chi_squared_quantile(degrees, Probability::clamped(number(row[1])));
        check(&row, found.expect("a quantile"), row[2], 1e-9);
    }
    assert_eq!(chi_squared_quantile(0, Probability::P95), None);
    assert_eq!(chi_squared_quantile(3, Probability::clamped(1.0)), None);
}

#[test]
fn combined_chances() {
    for row in rows(include_str!("reference/combined.csv")) {
        let found = combined(&numbers(row[0]));
        check(&row, found, row[1], 1e-9);
        check(&row, found.ln(), &number(row[1]).ln().to_string(), 1e-9);
    }
    check(&["none"], combined(&[]), "1", 1e-12);
}

#[test]
fn fisher() {
    for row in rows(include_str!("reference/fisher.csv")) {
        let chance = fisher_greater(share(row[0], row[1]), share(row[2], row[3]));
        // Also where it is tiny: there it must be right by its order.
        check(&row, chance, row[4], 1e-9);
        check(&row, chance.ln(), &number(row[4]).ln().to_string(), 1e-6);
    }
}

#[test]
fn wilson() {
    for row in rows(include_str!("reference/wilson.csv")) {
        let interval = share(row[0], row[1]).wilson(Probability::clamped(number(row[2])));
        check(&row, interval.low, row[3], 1e-9);
        check(&row, interval.high, row[4], 1e-9);
    }
}

#[test]
fn newcombe() {
    for row in rows(include_str!("reference/newcombe.csv")) {
        let (first, second) = (share(row[0], row[1]), share(row[2], row[3]));
        let interval = difference_interval(first, second, Probability::P95);
        check(&row, interval.low, row[4], 1e-9);
        check(&row, interval.high, row[5], 1e-9);
    }
}

#[test]
fn beta_quantiles() {
    for row in rows(include_str!("reference/beta.csv")) {
        let belief = BetaBelief::new(number(row[0]), number(row[1])).expect("a belief");
        let found = belief.quantile(Probability::clamped(number(row[2])));
        check(&row, found, row[3], 1e-6);
    }
}

#[test]
fn normal_quantiles() {
    for row in rows(include_str!("reference/normal.csv")) {
        check(
            &row,
            normal_quantile(Probability::clamped(number(row[0]))),
            row[1],
            1e-9,
        );
    }
}

#[test]
fn rank_sums() {
    for row in rows(include_str!("reference/rank_sum.csv")) {
        let first = Sample::new(numbers(row[0])).expect("a sample");
        let second = Sample::new(numbers(row[1])).expect("a sample");
        let found = rank_sum(&first, &second);
        check(&row, found.u, row[2], 1e-12);
        check(&row, found.p_greater, row[3], 1e-7);
    }
}

#[test]
fn adjusted_p_values() {
    for row in rows(include_str!("reference/benjamini_hochberg.csv")) {
        let p: Vec<Probability> = numbers(row[0])
            .into_iter()
            .map(Probability::clamped)
            .collect();
        for (found, expected) in benjamini_hochberg(&p).iter().zip(row[1].split(' ')) {
            check(&row, *found, expected, 1e-12);
        }
    }
}

#[test]
fn student_quantiles() {
    for row in rows(include_str!("reference/student.csv")) {
        let (degrees, tails) = (number(row[0]), number(row[1]));
        check(&row, student_quantile(degrees, tails), row[2], 1e-5);
        check(&row, student_tails(number(row[2]), degrees), row[1], 1e-6);
    }
}

#[test]
fn slower_shares() {
    let histogram = |logs: &str| {
        let mut histogram = LogHistogram::default();
        for log in logs.split(' ') {
            let exponent: u32 = log.parse().expect("an exponent");
            histogram.add(1 << exponent);
        }
        histogram
    };
    for row in rows(include_str!("reference/slower_share.csv")) {
        check(
            &row,
            slower_share(&histogram(row[0]), &histogram(row[1])),
            row[2],
            1e-12,
        );
    }
}

#[test]
fn one_sided_wilson() {
    for row in rows(include_str!("reference/wilson_one_sided.csv")) {
        let confidence = Probability::clamped(number(row[2]));
        let share = share(row[0], row[1]);
        check(&row, share.lower_bound(confidence), row[3], 1e-9);
        check(&row, share.upper_bound(confidence), row[4], 1e-9);
    }
}

#[test]
fn beta_distribution() {
    for row in rows(include_str!("reference/beta_cdf.csv")) {
        let belief = BetaBelief::new(number(row[0]), number(row[1])).expect("a belief");
        check(&row, belief.cdf(number(row[2])), row[3], 1e-9);
        check(&row, belief.mean(), row[4], 1e-12);
    }
}

#[test]
fn robust_distances() {
    for row in rows(include_str!("reference/robust_z.csv")) {
        let reference = Sample::new(numbers(row[1])).expect("a sample");
        check(&row, robust_z(number(row[0]), &reference), row[2], 1e-9);
    }
}

/// (failed, others) of each slice.
fn counts(text: &str) -> Vec<(u64, u64)> {
    let pair = |pair: &str| {
        let (bad, ok) = pair.split_once('/').expect("two counts");
        (bad.parse().expect("a count"), ok.parse().expect("a count"))
    };
    text.split(' ').map(pair).collect()
}

#[test]
fn dispersion() {
    for row in rows(include_str!("reference/dispersion.csv")) {
        let mut dispersion = Dispersion::default();
        for (bad, ok) in counts(row[0]) {
            dispersion.add(bad, ok);
        }
        check(&row, dispersion.index().expect("an index"), row[1], 1e-9);
    }
}

#[test]
fn detector() {
    for row in rows(include_str!("reference/detector.csv")) {
        let rise = ShareRise::above(Probability::clamped(number(row[0])));
        let mut state = DetectorState::default();
        for (bad, ok) in counts(row[1]) {
            state = rise.step(state, bad, ok);
        }
        check(&row, state.value(), row[2], 1e-9);
    }
}

#[test]
fn arrivals() {
    for row in rows(include_str!("reference/arrivals.csv")) {
        let mut arrivals = Arrivals::default();
        let counts: Vec<u64> = row[0]
            .split(' ')
            .map(|count| count.parse().expect("a count"))
            .collect();
        for (second, count) in (0..).zip(&counts) {
            for _ in 0..*count {
                let pause = arrivals.add(second);
                arrivals.learn_pause(pause);
            }
        }
        let silent: u64 = row[1].parse().expect("seconds");
        let silence = arrivals.silence(counts.len() as u64 - 1 + silent);
        let silence = silence.expect("long enough");
        check(&row[1..], silence.rate, row[2], 1e-9);
        check(&row[1..], silence.evidence, row[3], 1e-9);
    }
}
