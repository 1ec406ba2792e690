//! Faults that need no traces to be seen: a supervised process that ended, a check that gets wrong
//! answers, figures out of bounds.
//!
//! The operating system's word that a process is gone is proof, and so is a question whose answer
//! is known. Each becomes an incident of its own with the one unit that it is about.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use rekindle_recovery::process::{ChildEvent, ChildStatus, with_last_line};
use rekindle_recovery::service::RecoveryStatus;
use rekindle_recovery::{Evidence, FaultSignature, RestartTree, SuspectUnit, UnitName};

use super::ids::IncidentIds;
use super::publish;
use super::said::{Said, Words};
use super::{Asked, CheckResult};
use crate::view::{
    HealthState, IncidentState, IncidentView, ProcessPhase, ProcessView, RankingView, Shape,
    SuspectView, UnitState, UnitView,
};

/// Wrong answers in a row until a check accuses its unit. One may be a hiccup of the network or of
/// the host; three in a row of a question that is always answered are not.
const WRONG_IN_A_ROW: u32 = 3;

/// How long a fault that is over is still shown.
const SHOWN_AFTER: Duration = Duration::from_secs(15 * 60);

/// A process that ends again so soon after it came back is in a loop, and all its ends are one incident. Whoever ran
/// well for longer starts anew, as with Kubernetes' back-off.
const AGAIN_WITHIN: Duration = Duration::from_secs(10 * 60);

/// How many faults are kept at most; the oldest that are over go first.
const MAX_FAULTS: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exited,
    WrongAnswer,
    /// Its figures don't keep within their bounds, and that is, or isn't, more than its own word.
    OutOfBounds {
        is_proof: bool,
    },
    /// In somebody's words, or because nobody says anything any more.
    Said,
}

#[derive(Debug, Clone)]
struct Fault {
    incident: u64,
    unit: UnitName,
    kind: Kind,
    since: SystemTime,
    /// When it was there for the first time, and how often it has come since, that first time included.
    first: SystemTime,
    times: u32,
    /// When it was noticed.
    opened: SystemTime,
    /// When it was last looked at.
    seen: SystemTime,
    words: String,
    /// For how long the process had lived that ended.
    lived: Option<Duration>,
    /// What is known of it since `words` were last true.
    now: String,
    closed: Option<SystemTime>,
    told_closed: bool,
}

impl Fault {
    /// What is the matter, and what has become of it.
    fn sentence(&self) -> String {
        let mut sentence = self.words.clone();
        if self.times > 1 {
            let lasted = self.since.duration_since(self.first).unwrap_or_default();
            let lasted = crate::words::millis(lasted.as_secs() * 1000);
            sentence.push_str(&format!("; it has ended {} times in {lasted}", self.times));
        }
        if !self.now.is_empty() {
            sentence.push_str("; ");
            sentence.push_str(&self.now);
        }
        sentence
    }

    /// Whether an end of this unit's process at that time is one more of the same.
    fn is_loop(&self, unit: &UnitName, at: SystemTime) -> bool {
        let rested = |closed| {
            at.duration_since(closed)
                .is_ok_and(|rest| rest > AGAIN_WITHIN)
        };
        self.kind == Kind::Exited && self.unit == *unit && !self.closed.is_some_and(rested)
    }

    /// It ended again.
    fn again(&mut self, at: SystemTime, words: String, now: SystemTime) {
        if at > self.since {
            self.times += 1;
            self.since = at;
            self.words = words;
            self.now.clear();
            tracing::warn!(incident = self.incident, unit = %self.unit, "again: {}", self.sentence());
        }
        self.seen = now;
        self.closed = None;
        self.told_closed = false;
    }

    /// Whether this is what such a fault of the unit is told as, while it lasts.
    fn is_open(&self, unit: &UnitName, kind: Kind) -> bool {
        self.closed.is_none() && self.unit == *unit && self.kind.view() == kind.view()
    }
}

#[derive(Debug, Default, Clone)]
struct Checked {
    wrong: u32,
    state: Option<bool>,
    words: String,
}

/// The faults that were seen directly.
#[derive(Debug, Default)]
pub(crate) struct DirectFaults {
    faults: Vec<Fault>,
    checks: BTreeMap<UnitName, Checked>,
    words: Words,
    /// How many of the supervisor's events had been missed when the standing was last looked at.
    missed: u64,
}

impl DirectFaults {
    /// A supervised process changed.
    pub(crate) fn child(&mut self, event: &ChildEvent, now: SystemTime, ids: &mut IncidentIds) {
        match event {
            ChildEvent::Exited {
                unit,
                how,
                lived,
                last_line,
                at,
                ..
            } => {
                let words = format!("the process of {unit} ended by itself: {how}");
                let words = with_last_line(words, last_line.as_deref());
                tracing::warn!(%unit, %how, "a supervised process ended by itself");
                self.open(unit, Kind::Exited, *at, words, ids);
                let mut faults = self.faults.iter_mut();
                if let Some(fault) = faults.find(|it| it.is_open(unit, Kind::Exited)) {
                    fault.lived = *lived;
                }
            }
            ChildEvent::Ready { unit, .. } | ChildEvent::Adopted { unit, .. } => {
                self.close(unit, Kind::Exited, now, ids);
            }
            ChildEvent::Started { .. } => {}
            ChildEvent::NotReady { unit, reason, .. } => {
                tracing::warn!(%unit, %reason, "a supervised process is not ready");
                let words = format!("it was started again and isn't ready: {reason}");
                self.note(unit, Kind::Exited, words, now);
            }
            ChildEvent::Stuck { unit, reason, .. } => {
                tracing::error!(%unit, %reason, "a supervised process can't be ended");
            }
            ChildEvent::Blocked {
                unit, reason, at, ..
            } => {
                tracing::error!(%unit, %reason, "a supervised process can't be started");
                let words = format!("the process of {unit} can't be started: {reason}");
                let mut open = self.faults.iter();
                match open.find(|it| it.is_open(unit, Kind::Exited)) {
                    Some(known) if known.words == words => {}
                    Some(_) => {
                        let words = format!("it can't be started again: {reason}");
                        self.note(unit, Kind::Exited, words, now);
                    }
                    None => self.open(unit, Kind::Exited, *at, words, ids),
                }
            }
        }
    }

    /// Whether more events were missed than were made up for.
    pub(crate) fn has_missed(&self, missed: u64) -> bool {
        missed != self.missed
    }

    /// Makes up for events that were missed, from how things stand: nobody would ever hear of an end
    /// whose event found no room. `missed` counts them since the start.
    pub(crate) fn make_up(
        &mut self,
        missed: u64,
        children: &[ChildStatus],
        now: SystemTime,
        ids: &mut IncidentIds,
    ) {
        if !self.has_missed(missed) {
            return;
        }
        tracing::warn!(
            missed = missed - self.missed,
            "events of supervised processes were missed; how they stand is looked at instead"
        );
        self.missed = missed;
        for child in children.iter().filter(|child| child.wanted) {
            match child_phase(child) {
                ProcessPhase::Exited if child.phase == "exited" => {
                    let words = format!("the process of {} ended by itself", child.unit);
                    self.open(&child.unit, Kind::Exited, child.since, words, ids);
                }
                ProcessPhase::Running => self.close(&child.unit, Kind::Exited, now, ids),
                _ => {}
            }
        }
    }

    /// A check was answered.
    pub(crate) fn check(
        &mut self,
        check: CheckResult,
        tree: &RestartTree,
        now: SystemTime,
        ids: &mut IncidentIds,
    ) {
        match check.asked {
            Asked::Question => {}
            Asked::Bounds { is_proof, since } => {
                let kind = Kind::OutOfBounds { is_proof };
                let since = since.unwrap_or(now);
                self.bounds(&check.unit, kind, since, check.answer, now, ids);
                return;
            }
            Asked::UnclearBounds => {
                let why = check.answer.err().unwrap_or_default();
                self.unclear(&check.unit, &why, now);
                return;
            }
        }
        let is_gone = self.faults.iter().any(|it| {
            it.kind == Kind::Exited && it.closed.is_none() && goes_with(&it.unit, &check.unit, tree)
        });
        let seen = self.checks.entry(check.unit.clone()).or_default();
        match check.answer {
            Ok(()) => {
                *seen = Checked {
                    wrong: 0,
                    state: Some(true),
                    words: String::new(),
                };
                self.close(&check.unit, Kind::WrongAnswer, now, ids);
            }
            // Whose process has ended can't answer, and that is an incident already. Who answers wrongly once it is back
            // is another one.
            Err(words) if is_gone => {
                *seen = Checked {
                    wrong: 0,
                    state: Some(false),
                    words,
                };
            }
            Err(words) => {
                seen.wrong = seen.wrong.saturating_add(1);
                seen.words.clone_from(&words);
                if seen.wrong >= WRONG_IN_A_ROW {
                    seen.state = Some(false);
                    self.open(&check.unit, Kind::WrongAnswer, now, words, ids);
                }
            }
        }
    }

    /// A unit's figures were looked at. What is out of bounds has been so for as long as it may, since then.
    fn bounds(
        &mut self,
        unit: &UnitName,
        kind: Kind,
        since: SystemTime,
        answer: Result<(), String>,
        now: SystemTime,
        ids: &mut IncidentIds,
    ) {
        match answer {
            Err(words) => self.open_since(unit, kind, since, words, now, ids),
            Ok(()) => {
                self.note(unit, kind, "it is within its bounds again".to_owned(), now);
                self.close(unit, kind, now, ids);
            }
        }
    }

    /// Whether a unit's figures are within their bounds can't be told at present. That opens and closes nothing; but what
    /// was measured last isn't what is.
    fn unclear(&mut self, unit: &UnitName, why: &str, now: SystemTime) {
        let kind = Kind::OutOfBounds { is_proof: false };
        let words = format!("whether it still is can't be told at present: {why}");
        self.note(unit, kind, words, now);
    }

    /// What is known of an open fault since it was last told.
    fn note(&mut self, unit: &UnitName, kind: Kind, words: String, now: SystemTime) {
        for fault in &mut self.faults {
            if fault.is_open(unit, kind) {
                fault.now.clone_from(&words);
                fault.seen = now;
            }
        }
    }

    /// Somebody said how a unit is.
    pub(crate) fn said(&mut self, said: Said, now: SystemTime) {
        self.words.take(said, now);
    }

    /// Somebody said so at that time, before this engine began.
    pub(crate) fn was_said(&mut self, said: Said, at: SystemTime, now: SystemTime) {
        self.words.remember(said, at, now);
    }

    /// The tree is another: of units that went, what was said and answered is forgotten, and what nobody asks any more
    /// is no longer the matter.
    pub(crate) fn grew(&mut self, tree: &RestartTree, now: SystemTime, ids: &mut IncidentIds) {
        let is_unit = |unit: &UnitName| tree.spec(unit).is_some();
        self.words.keep(is_unit);
        let is_checked = |unit: &UnitName| tree.spec(unit).is_some_and(|it| it.check.is_some());
        self.checks.retain(|unit, _| is_checked(unit));
        let asked = |kind| matches!(kind, Kind::WrongAnswer | Kind::OutOfBounds { .. });
        for fault in self.faults.iter_mut().filter(|it| it.closed.is_none()) {
            let is_asked = match (fault.kind, tree.spec(&fault.unit)) {
                (Kind::WrongAnswer, Some(unit)) => unit.check.is_some(),
                (Kind::OutOfBounds { .. }, Some(unit)) => !unit.watches.is_empty(),
                _ => true,
            };
            if !is_asked {
                fault.now =
                    "it isn't asked at present: it is off its list, or has not come up".to_owned();
                fault.seen = now;
            }
        }
        let open = self.faults.iter().filter(|it| it.closed.is_none());
        let of_gone = open.filter(|it| asked(it.kind) && !is_unit(&it.unit));
        for (unit, kind) in of_gone
            .map(|it| (it.unit.clone(), it.kind))
            .collect::<Vec<_>>()
        {
            self.close(&unit, kind, now, ids);
        }
    }

    /// What was said, and what should have been said by now.
    pub(crate) fn listen(&mut self, now: SystemTime, ids: &mut IncidentIds) {
        let standing = self.words.standing(now);
        for (unit, wrong) in &standing {
            match wrong {
                Some(words) => self.open(unit, Kind::Said, now, words.clone(), ids),
                None => self.close(unit, Kind::Said, now, ids),
            }
        }
        // Of what was forgotten, nothing is said any more.
        let open = self.faults.iter().filter(|it| it.closed.is_none());
        let open = open.filter(|it| it.kind == Kind::Said && !standing.contains_key(&it.unit));
        for unit in open.map(|it| it.unit.clone()).collect::<Vec<_>>() {
            self.close(&unit, Kind::Said, now, ids);
        }
    }

    /// Of what is noticed as soon as it is so.
    fn open(
        &mut self,
        unit: &UnitName,
        kind: Kind,
        since: SystemTime,
        words: String,
        ids: &mut IncidentIds,
    ) {
        self.open_since(unit, kind, since, words, since, ids);
    }

    fn open_since(
        &mut self,
        unit: &UnitName,
        kind: Kind,
        since: SystemTime,
        words: String,
        now: SystemTime,
        ids: &mut IncidentIds,
    ) {
        if kind == Kind::Exited
            && let Some(same) = self.faults.iter_mut().rfind(|it| it.is_loop(unit, since))
        {
            same.again(since, words, now);
            return;
        }
        let known = self
            .faults
            .iter_mut()
            .find(|fault| fault.is_open(unit, kind));
        if let Some(known) = known {
            known.now.clear();
            // Another figure may be out of bounds by now, and whether that is proof is another question.
            if matches!(kind, Kind::OutOfBounds { .. }) {
                known.kind = kind;
                known.words = words;
                known.seen = now;
            }
            return;
        }
        if self.faults.len() >= MAX_FAULTS
            && let Some(oldest) = self.faults.iter().position(|fault| fault.closed.is_some())
        {
            self.faults.remove(oldest);
        }
        let (incident, first, noticed) = ids.of_direct(unit.as_str(), kind.view(), since.into());
        let since = match kind {
            // Who is found to have ended has done so after all restarts that were meant to end that.
            Kind::Exited => since,
            _ => first.into(),
        };
        tracing::warn!(incident, %unit, "incident opened: {words}");
        self.faults.push(Fault {
            incident,
            unit: unit.clone(),
            kind,
            since,
            first: first.into(),
            times: 1,
            opened: noticed.map_or(now, Into::into),
            seen: now,
            words,
            lived: None,
            now: String::new(),
            closed: None,
            told_closed: false,
        });
    }

    fn close(&mut self, unit: &UnitName, kind: Kind, now: SystemTime, ids: &mut IncidentIds) {
        ids.is_over(unit.as_str(), kind.view());
        for fault in &mut self.faults {
            if fault.is_open(unit, kind) {
                fault.closed = Some(now);
                tracing::info!(incident = fault.incident, %unit, "incident closed");
            }
        }
    }

    /// Whether there is nothing to tell or to show.
    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// What recovery should know: every open fault, and each closed one once.
    /// `traffic` is what passes through each unit, in requests per second.
    pub(crate) fn evidence(
        &mut self,
        now: SystemTime,
        traffic: &BTreeMap<UnitName, f64>,
    ) -> Vec<Evidence> {
        self.faults.retain(|fault| {
            fault
                .closed
                .is_none_or(|at| now.duration_since(at).is_ok_and(|age| age < SHOWN_AFTER))
        });
        let mut told = Vec::new();
        for fault in &mut self.faults {
            if fault.told_closed {
                continue;
            }
            fault.told_closed = fault.closed.is_some();
            told.push(Evidence {
                incident: fault.incident,
                at: now,
                since: fault.since,
                signature: FaultSignature {
                    request_types: Vec::new(),
                    error_type: String::new(),
                    shape: fault.kind.shape().to_owned(),
                },
                suspects: vec![SuspectUnit {
                    unit: fault.unit.clone(),
                    probability: 1.0,
                    // The operating system, or the unit's own answer to a question that we asked:
                    // neither is telemetry that a stranger can write. What is merely said is.
                    two_sided: !matches!(
                        fault.kind,
                        Kind::Said | Kind::OutOfBounds { is_proof: false }
                    ),
                    reason: fault.sentence(),
                }],
                baseline_failure_share: 0.0,
                // All that would have passed through it.
                failing_per_second: traffic.get(&fault.unit).copied().unwrap_or(0.0),
                traffic: traffic.clone(),
                closed: fault.closed.is_some(),
                joined_into: None,
                circumstances: rekindle_recovery::Circumstances {
                    lived: fault.lived,
                    ..Default::default()
                },
            });
        }
        told
    }

    /// The faults as incidents for people.
    pub(crate) fn incidents(&self, status: &RecoveryStatus) -> Vec<IncidentView> {
        self.faults
            .iter()
            .map(|fault| IncidentView {
                id: fault.incident,
                state: match fault.closed {
                    None => IncidentState::Open,
                    Some(_) => IncidentState::Closed,
                },
                opened: publish::utc(fault.opened),
                since: publish::utc(fault.first),
                closed: fault.closed.map(publish::utc),
                ranking: Some(RankingView {
                    incident: fault.incident,
                    at: publish::utc(fault.seen),
                    suspects: vec![SuspectView {
                        rank: 1,
                        components: vec![crate::view::ComponentView {
                            name: fault.unit.to_string(),
                            ..Default::default()
                        }],
                        unit: Some(fault.unit.to_string()),
                        score: 1.0,
                        confidence: Some(1.0),
                        shape: fault.kind.view(),
                        sentence: fault.sentence(),
                        ..SuspectView::default()
                    }],
                    ..RankingView::default()
                }),
                plans: publish::plans_of(fault.incident, status),
                actions: publish::actions_of(fault.incident, status),
                ..IncidentView::default()
            })
            .collect()
    }

    /// Adds what was seen directly to a unit.
    pub(crate) fn describe(&self, unit: &mut UnitView, children: &[ChildStatus]) {
        if let Some(seen) = self.checks.get(&UnitName(unit.name.clone())) {
            (unit.check, unit.note) = match seen.state {
                Some(true) => (HealthState::Well, std::mem::take(&mut unit.note)),
                Some(false) => (HealthState::Sick, seen.words.clone()),
                None => (HealthState::Unknown, std::mem::take(&mut unit.note)),
            };
        }
        let Some(child) = children
            .iter()
            .find(|child| child.unit.as_str() == unit.name)
        else {
            return;
        };
        unit.generation = unit.generation.max(child.generation);
        unit.process = Some(ProcessView {
            pid: child.pid.and_then(|pid| u32::try_from(pid).ok()),
            phase: child_phase(child),
            since: Some(publish::utc(child.since)),
        });
        if unit.state == UnitState::Unknown {
            unit.state = match child_phase(child) {
                ProcessPhase::Running => UnitState::Up,
                ProcessPhase::Starting => UnitState::Starting,
                ProcessPhase::Stopping => UnitState::Restarting,
                ProcessPhase::Exited => UnitState::Down,
            };
        }
    }
}

/// Whether a unit has ended with the process of this one: it lives in it, and in no process of its own.
fn goes_with(ended: &UnitName, unit: &UnitName, tree: &RestartTree) -> bool {
    let executor = |unit: &UnitName| tree.spec(unit).and_then(|spec| spec.executor.as_ref());
    let chain = tree.chain(unit);
    let mut below = chain.iter().take_while(|above| **above != ended);
    chain.contains(&ended)
        && below.all(|part| {
            let own = executor(part);
            own.is_none_or(|own| executor(ended).is_some_and(|whole| whole.takes_along(own)))
        })
}

/// The supervisor's word for a phase, as people see it.
fn child_phase(child: &ChildStatus) -> ProcessPhase {
    match child.phase {
        "running" => ProcessPhase::Running,
        "starting" => ProcessPhase::Starting,
        "stopping" => ProcessPhase::Stopping,
        _ => ProcessPhase::Exited,
    }
}

impl Kind {
    const fn view(self) -> Shape {
        match self {
            Self::Exited => Shape::Exited,
            Self::WrongAnswer => Shape::WrongAnswer,
            Self::OutOfBounds { .. } => Shape::OutOfBounds,
            Self::Said => Shape::Reported,
        }
    }

    const fn shape(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::WrongAnswer => "wrong_answer",
            Self::OutOfBounds { .. } => "out_of_bounds",
            Self::Said => "reported",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_recovery::{ExecutorSpec, ProcessSpec, Stop, UnitSpec};

    fn check(unit: &str, answer: Result<(), &str>) -> CheckResult {
        CheckResult {
            unit: unit.into(),
            asked: Asked::Question,
            answer: answer.map_err(str::to_owned),
        }
    }

    /// A shop whose process and its part are checked, and so are a process below it and another one.
    fn tree() -> RestartTree {
        let unit = |name: &str, parent: Option<&str>| {
            let mut unit = crate::engine::mapping::tests::unit(name, parent, &[]);
            unit.check = Some(rekindle_recovery::ProbeSpec::Tcp {
                address: "127.0.0.1:1".to_owned(),
                timeout: Duration::from_secs(1),
            });
            unit
        };
        let units = vec![
            unit("shop", None),
            unit("catalog", Some("shop")),
            unit("catalog.search", Some("catalog")),
            unit("catalog.store", Some("catalog")),
            unit("web", Some("shop")),
        ];
        let process = ExecutorSpec::Process(ProcessSpec {
            command: vec!["catalog".to_owned()],
            environment: BTreeMap::new(),
            directory: None,
            stop: Stop::Kill,
            ports: Vec::new(),
        });
        let own = |unit: UnitSpec| match unit.name.as_str() {
            "catalog" | "catalog.store" => UnitSpec {
                executor: Some(process.clone()),
                ..unit
            },
            _ => unit,
        };
        RestartTree::build(units.into_iter().map(own).collect()).expect("a tree")
    }

    /// Somebody else holds its port: that is said once, whatever was known before, and goes with how long it last lived.
    #[test]
    fn who_cannot_start_is_down_until_it_does() {
        use rekindle_recovery::process::Ending;
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let unit = || UnitName::from("web");
        let blocked = |seconds| ChildEvent::Blocked {
            unit: unit(),
            generation: 2,
            reason: "process 7 (nc) listens on its port 80".to_owned(),
            at: at(seconds),
        };
        let ended_at = |seconds| ChildEvent::Exited {
            unit: unit(),
            generation: 1,
            how: Ending::Code(1),
            lived: Some(Duration::from_secs(4)),
            last_line: None,
            at: at(seconds),
        };
        let held = "the process of web can't be started: process 7 (nc) listens on its port 80";
        for (events, expected, lived) in [
            (vec![blocked(1), blocked(2)], held.to_owned(), None),
            (
                vec![ended_at(1), blocked(2)],
                "the process of web ended by itself: exited with code 1; it can't be started again: process 7 (nc) \
                 listens on its port 80"
                    .to_owned(),
                Some(Duration::from_secs(4)),
            ),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let mut ids = IncidentIds::open(folder.path(), 7).expect("reserved");
            let mut faults = DirectFaults::default();
            for event in &events {
                faults.child(event, at(3), &mut ids);
            }
            let told = faults.evidence(at(3), &BTreeMap::new());
            assert_eq!(told.len(), 1);
            assert_eq!(told[0].suspects[0].reason, expected);
            assert_eq!(told[0].circumstances.lived, lived);
            let ready = ChildEvent::Ready {
                unit: unit(),
                generation: 2,
                at: at(4),
            };
            faults.child(&ready, at(4), &mut ids);
            assert!(faults.evidence(at(4), &BTreeMap::new())[0].closed);
            // What kept it from starting is no news of its next end.
            faults.child(&ended_at(5), at(5), &mut ids);
            let again = &faults.evidence(at(5), &BTreeMap::new())[0].suspects[0].reason;
            assert!(!again.contains("started"), "{again}");
        }
    }

    /// An engine that comes back to a loop knows how long the incident has lasted, and that the last restart is over.
    #[test]
    fn what_has_ended_again_did_so_after_what_another_engine_did() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (kind, shape, expected) in [
            (Kind::Exited, Shape::Exited, at(2000)),
            (Kind::WrongAnswer, Shape::WrongAnswer, at(1000)),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let mut ids = IncidentIds::open(folder.path(), 7).expect("reserved");
            let former = IncidentView {
                id: 7,
                since: publish::utc(at(1000)),
                opened: publish::utc(at(1000)),
                ranking: Some(RankingView {
                    suspects: vec![SuspectView {
                        unit: Some("catalog".to_owned()),
                        shape,
                        ..SuspectView::default()
                    }],
                    ..RankingView::default()
                }),
                ..IncidentView::default()
            };
            ids.remember(vec![super::super::ids::Former::of(&former)]);
            let mut faults = DirectFaults::default();
            faults.open(
                &"catalog".into(),
                kind,
                at(2000),
                "it is".to_owned(),
                &mut ids,
            );
            let told = faults.evidence(at(2001), &BTreeMap::new());
            assert_eq!((told[0].incident, told[0].since), (7, expected));
            let shown = faults.incidents(&RecoveryStatus::nothing(at(2001)));
            assert_eq!(shown[0].since, publish::utc(at(1000)));
        }
    }

    /// Whose process has ended answers nothing, nor do its parts: that is one incident. Whoever is back and still wrong is
    /// another.
    #[test]
    fn who_has_ended_is_not_accused_of_its_silence_as_well() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let folder = tempfile::tempdir().expect("a folder");
        let mut ids = IncidentIds::open(folder.path(), 0).expect("reserved");
        let mut faults = DirectFaults::default();
        let wrong = |faults: &mut DirectFaults, ids: &mut IncidentIds| {
            for unit in ["catalog", "catalog.search", "catalog.store", "web"] {
                for _ in 0..=WRONG_IN_A_ROW {
                    faults.check(check(unit, Err("refused")), &tree(), now, ids);
                }
            }
            let told = faults.evidence(now, &BTreeMap::new());
            let open = told.iter().filter(|it| !it.closed);
            open.map(|it| (it.suspects[0].unit.to_string(), it.signature.shape.clone()))
                .collect::<Vec<_>>()
        };
        let one = |unit: &str, shape: &str| (unit.to_owned(), shape.to_owned());
        let words = "the process of catalog ended by itself: exit code 1".to_owned();
        faults.open(&"catalog".into(), Kind::Exited, now, words, &mut ids);
        // Who is restarted with it, and lives in a process of its own, goes on.
        let expected = [
            one("catalog", "exited"),
            one("catalog.store", "wrong_answer"),
            one("web", "wrong_answer"),
        ];
        assert_eq!(wrong(&mut faults, &mut ids), expected);
        let shown = |faults: &DirectFaults| {
            let mut unit = UnitView {
                name: "catalog.search".to_owned(),
                ..UnitView::default()
            };
            faults.describe(&mut unit, &[]);
            unit.check
        };
        assert_eq!(shown(&faults), HealthState::Sick);
        faults.close(&"catalog".into(), Kind::Exited, now, &mut ids);
        let expected = [
            one("catalog.store", "wrong_answer"),
            one("web", "wrong_answer"),
            one("catalog", "wrong_answer"),
            one("catalog.search", "wrong_answer"),
        ];
        assert_eq!(wrong(&mut faults, &mut ids), expected);
    }

    #[test]
    fn what_nobody_asks_any_more_is_not_told_as_if_it_were_so_now() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let folder = tempfile::tempdir().expect("a folder");
        let mut ids = IncidentIds::open(folder.path(), 0).expect("reserved");
        let mut faults = DirectFaults::default();
        let reason = |faults: &mut DirectFaults| {
            let told = faults.evidence(now, &BTreeMap::new());
            assert!(!told[0].closed);
            told[0].suspects[0].reason.clone()
        };
        for _ in 0..WRONG_IN_A_ROW {
            faults.check(check("web", Err("refused")), &tree(), now, &mut ids);
        }
        assert_eq!(reason(&mut faults), "refused");
        let units = tree().units().cloned().collect::<Vec<_>>();
        let unasked = units.into_iter().map(|unit| rekindle_recovery::UnitSpec {
            check: None,
            ..unit
        });
        let unasked = RestartTree::build(unasked.collect()).expect("a tree");
        faults.grew(&unasked, now, &mut ids);
        let expected = "refused; it isn't asked at present: it is off its list, or has not come up";
        assert_eq!(reason(&mut faults), expected);
        // It is on its list again, and no better.
        for _ in 0..WRONG_IN_A_ROW {
            faults.check(check("web", Err("refused")), &tree(), now, &mut ids);
        }
        assert_eq!(reason(&mut faults), "refused");
    }

    #[test]
    fn one_wrong_answer_is_a_hiccup_and_three_are_a_fault() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let folder = tempfile::tempdir().expect("a folder");
        let mut ids = IncidentIds::open(folder.path(), 0).expect("reserved");
        let mut faults = DirectFaults::default();
        for _ in 0..2 {
            faults.check(
                check("catalog", Err("no such text")),
                &tree(),
                now,
                &mut ids,
            );
            assert_eq!(faults.evidence(now, &BTreeMap::new()), []);
        }
        faults.check(
            check("catalog", Err("no such text")),
            &tree(),
            now,
            &mut ids,
        );
        let told = faults.evidence(now, &BTreeMap::new());
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].suspects[0].reason, "no such text");
        assert!(!told[0].closed);
        // Still wrong is the same fault; right once ends it, which is told once.
        faults.check(
            check("catalog", Err("no such text")),
            &tree(),
            now,
            &mut ids,
        );
        assert_eq!(faults.evidence(now, &BTreeMap::new()).len(), 1);
        faults.check(check("catalog", Ok(())), &tree(), now, &mut ids);
        let told = faults.evidence(now, &BTreeMap::new());
        assert!(told[0].closed);
        assert_eq!(faults.evidence(now, &BTreeMap::new()), []);
        faults.evidence(now + SHOWN_AFTER, &BTreeMap::new());
        assert_eq!(faults.faults.len(), 0);
    }

    #[test]
    fn an_end_whose_event_was_missed_is_an_incident_all_the_same() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let folder = tempfile::tempdir().expect("a folder");
        let mut ids = IncidentIds::open(folder.path(), 0).expect("reserved");
        let child = |phase: &'static str, wanted: bool| ChildStatus {
            unit: "catalog".into(),
            pid: None,
            generation: 1,
            phase,
            ending: None,
            since: now,
            exits: 1,
            wanted,
            configured: true,
        };
        let mut faults = DirectFaults::default();
        for (missed, phase, wanted, expected) in [
            (0, "exited", true, None),
            (1, "exited", false, None),
            (2, "stopped", true, None),
            (3, "exited", true, Some(false)),
            (3, "running", true, Some(false)),
            (4, "running", true, Some(true)),
        ] {
            faults.make_up(missed, &[child(phase, wanted)], now, &mut ids);
            let told = faults.evidence(now, &BTreeMap::new());
            let closed = told.first().map(|evidence| evidence.closed);
            assert_eq!(closed, expected, "{missed} {phase} {wanted}");
        }
    }

    #[test]
    fn a_process_that_ends_again_and_again_is_one_incident() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let folder = tempfile::tempdir().expect("a folder");
        let mut ids = IncidentIds::open(folder.path(), 0).expect("reserved");
        let mut faults = DirectFaults::default();
        let mut told = Vec::new();
        for after in [0, 40, 45, 1000] {
            let at = start + Duration::from_secs(after);
            let words = "the process of catalog ended by itself: exit code 1".to_owned();
            faults.open(&"catalog".into(), Kind::Exited, at, words, &mut ids);
            let evidence = faults.evidence(at, &BTreeMap::new());
            let last = evidence.last().expect("it is down");
            assert_eq!((last.since, last.closed), (at, false));
            told.push((last.incident, last.suspects[0].reason.clone()));
            // The end at 45 s comes before it is ready.
            if after != 40 {
                faults.close(&"catalog".into(), Kind::Exited, at, &mut ids);
                let evidence = faults.evidence(at, &BTreeMap::new());
                assert!(evidence.iter().all(|it| it.closed));
            }
        }
        let ended = "the process of catalog ended by itself: exit code 1";
        assert_eq!(
            told,
            [
                (1, ended.to_owned()),
                (1, format!("{ended}; it has ended 2 times in 40s")),
                (1, format!("{ended}; it has ended 3 times in 45s")),
                (2, ended.to_owned()),
            ]
        );
    }

    #[test]
    fn what_is_forgotten_is_over() {
        use crate::engine::said::{Said, Speaker};
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let folder = tempfile::tempdir().expect("a folder");
        let mut ids = IncidentIds::open(folder.path(), 0).expect("reserved");
        let mut faults = DirectFaults::default();
        let said = |by, next_within| Said {
            unit: "catalog".into(),
            by,
            wrong: None,
            next_within,
        };
        let beat = said(Speaker::Itself, Some(Duration::from_secs(1)));
        faults.said(beat, now);
        let later = now + Duration::from_secs(9);
        faults.listen(later, &mut ids);
        assert!(!faults.evidence(later, &BTreeMap::new())[0].closed);
        faults.said(said(Speaker::Forget, None), later);
        faults.listen(later, &mut ids);
        assert!(faults.evidence(later, &BTreeMap::new())[0].closed);
        faults.listen(later, &mut ids);
        assert_eq!(faults.evidence(later, &BTreeMap::new()), []);
    }

    #[test]
    fn figures_out_of_bounds_are_a_fault_and_proof_where_the_kernel_says_so() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let folder = tempfile::tempdir().expect("a folder");
        let mut ids = IncidentIds::open(folder.path(), 0).expect("reserved");
        for is_proof in [true, false] {
            let mut faults = DirectFaults::default();
            let mut look = |answer: Result<(), &str>| {
                let unit = if is_proof { "catalog" } else { "web" };
                let mut seen = check(unit, answer);
                seen.asked = Asked::Bounds {
                    is_proof,
                    since: None,
                };
                faults.check(seen, &tree(), now, &mut ids);
                faults.evidence(now, &BTreeMap::new())
            };
            assert_eq!(look(Ok(())), []);
            let told = look(Err("too much memory"));
            assert_eq!(told[0].suspects[0].two_sided, is_proof);
            assert_eq!(told[0].signature.shape, "out_of_bounds");
            assert_eq!(look(Err("too much memory")).len(), 1);
            assert!(look(Ok(()))[0].closed);
        }
    }

    #[test]
    fn proof_that_is_no_longer_seen_is_no_longer_told() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let folder = tempfile::tempdir().expect("a folder");
        let mut ids = IncidentIds::open(folder.path(), 0).expect("reserved");
        let mut faults = DirectFaults::default();
        let mut incidents = Vec::new();
        for (is_proof, words) in [
            (true, "too much memory"),
            (false, "says that its queue is long"),
            (true, "spins"),
        ] {
            let mut seen = check("catalog", Err(words));
            seen.asked = Asked::Bounds {
                is_proof,
                since: None,
            };
            faults.check(seen, &tree(), now, &mut ids);
            let told = faults.evidence(now, &BTreeMap::new());
            let suspects: Vec<_> = told.iter().map(|one| &one.suspects[0]).collect();
            assert_eq!(suspects.len(), 1, "{words}");
            let found = (suspects[0].two_sided, suspects[0].reason.as_str());
            assert_eq!(found, (is_proof, words));
            incidents.push(told[0].incident);
        }
        assert_eq!(incidents, [incidents[0]; 3]);
    }

    #[test]
    fn what_is_said_opens_an_incident_but_is_no_proof() {
        use crate::engine::said::{Said, Speaker};
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let folder = tempfile::tempdir().expect("a folder");
        let mut ids = IncidentIds::open(folder.path(), 0).expect("reserved");
        let mut faults = DirectFaults::default();
        let said = |wrong: Option<&str>| Said {
            unit: "catalog".into(),
            by: Speaker::Reporter("pager".to_owned()),
            wrong: wrong.map(str::to_owned),
            next_within: None,
        };
        faults.said(said(Some("too slow")), now);
        faults.listen(now, &mut ids);
        let told = faults.evidence(now, &BTreeMap::new());
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].suspects[0].reason, "pager says: too slow");
        assert!(!told[0].suspects[0].two_sided);
        faults.said(said(None), now);
        faults.listen(now, &mut ids);
        assert!(faults.evidence(now, &BTreeMap::new())[0].closed);
    }

    /// Nobody asks who is no unit any more, so nobody would ever hear that its fault is over.
    #[test]
    fn the_fault_of_a_unit_that_went_is_over() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let folder = tempfile::tempdir().expect("a folder");
        let mut ids = IncidentIds::open(folder.path(), 0).expect("reserved");
        let mut faults = DirectFaults::default();
        let unit = crate::engine::mapping::tests::unit;
        let units = vec![unit("shop", None, &[]), unit("web@1", Some("shop"), &[])];
        let tree = RestartTree::build(units).expect("a tree");
        for unit in ["web@1", "web@2"] {
            for _ in 0..WRONG_IN_A_ROW {
                faults.check(check(unit, Err("no answer")), &tree, now, &mut ids);
            }
        }
        faults.grew(&tree, now, &mut ids);
        let told = faults.evidence(now, &BTreeMap::new());
        let told: Vec<(&str, bool)> = told
            .iter()
            .map(|it| (it.suspects[0].unit.as_str(), it.closed))
            .collect();
        assert_eq!(told, [("web@1", false), ("web@2", true)]);
    }
}
