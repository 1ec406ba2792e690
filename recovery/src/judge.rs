//! Did it help?
//!
//! The requests that failed before are compared with the same requests since the unit was ready and
//! warm. Everybody wants to know early, so the question is asked again with every request that
//! comes, and the answer must stand that: a likelihood ratio of "it is gone" against "at least
//! [`Strictness::residual`] of what there was to gain is still there" grows past `1/α` with probability
//! at most α if the latter is true, *whenever* one looks (Ville's inequality; the ratio is a
//! non-negative supermartingale for every residual at or above the limit). So `cured` is wrongly
//! said of a fault that is still so large in at most 1 % of verdicts, and `not cured` of one that
//! is mostly gone in at most 5 %: the first is the worse mistake, since nobody looks any more.
//! (Both hold for the failure share from before as estimated; its lower limit is used, so that few
//! requests before make it harder, not easier.)
//!
//! "It is gone" is two claims, weighed [`CLEAN_WEIGHT`] to the rest, since a mixture of such ratios is one
//! too: next to nothing fails, or a stray request does. So `n` clean requests in a row exclude a
//! residual of `r` as soon as the arithmetic of one claim allows, `n = ln(1/α) / −ln(1−r)` but for a few
//! per cent: 21 for 20 %, 92 for 5 %; and one stray failure doesn't start the count anew. Seven failures
//! in a row after total failure say `not cured`. What is clear neither way until the deadline is
//! judged by its interval, once.
//!
//! Where units stand in for the restarted one and weren't touched, they are the comparison that time is
//! the same for. What got well in them, too, got well by itself, and the restart is credited with the
//! rest only. But while one of `n` answers nobody, the others carry `n/(n-1)` of their load, and what they
//! failed of it ends with the restart, not by itself: they are compared at one load ([`Siblings`]).
//!
//! Silence is never a cure. Requests that hang neither fail nor end; where it is known how many should have
//! come, those that did not are bad ones, too. How many these are is an estimate, so `not cured` counts no more of them
//! than there must be, and `cured` has to be true of as many as there may be. Faults that users' requests don't show (a process that exited, an answer
//! that only a probe knows to be wrong) are judged by probes: right so many times in a row.

use std::fmt;
use std::time::Duration;

use rekindle_stats::{Probability, Share, difference_interval};
use serde::{Deserialize, Serialize};

use crate::Fared;

/// "It is gone" means a failure share of the baseline, or this where the baseline is lower: what nobody
/// minds …
const CLEAN: f64 = 0.001;
/// … or, with the rest of the weight, this: one stray failure in fifty must not rule out a cure.
const STRAY: f64 = 0.02;
/// Neither claim is nearer to the limit than a quarter of it, or it couldn't be told from it.
const OF_LIMIT: f64 = 0.25;
/// The weight of the first claim. 49 to 1 costs the clean case nothing (a tenth of a request), and the
/// case with a stray failure some fifteen requests.
const CLEAN_WEIGHT: f64 = 0.98;
/// `not cured` excludes that no more than this is still failing …
const RESIDUAL_NOT_CURED: f64 = 0.6;
/// … with this probability of error. Laxer, because waiting costs failed requests, and climbing in
/// vain costs a restart.
const ALPHA_NOT_CURED: f64 = 0.05;
/// "It is as before" is never claimed to be surer than this: the first success would rule it out.
const LEAST_SUCCESSES: f64 = 0.02;
/// A gain smaller than this can't be told from noise.
const LEAST_GAIN: f64 = 0.02;
/// The share before is believed to be at least its lower limit at this confidence: one standard
/// error below.
const BELIEVED: f64 = 0.84;
/// At the deadline: relief whose interval lies above this, and whose value is near enough to all …
const CURED_LOW: f64 = 0.6;
/// … which is this, is a cure.
const CURED_SHARE: f64 = 0.9;
/// At the deadline: an interval that ends below this has no cure in it.
const GONE: f64 = 0.95;

/// What an action did for users. `Unknown` never counts as cured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The failures are gone.
    Cured,
    /// Less, but not gone.
    Helped,
    /// No better.
    NotCured,
    /// It can't be told.
    Unknown,
}

impl Verdict {
    /// The word for it: `cured`, `helped`, `not cured` or `unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cured => "cured",
            Self::Helped => "helped",
            Self::NotCured => "not cured",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much an action helped, with intervals at 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relief {
    /// The drop in the failure share, before minus after, in `[-1, 1]`.
    pub drop: f64,
    /// The drop's lower limit (Newcombe).
    pub drop_low: f64,
    /// The drop's upper limit.
    pub drop_high: f64,
    /// The drop as a share of what there was to gain (before minus baseline), in `[0, 1]`: 1 is
    /// back to normal.
    pub share: f64,
    /// Its lower limit.
    pub share_low: f64,
    /// Its upper limit.
    pub share_high: f64,
}

/// What probes said since the unit was ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// How many were right in a row, the last one included.
    pub right_in_a_row: u32,
    /// How many were wrong in a row, the last one included.
    pub wrong_in_a_row: u32,
}

impl Probed {
    /// One more answer.
    pub fn add(&mut self, right: bool) {
        *self = if right {
            Self {
                right_in_a_row: self.right_in_a_row.saturating_add(1),
                wrong_in_a_row: 0,
            }
        } else {
            Self {
                right_in_a_row: 0,
                wrong_in_a_row: self.wrong_in_a_row.saturating_add(1),
            }
        };
    }
}

/// How surely `cured` must be true.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Strictness {
    /// `cured` excludes that so much of what there was to gain is still failing, in `(0, 0.6)` …
    pub residual: f64,
    /// … with this probability of error, in `(0, 1)`.
    pub error: f64,
}

impl Default for Strictness {
    fn default() -> Self {
        Self {
            // A fifth of a fault is seldom left by what cured it; less takes traffic that few have.
            residual: 0.2,
            error: 0.01,
        }
    }
}

/// How requests through the units that stand in for the restarted one fared. Nobody touched them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Siblings {
    /// From the incident's start to the kill.
    pub before: Fared,
    /// How long that was.
    pub before_for: Duration,
    /// Since the restarted unit was ready and warm.
    pub after: Fared,
    /// How many requests came through them since, and in which time: of the last of it not all is told yet.
    pub carry: (u64, Duration),
    /// How many they are.
    pub count: usize,
}

impl Siblings {
    /// How they would have fared before at the load that they carry since. Whoever has more to do than it can
    /// fails what is too much, and answers as many as ever: of less load it would have failed fewer, and answered
    /// no fewer. So where they carried more before (by more than chance shows), those too many are taken from
    /// the failed ones; at most as many as one missing unit hands over.
    fn before_at_load(&self) -> Fared {
        let (before, (after, takes)) = (self.before.total(), self.carry);
        let (took, takes) = (self.before_for.as_secs_f64(), takes.as_secs_f64());
        if before == 0 || after == 0 || took <= 0.0 || takes <= 0.0 {
            return self.before;
        }
        let as_much = takes / (took + takes);
        let now = Share::of(after, before);
        if now.upper_bound(Probability::P95) >= as_much {
            return self.before;
        }
        let rate = (after as f64 / takes) / (before as f64 / took);
        // Their own, and what the missing one handed over: n/(n-1) of it.
        let least = self.count as f64 / (self.count as f64 + 1.0);
        let too_many = before as f64 * (1.0 - rate.max(least));
        Fared {
            bad: self.before.bad.saturating_sub(too_many.round() as u64),
            ..self.before
        }
    }
}

/// What is to be judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    /// The failing request types, from the incident's start to the kill.
    pub before: Fared,
    /// The same, since the unit was ready and warm.
    pub after: Fared,
    /// Their failure share before the incident.
    pub baseline: f64,
    /// How surely a cure must be one.
    pub strictness: Strictness,
    /// The untouched units that stand in for it, where there are any.
    pub siblings: Option<Siblings>,
    /// What probes said, where the unit has any.
    pub probed: Option<Probed>,
    /// How many right probes in a row are enough.
    pub probes_in_a_row: u32,
    /// Whether the fault is one that probes show and requests may not.
    pub by_probe: bool,
    /// Whether what is asked, or requests, showed before that anything was wrong: without that nothing can be seen to be
    /// cured.
    pub has_fault: bool,
    /// Whether there is no more time.
    pub deadline: bool,
}

/// What is said.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// Ask again.
    Undecided(Option<Relief>),
    /// That's it.
    Decided {
        /// The verdict.
        verdict: Verdict,
        /// How much it helped, where that can be told.
        relief: Option<Relief>,
        /// The verdict's reason, for people.
        words: String,
    },
}

const fn share(fared: &Fared) -> Share {
    Share::of(fared.bad, fared.ok)
}

/// The drop from `before` to `after`, with Newcombe's interval (method 10: Wilson's two intervals,
/// combined as errors are), and its share of what there was to gain. `None` when one of the two is
/// empty, or when there was nothing to gain.
pub fn relief(before: &Fared, after: &Fared, baseline: f64) -> Option<Relief> {
    let share_before = share(before).value()?;
    share(after).value()?;
    let gain = share_before - baseline.clamp(0.0, 1.0);
    if gain < LEAST_GAIN {
        return None;
    }
    let interval = difference_interval(share(before), share(after), Probability::P95);
    let of_gain = |drop: f64| (drop / gain).clamp(0.0, 1.0);
    Some(Relief {
        drop: interval.difference,
        drop_low: interval.low,
        drop_high: interval.high,
        share: of_gain(interval.difference),
        share_low: of_gain(interval.low),
        share_high: of_gain(interval.high),
    })
}

/// The log likelihood ratio of a failure share of `claim` against one of `limit`.
fn log_ratio(fared: &Fared, claim: f64, limit: f64) -> f64 {
    let ok = fared.ok as f64 * ((1.0 - claim) / (1.0 - limit)).ln();
    let bad = fared.bad as f64 * (claim / limit).ln();
    ok + bad
}

/// The log likelihood ratio of "it is gone" against `limit`, which is `left` above the baseline.
fn gone(fared: &Fared, baseline: f64, left: f64, limit: f64) -> f64 {
    let claim = |share: f64| baseline.max(share.min(OF_LIMIT * left));
    let clean = CLEAN_WEIGHT.ln() + log_ratio(fared, claim(CLEAN), limit);
    let stray = (1.0 - CLEAN_WEIGHT).ln() + log_ratio(fared, claim(STRAY), limit);
    let (more, less) = (clean.max(stray), clean.min(stray));
    more + (less - more).exp().ln_1p()
}

/// What the restart is to be credited with, and the words for it, where its untouched siblings got well as
/// well: relief less theirs.
fn less_siblings(relief: Relief, question: &Question) -> Option<(Relief, String)> {
    /// Siblings that got better by less than this part of the unit's own drop got better by chance.
    const ALIKE: f64 = 0.5;
    let siblings = question.siblings.as_ref()?;
    let theirs = self::relief(
        &siblings.before_at_load(),
        &siblings.after,
        question.baseline,
    )?;
    if theirs.drop_low <= 0.0 || theirs.drop < ALIKE * relief.drop {
        return None;
    }
    let rest = (1.0 - theirs.drop / relief.drop).clamp(0.0, 1.0);
    let net = Relief {
        share: relief.share * rest,
        share_low: relief.share_low * rest,
        share_high: relief.share_high * rest,
        ..relief
    };
    let words = format!(
        "; but of requests through its untouched siblings {} failed before, {} since, so most of it \
         went by itself",
        of(&siblings.before),
        of(&siblings.after)
    );
    Some((net, words))
}

/// Whether the fault was above all that requests did not come. Where it made them fail, requests that don't come any more are
/// no failures of the same kind: nobody may ask for them, and that nobody can tell from hanging.
fn is_silent(before: &Fared) -> bool {
    2 * before.missing > before.bad
}

/// Whether the requests alone say that it is gone, or that it is not, with the stated errors.
fn sequential(question: &Question) -> Option<Verdict> {
    let (before, after) = (&question.before, &question.after);
    let baseline = question.baseline.clamp(0.0, 1.0);
    let failing = share(before).value()?;
    let believed = share(before).lower_bound(Probability::clamped(BELIEVED));
    let gain = believed.min(failing) - baseline;
    if gain < LEAST_GAIN {
        return None;
    }
    let Strictness { residual, error } = question.strictness;
    let limit = baseline + residual * gain;
    // As many as there may be missing would still be less than what must not be left.
    let most_left = share(&after.at_most()).value().unwrap_or(1.0);
    let may_be_gone = after.unheard == 0 && most_left <= limit;
    if may_be_gone && gone(after, baseline, residual * gain, limit) >= -error.ln() {
        return Some(Verdict::Cured);
    }
    let limit = baseline + RESIDUAL_NOT_CURED * (failing - baseline);
    let same = failing
        .min(1.0 - LEAST_SUCCESSES)
        .max((limit + failing) / 2.0)
        .min(1.0 - 1e-9);
    let left = if is_silent(before) {
        after.at_least()
    } else {
        after.came()
    };
    if log_ratio(&left, same, limit) >= -ALPHA_NOT_CURED.ln() {
        return Some(Verdict::NotCured);
    }
    None
}

/// What there is, judged once at the deadline.
fn final_word(relief: Option<Relief>) -> Verdict {
    match relief {
        None => Verdict::Unknown,
        Some(relief) if relief.share_low >= CURED_LOW && relief.share >= CURED_SHARE => {
            Verdict::Cured
        }
        Some(relief) if relief.drop_low > 0.0 && relief.share_high < GONE => Verdict::Helped,
        Some(relief) if relief.share_high < CURED_LOW => Verdict::NotCured,
        Some(_) => Verdict::Unknown,
    }
}

fn of(fared: &Fared) -> String {
    let of = format!("{} of {}", fared.bad, fared.total());
    match fared.missing {
        0 => of,
        missing => format!("{of} ({missing} of them did not come)"),
    }
}

/// Judges what is known so far.
pub fn judge(question: &Question) -> Judgement {
    let relief = relief(&question.before, &question.after, question.baseline);
    let decided = |verdict, relief: Option<Relief>, mut words: String| {
        let by_itself = relief
            .filter(|_| matches!(verdict, Verdict::Cured | Verdict::Helped))
            .and_then(|relief| less_siblings(relief, question));
        let relief = match by_itself {
            None => relief,
            Some((net, told)) => {
                words.push_str(&told);
                Some(net)
            }
        };
        Judgement::Decided {
            verdict,
            relief,
            words,
        }
    };
    let counts = format!(
        "{} such requests failed before, {} since",
        of(&question.before),
        of(&question.after)
    );
    let probed = question.probed.unwrap_or_default();
    let enough = question.probes_in_a_row.max(1);
    let sequential = sequential(question);

    if sequential == Some(Verdict::NotCured) {
        return decided(Verdict::NotCured, relief, counts);
    }
    if question.by_probe && question.probed.is_some() {
        if probed.right_in_a_row >= enough {
            let right = probed.right_in_a_row;
            if !question.has_fault {
                let words = format!(
                    "right {right} times in a row when asked, but nothing that is asked or counted says \
                     that it was wrong before"
                );
                return decided(Verdict::Unknown, None, words);
            }
            let words = format!("right {right} times in a row when asked; {counts}");
            return decided(Verdict::Cured, relief, words);
        }
        if probed.wrong_in_a_row >= enough {
            let words = format!(
                "wrong {} times in a row when asked; {counts}",
                probed.wrong_in_a_row
            );
            return decided(Verdict::NotCured, relief, words);
        }
        if question.deadline {
            let words = format!("now right, now wrong when asked; {counts}");
            return decided(Verdict::Unknown, None, words);
        }
        return Judgement::Undecided(relief);
    }
    // A probe that says no is believed over requests that say yes: they may not go that way.
    let contradicted = probed.wrong_in_a_row > 0;
    if sequential == Some(Verdict::Cured) && !contradicted {
        return decided(Verdict::Cured, relief, counts);
    }
    if !question.deadline {
        return Judgement::Undecided(relief);
    }
    let last_word =
        |after: &Fared| final_word(self::relief(&question.before, after, question.baseline));
    let (least, most) = (
        last_word(&question.after.at_least()),
        last_word(&question.after.at_most()),
    );
    let came = question.after.came();
    let all = final_word(relief);
    // What is no cure must show in what came, too.
    let is_only_silence = !is_silent(&question.before)
        && matches!(all, Verdict::Helped | Verdict::NotCured)
        && last_word(&came) != all;
    let verdict = match all {
        _ if is_only_silence => Verdict::Unknown,
        Verdict::Cured if contradicted => Verdict::Helped,
        Verdict::Cured if question.after.unheard > 0 || most != Verdict::Cured => Verdict::Unknown,
        Verdict::NotCured if least != Verdict::NotCured => Verdict::Unknown,
        verdict => verdict,
    };
    let words = match verdict {
        Verdict::Unknown if question.before.total() == 0 => {
            format!("too few to compare with: {counts}")
        }
        Verdict::Unknown if came.total() == 0 => {
            format!("none came since, and silence is no cure: {counts}")
        }
        Verdict::Unknown if is_only_silence => {
            format!(
                "what came doesn't say so much, and others stopped coming: whether they hang or nobody asks for them \
                 can't be told: {counts}"
            )
        }
        Verdict::Unknown if question.after.unheard > 0 => {
            format!("some that had stopped coming needn't have come again yet: {counts}")
        }
        Verdict::Unknown => format!("too few to tell: {counts}"),
        _ if contradicted => format!("{counts}, but wrong when asked"),
        _ => counts,
    };
    decided(verdict, relief, words)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn fared(ok: u64, bad: u64) -> Fared {
        Fared::seen(ok, bad, SystemTime::UNIX_EPOCH)
    }

    fn question(before: (u64, u64), after: (u64, u64), baseline: f64) -> Question {
        Question {
            before: fared(before.0, before.1),
            after: fared(after.0, after.1),
            baseline,
            strictness: Strictness::default(),
            siblings: None,
            probed: None,
            probes_in_a_row: 5,
            by_probe: false,
            has_fault: true,
            deadline: false,
        }
    }

    fn verdict(question: &Question) -> Option<Verdict> {
        match judge(question) {
            Judgement::Undecided(_) => None,
            Judgement::Decided { verdict, .. } => Some(verdict),
        }
    }

    /// How many requests in a row of one kind it takes until there is a verdict.
    fn takes(before: (u64, u64), baseline: f64, good: bool) -> (u64, Option<Verdict>) {
        (0..500)
            .map(|count| {
                let after = if good { (count, 0) } else { (0, count) };
                (count, verdict(&question(before, after, baseline)))
            })
            .find(|(_, verdict)| verdict.is_some())
            .unwrap_or((500, None))
    }

    #[test]
    fn how_many_requests_it_takes() {
        for (before, baseline, good, at_least, at_most) in [
            ((0, 50), 0.0, true, 21, 22),
            ((0, 12), 0.01, true, 21, 26),
            ((0, 50), 0.0, false, 5, 8),
            ((20, 20), 0.0, true, 40, 60),
            ((90, 10), 0.01, true, 250, 400),
        ] {
            let (count, verdict) = takes(before, baseline, good);
            let expected = if good {
                Verdict::Cured
            } else {
                Verdict::NotCured
            };
            assert_eq!(verdict, Some(expected), "{before:?}");
            assert!((at_least..=at_most).contains(&count), "{before:?}: {count}");
        }
    }

    /// `ln(1/α)`, with what the mixture costs, over what each clean request is worth.
    #[test]
    fn clean_requests_decide_as_soon_as_the_arithmetic_allows() {
        for (residual, error, expected) in [
            (0.2_f64, 0.01_f64, 21),
            (0.05, 0.01, 92),
            (0.4, 0.01, 10),
            (0.2, 0.05, 14),
            (0.1, 0.01, 45),
        ] {
            let closed =
                ((1.0 / error).ln() - CLEAN_WEIGHT.ln()) / ((1.0 - CLEAN) / (1.0 - residual)).ln();
            // So much is known of before that its lower limit is next to all of it.
            let needed = (0..1000).find(|ok| {
                let mut question = question((0, 1_000_000_000), (*ok, 0), 0.0);
                question.strictness = Strictness { residual, error };
                verdict(&question) == Some(Verdict::Cured)
            });
            assert_eq!(needed, Some(expected), "{residual} {error}");
            // The second claim adds at most a request's worth.
            assert!(
                (closed.ceil() - expected as f64).abs() <= 1.0,
                "{closed} {expected}"
            );
        }
    }

    #[test]
    fn a_stray_failure_does_not_start_the_count_anew() {
        let needed = |bad| {
            (0..1000)
                .find(|ok| verdict(&question((0, 200), (*ok, bad), 0.0)) == Some(Verdict::Cured))
        };
        let (clean, stray) = (needed(0).expect("a cure"), needed(1).expect("a cure"));
        assert!(stray > clean && stray < 3 * clean, "{clean} {stray}");
    }

    /// Each case: what became of the siblings, and how much of the relief the restart is credited with.
    #[test]
    fn what_goes_by_itself_is_no_merit() {
        for (siblings, credited) in [
            (None, 1.0),
            (Some(((100, 0), (100, 0))), 1.0),
            (Some(((0, 100), (0, 100))), 1.0),
            (Some(((0, 100), (100, 0))), 0.0),
            (Some(((0, 100), (80, 20))), 0.2),
            // Some got better, as chance has it.
            (Some(((0, 100), (30, 70))), 1.0),
            // Too few to tell.
            (Some(((0, 1), (1, 0))), 1.0),
        ] {
            let mut question = question((0, 100), (100, 0), 0.0);
            question.siblings = siblings.map(|(before, after)| Siblings {
                before: fared(before.0, before.1),
                before_for: MINUTE,
                after: fared(after.0, after.1),
                carry: (after.0 + after.1, MINUTE),
                count: 1,
            });
            let Judgement::Decided {
                verdict,
                relief,
                words,
            } = judge(&question)
            else {
                panic!("{siblings:?} decide nothing");
            };
            assert_eq!(verdict, Verdict::Cured);
            let share = relief.expect("a relief").share;
            assert!(
                (share - credited).abs() < 1e-9,
                "{siblings:?}: {share}, {words}"
            );
            assert_eq!(words.contains("by itself"), credited < 1.0, "{words}");
        }
    }

    /// How much of its relief a restart is credited with, where its siblings fared so in a minute before and one
    /// after.
    fn credited(before: (u64, u64), after: (u64, u64), count: usize) -> f64 {
        let mut question = question((0, 100), (100, 0), 0.0);
        question.siblings = Some(Siblings {
            before: fared(before.0, before.1),
            before_for: MINUTE,
            after: fared(after.0, after.1),
            carry: (after.0 + after.1, MINUTE),
            count,
        });
        match judge(&question) {
            Judgement::Decided { relief, .. } => relief.map_or(f64::NAN, |relief| relief.share),
            undecided => panic!("{before:?} {after:?}: {undecided:?}"),
        }
    }

    /// One of `n` answers nobody, and each of the others can answer 10 % more than its own. In the first world its
    /// restart hands the rest back; in the second all of them fail of something that goes by itself, and carry as much
    /// as ever. Poisson arrivals by their normal limit.
    #[test]
    fn siblings_that_carried_a_missing_one_s_load_did_not_get_well_by_themselves() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(11);
        let mut come = |mean: f64| {
            let normal: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
            (mean + mean.sqrt() * normal).round().max(0.0) as u64
        };
        const RUNS: u32 = 2000;
        for count in [1, 2, 4] {
            let usual = 600.0 * count as f64;
            let more = usual * (count as f64 + 1.0) / count as f64;
            let can = (1.1 * usual) as u64;
            let (mut robbed, mut flattered) = (0, 0);
            for _ in 0..RUNS {
                let (before, after) = (come(more), come(usual));
                let answered = |came: u64| (came.min(can), came.saturating_sub(can));
                robbed += u32::from(credited(answered(before), answered(after), count) < 0.5);
                // Four fifths of them failed, of whatever it was.
                let (before, after) = (come(usual), come(usual));
                let failed = before * 4 / 5;
                let fares = credited((before - failed, failed), (after, 0), count);
                flattered += u32::from(fares >= 0.5);
            }
            // One in twenty is what the intervals and the test of the load allow each.
            for wrong in [robbed, flattered] {
                assert!(wrong <= RUNS / 20, "{count}: {robbed} {flattered}");
            }
        }
    }

    #[test]
    fn less_traffic_than_a_missing_one_explains_is_no_merit() {
        // Half the requests came since, of four: a missing fifth one explains a fifth of them.
        assert!(credited((0, 1000), (500, 0), 4) < 0.1);
        // As many came: what they failed went by itself.
        assert!(credited((200, 800), (1000, 0), 4) < 0.5);
        // All that was too much failed, and no longer comes.
        assert!(credited((800, 200), (800, 0), 4) > 0.99);
    }

    /// Each case: before, after, and the verdict at the deadline.
    #[test]
    fn at_the_deadline() {
        for (before, after, baseline, expected) in [
            ((0, 40), (0, 0), 0.0, Verdict::Unknown),
            ((0, 40), (3, 0), 0.0, Verdict::Unknown),
            ((0, 0), (40, 0), 0.0, Verdict::Unknown),
            ((0, 40), (20, 20), 0.0, Verdict::Helped),
            ((0, 100), (180, 20), 0.0, Verdict::Cured),
            ((50, 50), (26, 24), 0.0, Verdict::NotCured),
            ((50, 50), (75, 25), 0.0, Verdict::Helped),
            // As much as ever fails, but no more: nothing was there to gain.
            ((90, 10), (90, 10), 0.1, Verdict::Unknown),
        ] {
            let mut question = question(before, after, baseline);
            question.deadline = true;
            assert_eq!(verdict(&question), Some(expected), "{before:?} {after:?}");
        }
    }

    #[test]
    fn probes_decide_where_requests_do_not_show_it() {
        let mut question = question((0, 0), (0, 0), 0.0);
        question.by_probe = true;
        question.deadline = false;
        let mut probed = Probed::default();
        for right in [true, true, false, true, true, true, true] {
            probed.add(right);
            question.probed = Some(probed);
            assert_eq!(verdict(&question), None);
        }
        probed.add(true);
        question.probed = Some(probed);
        assert_eq!(verdict(&question), Some(Verdict::Cured));
        // Requests that go on failing say more than a probe.
        question.before = fared(0, 20);
        question.after = fared(0, 20);
        assert_eq!(verdict(&question), Some(Verdict::NotCured));
    }

    #[test]
    fn a_probe_that_says_no_is_no_cure() {
        let mut question = question((0, 50), (50, 0), 0.0);
        question.probed = Some(Probed {
            right_in_a_row: 0,
            wrong_in_a_row: 1,
        });
        assert_eq!(verdict(&question), None);
        question.deadline = true;
        assert_eq!(verdict(&question), Some(Verdict::Helped));
        question.probed = Some(Probed {
            right_in_a_row: 1,
            wrong_in_a_row: 0,
        });
        assert_eq!(verdict(&question), Some(Verdict::Cured));
    }

    /// Each case: how many came, and are missing, by how much that may be wrong, how many types are unheard of, and
    /// what is said at once and at the deadline.
    #[test]
    fn what_may_be_missing_is_no_cure_and_what_need_not_be_no_failure() {
        use Verdict::{Cured, Helped, NotCured, Unknown};
        for (hung, came, missing, missing_error, unheard, at_once, at_last) in [
            (true, 400, 8, 40, 0, Some(Cured), Cured),
            (true, 400, 0, 0, 0, Some(Cured), Cured),
            // So few that as many may hang.
            (true, 30, 0, 12, 0, None, Unknown),
            // So uneven that as many may hang.
            (true, 400, 8, 120, 0, None, Unknown),
            (true, 400, 0, 0, 1, None, Unknown),
            (true, 40, 360, 40, 0, Some(NotCured), NotCured),
            (true, 3, 9, 8, 0, None, Helped),
            (true, 200, 200, 20, 0, None, Helped),
            // What failed is well, and what doesn't come may be asked for by nobody.
            (false, 40, 360, 40, 0, None, Unknown),
            (false, 200, 200, 20, 0, None, Unknown),
            (false, 400, 8, 40, 0, Some(Cured), Cured),
            (false, 0, 300, 20, 0, None, Unknown),
        ] {
            let mut question = question((0, 200), (came, missing), 0.0);
            question.before.missing = if hung { 200 } else { 0 };
            question.after = Fared {
                missing,
                missing_error,
                unheard,
                ..question.after
            };
            assert_eq!(verdict(&question), at_once, "{question:?}");
            question.deadline = true;
            assert_eq!(verdict(&question), Some(at_last), "{question:?}");
        }
    }

    /// Each case: how many came well and failing, how many are missing, and the verdict at the deadline and its words.
    #[test]
    fn what_was_no_silence_is_judged_by_what_came() {
        use Verdict::{Cured, Helped, NotCured, Unknown};
        let stopped = "others stopped coming";
        for ((ok, bad), missing, expected, words) in [
            ((0, 0), 300, Unknown, "none came since"),
            // What came would be called helped, or nothing; with the missing, not cured.
            ((60, 20), 300, Helped, ""),
            ((2, 1), 300, Unknown, stopped),
            ((60, 20), 0, Helped, ""),
            ((0, 60), 300, NotCured, ""),
            ((400, 0), 0, Cured, ""),
        ] {
            let mut question = question((0, 200), (ok, bad + missing), 0.0);
            question.after.missing = missing;
            question.deadline = true;
            let Judgement::Decided {
                verdict,
                words: said,
                ..
            } = judge(&question)
            else {
                panic!("{question:?} decides nothing");
            };
            assert_eq!(verdict, expected, "{question:?}");
            assert!(said.contains(words), "{said}");
        }
    }

    /// Newcombe (1998), table II, method 10: (a) 56/70 against 48/80, (b) 9/10 against 3/10, (f)
    /// 10/10 against 0/20.
    #[test]
    fn intervals_are_the_published_ones() {
        for (bad1, n1, bad2, n2, low, high) in [
            (56, 70, 48, 80, 0.0524, 0.3339),
            (9, 10, 3, 10, 0.1705, 0.8090),
            (10, 10, 0, 20, 0.6791, 1.0),
        ] {
            let relief = relief(&fared(n1 - bad1, bad1), &fared(n2 - bad2, bad2), 0.0)
                .expect("both were seen");
            assert!((relief.drop_low - low).abs() < 5e-5, "{relief:?}");
            assert!((relief.drop_high - high).abs() < 5e-5, "{relief:?}");
        }
    }

    /// The share of runs in which the judge, asked after every request, says this of a fault of
    /// which so much is left.
    fn said(expected: Verdict, before: (u64, u64), left: f64, runs: u32) -> f64 {
        use rand::{RngExt, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        let mut count = 0;
        for _ in 0..runs {
            let (mut ok, mut bad) = (0, 0);
            let mut found = None;
            while found.is_none() && ok + bad < 300 {
                if random.random::<f64>() < left {
                    bad += 1
                } else {
                    ok += 1
                }
                found = verdict(&question(before, (ok, bad), 0.0));
            }
            count += u32::from(found == Some(expected));
        }
        f64::from(count) / f64::from(runs)
    }

    #[test]
    fn peeking_does_not_break_the_stated_errors() {
        // Of 3000 runs, 1 % is 30 ± 5.4 and 5 % is 150 ± 12: three standard errors above.
        assert!(
            said(
                Verdict::Cured,
                (0, 200),
                Strictness::default().residual,
                3000
            ) <= 0.0155
        );
        assert!(said(Verdict::NotCured, (0, 200), RESIDUAL_NOT_CURED, 3000) <= 0.062);
        // And the truth is found.
        assert!(said(Verdict::Cured, (0, 200), 0.005, 500) > 0.95);
        assert!(said(Verdict::NotCured, (0, 200), 0.99, 500) > 0.95);
    }

    proptest! {
        #[test]
        fn silence_is_never_a_cure(ok in 0u64..1000, bad in 0u64..1000, deadline: bool) {
            let mut question = question((ok, bad), (0, 0), 0.0);
            question.deadline = deadline;
            prop_assert_ne!(verdict(&question), Some(Verdict::Cured));
            prop_assert_eq!(verdict(&question).is_some(), deadline);
        }

        #[test]
        fn another_load_takes_nothing_but_failures_and_no_more_than_one_unit_s(
            before in (0u64..5000, 0u64..5000), after in (0u64..5000, 0u64..5000),
            seconds in (1u64..1000, 1u64..1000), count in 1usize..20,
        ) {
            let siblings = Siblings {
                before: fared(before.0, before.1),
                before_for: Duration::from_secs(seconds.0),
                after: fared(after.0, after.1),
                carry: (after.0 + after.1, Duration::from_secs(seconds.1)),
                count,
            };
            let matched = siblings.before_at_load();
            prop_assert_eq!(matched.ok, before.0);
            let handed_over = siblings.before.total() as f64 / (count as f64 + 1.0);
            prop_assert!(matched.bad <= before.1);
            prop_assert!((before.1 - matched.bad) as f64 <= handed_over + 1.0);
            // Who carries as much as before, or more, is compared as it is.
            if after.0 + after.1 > (before.0 + before.1) * seconds.1 / seconds.0 {
                prop_assert_eq!(matched.bad, before.1);
            }
        }

        #[test]
        fn intervals_hold_their_value(
            before in (0u64..500, 1u64..500), after in (0u64..500, 0u64..500), baseline in 0.0f64..1.0,
        ) {
            if let Some(relief) = relief(&fared(before.0, before.1), &fared(after.0, after.1), baseline) {
                prop_assert!(relief.drop_low <= relief.drop && relief.drop <= relief.drop_high);
                prop_assert!(relief.share_low <= relief.share && relief.share <= relief.share_high);
                prop_assert!((0.0..=1.0).contains(&relief.share_low));
                prop_assert!((0.0..=1.0).contains(&relief.share_high));
            }
            let mut question = question(before, after, baseline);
            question.deadline = true;
            prop_assert!(verdict(&question).is_some());
        }
    }
}
