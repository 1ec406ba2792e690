//! Which units fail because another does?
//!
//! Kept up to date from traces: every failed one, and of the others one in sixty-four, which then stands for
//! as many. Recovery is told whose failures make a suspect fail, so that it may try those, too, before what
//! contains both. And a unit that fails because another is being restarted isn't suspected: its failures
//! end with the restart.

use std::collections::{BTreeMap, HashMap};

use rekindle_model::{Name, Outline, Span, Status};
use rekindle_recovery::tree::failure_map::FailureMap;
use rekindle_recovery::{Evidence, RestartTree, Source, UnitName};

use crate::propagation::Pairs;

/// Of traces without any failure, one in so many is counted: looking up whose each span is takes as long as
/// receiving it.
const ONE_IN: u64 = 64;
/// After so many counted traces everything weighs half: at a hundred failed requests a minute that is a
/// week, and in a fault of a thousand a second it outlasts the fault.
const FADE_AFTER: u64 = 1_000_000;
/// Ways in which spans can belong to units that are remembered. Telemetry is written by strangers.
const MAX_KNOWN: usize = 10_000;

/// What was seen of units failing together.
#[derive(Debug, Default)]
pub(super) struct Spreading {
    units: Vec<UnitName>,
    number: BTreeMap<UnitName, usize>,
    /// The attributes that any unit asks for.
    keys: Vec<String>,
    known: HashMap<Vec<Option<Name>>, Option<usize>>,
    pairs: Pairs,
    counted: u64,
}

impl Spreading {
    pub(super) fn new(tree: &RestartTree) -> Self {
        let units: Vec<UnitName> = tree.units().map(|spec| spec.name.clone()).collect();
        let mut keys: Vec<String> = tree
            .units()
            .flat_map(|spec| spec.selector.keys().cloned())
            .collect();
        keys.sort();
        keys.dedup();
        let number = units.iter().cloned().zip(0..).collect();
        Self {
            units,
            number,
            keys,
            ..Self::default()
        }
    }

    /// Takes a trace, if it is one of those that are counted.
    pub(super) fn look(&mut self, outline: &Outline<'_>, tree: &RestartTree) {
        if self.keys.is_empty() {
            return;
        }
        let mut steps = outline.steps().iter();
        let is_failed = steps.any(|step| outline.shape(step).status == Status::Error);
        self.counted += 1;
        let stands_for = match is_failed {
            true => 1,
            false if self.counted.is_multiple_of(ONE_IN) => ONE_IN,
            false => return,
        };
        let trace = outline.trace();
        let spans = trace.spans().iter();
        let places: Vec<Option<usize>> = spans.map(|span| self.unit(span, tree)).collect();
        self.pairs.add(&trace, &places, stands_for);
        if self.counted >= FADE_AFTER {
            self.counted = 0;
            self.pairs.fade();
        }
    }

    /// Pairs of units in traces that found no room.
    pub(super) fn left_out(&self) -> u64 {
        self.pairs.left_out
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
        let map = self.pairs.map();
        let disturbed = self.disturbed(&map, restarting, tree);
        told.retain_mut(|evidence| {
            let before = evidence.suspects.len();
            evidence
                .suspects
                .retain(|suspect| !disturbed.contains(&&suspect.unit));
            for suspect in &evidence.suspects {
                let sources = self.sources(&map, &suspect.unit);
                if !sources.is_empty() {
                    let all = &mut evidence.circumstances.sources;
                    all.insert(suspect.unit.clone(), sources);
                }
            }
            evidence.closed || before == 0 || !evidence.suspects.is_empty()
        });
    }

    fn sources(&self, map: &FailureMap, unit: &UnitName) -> Vec<Source> {
        let Some(number) = self.number.get(unit) else {
            return Vec::new();
        };
        map.sources(*number)
            .map(|(source, share)| Source {
                unit: self.units[source].clone(),
                share,
            })
            .collect()
    }

    /// Who fails when something does that is being restarted, and isn't being restarted itself.
    fn disturbed(
        &self,
        map: &FailureMap,
        restarting: &[UnitName],
        tree: &RestartTree,
    ) -> Vec<&UnitName> {
        let away = |unit: &UnitName| restarting.iter().any(|one| tree.contains(one, unit));
        restarting
            .iter()
            .flat_map(|one| tree.subtree(one))
            .filter_map(|unit| self.number.get(unit))
            .flat_map(|source| map.targets(*source))
            .map(|target| &self.units[target])
            // What contains it isn't well without it either, but may be what is really ill.
            .filter(|unit| !away(unit) && !restarting.iter().any(|one| tree.contains(unit, one)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rekindle_recovery::{Circumstances, FaultSignature, SuspectUnit};

    use super::*;
    use crate::engine::mapping::tests::tree;

    /// Search asks items; of a hundred requests in which items fails, search fails in all.
    fn seen() -> Spreading {
        let tree = tree();
        let mut spreading = Spreading::new(&tree);
        let number = |name: &str| spreading.number[&UnitName::from(name)];
        let places = [
            Some(number("catalog.search")),
            Some(number("catalog.items")),
        ];
        for (is_failed, count) in [(true, 100), (false, 1000)] {
            let trace = crate::propagation::testing::asks(is_failed, is_failed);
            spreading.pairs.add(&trace, &places, count);
        }
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
}
