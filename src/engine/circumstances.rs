//! What else goes on while something fails: is more asked than usual, is somebody else changing the
//! system, does the likeliest suspect belong to nobody?
//!
//! Guards veto by it. A deployment or scaling that somebody told of is one while it goes on. Where nobody tells, a rollout
//! is seen as everybody sees it who only has telemetry: a version that the analysis finds rolled out, by which it sets
//! requests apart as well, or an instance of a service that wasn't there before, though the service was; and neither was
//! started by us. An instance counts only beside an older one that still serves: what crashes has a new one each time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use rekindle_analysis::{AnalysisConfig, Analyzer, Component, Incident, Level, Ranking, Rollout};
use rekindle_model::{Intervention, InterventionKind, Name, UnixNanos};
use rekindle_recovery::clock::Shift;
use rekindle_recovery::executor::ActionId;
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

/// So long after it was first seen, a new instance counts as one beside an older one as soon as that
/// serves, too: several times as long as replicas of any traffic go without a request. One that only
/// replaces another, as after a crash, never does.
const BESIDE_WITHIN: Duration = Duration::from_secs(30);

/// Changes with no more than this between them are one stretch: as long as orchestrators at most wait
/// before they start again what crashes.
const STRETCH: Duration = Duration::from_secs(5 * 60);

/// Who was there, and who changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Instances at the last look, and when each was first seen.
    there: BTreeMap<Component, SystemTime>,
    /// The rollouts that were looked at, and when the analysis saw them.
    rolled_out: BTreeMap<Component, UnixNanos>,
    /// What was told and is over, as far as it is remembered, and when it was.
    ended: BTreeMap<Name, UnixNanos>,
    /// New instances of which it isn't known yet whether they replace others or stand beside them.
    pending: BTreeSet<Component>,
    /// When each service was first seen, while it is remembered.
    services: BTreeMap<Name, SystemTime>,
    changes: BTreeMap<UnitName, Changed>,
    /// The last change that was told to something that no unit is known to be.
    unplaced: Option<Changed>,
    /// When our actions were over: as it was told, and by the clock as it goes now.
    ends: BTreeMap<ActionId, (SystemTime, SystemTime)>,
}

/// A deployment or a scaling that somebody told of.
#[derive(Debug)]
pub(super) struct ToldChange<'a> {
    told: &'a Intervention,
    /// What it is done to, as far as that is known.
    units: BTreeSet<UnitName>,
}

/// What was told and what traces show, beside who is there.
#[derive(Debug, Default)]
pub(super) struct Seen<'a> {
    rollouts: Vec<Rollout>,
    told: Vec<ToldChange<'a>>,
}

impl<'a> Seen<'a> {
    pub(super) fn by(analyzer: &'a Analyzer, tree: &RestartTree) -> Self {
        let is_change = |it: &&Intervention| {
            let kinds = [InterventionKind::Deployment, InterventionKind::Scaling];
            kinds.contains(&it.kind)
        };
        let told = analyzer.told_interventions().filter(is_change);
        let told = told.map(|told| {
            // Whatever has these attributes, and what they name themselves.
            let named: BTreeMap<Name, Name> = told.target.0.iter().cloned().collect();
            let having = analyzer.having(&told.target).chain([&named]);
            let units = having.filter_map(|it| mapping::unit_of_attributes(it, tree));
            ToldChange {
                told,
                units: units.collect(),
            }
        });
        Self {
            rollouts: analyzer.rollouts().collect(),
            told: told.collect(),
        }
    }
}

impl Changes {
    /// Looks who is there, and what is told of others' deeds.
    pub(super) fn follow(
        &mut self,
        analyzer: &Analyzer,
        tree: &RestartTree,
        recent: &[ActionView],
        now: UnixNanos,
    ) {
        let serves = |instance: &Component, since: SystemTime| {
            let (ok, bad) = analyzer.fared_through(instance, &[], since.into(), now);
            ok + bad > 0
        };
        let seen = Seen::by(analyzer, tree);
        let (components, now) = (analyzer.components(), mapping::wall(now));
        self.look(components, serves, &seen, tree, recent, now);
    }

    /// The same of what is known. `serves` says whether an instance has taken requests that began after a time.
    fn look<'a>(
        &mut self,
        components: impl Iterator<Item = &'a Component>,
        serves: impl Fn(&Component, SystemTime) -> bool,
        seen: &Seen<'_>,
        tree: &RestartTree,
        recent: &[ActionView],
        now: SystemTime,
    ) {
        let ours = self.ours(recent, now);
        self.look_at_rollouts(&seen.rollouts, tree, &ours);
        self.look_at_told(&seen.told, now);
        let mut there = BTreeMap::new();
        let mut services = BTreeSet::new();
        for component in components {
            if component.level != Level::Instance {
                continue;
            }
            services.insert(component.service.clone());
            let seen = self.there.get(component).copied();
            if seen.is_none()
                && self.is_known(&component.service, now)
                && not_ours(component, tree, &ours, now).is_some()
            {
                self.pending.insert(component.clone());
            }
            there.insert(component.clone(), seen.unwrap_or(now));
        }
        self.there = there;
        self.services
            .retain(|service, _| services.contains(service));
        for service in services {
            self.services.entry(service).or_insert(now);
        }
        self.look_at_pending(serves, tree, now);
    }

    /// Takes the versions that were rolled out since the last look, unless our own restart brought them.
    fn look_at_rollouts(
        &mut self,
        rollouts: &[Rollout],
        tree: &RestartTree,
        ours: &[(&UnitName, SystemTime)],
    ) {
        let known = std::mem::take(&mut self.rolled_out);
        for rollout in rollouts {
            let at = mapping::wall(rollout.at);
            if known.get(&rollout.version) != Some(&rollout.at)
                && let Some(unit) = not_ours(&rollout.version, tree, ours, at)
            {
                self.changed(unit, true, rollout.in_words(), at);
            }
            self.rolled_out.insert(rollout.version.clone(), rollout.at);
        }
    }

    /// Takes what others said that they do: it was seen last when it was over, and is seen now while it goes on.
    fn look_at_told(&mut self, told: &[ToldChange<'_>], now: SystemTime) {
        let known = std::mem::take(&mut self.ended);
        let all = self.changes.values_mut().chain(&mut self.unplaced);
        all.for_each(|change| change.goes_on = false);
        for ToldChange { told, units } in told {
            let until = told.until.map(mapping::wall);
            let ended = until.filter(|until| *until <= now);
            if let Some(until) = told.until.filter(|_| ended.is_some()) {
                self.ended.insert(told.reference.clone(), until);
                if known.get(&told.reference) == Some(&until) {
                    continue;
                }
            }
            if mapping::wall(told.from) > now {
                continue;
            }
            let (from, at) = (mapping::wall(told.from), ended.unwrap_or(now));
            let what = format!("a {} went on ({})", told.kind.in_words(), told.reference);
            let goes_on = ended.is_none();
            for unit in units {
                match self.changes.get_mut(unit) {
                    // The version that it brought: recovery minds which one it is.
                    Some(last) if last.is_version && last.at >= from => last.at = last.at.max(at),
                    _ => self.changed(unit.clone(), false, what.clone(), at),
                }
                if let Some(change) = self.changes.get_mut(unit).filter(|_| goes_on) {
                    change.goes_on = true;
                }
            }
            if units.is_empty() {
                self.changed_somewhere(&what, at, goes_on);
            }
        }
    }

    /// Nobody knows what it is done to, so it may be anything.
    fn changed_somewhere(&mut self, what: &str, at: SystemTime, goes_on: bool) {
        let is_later = self.unplaced.as_ref().is_none_or(|last| last.at <= at);
        if is_later || goes_on {
            self.unplaced = Some(Changed {
                at,
                what: format!("{what} to what no unit is known to be"),
                is_version: false,
                renewals: 0,
                goes_on,
            });
        }
    }

    /// Which units we restarted, and when that was over.
    fn ours<'a>(
        &mut self,
        recent: &'a [ActionView],
        now: SystemTime,
    ) -> Vec<(&'a UnitName, SystemTime)> {
        let known = std::mem::take(&mut self.ends);
        let mut ours = Vec::new();
        for action in recent {
            // Only what goes on still explains what is new now; one that came to nothing explained it then.
            let over = action.outcome.as_ref().map(|_| action.intended_at);
            let Some(told) = action.ready_at.or(action.judged_at).or(over) else {
                ours.push((&action.unit, now));
                continue;
            };
            let end = known.get(&action.action).filter(|end| end.0 == told);
            let end = end.map_or(told, |end| end.1);
            self.ends.insert(action.action, (told, end));
            ours.push((&action.unit, end));
        }
        ours
    }

    /// Which of the new instances have come beside older ones.
    fn look_at_pending(
        &mut self,
        serves: impl Fn(&Component, SystemTime) -> bool,
        tree: &RestartTree,
        now: SystemTime,
    ) {
        let mut beside: BTreeMap<(Name, SystemTime), bool> = BTreeMap::new();
        for component in std::mem::take(&mut self.pending) {
            let Some(seen) = self.there.get(&component).copied() else {
                continue;
            };
            let is_beside = *beside
                .entry((component.service.clone(), seen))
                .or_insert_with(|| {
                    self.there.iter().any(|(other, since)| {
                        other.level == Level::Instance
                            && other.service == component.service
                            && *since < seen
                            && serves(other, seen)
                    })
                });
            if is_beside {
                if let Some(unit) = unit_of(&component, tree) {
                    let Component { service, name, .. } = &component;
                    let what = format!("instance {name} of {service} appeared");
                    self.changed(unit, false, what, seen);
                }
            } else if now.duration_since(seen).unwrap_or_default() < BESIDE_WITHIN {
                self.pending.insert(component);
            }
        }
    }

    /// The wall's clock was set: all that is remembered is as long ago as it was.
    pub(super) fn shift(&mut self, shift: Shift) {
        let seen = self.there.values_mut().chain(self.services.values_mut());
        let changed = self.changes.values_mut().chain(&mut self.unplaced);
        let changed = changed.map(|change| &mut change.at);
        let ends = self.ends.values_mut().map(|(_, end)| end);
        let all = seen.chain(changed).chain(ends);
        all.for_each(|at| shift.apply(at));
    }

    /// The tree is another: what changed in units that went is forgotten.
    pub(super) fn grew(&mut self, tree: &RestartTree) {
        self.changes.retain(|unit, _| tree.spec(unit).is_some());
    }

    fn is_known(&self, service: &Name, now: SystemTime) -> bool {
        self.services
            .get(service)
            .and_then(|since| now.duration_since(*since).ok())
            .is_some_and(|known| known >= KNOWN_FOR)
    }

    fn changed(&mut self, unit: UnitName, is_version: bool, what: String, at: SystemTime) {
        let last = self.changes.get(&unit);
        // An instance of a new version says nothing that the version hasn't said.
        if !is_version && last.is_some_and(|last| last.at >= at) {
            return;
        }
        let is_new = last.is_none_or(|last| last.what != what);
        let renewals = last.map_or(0, |last| match at.duration_since(last.at) {
            // What goes on is one change.
            _ if !is_new => last.renewals,
            Ok(Duration::ZERO) => last.renewals,
            Ok(between) if between <= STRETCH => last.renewals.saturating_add(1),
            _ => 0,
        });
        if is_new {
            tracing::info!(%unit, "{what}");
        }
        let change = Changed {
            at,
            what,
            is_version,
            renewals,
            goes_on: false,
        };
        self.changes.insert(unit, change);
    }

    /// Who changed, and when last.
    pub(super) fn changes(&self) -> &BTreeMap<UnitName, Changed> {
        &self.changes
    }
}

/// The unit that a version or an instance belongs to.
fn unit_of(component: &Component, tree: &RestartTree) -> Option<UnitName> {
    let key = match component.level {
        Level::Version => "service.version",
        _ => "service.instance.id",
    };
    let attributes = BTreeMap::from([
        (Name::from("service.name"), component.service.clone()),
        (Name::from(key), component.name.clone()),
    ]);
    mapping::unit_of_attributes(&attributes, tree)
}

/// The unit of something new, unless our own restart explains it.
fn not_ours(
    component: &Component,
    tree: &RestartTree,
    ours: &[(&UnitName, SystemTime)],
    now: SystemTime,
) -> Option<UnitName> {
    let unit = unit_of(component, tree)?;
    let is_ours = ours.iter().any(|(restarted, until)| {
        // What is yet to be over by far is of a clock that was set back before we started.
        let apart = now.duration_since(*until);
        let apart = apart.unwrap_or_else(|ahead| ahead.duration());
        apart <= OUR_OWN && tree.touches(restarted, &unit)
    });
    (!is_ours).then_some(unit)
}

/// What else goes on, of one incident.
pub(super) fn of(
    incident: &Incident,
    ranking: Option<&Ranking>,
    analyzer: &Analyzer,
    tree: &RestartTree,
) -> Circumstances {
    let types = &incident.request_types;
    let came = |from, until| {
        let (ok, bad) = analyzer.fared(types, from, until);
        ok + bad
    };
    let reach = analyzer.reach(types);
    Circumstances {
        load: reach.and_then(|reach| load(reach, incident.since, came)),
        outside: ranking.and_then(|ranking| outside(ranking, tree)),
        sampled: analyzer.is_sampled_unsaid(&incident.request_types),
        ..Circumstances::default()
    }
}

/// Adds what is the same for every incident: what changed, and what the configuration says of samplers.
pub(super) fn add_common(
    circumstances: &mut Circumstances,
    changes: &Changes,
    config: &AnalysisConfig,
) {
    circumstances.changes.clone_from(changes.changes());
    circumstances.unplaced.clone_from(&changes.unplaced);
    circumstances.sampled |= config.failures_first;
}

/// How many requests come now, and how many came before the incident: of those that are known from the first to the
/// newest slice. `came` says how many began in a stretch.
fn load(
    (first, newest): (UnixNanos, UnixNanos),
    since: UnixNanos,
    came: impl Fn(UnixNanos, UnixNanos) -> u64,
) -> Option<Load> {
    if first.plus(LEAST_HISTORY) > since {
        return None;
    }
    // The newest slice is still being filled.
    let recent = newest.minus(NOW).max(first);
    Some(Load {
        now: came(recent, newest) as f64 / newest.since(recent).as_secs_f64().max(1.0),
        usual: came(first, since) as f64 / since.since(first).as_secs_f64(),
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

    /// Everybody who was ever there is remembered; only who is there now serves.
    fn look(changes: &mut Changes, living: &[Component], status: &RecoveryStatus, seconds: u64) {
        look_with(changes, living, &Seen::default(), status, seconds);
    }

    fn look_with(
        changes: &mut Changes,
        living: &[Component],
        seen: &Seen<'_>,
        status: &RecoveryStatus,
        seconds: u64,
    ) {
        let mut all: BTreeSet<Component> = changes.there.keys().cloned().collect();
        all.extend(living.iter().cloned());
        let serves = |one: &Component, since| living.contains(one) && at(seconds) > since;
        let recent = &status.recent;
        changes.look(all.iter(), serves, seen, &tree(), recent, at(seconds));
    }

    /// The analysis saw this version of catalog rolled out then.
    fn rolled_out(version: &str, seconds: u64) -> Seen<'static> {
        let rollout = Rollout {
            version: component(Level::Version, version),
            at: at(seconds).into(),
        };
        Seen {
            rollouts: vec![rollout],
            told: Vec::new(),
        }
    }

    fn told(from: u64, until: u64) -> Intervention {
        Intervention {
            kind: InterventionKind::Deployment,
            target: rekindle_model::Selector(vec![("service.name".into(), "catalog".into())]),
            from: at(from).into(),
            until: Some(at(until).into()),
            began: rekindle_model::Life::default(),
            ended_by: None,
            reference: "rollout 7, told by ci".into(),
        }
    }

    fn all_told<'a>(told: &'a Intervention, rollouts: Vec<Rollout>) -> Seen<'a> {
        Seen {
            rollouts,
            told: vec![ToldChange {
                told,
                units: BTreeSet::from(["catalog".into()]),
            }],
        }
    }

    /// Nothing of it shows in telemetry, and guards know of it until it is over.
    #[test]
    fn what_is_told_goes_on_until_it_is_over() {
        let unit = UnitName::from("catalog");
        let mut changes = Changes::default();
        let told = told(100, 700);
        for (seconds, last) in [
            (90, None),
            (100, Some(100)),
            (400, Some(400)),
            (701, Some(700)),
        ] {
            look_with(
                &mut changes,
                &[],
                &all_told(&told, Vec::new()),
                &status(None),
                seconds,
            );
            let found = changes.changes().get(&unit);
            assert_eq!(found.map(|it| it.at), last.map(at), "{seconds}");
            if let Some(found) = found {
                assert_eq!(found.what, "a deployment went on (rollout 7, told by ci)");
                assert_eq!((found.is_version, found.renewals), (false, 0));
                assert_eq!(found.goes_on, seconds < 700);
            }
        }
        // Once it is over it is as long ago as it is, also where the clock is set.
        let by = Duration::from_secs(7200);
        changes.shift(Shift { by, forward: true });
        look_with(
            &mut changes,
            &[],
            &all_told(&told, Vec::new()),
            &status(None),
            7901,
        );
        assert_eq!(changes.changes()[&unit].at, at(7900));
    }

    #[test]
    fn a_version_that_a_told_deployment_brings_stays_known_as_one() {
        let mut changes = Changes::default();
        let told = told(100, 700);
        for (seconds, what, is_version) in [
            (110, "a deployment went on (rollout 7, told by ci)", false),
            (120, "version 2 of catalog appeared", true),
            (130, "version 2 of catalog appeared", true),
        ] {
            let rollouts = match is_version {
                true => rolled_out("2", 120).rollouts,
                false => Vec::new(),
            };
            look_with(
                &mut changes,
                &[],
                &all_told(&told, rollouts),
                &status(None),
                seconds,
            );
            let change = &changes.changes()[&UnitName::from("catalog")];
            let found = (change.what.as_str(), change.is_version, change.at);
            assert_eq!(found, (what, is_version, at(seconds)));
        }
    }

    /// It may be any unit, until it is over and forgotten as any.
    #[test]
    fn what_is_told_of_what_no_unit_is_counts_for_all() {
        let mut changes = Changes::default();
        let told = told(100, 700);
        let seen = Seen {
            rollouts: Vec::new(),
            told: vec![ToldChange {
                told: &told,
                units: BTreeSet::new(),
            }],
        };
        for (seconds, expected) in [
            (90, None),
            (100, Some((100, true))),
            (400, Some((400, true))),
            (701, Some((700, false))),
            (800, Some((700, false))),
        ] {
            look_with(&mut changes, &[], &seen, &status(None), seconds);
            let mut around = Circumstances::default();
            add_common(&mut around, &changes, &AnalysisConfig::default());
            let found = around.unplaced.as_ref().map(|it| (it.at, it.goes_on));
            let expected = expected.map(|(seconds, goes_on)| (at(seconds), goes_on));
            assert_eq!(found, expected, "{seconds}");
            assert!(around.changes.is_empty());
            if let Some(found) = around.unplaced {
                let words =
                    "a deployment went on (rollout 7, told by ci) to what no unit is known to be";
                assert_eq!(found.what, words);
            }
        }
    }

    /// Whatever has the attributes that are told is meant, by what telemetry knows of it.
    #[test]
    fn whom_a_told_deployment_covers_is_found_by_its_attributes() {
        let mut analyzer = Analyzer::new(AnalysisConfig::default());
        let tree = tree();
        for (key, value, expected) in [
            ("service.name", "catalog", vec!["catalog"]),
            ("service.name", "nobody", Vec::new()),
        ] {
            let mut it = told(100, 700);
            it.target.0 = vec![(key.into(), value.into())];
            analyzer.intervene(it);
            let seen = Seen::by(&analyzer, &tree);
            let units: Vec<&str> = seen.told[0].units.iter().map(UnitName::as_str).collect();
            assert_eq!(units, expected, "{key}={value}");
        }
    }

    #[test]
    fn one_replica_of_two_that_crashes_again_and_again_is_one_stretch() {
        let instance = |name: &str| component(Level::Instance, name);
        let mut changes = Changes::default();
        let mut renewals = Vec::new();
        for seconds in (0..400).chain(900..910) {
            let crashing = format!("b{}", seconds / 100);
            let living = [instance("a"), instance(&crashing)];
            look(&mut changes, &living, &status(None), seconds);
            let found = changes.changes().get(&UnitName::from("catalog"));
            renewals.extend(found.map(|change| change.renewals));
        }
        renewals.dedup();
        assert_eq!(renewals, [0, 1, 2, 0]);
        changes.grew(&tree());
        assert_eq!(changes.changes().len(), 1);
        changes.grew(&RestartTree::empty());
        assert!(
            changes.changes().is_empty(),
            "no unit's name stays for ever"
        );
    }

    /// A rollout of a moment ago is one after the clock was set.
    #[test]
    fn what_changed_is_as_long_ago_when_the_clock_is_set() {
        let unit = UnitName::from("catalog");
        let hours = Duration::from_secs(7200);
        for forward in [true, false] {
            let set = |seconds: u64| match forward {
                true => seconds + hours.as_secs(),
                false => seconds - hours.as_secs(),
            };
            let mut changes = Changes::default();
            let two = rolled_out("2", 10_061);
            look_with(&mut changes, &[], &two, &status(None), 10_061);
            changes.shift(Shift { by: hours, forward });
            look_with(&mut changes, &[], &two, &status(None), set(10_065));
            assert_eq!(changes.changes()[&unit].at, at(set(10_061)));
            let three = rolled_out("3", set(10_070));
            look_with(&mut changes, &[], &three, &status(None), set(10_070));
            let change = &changes.changes()[&unit];
            assert_eq!(
                (change.at, change.renewals),
                (at(set(10_070)), 1),
                "{change:?}"
            );
        }
    }

    /// Each case: who is seen when, our own restart, and what changed in the end.
    #[test]
    fn a_rollout_is_what_we_did_not_start() {
        let instance = |name| component(Level::Instance, name);
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
                    (62, vec![instance("a"), instance("b")]),
                ],
                None,
                Some(("instance b of catalog appeared", 61, false)),
            ),
            // We restarted it.
            (
                vec![(0, vec![instance("a")]), (61, vec![instance("b")])],
                Some(50),
                None,
            ),
            // Long ago.
            (
                vec![
                    (0, vec![instance("a")]),
                    (300, vec![instance("a"), instance("b")]),
                    (310, vec![instance("a"), instance("b")]),
                ],
                Some(50),
                Some(("instance b of catalog appeared", 300, false)),
            ),
            // It only replaces one that crashed.
            (
                vec![
                    (0, vec![instance("a")]),
                    (61, vec![instance("b")]),
                    (62, vec![instance("b")]),
                    (101, vec![instance("c")]),
                    (102, vec![instance("c")]),
                ],
                None,
                None,
            ),
            (vec![(0, vec![instance("a")]), (61, vec![])], None, None),
        ] {
            let mut changes = Changes::default();
            for (seconds, components) in &seen {
                look(&mut changes, components, &status(restarted), *seconds);
            }
            let found = changes.changes().get(&UnitName::from("catalog"));
            let found = found.map(|change| (change.what.as_str(), change.at, change.is_version));
            let expected =
                expected.map(|(what, seconds, is_version)| (what, at(seconds), is_version));
            assert_eq!(found, expected, "{seen:?}");
        }
    }

    /// A clock that is set back makes none of our restarts one that is yet to be, by which all that is new would be ours.
    #[test]
    fn a_restart_is_as_long_ago_as_it_was_when_the_clock_is_set() {
        for (by, forward) in [(7200, false), (7200, true)] {
            for (again, is_change) in [(200, true), (30, false)] {
                let status = status(Some(8000));
                let mut changes = Changes::default();
                look(&mut changes, &[], &status, 8010);
                let by_time = Duration::from_secs(by);
                changes.shift(Shift {
                    by: by_time,
                    forward,
                });
                let now = if forward { 8010 + by } else { 8010 - by };
                let two = rolled_out("2", now + again);
                look_with(&mut changes, &[], &two, &status, now + again);
                let found = changes.changes().len() == 1;
                assert_eq!(found, is_change, "{by} {forward} {again}");
            }
        }
        // Who starts after the clock was set back finds it so in the ledger.
        let mut changes = Changes::default();
        let two = rolled_out("2", 300);
        look_with(&mut changes, &[], &two, &status(Some(8000)), 300);
        assert_eq!(changes.changes().len(), 1);
    }

    /// Each case: an action without an end of its own, and whether it still explains a new version.
    #[test]
    fn what_came_to_nothing_explains_nothing_for_ever() {
        let failed = serde_json::json!({ "not_ready": { "reason": "503" } });
        for (outcome, judged_at, expected) in [
            (serde_json::Value::Null, None, false),
            (failed.clone(), None, true),
            (failed.clone(), Some(20), true),
            (failed, Some(250), false),
        ] {
            let mut status = serde_json::to_value(status(Some(10))).expect("written");
            status["recent"][0]["ready_at"] = serde_json::Value::Null;
            status["recent"][0]["outcome"] = outcome.clone();
            status["recent"][0]["judged_at"] = serde_json::json!(judged_at.map(at));
            let status = serde_json::from_value(status).expect("a status");
            let mut changes = Changes::default();
            let two = rolled_out("2", 300);
            look_with(&mut changes, &[], &two, &status, 300);
            let is_change = !changes.changes().is_empty();
            assert_eq!(is_change, expected, "{outcome} {judged_at:?}");
        }
    }

    #[test]
    fn load_is_compared_with_what_was_before() {
        let at = UnixNanos::from_secs;
        // Five a second, and twenty from then on.
        let came = |from: UnixNanos, until: UnixNanos| {
            let seconds = from.0.div_ceil(1_000_000_000)..until.0.div_ceil(1_000_000_000);
            seconds.map(|second| if second < 60 { 5 } else { 20 }).sum()
        };
        let found = load((at(0), at(74)), at(60), came).expect("enough is known");
        assert!(
            (found.usual - 5.0).abs() < 1e-9 && (found.now - 20.0).abs() < 1e-9,
            "{found:?}"
        );
        assert_eq!(load((at(0), at(28)), at(29), came), None);
    }
}
