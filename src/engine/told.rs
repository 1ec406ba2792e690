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

/// Which of those that are known goes on, and is told of again.
pub(super) fn goes_on<'a>(
    told: &ToldIntervention,
    known: &[&'a Intervention],
    now: UnixNanos,
) -> Option<&'a Intervention> {
    let named = reference(told);
    let next = format!("{named}, since ");
    let mut own = known
        .iter()
        .filter(|it| it.reference == named || it.reference.starts_with(&next));
    own.find(|it| it.until.is_none_or(|until| until > now))
        .copied()
}

/// By what name it is known beside those: one that is told anew after it was over must not replace the former one.
pub(super) fn name_beside(it: &Intervention, known: &[&Intervention]) -> Name {
    match known.iter().any(|other| other.reference == it.reference) {
        true => format!("{}, since {}", it.reference, UtcTime::from(it.from)).into(),
        false => it.reference.clone(),
    }
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
    let mut from = told.from.map(nanos).or(first).unwrap_or(now);
    let mut until = told.until.map_or(latest, nanos);
    if told.is_over {
        // By our clock, as its maker's may be another.
        (from, until) = (from.min(now), now);
    }
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
            is_over: false,
        }
    }

    #[test]
    fn a_name_that_is_used_again_is_another_intervention() {
        let at = |seconds: i64| UnixNanos::from_secs((NOW as i64 + seconds) as u64);
        let catalog = || told(Whom::Unit("catalog".to_owned()), None, None);
        let over = ToldIntervention {
            is_over: true,
            ..catalog()
        };
        let first = intervention(&catalog(), None, &tree(), WINDOW, at(-300)).expect("taken");
        assert!(goes_on(&over, &[&first], at(-200)).is_some());
        let ended = intervention(&over, Some(first.from), &tree(), WINDOW, at(-200));
        let ended = ended.expect("taken");
        assert_eq!((ended.from, ended.until), (at(-300), Some(at(-200))));
        // Told again after it was over.
        assert_eq!(goes_on(&catalog(), &[&ended], at(0)), None);
        let mut second = intervention(&catalog(), None, &tree(), WINDOW, at(0)).expect("taken");
        second.reference = name_beside(&second, &[&ended]);
        assert_ne!(second.reference, ended.reference);
        let found = goes_on(&over, &[&ended, &second], at(60));
        assert_eq!(found.map(|it| it.from), Some(at(0)));
        // Whoever's clock is ahead may end it, too.
        let mut ahead = over;
        ahead.from = Some(UtcTime::from(at(90)));
        let ended = intervention(&ahead, None, &tree(), WINDOW, at(60)).expect("taken");
        assert_eq!((ended.from, ended.until), (at(60), Some(at(60))));
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
