//! What has the platform that keeps a unit alive against its restart?
//!
//! It knows what no span tells: how many it has promised to keep up, and whether somebody is replacing or scaling what is to be
//! restarted. It is asked when a restart is wanted, and until it has answered, nobody knows.

use std::time::{Duration, SystemTime};

use super::{Authority, Consequence, Deed, Guard, Refusal, World, no};
use crate::executor::Veto;

/// An answer is a decision's for so long: what is decided on it begins at once.
const FRESH: Duration = Duration::from_secs(5);
/// Where a person decides, or nothing fails yet, the last answer counts for so long.
const KNOWN: Duration = Duration::from_secs(60);

/// What a platform says of one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is being asked.
    pub is_asked: bool,
    /// When it last answered, and what it has against a restart.
    pub told: Option<(SystemTime, Vec<Veto>)>,
}

impl Standing {
    /// Whether it needn't be asked again yet, to have an answer all the time.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.within(FRESH / 2, now).is_some()
    }

    fn within(&self, limit: Duration, now: SystemTime) -> Option<&[Veto]> {
        let (at, vetoes) = self.told.as_ref()?;
        let age = now.duration_since(*at).unwrap_or_default();
        (age <= limit).then_some(vetoes.as_slice())
    }
}

/// What speaks against it.
pub(super) fn check(deed: &Deed<'_>, world: &World<'_>, now: SystemTime) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for unit in world.tree.restarts(deed.target) {
        let Some(standing) = world.standing.get(unit) else {
            continue;
        };
        let limit = match deed.authority {
            Authority::Unattended => FRESH,
            _ => KNOWN,
        };
        match standing.within(limit, now) {
            Some(vetoes) => refusals.extend(vetoes.iter().filter_map(|veto| refusal(veto, deed))),
            None => {
                let words =
                    format!("whoever keeps {unit} alive is being asked what speaks against it");
                refusals.push(no(Guard::Unasked, Consequence::Wait, None, words));
            }
        }
    }
    refusals
}

fn refusal(veto: &Veto, deed: &Deed<'_>) -> Option<Refusal> {
    let (guard, consequence) = match veto {
        Veto::Budget(_) => (Guard::Capacity, Consequence::Wait),
        Veto::Never(_) => (Guard::Capacity, Consequence::GiveUp),
        // Who approves can see it.
        _ if deed.authority == Authority::Approved => return None,
        Veto::Rollout(_) => (Guard::Rollout, Consequence::Wait),
        // Waiting for its end, or for an answer, might be for ever.
        Veto::Halted(_) | Veto::Unclear(_) => (Guard::Rollout, Consequence::Ask),
    };
    Some(no(guard, consequence, None, veto.words().to_owned()))
}
