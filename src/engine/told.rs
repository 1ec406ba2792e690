//! What is known of an intervention that somebody told of, once it is held against the tree and the clock.

use std::time::Duration;

use rekindle_model::{Intervention, Life, Name, Selector, UnixNanos};
use rekindle_recovery::{RestartTree, UnitName};

use crate::api::{Problem, ToldIntervention, Whom};
use crate::view::UtcTime;

/// So long after it was told an intervention counts as over, unless it is told again: a pipeline that broke half-way must
/// not hide failures for ever. As long as nearly all rollouts of one service take.
const LAPSES_AFTER: Duration = Duration::from_secs(10 * 60);

/// The name by which one is known. That of our own actions is another, whatever is told.
pub(super) fn reference(told: &ToldIntervention) -> Name {
    format!("{}, told by {}", told.id, told.by).into()
}

/// The intervention that was told at this time; `first` is since when it was told to go on before, and `window` how far back
/// the analysis remembers.
pub(super) fn intervention(
    told: &ToldIntervention,
    first: Option<UnixNanos>,
    tree: &RestartTree,
    window: Duration,
    now: UnixNanos,
) -> Result<Intervention, Problem> {
    let pairs = match &told.whom {
        Whom::Attributes(pairs) => pairs,
        Whom::Unit(unit) => tree
            .selector(&UnitName(unit.clone()))
            .filter(|pairs| !pairs.is_empty())
            .ok_or_else(|| {
                Problem::invalid(format!(
                    "nothing in telemetry is {unit}'s own (it has no `match`): say a target instead"
                ))
            })?,
    };
    let nanos = |time: UtcTime| UnixNanos::from(std::time::SystemTime::from(time));
    // As a restarted engine reads no more of the journal than this, nothing may be told for longer.
    let latest = now.plus(LAPSES_AFTER.min(window));
    let earliest = now.minus(window);
    let from = told.from.map(nanos).or(first).unwrap_or(now);
    let until = told.until.map_or(latest, nanos);
    let within = earliest..=latest;
    if !within.contains(&until) || !(within.contains(&from) || Some(from) == first) || until < from
    {
        return Err(Problem::invalid(format!(
            "it would be from {} until {}; it must end after it begins, both between {} (what is older is forgotten) and {} \
             (tell it again while it goes on)",
            UtcTime::from(from),
            UtcTime::from(until),
            UtcTime::from(earliest),
            UtcTime::from(latest),
        )));
    }
    let pairs = pairs.iter();
    Ok(Intervention {
        kind: told.kind.into(),
        target: Selector(
            pairs
                .map(|(key, value)| (Name::from(key.as_str()), Name::from(value.as_str())))
                .collect(),
        ),
        from,
        until: Some(until),
        began: Life::default(),
        reference: reference(told),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::DeedWord;
    use crate::engine::mapping::tests::tree;

    const NOW: u64 = 1_000_000_000;
    const WINDOW: Duration = Duration::from_secs(900);

    fn told(whom: Whom, from: Option<i64>, until: Option<i64>) -> ToldIntervention {
        let time = |seconds: i64| UtcTime::from_millis((NOW as i64 + seconds) as u64 * 1_000);
        ToldIntervention {
            id: "rollout 7".to_owned(),
            by: "ci".to_owned(),
            kind: DeedWord::Deployment,
            whom,
            from: from.map(time),
            until: until.map(time),
        }
    }

    #[test]
    fn what_is_told_has_bounds_whatever_is_said() {
        let catalog = || Whom::Unit("catalog".to_owned());
        let service = BTreeMap::from([("service.name".to_owned(), "catalog".to_owned())]);
        let service = || Whom::Attributes(service.clone());
        // Seconds from now: what is said, since when it was told to go on before, and what it comes to.
        for (whom, from, until, first, expected) in [
            (service(), None, None, None, Some((0, 600))),
            (catalog(), None, None, None, Some((0, 600))),
            (service(), None, None, Some(-30), Some((-30, 600))),
            (service(), None, Some(0), Some(-30), Some((-30, 0))),
            // It may go on for longer than is remembered, as long as it is told again.
            (service(), None, None, Some(-5_000), Some((-5_000, 600))),
            (service(), Some(-900), Some(-800), None, Some((-900, -800))),
            (service(), Some(30), Some(600), None, Some((30, 600))),
            (service(), Some(-901), None, None, None),
            (service(), None, Some(601), None, None),
            (service(), Some(10), Some(9), None, None),
            (Whom::Unit("nobody".to_owned()), None, None, None, None),
        ] {
            let told = told(whom, from, until);
            let at = |seconds: i64| UnixNanos::from_secs((NOW as i64 + seconds) as u64);
            let found = intervention(&told, first.map(at), &tree(), WINDOW, at(0)).ok();
            let span = found.as_ref().map(|it| (it.from, it.until));
            let expected = expected.map(|(from, until)| (at(from), Some(at(until))));
            assert_eq!(span, expected, "{told:?} {first:?}");
            if let Some(found) = found {
                assert_eq!(found.reference.as_str(), "rollout 7, told by ci");
                let target = [("service.name".into(), "catalog".into())];
                assert_eq!(found.target.0, target, "{told:?}");
            }
        }
    }
}
