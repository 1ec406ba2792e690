//! When is it worth trying what isn't believed to be the cheapest?
//!
//! A process that is always restarted at once never shows that its component would have done, and a
//! fault that is never waited for never shows that it goes by itself. So what was hardly ever tested is
//! tried now and then, where it would be cheaper if it worked. The price of being wrong bounds it: such
//! trials cost at most [`ALLOWANCE`] of what recoveries from the same fault cost anyway. No dice: the
//! same evidence and beliefs give the same plan.

use std::time::SystemTime;

use super::{Candidate, Choice};
use crate::belief::{Beliefs, Level};
use crate::{Evidence, RestartTree};

/// The share of what recoveries from a fault are expected to cost that may go into finding out more.
const ALLOWANCE: f64 = 0.05;
/// What was tested in less than this share of the recoveries counts as hardly ever tested.
const RARELY: f64 = 0.1;

/// The candidate to try instead of the first, if any: the cheapest that may be tried to learn.
pub(super) fn worth_trying(
    candidates: &[Candidate],
    evidence: &Evidence,
    tree: &RestartTree,
    beliefs: &Beliefs,
    now: SystemTime,
) -> Option<usize> {
    let best = candidates.first()?;
    let suspect = evidence
        .suspects
        .iter()
        .max_by(|a, b| a.probability.total_cmp(&b.probability))?;
    (1..candidates.len()).find(|at| {
        let other = &candidates[*at];
        let level = match (&other.choice, &best.choice) {
            (Choice::Wait, Choice::Restart(_)) => Level::ByItself,
            (Choice::Restart(small), Choice::Restart(large))
                if tree.contains(large, small) && tree.contains(small, &suspect.unit) =>
            {
                Level::Unit(tree.kind(small).clone())
            }
            _ => return false,
        };
        let (recoveries, tested) =
            beliefs.tested(&evidence.signature, tree.kind(&suspect.unit), &level, now);
        let price = other.expected_total - best.expected_total;
        let would_be_cheaper = other.cost < best.expected_total;
        would_be_cheaper
            && tested < RARELY * recoveries
            && price <= ALLOWANCE * recoveries * best.expected_total
    })
}
