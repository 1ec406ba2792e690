//! Which units fail because another does?
//!
//! Kept up to date from traces: every failed one, and of the others one in sixty-four, which then stands for
//! as many. Recovery is told whose failures make a suspect fail, so that it may try those, too, before what
//! contains both. And a unit that fails because another is being restarted isn't suspected: its failures
//! end with the restart. What was recorded of recoveries says who fails after whose restart, too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use rekindle_model::{Name, Outline, Span, Status, UnixNanos};
use rekindle_recovery::executor::ActionId;
use rekindle_recovery::judge::Verdict;
use rekindle_recovery::ledger::Outcome;
use rekindle_recovery::service::{ActionView, RecoveryId};
use rekindle_recovery::tree::failure_map::{Away, FailureMap, GROUPED, after_restarts, infer};
use rekindle_recovery::tree::inferred::cured_together;
use rekindle_recovery::tree::propose::{Attempt, Episode, Step, episodes};
use rekindle_recovery::tree::{Group, Inferred};
use rekindle_recovery::{Evidence, RestartTree, Source, UnitName};

use crate::propagation::Pairs;
use crate::view::{FailsWithView, UnitView};

/// Of traces without any failure, one in so many is counted: looking up whose each span is takes as long as
/// receiving it.
const ONE_IN: u64 = 64;
/// No trace of more spans is counted: in one, each span may be asked by each other.
const MAX_SPANS: usize = 1_000;
/// So many steps (spans, and spans above each) are taken in a second, a few hundredths of a processor:
/// whoever sends traces decides how many of them fail, and everybody else waits meanwhile. Five thousand
/// usual traces of ten spans.
const MAX_STEPS_A_SECOND: u64 = 200_000;
/// After so many counted traces everything weighs half: at a hundred failed requests a minute that is a
/// week, and in a fault of a thousand a second it outlasts the fault.
const FADE_AFTER: u64 = 1_000_000;
/// Ways in which spans can belong to units that are remembered. Telemetry is written by strangers.
const MAX_KNOWN: usize = 10_000;
/// What follows is inferred anew after this time: of ten thousand units that takes a few milliseconds, and
/// an incident's first ranking takes as long to come.
const INFER_EVERY: Duration = Duration::from_secs(1);

/// Of a tree in which units come and go, so many times as many as it has are told apart before all is counted anew …
const MOST_GONE: usize = 4;
/// … where it has at least so many: counting anew forgets what was seen, and a few names cost nothing.
const LEAST_UNITS: usize = 250;
/// A share that is other than before by less than this is the same: what it was inferred from changes all the time.
const ANOTHER_SHARE: f64 = 0.1;
/// Recorded actions that are looked at: of a unit that is restarted once a week beside others, some years.
const MAX_ACTIONS: usize = 1_000;

/// What was seen of units failing together.
#[derive(Debug, Default)]
pub(super) struct Spreading {
    units: Vec<UnitName>,
    number: BTreeMap<UnitName, usize>,
    /// Which of them the tree has.
    there: Vec<bool>,
    /// The attributes that any unit asks for.
    keys: Vec<String>,
    known: HashMap<Vec<Option<Name>>, Option<usize>>,
    pairs: Pairs,
    /// Traces without any failure.
    well: u64,
    /// Failed traces for which there was no time since the last that was counted, which stands for them.
    passed_over: u64,
    /// When this second began, and steps taken in it.
    second: Option<UnixNanos>,
    steps: u64,
    /// Traces counted since everything was last halved.
    counted: u64,
    /// Traces of too many spans.
    too_long: u64,
    map: FailureMap,
    /// What was recorded of restarts, and who fails after whose.
    actions: BTreeMap<ActionId, Recorded>,
    recorded: FailureMap,
    /// Who was cured only together, by what was recorded.
    cured_together: Vec<Group>,
    inferred_at: Option<UnixNanos>,
}

impl Spreading {
    pub(super) fn new(tree: &RestartTree) -> Self {
        let units: Vec<UnitName> = tree.units().map(|spec| spec.name.clone()).collect();
        let number = units.iter().cloned().zip(0..).collect();
        Self {
            there: there(&units, tree),
            units,
            number,
            keys: keys(tree),
            ..Self::default()
        }
    }

    /// The tree is another now. What was seen of those units that stay is kept; those that are gone keep their places
    /// until they are most.
    pub(super) fn follow(&mut self, tree: &RestartTree) {
        if self.units.len() > MOST_GONE * tree.len().max(LEAST_UNITS) {
            let actions = std::mem::take(&mut self.actions);
            *self = Self::new(tree);
            self.actions = actions;
            self.infer_recorded(tree);
            return;
        }
        self.keys = keys(tree);
        self.known.clear();
        for spec in tree.units() {
            if !self.number.contains_key(&spec.name) {
                self.number.insert(spec.name.clone(), self.units.len());
                self.units.push(spec.name.clone());
            }
        }
        self.there = there(&self.units, tree);
    }

    /// Takes a trace, if it is one of those that are counted.
    pub(super) fn look(&mut self, outline: &Outline<'_>, tree: &RestartTree, now: UnixNanos) {
        if self.keys.is_empty() {
            return;
        }
        let mut steps = outline.steps().iter();
        let is_failed = steps.any(|step| outline.shape(step).status == Status::Error);
        let Some(stands_for) = self.stands_for(is_failed, outline.steps().len(), now) else {
            return;
        };
        let trace = outline.trace();
        let spans = trace.spans().iter();
        let places: Vec<Option<usize>> = spans.map(|span| self.unit(span, tree)).collect();
        self.steps += self.pairs.add(&trace, &places, stands_for);
    }

    /// How many traces this one is counted for, if it is counted.
    fn stands_for(&mut self, is_failed: bool, spans: usize, now: UnixNanos) -> Option<u64> {
        if spans > MAX_SPANS {
            self.too_long += 1;
            return None;
        }
        let is_over = |began: UnixNanos| now.since(began) >= Duration::from_secs(1);
        if self.second.is_none_or(is_over) {
            self.second = Some(now);
            self.steps = 0;
        }
        let has_time = self.steps < MAX_STEPS_A_SECOND;
        let stands_for = if is_failed {
            self.passed_over += 1;
            if !has_time {
                return None;
            }
            std::mem::take(&mut self.passed_over)
        } else {
            self.well += 1;
            // What is due while there is no time is counted as soon as there is.
            if self.well < ONE_IN || !has_time {
                return None;
            }
            std::mem::take(&mut self.well)
        };
        self.counted += 1;
        if self.counted >= FADE_AFTER {
            self.counted = 0;
            self.pairs.fade();
        }
        Some(stands_for)
    }

    /// Takes what was recorded of restarts, in any order; what is known of one already is replaced.
    pub(super) fn record(&mut self, actions: &[ActionView], tree: &RestartTree) {
        let mut is_news = false;
        for action in actions {
            let known = self.actions.get(&action.action);
            if known.is_some_and(|known| known.is_of(action)) {
                continue;
            }
            self.actions.insert(action.action, Recorded::of(action));
            is_news = true;
        }
        while self.actions.len() > MAX_ACTIONS {
            self.actions.pop_first();
        }
        if is_news {
            self.infer_recorded(tree);
        }
    }

    fn infer_recorded(&mut self, tree: &RestartTree) {
        let number = |unit: &UnitName| self.number.get(unit).copied();
        let done = self.actions.values().filter(|action| !action.is_refused);
        let done = done.filter_map(|action| {
            Some(Away {
                unit: number(&action.unit)?,
                from: action.from,
                until: action.until?,
            })
        });
        // A recovery's first restart is of whom it began with; what was refused tells nothing of him, and orders accuse
        // nobody.
        let mut first: BTreeMap<RecoveryId, &Recorded> = BTreeMap::new();
        for action in self.actions.values().filter(|it| it.began.is_some()) {
            first.entry(action.recovery).or_insert(action);
        }
        let alarms = first.values().filter(|action| !action.is_refused);
        let alarms = alarms.filter_map(|action| Some((number(&action.target)?, action.began?)));
        let mut seen = after_restarts(&done.collect::<Vec<_>>(), &alarms.collect::<Vec<_>>());
        // Whose restart brings the other's can't be followed by it.
        seen.retain(|seen| !tree.overlap(&self.units[seen.source], &self.units[seen.target]));
        self.recorded = infer(&seen);
        let steps = self.actions.values().filter_map(Recorded::step);
        let episodes: Vec<Episode> = episodes(steps).into_values().collect();
        self.cured_together = cured_together(tree, &episodes);
    }

    /// What follows for the tree: who goes together, by recoveries or because each makes the other fail more often than not,
    /// and who is restarted after whom, because he fails after that one's restart more often than not. What hardly changed
    /// since `last` is as it was then: whoever goes by it lays out a tree.
    pub(super) fn inferred(&self, last: &Inferred) -> Inferred {
        let name = |unit: &usize| self.units[*unit].clone();
        let is_there = |unit: &usize| self.there[*unit];
        let of_traces = self
            .map
            .groups
            .iter()
            .filter(|ring| ring.iter().all(is_there));
        let of_traces = of_traces.map(|ring| {
            let mut members: Vec<UnitName> = ring.iter().map(name).collect();
            members.sort();
            let names: Vec<&str> = members.iter().map(UnitName::as_str).collect();
            Group {
                share: self.map.least_within(ring),
                is_proven: false,
                why: format!(
                    "{} make each other fail more often than not",
                    names.join(" and ")
                ),
                members,
            }
        });
        let mut groups: Vec<Group> = Vec::new();
        for mut group in self.cured_together.iter().cloned().chain(of_traces) {
            let is_it = |other: &&Group| other.members == group.members;
            let before = last.groups.iter().find(is_it);
            let is_near = |before: &&Group| (before.share - group.share).abs() < ANOTHER_SHARE;
            if groups.iter().all(|other| !is_it(&other)) {
                if let Some(before) = before.filter(is_near) {
                    group.share = before.share;
                }
                groups.push(group);
            }
        }
        let edges = self.recorded.edges.iter();
        let strong = edges.filter(|edge| edge.least > GROUPED);
        let strong = strong.filter(|edge| is_there(&edge.source) && is_there(&edge.target));
        Inferred {
            groups,
            orders: strong
                .map(|edge| (name(&edge.source), name(&edge.target)))
                .collect(),
        }
    }

    /// Infers what follows from what was seen, when it is time to.
    pub(super) fn refresh(&mut self, now: UnixNanos) {
        let is_due = |last: UnixNanos| now.since(last) >= INFER_EVERY;
        if !self.keys.is_empty() && self.inferred_at.is_none_or(is_due) {
            self.inferred_at = Some(now);
            self.map = self.pairs.map(&self.map);
        }
    }

    /// Says of a unit whose failures make it fail.
    pub(super) fn describe(&self, view: &mut UnitView) {
        let sources = self.sources(&UnitName(view.name.clone()));
        view.fails_with = sources
            .into_iter()
            .map(|source| FailsWithView {
                unit: source.unit.to_string(),
                share: source.share,
            })
            .collect();
        let number = self.number.get(&UnitName(view.name.clone()));
        let before = number.into_iter().flat_map(|at| self.recorded.sources(*at));
        view.fails_after = before
            .filter(|(source, _)| self.there[*source])
            .map(|(source, share)| FailsWithView {
                unit: self.units[source].to_string(),
                share,
            })
            .collect();
    }

    /// Pairs of units in traces that found no room.
    pub(super) fn left_out(&self) -> u64 {
        self.pairs.left_out
    }

    /// Traces of more spans than are counted.
    pub(super) const fn too_long(&self) -> u64 {
        self.too_long
    }

    fn unit(&mut self, span: &Span, tree: &RestartTree) -> Option<usize> {
        let values: Vec<Option<Name>> = self
            .keys
            .iter()
            .map(|key| span.attribute(key).map(Name::from))
            .collect();
        if let Some(known) = self.known.get(&values) {
            return *known;
        }
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let attributes = self
            .keys
            .iter()
            .zip(&values)
            .filter_map(|(key, value)| Some((key.clone(), value.as_ref()?.to_string())))
            .collect();
        let unit = tree
            .resolve(&attributes)
            .and_then(|found| self.number.get(&found.unit).copied());
        self.known.insert(values, unit);
        unit
    }

    /// Tells each piece of evidence whose failures make its suspects fail, and takes those suspects out that
    /// fail because of a restart under way. Evidence that is left without any is not told.
    pub(super) fn add(
        &self,
        told: &mut Vec<Evidence>,
        restarting: &[UnitName],
        tree: &RestartTree,
    ) {
        if told.is_empty() {
            return;
        }
        let disturbed = self.disturbed(restarting, tree);
        told.retain_mut(|evidence| {
            // Whose process ended isn't excused by whom it asked, nor cured by that one's restart.
            if evidence.signature.is_of_its_own() {
                return true;
            }
            let before = evidence.suspects.len();
            evidence
                .suspects
                .retain(|suspect| !disturbed.contains(&&suspect.unit));
            for suspect in &evidence.suspects {
                let sources = self.sources(&suspect.unit);
                if !sources.is_empty() {
                    let all = &mut evidence.circumstances.sources;
                    all.insert(suspect.unit.clone(), sources);
                }
            }
            evidence.closed || before == 0 || !evidence.suspects.is_empty()
        });
    }

    fn sources(&self, unit: &UnitName) -> Vec<Source> {
        let Some(number) = self.number.get(unit) else {
            return Vec::new();
        };
        self.map
            .sources(*number)
            .filter(|(source, _)| self.there[*source])
            .map(|(source, share)| Source {
                unit: self.units[source].clone(),
                share,
            })
            .collect()
    }

    /// Who mostly fails when something does that is being restarted, and isn't being restarted itself.
    fn disturbed(&self, restarting: &[UnitName], tree: &RestartTree) -> Vec<&UnitName> {
        let away = |unit: &UnitName| restarting.iter().any(|one| tree.contains(one, unit));
        restarting
            .iter()
            .flat_map(|one| tree.subtree(one))
            .filter_map(|unit| self.number.get(unit))
            .flat_map(|source| {
                let recorded = self.recorded.targets(*source);
                self.map.targets(*source).chain(recorded)
            })
            .filter(|(_, least)| *least > GROUPED)
            .map(|(target, _)| &self.units[target])
            // What contains it isn't well without it either, but may be what is really ill.
            .filter(|unit| !away(unit) && !restarting.iter().any(|one| tree.contains(unit, one)))
            .collect()
    }
}

/// An action, as far as it says who fails after whose restart.
#[derive(Debug, PartialEq)]
struct Recorded {
    recovery: RecoveryId,
    unit: UnitName,
    target: UnitName,
    /// When what it was meant to end began.
    began: Option<SystemTime>,
    from: SystemTime,
    until: Option<SystemTime>,
    is_refused: bool,
    verdict: Option<Verdict>,
}

impl Recorded {
    fn of(action: &ActionView) -> Self {
        Self {
            recovery: action.recovery,
            unit: action.unit.clone(),
            target: action.target.clone(),
            began: action.began.filter(|_| action.incident.is_some()),
            from: action.stopped_at.unwrap_or(action.intended_at),
            until: action.ready_at,
            is_refused: matches!(action.outcome, Some(Outcome::Refused { .. })),
            verdict: action.verdict,
        }
    }

    /// What it says of cures; nothing for what nobody suspected, and for what was refused.
    fn step(&self) -> Option<Step> {
        let began = self.began.filter(|_| !self.is_refused)?;
        Some(Step {
            recovery: self.recovery.0,
            unit: self.unit.clone(),
            attempt: Attempt {
                unit: self.target.clone(),
                began: Some(began),
                at: self.from,
                cured: match self.verdict? {
                    Verdict::Cured => Some(true),
                    Verdict::Helped | Verdict::NotCured => Some(false),
                    Verdict::Unknown => None,
                },
                downtime: None,
                failed_requests: None,
            },
        })
    }

    /// Whether nothing has come of the action since.
    fn is_of(&self, action: &ActionView) -> bool {
        self.until == action.ready_at
            && self.verdict == action.verdict
            && self.is_refused == matches!(action.outcome, Some(Outcome::Refused { .. }))
    }
}

/// The attributes that any unit asks for.
fn keys(tree: &RestartTree) -> Vec<String> {
    let selectors = tree.units().flat_map(|spec| spec.selector.keys().cloned());
    let keys: BTreeSet<String> = selectors.collect();
    keys.into_iter().collect()
}

fn there(units: &[UnitName], tree: &RestartTree) -> Vec<bool> {
    let is_there = |unit| tree.spec(unit).is_some();
    units.iter().map(is_there).collect()
}

#[cfg(test)]
mod tests {
    use rekindle_recovery::{Circumstances, FaultSignature, SuspectUnit};

    use super::*;
    use crate::engine::mapping::tests::tree;

    /// Search asks items; of a hundred requests in which items fails, search fails in all.
    fn seen() -> Spreading {
        seen_to_fail(100)
    }

    /// Of a hundred requests in which items fails, search fails in so many.
    fn seen_to_fail(also: u64) -> Spreading {
        let tree = tree();
        let mut spreading = Spreading::new(&tree);
        let number = |name: &str| spreading.number[&UnitName::from(name)];
        let places = [
            Some(number("catalog.search")),
            Some(number("catalog.items")),
        ];
        for (asking, asked, count) in [
            (true, true, also),
            (false, true, 100 - also),
            (false, false, 1000),
        ] {
            let trace = crate::propagation::testing::asks(asking, asked);
            spreading.pairs.add(&trace, &places, count);
        }
        spreading.refresh(UnixNanos::from_secs(1_000));
        spreading
    }

    fn evidence(suspects: &[&str]) -> Evidence {
        Evidence {
            incident: 1,
            at: SystemTime::UNIX_EPOCH,
            since: SystemTime::UNIX_EPOCH,
            signature: FaultSignature {
                request_types: Vec::new(),
                error_type: String::new(),
                shape: "raised".to_owned(),
            },
            suspects: suspects
                .iter()
                .map(|unit| SuspectUnit {
                    unit: (*unit).into(),
                    probability: 0.5,
                    two_sided: true,
                    reason: String::new(),
                })
                .collect(),
            baseline_failure_share: 0.0,
            failing_per_second: 1.0,
            traffic: BTreeMap::new(),
            closed: false,
            joined_into: None,
            circumstances: Circumstances::default(),
        }
    }

    #[test]
    fn recovery_is_told_whose_failures_make_a_suspect_fail() {
        let mut told = vec![evidence(&["catalog.search"]), evidence(&["catalog.items"])];
        seen().add(&mut told, &[], &tree());
        let sources = |at: usize| &told[at].circumstances.sources;
        let of_search = &sources(0)[&UnitName::from("catalog.search")];
        assert_eq!(of_search[0].unit, "catalog.items".into());
        assert!(of_search[0].share > 0.9, "{of_search:?}");
        assert!(sources(1).is_empty());
        let mut shown = UnitView {
            name: "catalog.search".to_owned(),
            ..UnitView::default()
        };
        seen().describe(&mut shown);
        assert_eq!(shown.fails_with[0].unit, "catalog.items");
    }

    /// Items restarted so often an hour apart, each time followed by a recovery of search.
    fn recorded(times: u64) -> Vec<ActionView> {
        let action = |number: u64, unit: &str, second: u64| -> ActionView {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            serde_json::from_value(serde_json::json!({
                "action": number, "recovery": number, "incident": number, "unit": unit, "target": unit,
                "signature": null, "by": "auto", "reason": "", "generation": 2, "began": at, "intended_at": at,
                "stopped_at": at, "ready_at": at + Duration::from_secs(1), "outcome": null,
                "verdict": null, "relief": null, "failed_requests": null, "judged": null,
                "judged_at": null, "plan": null,
            }))
            .expect("an action")
        };
        let hours = (1..=times).rev().map(|hour| 3600 * hour);
        hours
            .flat_map(|at| {
                [
                    action(at + 1, "catalog.search", at + 20),
                    action(at, "catalog.items", at),
                ]
            })
            .collect()
    }

    #[test]
    fn who_failed_after_restarts_is_not_suspected_during_the_next_one() {
        let restarting = ["catalog.items".into()];
        for (times, is_suspected) in [(2, true), (6, false)] {
            let mut spreading = Spreading::new(&tree());
            spreading.record(&recorded(times), &tree());
            let mut told = vec![evidence(&["catalog.search"])];
            spreading.add(&mut told, &restarting, &tree());
            assert_eq!(told.len(), usize::from(is_suspected), "{times}");
            // It is nobody's source: where the fault sits, a restart that it followed doesn't say.
            let mut told = vec![evidence(&["catalog.search"])];
            spreading.add(&mut told, &[], &tree());
            assert!(told[0].circumstances.sources.is_empty());
            let mut shown = UnitView {
                name: "catalog.search".to_owned(),
                ..UnitView::default()
            };
            spreading.describe(&mut shown);
            assert_eq!(shown.fails_after.is_empty(), is_suspected);
            assert_eq!(shown.why_it_fails().next().is_none(), is_suspected);
        }
    }

    #[test]
    fn who_fell_sick_before_the_restart_or_was_refused_does_not_fail_after_it() {
        let restarting = ["catalog.items".into()];
        let search = |action: &&mut ActionView| action.unit.as_str() == "catalog.search";
        let sick_before = |actions: &mut Vec<ActionView>| {
            for action in actions.iter_mut().filter(search) {
                action.began = action.began.map(|at| at - Duration::from_secs(30));
            }
        };
        let refused = |actions: &mut Vec<ActionView>| {
            for action in actions.iter_mut().filter(search) {
                let reason = String::new();
                action.outcome = Some(Outcome::Refused {
                    reason,
                    is_felt: false,
                });
            }
        };
        // Whom a recovery came to because its first restart was refused didn't begin with it.
        let second = |actions: &mut Vec<ActionView>| {
            let searched: Vec<ActionView> = actions
                .iter_mut()
                .filter(search)
                .map(|it| it.clone())
                .collect();
            refused(actions);
            for action in actions.iter_mut().filter(search) {
                action.unit = "catalog".into();
                action.target = "catalog".into();
            }
            actions.extend(searched.into_iter().map(|mut action| {
                action.action.0 += 1_000_000;
                action
            }));
        };
        type Change<'a> = &'a dyn Fn(&mut Vec<ActionView>);
        for change in [&sick_before as Change<'_>, &refused, &second] {
            let mut actions = recorded(6);
            change(&mut actions);
            let mut spreading = Spreading::new(&tree());
            spreading.record(&actions, &tree());
            let mut told = vec![evidence(&["catalog.search"])];
            spreading.add(&mut told, &restarting, &tree());
            assert_eq!(told.len(), 1);
        }
    }

    /// From pairs of traces and from recorded restarts to what recovery is told of the tree.
    #[test]
    fn who_goes_together_and_after_whom_is_inferred() {
        let mut spreading = seen();
        let nothing = Inferred::default();
        assert_eq!(spreading.inferred(&nothing), nothing);
        // The other way round, too: each takes the other along.
        let number = |name: &str| spreading.number[&UnitName::from(name)];
        let (search, items) = (number("catalog.search"), number("catalog.items"));
        for (asking, asked, count) in [(true, true, 90), (false, true, 10), (false, false, 1000)] {
            let trace = crate::propagation::testing::asks(asking, asked);
            spreading
                .pairs
                .add(&trace, &[Some(items), Some(search)], count);
        }
        spreading.refresh(UnixNanos::from_secs(2_000));
        spreading.record(&recorded(6), &tree());
        let told = spreading.inferred(&nothing);
        let [group] = &told.groups[..] else {
            panic!("{told:?}");
        };
        assert_eq!(group.name(), "catalog.items+catalog.search".into());
        assert!(group.share > GROUPED && group.share < 1.0, "{group:?}");
        assert_eq!(
            told.orders,
            [("catalog.items".into(), "catalog.search".into())]
        );
        // What hardly changed is told as before.
        let mut before = told.clone();
        before.groups[0].share -= ANOTHER_SHARE / 2.0;
        assert_eq!(spreading.inferred(&before), before);
        before.groups[0].share -= ANOTHER_SHARE;
        assert_eq!(spreading.inferred(&before), told);
    }

    /// Each of the two in vain, then all, three times.
    #[test]
    fn who_was_cured_only_together_goes_together() {
        let action = |number: u64, recovery: u64, unit: &str, target: &str, verdict: &str| {
            let mut action = recorded(1)[0].clone();
            action.action.0 = number;
            action.recovery.0 = recovery;
            action.unit = unit.into();
            action.target = target.into();
            action.verdict = serde_json::from_value(verdict.into()).expect("a verdict");
            action
        };
        let (search, items) = ("catalog.search", "catalog.items");
        for (times, last, expected) in [(2, "cured", 0), (3, "cured", 1), (3, "helped", 0)] {
            let actions: Vec<ActionView> = (0..times)
                .flat_map(|at| {
                    [
                        action(10 * at, at, search, search, "not_cured"),
                        action(10 * at + 1, at, items, items, "not_cured"),
                        action(10 * at + 2, at, "catalog", "catalog", last),
                    ]
                })
                .collect();
            let mut spreading = Spreading::new(&tree());
            // A verdict comes after its action.
            let undecided: Vec<ActionView> = actions
                .iter()
                .map(|action| ActionView {
                    verdict: None,
                    ..action.clone()
                })
                .collect();
            spreading.record(&undecided, &tree());
            spreading.record(&actions, &tree());
            let told = spreading.inferred(&Inferred::default());
            assert_eq!(told.groups.len(), expected, "{times} {last} {told:?}");
        }
    }

    #[test]
    fn what_was_recorded_before_the_last_fifty_still_counts() {
        let restarting = ["catalog.items".into()];
        let mut spreading = Spreading::new(&tree());
        // As it comes: a few at a time, each of the few twice.
        for actions in recorded(6).rchunks(4) {
            spreading.record(actions, &tree());
            spreading.record(actions, &tree());
        }
        let mut told = vec![evidence(&["catalog.search"])];
        spreading.add(&mut told, &restarting, &tree());
        assert!(told.is_empty());
    }

    #[test]
    fn what_was_seen_is_looked_at_anew_after_a_while_only() {
        let mut spreading = seen();
        spreading.pairs = Pairs::default();
        spreading.refresh(UnixNanos::from_secs(1_000).plus(INFER_EVERY / 2));
        assert!(!spreading.map.edges.is_empty());
        spreading.refresh(UnixNanos::from_secs(1_000).plus(INFER_EVERY));
        assert!(spreading.map.edges.is_empty());
    }

    #[test]
    fn who_fails_because_of_a_restart_is_not_suspected() {
        let restarting = ["catalog.items".into()];
        for (suspects, expected) in [
            (&["catalog.search"][..], None),
            (&["catalog.search", "catalog"], Some(1)),
            // It may not have helped.
            (&["catalog.items"], Some(1)),
            (&[], Some(0)),
        ] {
            let mut told = vec![evidence(suspects)];
            seen().add(&mut told, &restarting, &tree());
            let left = told.first().map(|evidence| evidence.suspects.len());
            assert_eq!(left, expected, "{suspects:?}");
        }
    }

    #[test]
    fn a_process_that_ended_is_suspected_whoever_is_restarted() {
        let restarting = ["catalog.items".into()];
        for (shape, also, expected) in [
            ("exited", 100, 1),
            ("out_of_bounds", 100, 1),
            ("wrong_answer", 100, 0),
            ("raised", 100, 0),
            // A third of them doesn't explain the failures.
            ("raised", 33, 1),
        ] {
            let mut told = vec![evidence(&["catalog.search"])];
            told[0].signature.shape = shape.to_owned();
            seen_to_fail(also).add(&mut told, &restarting, &tree());
            assert_eq!(told.len(), expected, "{shape} {also}");
        }
    }

    #[test]
    fn only_what_is_counted_makes_the_rest_fade() {
        let mut spreading = seen();
        let now = UnixNanos::from_secs(1_000);
        let all: u64 = (0..FADE_AFTER)
            .filter_map(|_| spreading.stands_for(false, 10, now))
            .sum();
        assert_eq!((all, spreading.counted), (FADE_AFTER, FADE_AFTER / ONE_IN));
        let before = spreading.pairs.map(&FailureMap::default()).edges[0];
        for _ in 0..FADE_AFTER {
            spreading.stands_for(true, 10, now);
        }
        let after = spreading.pairs.map(&FailureMap::default()).edges[0];
        assert!(after.least < before.least, "{before:?} {after:?}");
    }

    #[test]
    fn a_flood_of_failed_traces_is_counted_by_those_there_is_time_for() {
        let mut spreading = seen();
        let now = UnixNanos::from_secs(1_000);
        assert_eq!(spreading.stands_for(true, 10, now), Some(1));
        spreading.steps = MAX_STEPS_A_SECOND;
        for _ in 0..5 {
            assert_eq!(spreading.stands_for(true, 10, now), None);
        }
        for _ in 0..ONE_IN + 6 {
            assert_eq!(spreading.stands_for(false, 10, now), None);
        }
        let later = now.plus(Duration::from_secs(1));
        assert_eq!(spreading.stands_for(true, 10, later), Some(6));
        assert_eq!(spreading.stands_for(false, 10, later), Some(ONE_IN + 7));
        assert_eq!(spreading.stands_for(true, MAX_SPANS + 1, later), None);
        assert_eq!(spreading.too_long(), 1);
    }
}
