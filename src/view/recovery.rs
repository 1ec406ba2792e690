//! The restart tree, what is planned, what was done, and how it was judged.

use std::collections::BTreeMap;
use std::fmt;

use rekindle_recovery::Mode;
use serde::{Deserialize, Serialize};

use super::UtcTime;

/// Declares an enum whose words are the same in JSON (snake case) and for people (spaces).
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All of them, in the order in which they are declared.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word for people.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// What is going on with a unit.
    #[derive(Default)]
    UnitState {
        /// Nothing has been heard of it.
        #[default]
        Unknown = "unknown",
        /// It works, as far as is known.
        Up = "up",
        /// It is coming up for the first time, or after it was adopted.
        Starting = "starting",
        /// It is being restarted.
        Restarting = "restarting",
        /// It was restarted, and its effect is being judged.
        Judging = "judging",
        /// It is down.
        Down = "down",
        /// Its restart waits for something that may pass, and may be long.
        HeldOff = "held off",
        /// Rekindle has given up on it: a person is needed.
        GivenUp = "given up",
    }
}

words! {
    /// How a unit is restarted.
    ExecutorKind {
        /// Rekindle supervises the process.
        Process = "process",
        /// A microreboot endpoint is called.
        Http = "http",
        /// A command is run.
        Command = "command",
        /// A Docker-compatible engine restarts a container.
        Docker = "docker",
        /// Kubernetes replaces pods or containers.
        Kubernetes = "kubernetes",
        /// systemd restarts a unit of its own.
        Systemd = "systemd",
        /// By restarting all below it.
        Parts = "parts",
    }
}

impl ExecutorKind {
    /// The one that recovery calls so; `None` for a word that it has and we don't.
    pub fn named(word: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|kind| kind.as_str() == word)
    }
}

words! {
    /// In which part of its life a supervised process is.
    ProcessPhase {
        /// Started, not ready yet.
        Starting = "starting",
        /// Ready.
        Running = "running",
        /// Told to end.
        Stopping = "stopping",
        /// Ended.
        Exited = "exited",
    }
}

words! {
    /// What a known-answer question said last.
    #[derive(Default)]
    HealthState {
        /// It wasn't asked, or there is no answer yet.
        #[default]
        Unknown = "unknown",
        /// The right answer.
        Well = "well",
        /// A wrong answer, or none.
        Sick = "sick",
    }
}

words! {
    /// How a unit stands to one of the figures that it must keep within their bounds.
    #[derive(Default)]
    WatchStanding {
        /// It isn't measured, or not often enough yet.
        #[default]
        Unknown = "unknown",
        /// Within its bounds.
        Within = "within",
        /// Out of its bounds, but not for long enough to be a fault.
        Leaning = "out of bounds for a moment",
        /// Out of its bounds.
        Beyond = "out of bounds",
    }
}

words! {
    /// The life of a plan.
    #[derive(Default)]
    PlanState {
        /// It waits for a person's approval.
        #[default]
        Proposed = "waiting for approval",
        /// Nothing is done yet: the fault may go by itself.
        Waiting = "waiting whether it goes by itself",
        /// No restart is worth its price.
        Hopeless = "no restart is worth it",
        /// It holds its subtree's lease.
        Leased = "leased",
        /// Its next step is in the ledger.
        Committed = "committed",
        /// A unit is being restarted.
        Acting = "restarting",
        /// The restart's own disturbance has to pass.
        Settling = "settling",
        /// Requests are being counted.
        Judging = "judging",
        /// It cured the incident.
        Cured = "cured",
        /// Nothing in it cured the incident.
        NotCured = "not cured",
        /// Whether it did can't be told.
        Unknown = "unknown",
        /// A person said no.
        Rejected = "rejected",
        /// Nobody answered in time, or the incident ended first.
        Expired = "expired",
        /// A guard said no.
        Vetoed = "vetoed by a guard",
        /// A guard said no for as long as something lasts that may pass: then it goes on by itself.
        HeldOff = "held off",
        /// Rekindle gave up: a person is needed.
        GivenUp = "given up to a person",
    }
}

impl PlanState {
    /// Whether something is being restarted, or judged.
    pub const fn is_at_work(self) -> bool {
        self.is_live() && !matches!(self, Self::Proposed | Self::Waiting | Self::HeldOff)
    }

    /// Whether something of it is still to come.
    pub const fn is_live(self) -> bool {
        matches!(
            self,
            Self::Proposed
                | Self::Waiting
                | Self::HeldOff
                | Self::Leased
                | Self::Committed
                | Self::Acting
                | Self::Settling
                | Self::Judging
        )
    }
}

words! {
    /// What the executor said of an action.
    ActionResult {
        /// The old life ended, the new one is ready.
        Done = "done",
        /// Nothing was done.
        Refused = "refused",
        /// The old life ended, the new one isn't ready.
        NotReady = "not ready",
        /// It can't be told.
        Unknown = "unknown",
    }
}

words! {
    /// What an action did to users' failures.
    VerdictView {
        /// They are back at the baseline.
        Cured = "cured",
        /// Fewer, but not gone.
        Helped = "helped",
        /// No fewer.
        NotCured = "not cured",
        /// It can't be told; never counts as cured.
        Unknown = "unknown",
    }
}

/// One node of the restart tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitView {
    /// Its name.
    pub name: String,
    /// The unit that contains it; `None` for the root.
    pub parent: Option<String>,
    /// How far below the root it is.
    pub depth: usize,
    /// How far Rekindle may go with it.
    pub mode: Mode,
    /// How it is restarted; `None` in a way that has no word here.
    pub executor: Option<ExecutorKind>,
    /// The telemetry attributes that are its.
    pub selector: BTreeMap<String, String>,
    /// The number of its present life; 0 when it isn't known.
    pub generation: u64,
    /// Whence it is known that its members go together, of a unit that nobody wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inferred: Option<String>,
    /// Its process, where Rekindle supervises one.
    pub process: Option<ProcessView>,
    /// What is going on with it.
    pub state: UnitState,
    /// What its check said last.
    pub check: HealthState,
    /// What is worth telling people: the last words of a failed start or check.
    pub note: String,
    /// The downtime that a restart costs, measured or expected.
    pub downtime_ms: Option<u64>,
    /// How long nine of ten of its restarts take at most.
    #[serde(default)]
    pub downtime_mostly_ms: Option<u64>,
    /// How likely its restart cures what is being worked on, from experience, in `[0, 1]`; `None` where
    /// no plan weighs it.
    pub cure_probability: Option<f64>,
    /// The last action on it.
    pub last_action: Option<u64>,
    /// Who is suspected in it now.
    pub suspicions: Vec<SuspicionView>,
    /// The figures that it must keep within their bounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watches: Vec<WatchView>,
    /// Whose failures make it fail, as far as that was seen.
    #[serde(default)]
    pub fails_with: Vec<FailsWithView>,
    /// After whose restarts it fails, as far as that was recorded.
    #[serde(default)]
    pub fails_after: Vec<FailsWithView>,
}

impl UnitView {
    /// Whose failures make it fail, in sentences.
    pub fn why_it_fails(&self) -> impl Iterator<Item = String> + '_ {
        let with = self.fails_with.iter().map(|source| self.fails_like(source));
        with.chain(self.fails_after.iter().map(|source| {
            format!(
                "after a restart of {}, {} fails, at least {:.0} times in a hundred: `rekindle tree propose` says what \
                 would spare that",
                source.unit,
                self.name,
                100.0 * source.share
            )
        }))
    }

    /// The same of one unit whose failures make it fail, if they do.
    pub fn why_it_fails_with(&self, unit: &str) -> Option<String> {
        let source = self.fails_with.iter().find(|source| source.unit == unit);
        source.map(|source| self.fails_like(source))
    }

    fn fails_like(&self, source: &FailsWithView) -> String {
        format!(
            "when {} fails, {} fails, too, at least {:.0} times in a hundred",
            source.unit,
            self.name,
            100.0 * source.share
        )
    }
}

/// A figure that a unit must keep within its bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchView {
    /// What is looked at.
    pub what: String,
    /// What it must keep to.
    pub limit: String,
    /// How long it may be out of it.
    pub lasts_ms: u64,
    /// How it stands.
    pub standing: WatchStanding,
    /// What was measured last in the unit's present life, with its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<UtcTime>,
    /// Since when it is out of bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_since: Option<UtcTime>,
    /// Why nothing is measured at present.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A unit whose failures make another fail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FailsWithView {
    /// It.
    pub unit: String,
    /// How often the other fails when it does, at least (95 %), in `[0, 1]`.
    pub share: f64,
}

/// A suspect that belongs to a unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SuspicionView {
    /// The incident.
    pub incident: u64,
    /// The suspect's place in that incident's ranking.
    pub rank: usize,
    /// The suspect's confidence; `None` where it is unknown.
    pub confidence: Option<f64>,
}

/// A supervised process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessView {
    /// Its process id, while it lives.
    pub pid: Option<u32>,
    /// In which part of its life it is.
    pub phase: ProcessPhase,
    /// Since when.
    pub since: Option<UtcTime>,
}

/// A ladder of restarts with its reasons.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// Its number; 0 when nobody was asked to approve it.
    pub id: u64,
    /// The number of the recovery that it is of.
    #[serde(default)]
    pub recovery: u64,
    /// The incident that it is for; 0 for a restart that a person ordered.
    pub incident: u64,
    /// Where in its life it is.
    pub state: PlanState,
    /// When it was made.
    pub created: UtcTime,
    /// When it lapses if nobody approves it.
    pub expires: Option<UtcTime>,
    /// Why this and nothing else, in a sentence.
    pub reason: String,
    /// What is tried, in this order, until one cures.
    pub steps: Vec<StepView>,
    /// The step that is under way or next, from 0.
    pub at_step: Option<usize>,
    /// What else was weighed.
    pub alternatives: Vec<AlternativeView>,
    /// What the guards said.
    pub guards: Vec<String>,
    /// The actions carried out for it, oldest first.
    pub actions: Vec<u64>,
    /// Who approved or rejected it, and in which words.
    pub decided: Option<String>,
    /// Why it was given up to a person.
    #[serde(default)]
    pub given_up: Option<String>,
}

impl PlanView {
    /// What people call it: by the number that approves it, or, where nobody was asked, by its
    /// recovery's.
    pub fn title(&self) -> String {
        match self.id {
            0 => format!("Recovery {}", self.recovery),
            id => format!("Plan {id}"),
        }
    }
}

/// One rung of a ladder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// The unit to restart.
    pub unit: String,
    /// How likely that cures the incident, in `[0, 1]`.
    pub probability: f64,
    /// What it is expected to cost by itself, in failed requests.
    pub expected_cost: f64,
    /// Between what that lies nine times of ten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_cost: Option<(f64, f64)>,
}

/// What was weighed and not chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlternativeView {
    /// What it is: the units in their order, or doing nothing.
    pub what: String,
    /// What it would be expected to cost, in failed requests.
    pub expected_cost: f64,
    /// Why it wasn't chosen.
    pub why_not: String,
}

const fn began_none(generation: &u64) -> bool {
    *generation == 0
}

/// One restart, from its intent to its verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ActionView {
    /// Its number in the ledger.
    pub id: u64,
    /// The unit.
    pub unit: String,
    /// The unit that was decided on, of which it is itself or a part.
    #[serde(default)]
    pub target: String,
    /// The generation of the life that it began; 0, and absent in JSON, where it was refused and began none.
    #[serde(default, skip_serializing_if = "began_none")]
    pub generation: u64,
    /// The recovery it belongs to.
    #[serde(default)]
    pub recovery: u64,
    /// The plan it belongs to; `None` when a person asked for it.
    pub plan: Option<u64>,
    /// The incident it was for.
    pub incident: Option<u64>,
    /// Who wanted it: `rekindle`, or a person.
    pub who: String,
    /// Why.
    pub why: String,
    /// When what it was to cure began; `None` when a person asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<UtcTime>,
    /// When its intent was written.
    pub intent_at: UtcTime,
    /// When the executor was called.
    pub acting_at: Option<UtcTime>,
    /// When the executor answered.
    pub result_at: Option<UtcTime>,
    /// What the executor said.
    pub result: Option<ActionResult>,
    /// From the end of the old life to ready.
    pub downtime_ms: Option<u64>,
    /// Requests that failed in its shadow.
    pub failed_meanwhile: Option<u64>,
    /// How much it helped.
    pub relief: Option<ReliefView>,
    /// How it was judged.
    pub verdict: Option<VerdictView>,
    /// When it was judged.
    pub judged_at: Option<UtcTime>,
    /// What is worth telling people.
    pub note: String,
    /// What came of it where it isn't done: who refused it, or what it waited for in vain.
    #[serde(default)]
    pub result_words: Option<String>,
}

impl ActionView {
    /// The unit whose restart it was a part of, where that is another: the verdict is that one's.
    pub fn along_with(&self) -> Option<&str> {
        (!self.target.is_empty() && self.target != self.unit).then_some(self.target.as_str())
    }

    /// Whether it was refused: then nothing was done, and it is no restart.
    pub fn is_refused(&self) -> bool {
        self.result == Some(ActionResult::Refused)
    }
}

/// The drop in the failure share that an action brought, and where the true drop may lie (95 %).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReliefView {
    /// The drop; negative when it became worse.
    pub drop: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// How much may still be restarted in the running period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetView {
    /// Restarts spent …
    pub restarts_used: u64,
    /// … of this many …
    pub restarts: u64,
    /// … and failed requests spent …
    pub failed_requests_used: u64,
    /// … of this many.
    pub failed_requests: u64,
    /// The period.
    pub per_ms: u64,
}

/// Plans, actions and budgets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecoveryView {
    /// Plans, live ones first, then newest first.
    pub plans: Vec<PlanView>,
    /// Recent actions, newest first.
    pub actions: Vec<ActionView>,
    /// What may still be spent; `None` before the recovery half is up.
    pub budget: Option<BudgetView>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_began_no_life_in_json_either() {
        for (generation, is_there) in [(0, false), (3, true)] {
            let action = ActionView {
                generation,
                ..ActionView::default()
            };
            let json = serde_json::to_value(&action).expect("JSON");
            assert_eq!(json.get("generation").is_some(), is_there);
            let again: ActionView = serde_json::from_value(json).expect("an action");
            assert_eq!(again, action);
        }
    }
}
