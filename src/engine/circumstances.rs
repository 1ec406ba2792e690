//! What else goes on while something fails: is more asked than usual, is somebody else changing the
//! system, does the likeliest suspect belong to nobody?
//!
//! Guards veto by it. A rollout is seen as everybody sees it who only has telemetry: a version or an
//! instance of a service that wasn't there before, though the service was, and that we didn't start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use rekindle_analysis::{Analyzer, Component, Incident, Level, Ranking, RatePoint};
use rekindle_model::{Name, UnixNanos};
use rekindle_recovery::service::ActionView;
use rekindle_recovery::{Changed, Circumstances, Load, Outside, RestartTree, UnitName};

use super::mapping;

/// A service must have been known for so long before its next instance counts as new: when a system
/// comes up, and when we do, everything is.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// A new instance within this time after a restart of ours is our own: a cold start, and an exporter
/// that is late, both with room to spare.
const OUR_OWN: Duration = Duration::from_secs(120);

/// What came in the last so many seconds is what comes now …
const NOW: Duration = Duration::from_secs(10);

/// … and it takes so much history before an incident to say what is usual.
const LEAST_HISTORY: Duration = Duration::from_secs(30);

/// Who was there, and who changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Versions and instances at the last look.
    there: BTreeSet<Component>,
    /// When each service was first seen, while it is remembered.
    services: BTreeMap<Name, SystemTime>,
    changes: BTreeMap<UnitName, Changed>,
}

impl Changes {
    /// Looks who is there; `recent` is what recovery did.
    pub(super) fn look<'a>(
        &mut self,
        components: impl Iterator<Item = &'a Component>,
        tree: &RestartTree,
        recent: &[ActionView],
        now: SystemTime,
    ) {
        let mut there = BTreeSet::new();
        let mut services = BTreeSet::new();
        for component in components {
            if !matches!(component.level, Level::Version | Level::Instance) {
                continue;
            }
            services.insert(component.service.clone());
            if !self.there.contains(component) && self.is_known(&component.service, now) {
                self.changed(component, tree, recent, now);
            }
            there.insert(component.clone());
        }
        self.there = there;
        self.services
            .retain(|service, _| services.contains(service));
        for service in services {
            self.services.entry(service).or_insert(now);
        }
    }

    fn is_known(&self, service: &Name, now: SystemTime) -> bool {
        self.services
            .get(service)
            .and_then(|since| now.duration_since(*since).ok())
            .is_some_and(|known| known >= KNOWN_FOR)
    }

    fn changed(
        &mut self,
        component: &Component,
        tree: &RestartTree,
        recent: &[ActionView],
        now: SystemTime,
    ) {
        let is_version = component.level == Level::Version;
        let key = match is_version {
            true => "service.version",
            false => "service.instance.id",
        };
        let attributes = BTreeMap::from([
            (Name::from("service.name"), component.service.clone()),
            (Name::from(key), component.name.clone()),
        ]);
        let Some(unit) = mapping::unit_of_attributes(&attributes, tree) else {
            return;
        };
        let restarted_by_us = recent.iter().any(|action| {
            let until = action.ready_at.unwrap_or(now);
            let is_late = now.duration_since(until).is_ok_and(|ago| ago > OUR_OWN);
            !is_late && tree.touches(&action.unit, &unit)
        });
        if restarted_by_us {
            return;
        }
        let what = match is_version {
            true => format!(
                "version {} of {} appeared",
                component.name, component.service
            ),
            false => format!(
                "instance {} of {} appeared",
                component.name, component.service
            ),
        };
        tracing::info!(%unit, "{what}");
        // An instance of a new version says nothing that the version hasn't said.
        let is_version = is_version
            || self
                .changes
                .get(&unit)
                .is_some_and(|last| last.is_version && last.at == now);
        self.changes.insert(
            unit,
            Changed {
                at: now,
                what,
                is_version,
            },
        );
    }

    /// Who changed, and when last.
    pub(super) fn changes(&self) -> &BTreeMap<UnitName, Changed> {
        &self.changes
    }
}

/// What else goes on, of one incident.
pub(super) fn of(
    incident: &Incident,
    ranking: Option<&Ranking>,
    analyzer: &Analyzer,
    tree: &RestartTree,
) -> Circumstances {
    let points: Vec<RatePoint> = incident
        .request_types
        .iter()
        .flat_map(|request_type| analyzer.series(request_type))
        .collect();
    Circumstances {
        load: load(&points, incident.since),
        outside: ranking.and_then(|ranking| outside(ranking, tree)),
        ..Circumstances::default()
    }
}

/// How many requests come now, and how many came before the incident.
fn load(points: &[RatePoint], since: UnixNanos) -> Option<Load> {
    let first = points.iter().map(|point| point.at).min()?;
    let newest = points.iter().map(|point| point.at).max()?;
    if first.plus(LEAST_HISTORY) > since {
        return None;
    }
    let count = |from: UnixNanos, until: UnixNanos| {
        let within = points
            .iter()
            .filter(|point| from <= point.at && point.at < until);
        within.map(|point| point.ok + point.bad).sum::<u64>() as f64
    };
    // The newest slice is still being filled.
    let recent = newest.minus(NOW).max(first);
    Some(Load {
        now: count(recent, newest) / newest.since(recent).as_secs_f64().max(1.0),
        usual: count(first, since) / since.since(first).as_secs_f64(),
    })
}

/// The likeliest suspect that belongs to no unit.
fn outside(ranking: &Ranking, tree: &RestartTree) -> Option<Outside> {
    let stray = ranking
        .suspects
        .iter()
        .filter(|suspect| mapping::unit_of(suspect, tree).is_none())
        .max_by(|a, b| a.confidence.total_cmp(&b.confidence))?;
    Some(Outside {
        name: stray.components.first()?.to_string(),
        probability: stray.confidence,
    })
}

#[cfg(test)]
mod tests {
    use rekindle_recovery::service::RecoveryStatus;

    use super::*;
    use crate::engine::mapping::tests::tree;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn component(level: Level, name: &str) -> Component {
        Component::new(level, &"catalog".into(), &name.into())
    }

    fn status(restarted: Option<u64>) -> RecoveryStatus {
        let recent = restarted.map(|ready| serde_json::json!([{
            "action": 1, "recovery": 1, "incident": null, "unit": "catalog", "target": "catalog",
            "signature": null, "by": "ann", "reason": "", "generation": 2,
            "intended_at": at(ready), "stopped_at": null, "ready_at": at(ready), "outcome": null,
            "verdict": null, "relief": null, "failed_requests": null, "judged": null,
            "judged_at": null, "plan": null,
        }]));
        serde_json::from_value(serde_json::json!({
            "at": at(0), "units": [], "recoveries": [], "finished": [], "proposals": [],
            "recent": recent.unwrap_or_else(|| serde_json::json!([])), "paused": null,
            "budgets": [], "disabled": null, "notices": [],
        }))
        .expect("a status")
    }

    /// Each case: who is seen when, our own restart, and what changed in the end.
    #[test]
    fn a_rollout_is_what_we_did_not_start() {
        let instance = |name| component(Level::Instance, name);
        let version = |name| component(Level::Version, name);
        for (seen, restarted, expected) in [
            (vec![(0, vec![instance("a")])], None, None),
            // All comes up at once.
            (
                vec![
                    (0, vec![instance("a")]),
                    (30, vec![instance("a"), instance("b")]),
                ],
                None,
                None,
            ),
            (
                vec![
                    (0, vec![instance("a")]),
                    (61, vec![instance("a"), instance("b")]),
                ],
                None,
                Some(("instance b of catalog appeared", 61, false)),
            ),
            (
                vec![
                    (0, vec![version("1")]),
                    (61, vec![version("1"), version("2")]),
                ],
                None,
                Some(("version 2 of catalog appeared", 61, true)),
            ),
            // We restarted it.
            (
                vec![(0, vec![instance("a")]), (61, vec![instance("b")])],
                Some(50),
                None,
            ),
            // Long ago.
            (
                vec![(0, vec![instance("a")]), (300, vec![instance("b")])],
                Some(50),
                Some(("instance b of catalog appeared", 300, false)),
            ),
            (vec![(0, vec![instance("a")]), (61, vec![])], None, None),
        ] {
            let mut changes = Changes::default();
            for (seconds, components) in &seen {
                changes.look(
                    components.iter(),
                    &tree(),
                    &status(restarted).recent,
                    at(*seconds),
                );
            }
            let found = changes.changes().get(&UnitName::from("catalog"));
            let found = found.map(|change| (change.what.as_str(), change.at, change.is_version));
            let expected =
                expected.map(|(what, seconds, is_version)| (what, at(seconds), is_version));
            assert_eq!(found, expected, "{seen:?}");
        }
    }

    #[test]
    fn load_is_compared_with_what_was_before() {
        let point = |second, count| RatePoint {
            at: UnixNanos::from_secs(second),
            ok: count,
            bad: 0,
        };
        let calm = |until| (0..until).map(|second| point(second, 5));
        let mut points: Vec<RatePoint> = calm(60).collect();
        points.extend((60..75).map(|second| point(second, 20)));
        let found = load(&points, UnixNanos::from_secs(60)).expect("enough is known");
        assert!(
            (found.usual - 5.0).abs() < 1e-9 && (found.now - 20.0).abs() < 1e-9,
            "{found:?}"
        );
        let young: Vec<RatePoint> = calm(29).collect();
        assert_eq!(load(&young, UnixNanos::from_secs(29)), None);
        assert_eq!(load(&[], UnixNanos::from_secs(29)), None);
    }
}
