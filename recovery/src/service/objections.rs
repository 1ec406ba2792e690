//! What speaks against a recovery's restart, beside the guards: that all is over, or that requests say so.

use super::RecoveryId;
use super::engine::Engine;
use crate::guard::{Authority, Consequence, Guard, Refusal};
use crate::{CohortQuery, Evidence, UnitName};

/// Where so many failures are expected, that none comes has a chance of one in twenty (the rule of three).
const NONE_OF_SO_MANY: f64 = 3.0;

impl Engine {
    /// All that speaks against a recovery's restart, by whomever it is decided; and whether that is because all is over.
    pub(super) fn objections(
        &self,
        id: RecoveryId,
        target: &UnitName,
        authority: Authority,
        evidence: Option<&Evidence>,
        cost: f64,
    ) -> (Vec<Refusal>, bool) {
        let mut refusals = self.check(Some(id), target, authority, evidence, cost);
        let over = evidence.and_then(|evidence| {
            self.is_over_already(target, evidence)
                .or_else(|| self.is_contradicted(evidence))
        });
        let is_over = over.is_some();
        refusals.extend(over);
        (refusals, is_over)
    }

    /// Says no when nothing has failed since the last restart that would have cured it, too: the
    /// incident is only draining.
    fn is_over_already(&self, target: &UnitName, evidence: &Evidence) -> Option<Refusal> {
        let settled = self.restarted_before(target, self.now())?;
        (!self.fails_since(evidence, settled)).then(|| Refusal {
            guard: Guard::StaleEvidence,
            consequence: Consequence::Wait,
            until: None,
            words: format!(
                "nothing has failed since {target}, or what it is part of, was restarted"
            ),
        })
    }

    /// Says no when requests of the very types that are told to fail come, and all of them fare well: what is told may be
    /// made up, or over.
    fn is_contradicted(&self, evidence: &Evidence) -> Option<Refusal> {
        let types = &evidence.signature.request_types;
        let now = self.now();
        let lately = now.checked_sub(self.config.policy.evidence_expiry)?;
        if types.is_empty() {
            return None;
        }
        let from = evidence.since.max(lately);
        let fared = self.cohort.fared(&CohortQuery {
            request_types: types.clone(),
            from,
            until: now,
        });
        let seen = fared.complete_until.min(now).duration_since(from);
        let expected = evidence.failing_per_second * seen.unwrap_or_default().as_secs_f64();
        let is_well = fared.ok > 0
            && fared.bad + fared.missing_error + fared.unheard == 0
            && expected >= NONE_OF_SO_MANY;
        is_well.then(|| Refusal {
            guard: Guard::StaleEvidence,
            consequence: Consequence::Wait,
            until: None,
            words: format!(
                "none of the {} requests to {} that came since has failed",
                fared.ok,
                types.join(", ")
            ),
        })
    }
}
