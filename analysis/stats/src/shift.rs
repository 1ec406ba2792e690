//! By how much did something get slower, and in how many calls? For four calls and four million.
//!
//! The size is a difference of mean logarithms, in doublings: latencies vary by factors, and a rare
//! call of 4 ms that now takes 233 ms must not lose to the jitter of a frequent one. Its lower end
//! is a moderated t interval (Smyth 2004, *Linear models and empirical Bayes methods for assessing
//! differential expression in microarray experiments*, Statistical Applications in Genetics and
//! Molecular Biology 3:3): the spread of one histogram is pooled with what is usual for all of them,
//! so that one or two calls have an interval at all, and a thousand one of their own. The same prior
//! stands in for a baseline that is missing or tiny.
//!
//! How many calls are affected is the one-sided distance of Kolmogorov and Smirnov: the largest
//! difference of the two distributions' shares below any value.

use std::sync::LazyLock;

use statrs::function::beta::{beta_reg, inv_beta_reg};

use crate::LogHistogram;

/// Nanoseconds that are added to each value before the logarithm: below a millisecond, doublings
/// are nobody's concern.
const UNNOTICED_NANOS: f64 = 1e6;
/// The prior spread weighs as much as so many calls: more than one, so that two calls that happen to
/// agree prove little, and few, so that ten speak for themselves.
const PRIOR_CALLS: f64 = 2.0;
/// Spreads below this share of a doubling (as variance: a tenth of one) are finer than the buckets
/// and the clocks that measured them.
const LEAST_VARIANCE: f64 = 0.01;

/// What is usual for histograms of one kind, on the scale of logarithms to base 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// The middle of the histograms' means.
    mean: f64,
    /// The variance of the means.
    between: f64,
    /// The middle of the variances within a histogram.
    within: f64,
}

/// What a comparison asks of durations, on the scale of logarithms: it is worked out once for each histogram,
/// and adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    count: f64,
    mean: f64,
    /// The sum of squared distances from the mean.
    squares: f64,
}

impl Moments {
    /// Of these durations, in nanoseconds.
    pub fn of(durations: &LogHistogram) -> Self {
        let count = durations.total() as f64;
        if count == 0.0 {
            return Self::default();
        }
        let logs = || {
            durations
                .numbers()
                .map(|(bucket, k)| (log_of(bucket), k as f64))
        };
        let mean = logs().map(|(log, k)| log * k).sum::<f64>() / count;
        let squares = logs().map(|(log, k)| (log - mean).powi(2) * k).sum();
        Self {
            count,
            mean,
            squares,
        }
    }

    /// Of both together (Chan, Golub and LeVeque 1983, The American Statistician 37:242–247).
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        if self.count == 0.0 || other.count == 0.0 {
            return if self.count == 0.0 { other } else { self };
        }
        let count = self.count + other.count;
        let distance = other.mean - self.mean;
        let part = other.count / count;
        Self {
            count,
            mean: self.mean + distance * part,
            squares: self.squares + other.squares + distance * distance * self.count * part,
        }
    }

    /// How many there are.
    pub const fn count(&self) -> f64 {
        self.count
    }
}

/// The logarithms of all buckets' middles: rankings ask for millions.
static LOGS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let buckets = LogHistogram::bucket_of(u64::MAX);
    let middles = (0..=buckets).map(LogHistogram::middle);
    middles.map(noticed).collect()
});

fn noticed(nanos: f64) -> f64 {
    (nanos + UNNOTICED_NANOS).log2()
}

fn log_of(bucket: u16) -> f64 {
    // A histogram that was read from elsewhere may have any number.
    let known = LOGS.get(usize::from(bucket)).copied();
    known.unwrap_or_else(|| noticed(LogHistogram::middle(bucket)))
}

/// Durations of calls, and of how many requests they are: the calls of one request go the same way at the
/// same moment, so twenty of them are little more than one. There are as many independent observations as
/// requests (the design effect of Kish 1965, *Survey Sampling*, where calls of a request are alike).
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    /// Of one duration a call.
    pub durations: Moments,
    /// The requests that the calls are of; more than there are calls count as so many.
    pub requests: u64,
}

impl From<&LogHistogram> for Calls {
    /// Each call is a request's only one.
    fn from(durations: &LogHistogram) -> Self {
        Self {
            durations: Moments::of(durations),
            requests: durations.total(),
        }
    }
}

impl Calls {
    /// Moments of so many independent calls.
    fn moments(self) -> (f64, f64, f64) {
        let Moments {
            count,
            mean,
            squares,
        } = self.durations;
        let independent = count.min(self.requests as f64);
        (independent, mean, squares * independent / count.max(1.0))
    }
}

/// How two histograms differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// How many times the typical duration doubled; negative when it got shorter.
    pub doublings: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// `doublings` in standard errors, and the degrees of freedom.
    t: f64,
    degrees: f64,
}

impl Shift {
    /// The upper end of the interval of `doublings`.
    pub const fn high(&self) -> f64 {
        2.0 * self.doublings - self.low
    }

    /// How probable at least such a doubling or halving is where nothing changed, in `[0, 1]`.
    pub fn chance(&self) -> f64 {
        student_tails(self.t, self.degrees)
    }

    /// How probable at least such a doubling is where nothing changed, in `[0, 1]`; of a halving near 1.
    pub fn chance_of_longer(&self) -> f64 {
        let tail = self.chance() / 2.0;
        if self.t > 0.0 { tail } else { 1.0 - tail }
    }
}

fn middle(values: &mut [f64]) -> Option<f64> {
    let at = values.len() / 2;
    let is_any = !values.is_empty();
    is_any.then(|| *values.select_nth_unstable_by(at, f64::total_cmp).1)
}

impl Usual {
    /// What is usual for these; those of fewer than two values say nothing about spread. From none, a guess
    /// that is wide enough to prove nothing: 4 ms, give or take sixteen times.
    pub fn of(all: impl Iterator<Item = Moments>) -> Self {
        let (mut means, mut variances) = (Vec::new(), Vec::new());
        for moments in all.filter(|moments| moments.count >= 2.0) {
            means.push(moments.mean);
            variances.push(moments.squares / (moments.count - 1.0));
        }
        let (Some(mean), Some(within)) = (middle(&mut means), middle(&mut variances)) else {
            return Self {
                mean: 22.0,
                between: 16.0,
                within: 1.0,
            };
        };
        // 1.4826 makes the median distance of a normal sample its standard deviation.
        means
            .iter_mut()
            .for_each(|other| *other = (*other - mean).abs());
        let deviation = 1.4826 * middle(&mut means).unwrap_or(0.0);
        Self {
            mean,
            // Never so narrow that a first call of something new would be surprising by itself.
            between: (deviation * deviation).max(1.0),
            within: within.max(LEAST_VARIANCE),
        }
    }
}

/// How `now` differs from `before`; `None` when there is nothing now.
pub fn shift(before: impl Into<Calls>, now: impl Into<Calls>, usual: &Usual) -> Option<Shift> {
    let (n, mean_before, squares_before) = before.into().moments();
    let (m, mean_now, squares_now) = now.into().moments();
    if m < 1.0 {
        return None;
    }
    let freedom = |n: f64| PRIOR_CALLS + (n - 1.0).max(0.0);
    let variance = |n: f64, squares: f64| {
        ((PRIOR_CALLS * usual.within + squares) / freedom(n)).max(LEAST_VARIANCE)
    };
    let variance_before = variance(n, squares_before);
    // What got slower varies more, too; what varies less by chance must not look surer for it.
    let variance_now = variance(m, squares_now).max(variance_before);
    // The prior mean counts as a small part of a call.
    let prior = usual.within / usual.between;
    let base = (n * mean_before + prior * usual.mean) / (n + prior);
    let (part_before, part_now) = (variance_before / (n + prior), variance_now / m);
    let error = (part_before + part_now).sqrt();
    let doublings = mean_now - base;
    // A few calls before leave as much doubt as a few now: Welch's degrees of freedom (Satterthwaite
    // 1946, Biometrics Bulletin 2:110–114). Both spreads have the prior in them, so they are wrong together:
    // their covariance is the last term, and one call against one has the prior's freedom, not twice that.
    let (of_before, of_now) = (part_before / freedom(n), part_now / freedom(m));
    let degrees = (part_before + part_now).powi(2)
        / (part_before * of_before + part_now * of_now + 2.0 * PRIOR_CALLS * of_before * of_now);
    Some(Shift {
        doublings,
        low: doublings - usual_quantile(degrees) * error,
        t: doublings / error,
        degrees,
    })
}

/// The one-sided Kolmogorov–Smirnov distance: by how much the share of `before` below some value
/// exceeds the share of `now` below it, at most. Of nothing before, each is slower; 0 of nothing now.
pub fn slower_share(before: &LogHistogram, now: &LogHistogram) -> f64 {
    let (n, m) = (before.total() as f64, now.total() as f64);
    if n == 0.0 || m == 0.0 {
        return if m == 0.0 { 0.0 } else { 1.0 };
    }
    let (mut first, mut second) = (before.buckets().peekable(), now.buckets().peekable());
    let (mut below_before, mut below_now, mut most) = (0.0, 0.0, 0.0f64);
    while let Some((value, _)) = first.peek().copied() {
        // Equal buckets have equal middles, bit by bit.
        while let Some((_, k)) = first.next_if(|(v, _)| *v <= value) {
            below_before += k as f64;
        }
        while let Some((_, k)) = second.next_if(|(v, _)| *v <= value) {
            below_now += k as f64;
        }
        most = most.max(below_before / n - below_now / m);
    }
    most
}

/// [`student_quantile`] for 5 %, without its search for a root: rankings ask for thousands. A table up
/// to 9 whole degrees, beyond that the expansion of Abramowitz and Stegun 26.7.5, good to four digits.
fn usual_quantile(degrees: f64) -> f64 {
    const TABLE: [f64; 10] = [
        12.706_205, 12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582, 2.446_912, 2.364_624,
        2.306_004, 2.262_157,
    ];
    if let Some(exact) = TABLE.get(degrees as usize) {
        return *exact;
    }
    let x = 1.959_963_985;
    let x2: f64 = x * x;
    let first = (x2 + 1.0) / 4.0;
    let second = ((5.0 * x2 + 16.0) * x2 + 3.0) / 96.0;
    let third = (((3.0 * x2 + 19.0) * x2 + 17.0) * x2 - 15.0) / 384.0;
    x * (1.0 + first / degrees + second / degrees.powi(2) + third / degrees.powi(3))
}

/// The value that Student's t with so many degrees of freedom exceeds, in either direction, with
/// probability `tails` (in `(0, 1)`); by the incomplete beta function (Abramowitz and Stegun 26.5.27).
pub fn student_quantile(degrees: f64, tails: f64) -> f64 {
    let x = inv_beta_reg(degrees / 2.0, 0.5, tails);
    (degrees * (1.0 - x) / x).sqrt()
}

/// The probability that Student's t is at least as far from 0 as `t`, in either direction.
pub fn student_tails(t: f64, degrees: f64) -> f64 {
    beta_reg(degrees / 2.0, 0.5, degrees / (degrees + t * t))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(millis: &[u64]) -> LogHistogram {
        let mut histogram = LogHistogram::default();
        millis.iter().for_each(|ms| histogram.add(ms * 1_000_000));
        histogram
    }

    fn usual<'a>(histograms: impl IntoIterator<Item = &'a LogHistogram>) -> Usual {
        Usual::of(histograms.into_iter().map(Moments::of))
    }

    #[test]
    fn few_calls_that_all_got_slower_suffice() {
        let before = histogram(&[4, 5, 3, 6, 4, 5, 4, 3]);
        let usual = usual([&before]);
        for now in [&[233, 240, 229, 251][..], &[233, 240], &[233]] {
            let found = shift(&before, &histogram(now), &usual).expect("calls");
            assert!(found.low > 3.0, "{now:?}: {found:?}");
            assert!(slower_share(&before, &histogram(now)) > 0.99, "{now:?}");
        }
    }

    #[test]
    fn what_is_merely_new_is_not_slow() {
        let others = [
            histogram(&[4, 5, 3]),
            histogram(&[40, 50, 30]),
            histogram(&[1, 1, 2]),
        ];
        let usual = usual(&others);
        let nothing = LogHistogram::default();
        let found = shift(&nothing, &histogram(&[6, 7, 9]), &usual).expect("calls");
        assert!(found.low < 0.0, "{found:?}");
        let found = shift(&nothing, &histogram(&[2000, 2010, 1990]), &usual).expect("calls");
        assert!(found.low > 1.0, "{found:?}");
    }

    #[test]
    fn the_quick_quantile_is_right() {
        for degrees in [1.0, 2.0, 3.0, 9.0, 10.0, 11.0, 25.0, 300.0, 1e6] {
            let (quick, exact) = (usual_quantile(degrees), student_quantile(degrees, 0.05));
            assert!(
                (quick - exact).abs() < 2e-4 * exact,
                "{degrees}: {quick}, not {exact}"
            );
        }
    }

    #[test]
    fn many_calls_of_one_request_are_one() {
        let before = histogram(&[4; 4]);
        let usual = usual([&histogram(&[2, 4, 10])]);
        let now = histogram(&[11; 40]);
        let alone = shift(&before, &now, &usual).expect("calls");
        let of = |durations, requests| Calls {
            durations: Moments::of(durations),
            requests,
        };
        let together = shift(of(&before, 1), of(&now, 2), &usual).expect("calls");
        assert!((alone.doublings - together.doublings).abs() < 0.1);
        assert!(alone.low > 0.3, "{alone:?}");
        assert!(together.low < 0.0, "{together:?}");
        assert!(together.chance() > 5.0 * alone.chance());
    }

    #[test]
    fn one_call_against_one_has_the_freedom_of_their_common_prior() {
        let usual = usual([&histogram(&[2, 3, 4, 5])]);
        let degrees = |calls: usize| {
            let (before, now) = (histogram(&vec![4; calls]), histogram(&vec![40; calls]));
            shift(&before, &now, &usual).expect("calls").degrees
        };
        assert!((degrees(1) - PRIOR_CALLS).abs() < 0.2, "{}", degrees(1));
        // Of many calls on both sides the prior is forgotten.
        assert!((degrees(200) - 400.0).abs() < 10.0, "{}", degrees(200));
    }

    #[test]
    fn nothing_now_says_nothing() {
        let before = histogram(&[4, 5]);
        let usual = usual([&before]);
        assert_eq!(shift(&before, &LogHistogram::default(), &usual), None);
    }

    proptest! {
        #[test]
        fn the_low_end_is_low_and_shares_are_shares(
            a in prop::collection::vec(1u64..10_000, 0..40), b in prop::collection::vec(1u64..10_000, 1..40),
        ) {
            let (before, now) = (histogram(&a), histogram(&b));
            let found = shift(&before, &now, &usual([&before])).expect("calls");
            prop_assert!(found.low <= found.doublings);
            prop_assert!((0.0..=1.0).contains(&slower_share(&before, &now)));
        }

        #[test]
        fn the_same_twice_is_no_shift(a in prop::collection::vec(1u64..10_000, 2..40)) {
            let calls = histogram(&a);
            let found = shift(&calls, &calls, &usual([&calls])).expect("calls");
            prop_assert!(found.low < 0.0);
            prop_assert!(slower_share(&calls, &calls) < 1e-12);
        }

        #[test]
        fn moments_add_up(a in prop::collection::vec(1u64..10_000, 0..40), b in prop::collection::vec(1u64..10_000, 0..40)) {
            let (first, second) = (histogram(&a), histogram(&b));
            let mut both = first.clone();
            both.merge(&second);
            let (sum, whole) = (Moments::of(&first).plus(Moments::of(&second)), Moments::of(&both));
            prop_assert!((sum.count - whole.count).abs() < 1e-9 && (sum.mean - whole.mean).abs() < 1e-9, "{sum:?} {whole:?}");
            prop_assert!((sum.squares - whole.squares).abs() < 1e-6, "{sum:?} {whole:?}");
        }
    }
}
