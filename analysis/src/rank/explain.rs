//! Why this suspect, and not another? The counts and changes, put together as an
//! [`Explanation`], and its renderings: a sentence and a table (the third, JSON, is serde's).

mod facts;
mod sentence;

use std::collections::BTreeMap;

use rekindle_model::Name;
use rekindle_stats::{Interval, Probability, difference_interval};

use super::cause::Cause;
use super::confounded::confounded;
use super::evidence::{Charge, Details, Tally, Weight};
use super::input::Input;
use crate::{
    Alternative, Compared, Counted, Doubt, Explanation, Level, Origin, Pair, Relation, Requests,
    Weights,
};

pub use facts::{Fact, facts};
pub(crate) use sentence::sentence;

/// So many alternatives are weighed against: whoever needs more reads the ranking itself.
const ALTERNATIVES: usize = 3;
/// So many error types and operations are listed.
const LISTED: usize = 5;

/// What is known about a suspect before it is explained.
pub(crate) struct Told<'a> {
    pub(crate) charge: &'a Charge,
    pub(crate) details: &'a Details,
    /// How many complain about it.
    pub(crate) callers: usize,
    /// The charges that come after it.
    pub(crate) others: &'a [Charge],
}

/// The explanation.
pub(crate) fn explanation(
    input: &Input,
    tally: &Tally,
    told: &Told<'_>,
    pairs: Vec<Pair>,
) -> Explanation {
    let lead = told.charge.subjects[0];
    let [of_failed, of_ok] = tally.compared(lead);
    let difference = difference_interval(of_failed, of_ok, Probability::P95);
    let origin = Origin {
        of_failed: tally.of_failed(lead),
        now: tally.began_now(lead),
        masked: tally.masked[lead],
        before: tally.began_before(lead),
        errors: listed(&told.details.errors),
        operations: listed(&told.details.operations),
    };
    let causes = || told.charge.notes.causes.iter();
    Explanation {
        compared: Compared {
            window: Requests {
                failed: tally.failed,
                ok: tally.ok_in_window,
            },
            baseline: Requests {
                failed: tally.failed_before,
                ok: tally.ok - tally.ok_in_window,
            },
            difference: Interval {
                low: difference.low,
                high: difference.high,
            },
            masked: input.masked,
        },
        latency: causes().find_map(|cause| match cause {
            Cause::Takes(takes) => Some(takes.shown(input)),
            Cause::Stops(_) => None,
        }),
        structure: causes().find_map(|cause| match cause {
            Cause::Stops(stops) => Some(stops.shown(input)),
            Cause::Takes(_) => None,
        }),
        support: told.charge.notes.support.clone(),
        against: against((input, tally), told, &origin),
        preferred_to: told
            .others
            .iter()
            .take(ALTERNATIVES)
            .map(|other| alternative(input, tally, told.charge, other))
            .collect(),
        origin,
        pairs,
    }
}

/// The most frequent first; what was only masked counts where nothing failed.
fn listed(weights: &BTreeMap<Name, Weight>) -> Vec<(Name, u64)> {
    let mut list: Vec<(&Name, Weight)> = weights.iter().map(|(name, n)| (name, *n)).collect();
    list.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    list.truncate(LISTED);
    list.into_iter()
        .map(|(name, n)| (name.clone(), n.failed + n.masked))
        .collect()
}

fn against((input, tally): (&Input, &Tally), told: &Told<'_>, origin: &Origin) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    if input.weights == Weights::Hidden {
        doubts.push(Doubt::SharesUnknown);
    }
    let is_change = origin.of_failed.hits == 0;
    if is_change {
        doubts.push(Doubt::NoFailureBeganInIt);
    } else {
        let elsewhere = origin.of_failed.total - origin.of_failed.hits;
        if elsewhere > 0 {
            let counted = Counted::of(elsewhere, origin.of_failed.total);
            doubts.push(Doubt::FailuresElsewhere(counted));
        }
        if origin.now.hits < origin.now.total {
            let served = origin.now.total - origin.now.hits;
            doubts.push(Doubt::ServedWell(Counted::of(served, origin.now.total)));
        }
    }
    if origin.before.hits > 0 {
        doubts.push(Doubt::FailedBefore(origin.before));
    }
    // Who merely got slower isn't complained about.
    if told.callers == 0 && !is_change {
        doubts.push(Doubt::OneWitness);
    }
    if told.charge.subjects.len() > 1 {
        doubts.push(Doubt::NotToldApart {
            components: told.charge.subjects.len(),
        });
    }
    let with = confounded(input, tally, &told.charge.subjects);
    if !with.is_empty() {
        doubts.push(Doubt::Confounded { with });
    }
    doubts.extend(told.charge.notes.doubts.iter().cloned());
    doubts
}

fn alternative(input: &Input, tally: &Tally, this: &Charge, other: &Charge) -> Alternative {
    let (a, b) = (this.subjects[0], other.subjects[0]);
    let (this_one, that_one) = (&input.subjects[a].component, &input.subjects[b].component);
    let is_whole = |whole: &crate::Component, part: &crate::Component| {
        whole.level == Level::Service && part.service == whole.service && part.level != whole.level
    };
    let both_touched = || {
        input.window.iter().any(|case| {
            let row = &input.rows[case.row];
            case.is_failure() && row.state_of(a).is_some() && row.state_of(b).is_some()
        })
    };
    Alternative {
        components: other
            .subjects
            .iter()
            .map(|index| input.subjects[*index].component.clone())
            .collect(),
        relation: if is_whole(that_one, this_one) {
            Relation::Whole
        } else if is_whole(this_one, that_one) {
            Relation::Part
        } else if both_touched() {
            Relation::SamePath
        } else {
            Relation::Apart
        },
        confidence: other.confidence,
        times_likelier: (other.confidence > 0.0).then(|| this.confidence / other.confidence),
        originated: (tally.originated[a], tally.originated[b]),
    }
}
