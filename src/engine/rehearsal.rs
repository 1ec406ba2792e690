//! What would Rekindle have done? Recorded spans go the way of live ones, in the recording's own time.
//!
//! The same assembler, analysis, mapping, planner and guards as the daemon's, driven by a clock that the caller moves.
//! There is nothing here that could act: no executor, no ledger, no recovery's service. So the recording goes on as it
//! went, and each incident gets the first thing that would have been done about it, planned anew as evidence grows. What
//! would have come of it, nobody knows; nothing is learned, and no budget is used up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rekindle_analysis::{Analyzer, Change, ClosingReason, Verdict};
use rekindle_ingest::assembly::Assembler;
use rekindle_model::{Intervention, Span, UnixNanos};
use rekindle_recovery::belief::{Beliefs, Learned};
use rekindle_recovery::cost::Costs;
use rekindle_recovery::guard::{self, Authority, Deed, Down, World};
use rekindle_recovery::plan::{Choice, Constraints, Plan, plan};
use rekindle_recovery::tree::Inferred;
use rekindle_recovery::{Evidence, Policy, RestartTree, UnitName, sick_together};
use serde::Serialize;

use super::circumstances::{self, Changes};
use super::mapping;
use super::spreading::Spreading;
use crate::view::UtcTime;

/// An incident that has just begun is ranked as often as live …
const RANK_AT_FIRST: Duration = Duration::from_millis(200);

/// … for so long: by then who leads is settled or can't be told …
const AT_FIRST: Duration = Duration::from_secs(10);

/// … and then seldom enough that an hour of failures is replayed in minutes.
const RANK_LATER: Duration = Duration::from_secs(5);

/// A unit is sick when it is suspected as likely as that; less is one of many.
const SICK: f64 = 0.3;

/// What was planned is replaced by what is cheaper by more than this part, as in a proposal that waits.
const BETTER: f64 = 0.2;

/// So many suspects are told: whom nobody reads of needs no line.
const TOLD_SUSPECTS: usize = 3;

/// A suspect, as it is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Suspected {
    /// Its names; more than one where no request tells them apart.
    pub(crate) component: String,
    /// The unit that contains it.
    pub(crate) unit: Option<String>,
    /// In `[0, 1]`; `None` where samplers make it unknown.
    pub(crate) confidence: Option<f64>,
    /// Why.
    pub(crate) sentence: String,
}

/// What a daemon would have said or wanted, and when.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Happening {
    /// Requests began to fail.
    Opened {
        at: UtcTime,
        incident: u64,
        since: UtcTime,
        request_types: Vec<String>,
    },
    /// Somebody else leads the suspects than before, twice in a row.
    Ranked {
        at: UtcTime,
        incident: u64,
        suspects: Vec<Suspected>,
    },
    /// Something else would be done first than before, or other guards would refuse it.
    Planned {
        at: UtcTime,
        incident: u64,
        choice: String,
        /// The units whose executors would be called, in this order.
        restarts: Vec<String>,
        sentence: String,
        /// Whether it would be done with nobody watching.
        unattended: bool,
        /// Why not.
        refusals: Vec<String>,
    },
    /// Requests are well again, or there are none.
    Closed {
        at: UtcTime,
        incident: u64,
        recovered: bool,
        /// The incident that goes on with its requests, where both turned out to have one cause.
        #[serde(skip_serializing_if = "Option::is_none")]
        joined: Option<u64>,
    },
}

/// What is known of an open incident.
#[derive(Debug, Default)]
struct Case {
    ranked_at: Option<UnixNanos>,
    /// Who led the last ranking, where its evidence sufficed.
    led: Option<String>,
    /// Who led what was told last.
    told: Option<String>,
    evidence: Option<Evidence>,
    wait_until: Option<UnixNanos>,
    planned: Option<(Plan, Vec<guard::Refusal>)>,
}

/// The parts of a daemon that only think.
pub(crate) struct Rehearsal {
    assembler: Assembler,
    analyzer: Analyzer,
    tree: RestartTree,
    /// Who fails with whom, by the recording so far; of recoveries there is none.
    spreading: Spreading,
    inferred: Inferred,
    /// The tree with what is inferred from that: what plans are about.
    grown: RestartTree,
    policy: Policy,
    beliefs: Beliefs,
    costs: Costs,
    changes: Changes,
    executors: BTreeSet<UnitName>,
    cases: BTreeMap<u64, Case>,
    traces: u64,
}

impl Rehearsal {
    pub(crate) fn new(
        assembler: Assembler,
        analyzer: Analyzer,
        tree: RestartTree,
        policy: Policy,
        seeds: &Learned,
    ) -> Self {
        let with_executor = tree.units().filter(|unit| unit.executor.is_some());
        Self {
            executors: with_executor.map(|unit| unit.name.clone()).collect(),
            beliefs: Beliefs::new(policy.half_life).with_seeds(seeds.beliefs.iter().cloned()),
            costs: Costs::new(policy.half_life).with_seeds(seeds.costs.iter().cloned()),
            changes: Changes::default(),
            cases: BTreeMap::new(),
            traces: 0,
            spreading: Spreading::new(&tree),
            inferred: Inferred::default(),
            grown: tree.clone(),
            assembler,
            analyzer,
            tree,
            policy,
        }
    }

    /// Whether there is any unit that a plan could be about.
    pub(crate) fn has_units(&self) -> bool {
        !self.tree.is_empty()
    }

    /// Complete traces so far.
    pub(crate) fn traces(&self) -> u64 {
        self.traces
    }

    /// Whether nothing waits: no trace is open, and no incident.
    pub(crate) fn is_idle(&self) -> bool {
        self.cases.is_empty() && self.assembler.in_flight().traces == 0
    }

    /// Incidents that are not over.
    pub(crate) fn open_incidents(&self) -> usize {
        self.cases.len()
    }

    /// Whether traces wait for their last spans.
    pub(crate) fn has_open_traces(&self) -> bool {
        self.assembler.in_flight().traces > 0
    }

    /// Sets apart what this lies on, as when it is told to a daemon.
    pub(crate) fn intervene(&mut self, told: Intervention) {
        self.analyzer.intervene(told);
    }

    /// These spans came by `now`, which never goes back; what happened thereupon.
    pub(crate) fn step(
        &mut self,
        spans: impl IntoIterator<Item = Span>,
        now: UnixNanos,
    ) -> Vec<Happening> {
        for span in spans {
            self.analyzer.span(&span, now);
            self.assembler.push(span, now);
        }
        let (analyzer, traces) = (&mut self.analyzer, &mut self.traces);
        let (spreading, tree) = (&mut self.spreading, &self.tree);
        self.assembler.poll_outlines(now, |outlines| {
            *traces += outlines.len() as u64;
            for outline in outlines {
                spreading.look(outline, tree, now);
            }
            analyzer.outlines(outlines, now);
        });
        let changes = analyzer.tick(now);
        self.infer(now);
        let analyzer = &self.analyzer;
        self.changes.follow(analyzer, &self.tree, &[], now);
        let mut told = Vec::new();
        for change in changes {
            self.incident_changed(change, now, &mut told);
        }
        let open: Vec<u64> = self.cases.keys().copied().collect();
        for id in open {
            self.rank(id, now, &mut told);
        }
        told
    }

    /// As the engine does: who goes together and after whom is added to the tree that plans are about.
    fn infer(&mut self, now: UnixNanos) {
        self.spreading.refresh(now);
        let inferred = self.spreading.inferred(&self.inferred);
        if inferred != self.inferred {
            self.grown = self.tree.with_inferred(&inferred);
            self.inferred = inferred;
        }
    }

    fn incident_changed(&mut self, change: Change, now: UnixNanos, told: &mut Vec<Happening>) {
        let (Change::Opened(id) | Change::Updated(id) | Change::Closed(id)) = change;
        let mut incidents = self.analyzer.incidents().iter();
        let incident = incidents.find(|incident| incident.id == id);
        match (change, incident) {
            (Change::Opened(_), Some(incident)) => {
                self.cases.insert(id, Case::default());
                told.push(Happening::Opened {
                    at: now.into(),
                    incident: id,
                    since: incident.since.into(),
                    request_types: incident
                        .request_types
                        .iter()
                        .map(ToString::to_string)
                        .collect(),
                });
            }
            (Change::Closed(_), incident) => {
                // Masked failures have no case.
                if self.cases.remove(&id).is_none() {
                    return;
                }
                let closing = incident.and_then(|incident| incident.closed);
                told.push(Happening::Closed {
                    at: now.into(),
                    incident: id,
                    recovered: closing.is_some_and(|it| it.reason == ClosingReason::Recovered),
                    joined: closing.and_then(|it| match it.reason {
                        ClosingReason::Joined(into) => Some(into),
                        ClosingReason::Recovered | ClosingReason::Silent => None,
                    }),
                });
            }
            // What else it fails is in the next ranking.
            (Change::Opened(_) | Change::Updated(_), _) => {}
        }
    }

    fn rank(&mut self, id: u64, now: UnixNanos, told: &mut Vec<Happening>) {
        let mut incidents = self.analyzer.incidents().iter();
        let (Some(incident), Some(case)) = (
            incidents.find(|incident| incident.id == id),
            self.cases.get_mut(&id),
        ) else {
            return;
        };
        let is_new = now.since(incident.opened_at) <= AT_FIRST;
        let every = if is_new { RANK_AT_FIRST } else { RANK_LATER };
        if case.ranked_at.is_some_and(|last| now.since(last) < every) {
            return;
        }
        case.ranked_at = Some(now);
        let Some(ranking) = self.analyzer.rank(id) else {
            return;
        };
        let is_enough = ranking.verdict == Verdict::Enough;
        let leads = ranking.suspects.first().filter(|_| is_enough).map(named);
        // As the engine does: the first failed traces may lack spans, so that one ranking alone isn't told.
        let is_settled = leads.is_some() && case.led == leads;
        case.led = leads;
        if !is_settled {
            return;
        }
        if case.told != case.led {
            case.told.clone_from(&case.led);
            let suspects = ranking.suspects.iter().take(TOLD_SUSPECTS);
            told.push(Happening::Ranked {
                at: now.into(),
                incident: id,
                suspects: suspects
                    .map(|suspect| Suspected {
                        component: named(suspect),
                        unit: mapping::unit_of(suspect, &self.tree).map(|it| it.to_string()),
                        confidence: ranking.confidence(suspect),
                        sentence: suspect.sentence.clone(),
                    })
                    .collect(),
            });
        }
        let traffic = mapping::traffic(&self.analyzer, &self.tree);
        let wall = mapping::wall(now);
        let mut evidence =
            mapping::evidence(id, incident, Some(&ranking), &self.tree, &traffic, wall);
        if let Some(evidence) = &mut evidence {
            evidence.circumstances =
                circumstances::of(incident, Some(&ranking), &self.analyzer, &self.tree);
            let around = &mut evidence.circumstances;
            circumstances::add_common(around, &self.changes, self.analyzer.config());
        }
        let mut of_it = Vec::from_iter(evidence);
        self.spreading.add(&mut of_it, &[], &self.tree);
        let mut evidence = of_it.pop();
        if let Some(evidence) = &mut evidence {
            let others = self.cases.iter().filter(|(other, _)| **other != id);
            let others = others.filter_map(|(_, case)| case.evidence.as_ref());
            evidence.circumstances.sick_too = sick_together(evidence, others);
        }
        if let Some(case) = self.cases.get_mut(&id) {
            case.evidence = evidence;
        }
        if self.has_units() {
            self.plan(id, now, told);
        }
    }

    fn plan(&mut self, id: u64, now: UnixNanos, told: &mut Vec<Happening>) {
        let wall = mapping::wall(now);
        let Some((case, evidence)) = self
            .cases
            .get(&id)
            .and_then(|case| Some((case, case.evidence.as_ref()?)))
        else {
            return;
        };
        let excluded = BTreeSet::new();
        let constraints = Constraints {
            policy: &self.policy,
            costs: &self.costs,
            trials: &[],
            waited: case.wait_until.is_some_and(|until| until <= now),
            excluded: &excluded,
        };
        let mut next = plan(evidence, &self.grown, &self.beliefs, &constraints, wall);
        // A wait that is over isn't begun again.
        if let Some((last, _)) = &case.planned
            && last.choice != Choice::Wait
        {
            next.stay_with(&last.choice, BETTER, &self.grown);
        }
        let refusals = match &next.choice {
            Choice::Restart(target) => self.ask_guards(target, evidence, &next, now),
            Choice::Wait | Choice::Human => Vec::new(),
        };
        let guards = |refusals: &[guard::Refusal]| -> BTreeSet<String> {
            let guards = refusals
                .iter()
                .map(|refusal| format!("{:?}", refusal.guard));
            guards.collect()
        };
        let is_new = case.planned.as_ref().is_none_or(|(last, refused)| {
            last.choice != next.choice || guards(refused) != guards(&refusals)
        });
        if is_new {
            told.push(Happening::Planned {
                at: now.into(),
                incident: id,
                choice: next.choice.to_string(),
                restarts: next.restarts.iter().map(ToString::to_string).collect(),
                sentence: next.sentence.clone(),
                unattended: refusals.is_empty() && next.choice != Choice::Human,
                refusals: refusals.iter().map(|it| it.words.clone()).collect(),
            });
        }
        let waits = next.choice == Choice::Wait;
        let until = now.plus(self.policy.wait);
        if let Some(case) = self.cases.get_mut(&id) {
            if waits {
                case.wait_until.get_or_insert(until);
            }
            case.planned = Some((next, refusals));
        }
    }

    fn ask_guards(
        &self,
        target: &UnitName,
        evidence: &Evidence,
        plan: &Plan,
        now: UnixNanos,
    ) -> Vec<guard::Refusal> {
        let known = self
            .cases
            .values()
            .filter_map(|case| case.evidence.as_ref());
        let down: Vec<Down> = known
            .filter_map(|evidence| Some((evidence, evidence.suspects.first()?)))
            .filter(|(_, suspect)| suspect.probability >= SICK)
            .map(|(evidence, suspect)| Down {
                unit: suspect.unit.clone(),
                probability: suspect.probability,
                since: evidence.since,
                is_seen: evidence.signature.request_types.is_empty(),
            })
            .collect();
        let sick: BTreeSet<UnitName> = down.iter().map(|down| down.unit.clone()).collect();
        let world = World {
            tree: &self.grown,
            policy: &self.policy,
            pause: None,
            leases: &[],
            past: &[],
            sick: &sick,
            // Nobody answers a rehearsal, so it asks nobody after a while.
            storm_since: None,
            down: &down,
            ledger_failure: None,
            comings: &guard::Comings::default(),
            standing: &BTreeMap::new(),
            executors: &self.executors,
        };
        let deed = Deed {
            recovery: None,
            target,
            authority: Authority::Unattended,
            evidence: Some(evidence),
            told_at: None,
            expected_cost: plan.candidates.first().map_or(0.0, |it| it.cost),
        };
        guard::check(&deed, &world, mapping::wall(now))
    }
}

/// A suspect's names.
fn named(suspect: &rekindle_analysis::Suspect) -> String {
    let names: Vec<String> = suspect.components.iter().map(ToString::to_string).collect();
    names.join(" or ")
}
